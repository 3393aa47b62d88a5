//! The options of a restore, and its errors.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::error::LookError;
use crate::restore::delete::absence::Absence;
use crate::restore::plan::Overwrite;

/// A path to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedPath {
    /// The path inside the snapshot, without a slash at either end; empty for the whole snapshot.
    pub inside: Vec<u8>,
    /// The destination: names below the target's top folder. When empty, the content of the folder goes into
    /// the top folder itself, which keeps its own attributes.
    pub to: Vec<CString>,
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// When an existing entry is replaced.
    pub overwrite: Overwrite,
    /// Remove what the snapshot does not contain, where this shows that the source did not have it.
    pub delete: Option<Arc<Absence>>,
    /// Also restore files whose content differs from the content that was backed up.
    pub accept_damage: bool,
    /// The users who wrote the snapshot. On inodes of these users, the restore applies the owner and mode in
    /// the attribute of rsync's `--fake-super`. Any other owner of a file can have set that attribute.
    pub fake_super: Vec<u32>,
}

/// Why a restore ended early. Everything restored until then is complete, and the next restore skips it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot cannot be opened.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The snapshot does not contain a path.
    #[error("the snapshot {snapshot} has no {path}")]
    NoSuchPath {
        /// The snapshot.
        snapshot: String,
        /// The path inside the snapshot, escaped.
        path: String,
    },
    /// The target is full.
    #[error("no space left where it is restored to, at {path}: {error}")]
    NoSpace {
        /// The path that could not be written, escaped.
        path: String,
        /// The system's reason.
        error: io::Error,
    },
    /// The whole target cannot be written to.
    #[error("cannot write to where it is restored to: {0}")]
    Target(io::Error),
    /// The whole target is gone.
    #[error("lost where it is restored to: {0}")]
    Lost(io::Error),
    /// A signal stopped the restore.
    #[error("stopped")]
    Stopped,
}

/// Adds to an error that the snapshot's side could not be read.
pub(crate) fn unread(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read it in the snapshot: {error}"))
}

pub(crate) fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect()
}
