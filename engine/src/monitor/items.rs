//! The lines of `--itemize-changes`, and who receives them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::entry::FileId;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Item {
    /// Eleven characters, as rsync(1) explains them; `*deleting  ` for what is no longer there.
    pub letters: String,
    /// Path inside the snapshot, escaped as [`crate::entry::escape::Shown`] does; folders end in `/`.
    pub path: String,
    /// The target of a symlink, or the first name of a hard-linked inode; escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
    /// Whether `leads_to` is a hard link.
    pub hard_link: bool,
}

/// Receives lines, a folder's at a time, from every worker thread.
pub trait ItemSink: Send + Sync {
    /// Some lines, in no particular order.
    fn items(&self, items: &[Item]);
}

/// Who is told, and of what.
#[derive(Clone)]
pub struct Items {
    pub(crate) sink: Arc<dyn ItemSink>,
    /// Whether unchanged entries are told too.
    pub(crate) unchanged: bool,
    /// The first names of hard-linked inodes.
    pub(crate) first: Arc<Mutex<HashMap<FileId, String>>>,
}

impl Items {
    /// Tells `sink` of changes, and of `unchanged` entries too if asked.
    #[must_use]
    pub fn new(sink: Arc<dyn ItemSink>, unchanged: bool) -> Self {
        Self { sink, unchanged, first: Arc::default() }
    }

    /// Tells some lines.
    pub(crate) fn tell(&self, items: Vec<Item>) {
        if !items.is_empty() {
            self.sink.items(&items);
        }
    }
}
