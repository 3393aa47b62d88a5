//! Stores the progress of a run in the backups folder. Other processes read it during the run, and detect from
//! it that the run was killed.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::entry::human::rfc3339;
use crate::fs::dir::Dir;
use crate::fs::small_file::{write_even_if_full, write_soon};
use crate::monitor::{Phase, Progress};
use crate::repository::backups_folder::Repository;
use crate::repository::store::Store;
use crate::repository::store::file_of;
use crate::snapshot::name::Prefix;
use crate::threads::lock::lock;

/// The progress of a run, or how far it came when it ended without a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reached {
    /// 1.
    pub version: u32,
    /// The incomplete snapshot's folder name; empty before there is one.
    pub snapshot: String,
    /// RFC 3339, UTC: when the run began.
    pub began: String,
    /// RFC 3339, UTC: when this was written: at the start, at each checkpoint, at the end.
    pub updated: String,
    /// Whether the run has ended. When it has not and no process holds the lock, the run was killed.
    pub ended: bool,
    /// `preparing`, `copying`, `retrying`, `sealing`, `removing` or `verifying`.
    pub phase: String,
    /// Entries of the source that this run has processed.
    pub entries: u64,
    /// Entries in the base; 0 if unknown.
    pub entries_expected: u64,
    /// Entries linked to the base.
    pub linked: u64,
    /// Files copied from the source.
    pub copied: u64,
    /// Bytes read from the source.
    pub bytes_copied: u64,
}

/// Writes the progress of a run. Ignores write errors: a progress display is no reason to fail a run.
pub(crate) struct Tracker {
    dir: Option<Dir>,
    file: String,
    progress: Arc<Progress>,
    now: fn() -> DateTime<Utc>,
    began: String,
    snapshot: Mutex<String>,
}

impl Tracker {
    /// Creates a tracker for a run of `prefix` that begins now.
    pub(crate) fn new(
        repository: &Repository,
        prefix: &Prefix,
        progress: Arc<Progress>,
        now: fn() -> DateTime<Utc>,
    ) -> Self {
        Self {
            dir: repository.store(Store::Progress),
            file: file_of(prefix),
            progress,
            now,
            began: rfc3339(now()),
            snapshot: Mutex::default(),
        }
    }

    /// Sets the snapshot that the run is making, and writes the progress.
    pub(crate) fn begun(&self, snapshot: &str) {
        snapshot.clone_into(&mut lock(&self.snapshot));
        self.note();
    }

    /// Writes the present progress.
    pub(crate) fn note(&self) {
        let _ = self.write(false);
    }

    /// Writes that the run has ended.
    pub(crate) fn ended(&self) {
        let _ = self.write(true);
    }

    fn write(&self, ended: bool) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let progress = &self.progress;
        let reached = Reached {
            version: 1,
            snapshot: lock(&self.snapshot).clone(),
            began: self.began.clone(),
            updated: rfc3339((self.now)()),
            ended,
            phase: word(progress.phase()).to_owned(),
            entries: progress.entries.load(Relaxed),
            entries_expected: progress.entries_expected.load(Relaxed),
            linked: progress.linked.load(Relaxed),
            copied: progress.copied.load(Relaxed),
            bytes_copied: progress.bytes_copied.load(Relaxed),
        };
        let content = serde_json::to_vec_pretty(&reached)?;
        write_even_if_full(dir, &self.file, &content, write_soon)
    }
}

/// The progress that the last run of `prefix` wrote.
pub(crate) fn reached(repository: &Repository, prefix: &Prefix) -> Option<Reached> {
    repository.record(Store::Progress, &file_of(prefix))
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "preparing",
        Phase::Copying => "copying",
        Phase::Retrying => "retrying",
        Phase::Sealing => "sealing",
        Phase::Removing => "removing",
        Phase::Verifying => "verifying",
    }
}
