//! What a dry run and `--itemize-changes` report about one entry.

use crate::entry::Time;

/// One difference between the source and the newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// What a run would do about it.
    pub change: ChangeKind,
    /// Path inside the snapshot, escaped as [`crate::entry::escape::Shown`] does; folders end in `/`.
    pub path: String,
    /// The path inside the base, in the same form, that the file probably had: the content is not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Bytes that would be copied.
    pub bytes: u64,
    /// Size and time of a file that is new.
    #[serde(skip)]
    pub file: Option<(u64, Time)>,
}

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The base does not have it.
    New,
    /// Other content or another type.
    Changed,
    /// The base has it under another path.
    Renamed,
    /// Same content, different metadata.
    Metadata,
    /// No longer in the source. A folder stands for everything that was below it.
    Deleted,
    /// In the base, and now left out by the filters. A folder stands for everything that was below it.
    LeftOut,
}

/// Receives the differences, one folder at a time, from every worker thread.
pub trait ChangeSink: Send + Sync {
    /// Some differences of one folder, in no particular order.
    fn changes(&self, changes: &[Change]);
}
