//! The lines of `--itemize-changes`, and their receiver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::entry::FileId;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ItemizedChange {
    /// Eleven characters, as rsync(1) defines them; `*deleting  ` for an entry that is gone.
    pub letters: String,
    /// The path inside the snapshot, escaped as [`crate::entry::escape::Shown`] does. The path of a
    /// folder ends in `/`.
    pub path: String,
    /// The target of a symlink, or the first name of a hard-linked inode; escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
    /// Whether `leads_to` is a hard link.
    pub hard_link: bool,
}

/// Receives the lines of one folder at a time. Every worker thread calls it.
pub trait ItemSink: Send + Sync {
    /// Receives lines, in no particular order.
    fn items(&self, items: &[ItemizedChange]);
}

/// The receiver of the lines, and which lines it wants.
#[derive(Clone)]
pub struct Items {
    pub(crate) sink: Arc<dyn ItemSink>,
    /// Whether unchanged entries are reported as well.
    pub(crate) unchanged: bool,
    /// The first name of each hard-linked inode.
    pub(crate) first: Arc<Mutex<HashMap<FileId, String>>>,
}

impl Items {
    /// Reports changes to `sink`; with `unchanged`, unchanged entries as well.
    #[must_use]
    pub fn new(sink: Arc<dyn ItemSink>, unchanged: bool) -> Self {
        Self { sink, unchanged, first: Arc::default() }
    }

    pub(crate) fn report(&self, items: Vec<ItemizedChange>) {
        if !items.is_empty() {
            self.sink.items(&items);
        }
    }
}
