//! What a walk has to know before it starts.

use std::path::PathBuf;

use crate::dir::Dir;
use crate::entry::{FileId, Time};
use crate::kept::Kept;
use crate::plan::{Held, Rules};
use crate::run::Context;

/// A snapshot to look into, held open at its top.
pub(crate) struct Beside {
    pub(crate) top: Option<Dir>,
    pub(crate) kept: Kept,
}

/// Which files of the incomplete snapshot are certainly on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust {
    /// Written before this change time: before a checkpoint that succeeded.
    pub(crate) before: Option<Time>,
    /// Written from this change time on: by this very run.
    pub(crate) from: Option<Time>,
}

impl Trust {
    pub(super) fn covers(self, here: &Held, base: Option<&Held>) -> bool {
        let of_base = base.is_some_and(|base| base.meta.id == here.meta.id);
        let ctime = here.meta.ctime;
        of_base
            || here.meta.size == 0
            || self.before.is_some_and(|before| ctime < before)
            || self.from.is_some_and(|from| ctime >= from)
    }
}

/// What is found at a source root before the walk.
#[derive(Debug, Clone)]
pub(crate) struct RootSeen {
    pub(crate) path: PathBuf,
    pub(crate) inside: Vec<u8>,
    pub(crate) file_system: Option<String>,
    /// The file system that the base's report tells for it.
    pub(crate) file_system_before: Option<String>,
}

/// What a walk is made from.
pub(crate) struct Setting {
    pub(crate) rules: Rules,
    pub(crate) trust: Trust,
    pub(crate) base: Beside,
    pub(crate) here: Beside,
    pub(crate) backups: FileId,
    pub(crate) backups_dir: PathBuf,
    pub(crate) roots: Vec<RootSeen>,
    /// An empty root on another file system than last time is taken as it is.
    pub(crate) accept_empty: bool,
    pub(crate) context: Context,
}
