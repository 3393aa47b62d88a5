//! What a restore is asked for, and why it fails.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::error::LookError;
use crate::restore::delete::absence::Absence;
use crate::restore::plan::Overwrite;

/// Something that is to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedPath {
    /// Its path inside the snapshot, without a slash at either end; empty for all of it.
    pub inside: Vec<u8>,
    /// Where it is to stand: names below the target's top. Empty: what the folder holds goes into the
    /// top itself, which keeps its own attributes.
    pub to: Vec<CString>,
}

/// How it is restored.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// When something that is there is replaced.
    pub overwrite: Overwrite,
    /// Remove what the snapshot does not hold, as far as this tells that its source did not have it.
    pub delete: Option<Arc<Absence>>,
    /// Restore files whose content is not what was backed up, too.
    pub accept_damage: bool,
    /// Owners and modes that stand in the attribute of rsync's `--fake-super` are given back as what
    /// they are: of inodes of these users, who wrote the snapshot. Any other owner of a file can have set it.
    pub fake_super: Vec<u32>,
}

/// Why a restore ended early. What was restored until then is whole, and is not done again the next time.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The snapshot does not hold a path.
    #[error("the snapshot {snapshot} has no {path}")]
    NoSuchPath {
        /// The snapshot.
        snapshot: String,
        /// The path inside, escaped.
        path: String,
    },
    /// The target is full.
    #[error("no space left where it is restored to, at {path}: {error}")]
    NoSpace {
        /// What could not be written, escaped.
        path: String,
        /// The system's reason.
        error: io::Error,
    },
    /// The target as a whole cannot be written to.
    #[error("cannot write to where it is restored to: {0}")]
    Target(io::Error),
    /// The target is gone as a whole.
    #[error("lost where it is restored to: {0}")]
    Lost(io::Error),
    /// A signal asked for the end.
    #[error("stopped")]
    Stopped,
}

/// Why something could not be read where it comes from.
pub(crate) fn unread(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read it in the snapshot: {error}"))
}

pub(crate) fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect()
}
