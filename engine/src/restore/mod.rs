//! Gives back what a snapshot holds: list -> compare -> plan -> apply, folder by folder.

pub mod absence;
mod access;
pub mod content;
mod entry;
mod folder;
mod group;
mod inside;
pub mod landing;
mod links;
pub mod local;
mod outcome;
pub mod plan;
mod private;
mod remove;
pub mod target;
pub mod temporary;
mod together;
mod walk;

use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use outcome::{Counts, Line, Sink, What};

use crate::access::own_umask;
use crate::catalog::Catalog;
use crate::error::LookError;
use crate::name::SnapshotName;
use crate::run::Context;
use absence::Absence;
use landing::{Landing, names};
use plan::Overwrite;
use target::Target;
use walk::Walk;

/// Something that is to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
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

/// Restores what `landing` says of a snapshot to `target`, and tells `sink` what it does.
///
/// # Errors
/// When it ended early; an entry that cannot be restored is told and does not end it.
pub fn restore<T: Target>(
    (catalog, snapshot): (&Catalog, &SnapshotName),
    landing: &Landing,
    target: &T,
    options: Options,
    context: &Context,
    sink: &dyn Sink,
) -> Result<Counts, RestoreError> {
    let _ = own_umask();
    let items = &landing.items;
    let _stays = catalog.read(snapshot)?;
    let walk = Walk::new((catalog, snapshot), target, options, context, sink)?;
    for item in items {
        if !is_sound(&item.inside) || walk.find(item)?.is_none() {
            let (snapshot, path) = (snapshot.to_string(), crate::bytes::shown(&item.inside));
            return Err(RestoreError::NoSuchPath { snapshot, path });
        }
    }
    let several = links::several(walk.top(), items, &|| context.stop.asked());
    context.progress.entries_expected.store(several.entries, Ordering::Relaxed);
    let walk = walk.with(several, landing.whole.iter().cloned().collect());
    walk.all(items);
    if let Some(error) = walk.failed() {
        return Err(error);
    }
    if context.stop.asked() {
        return Err(RestoreError::Stopped);
    }
    match target.sync() {
        Err(_) if context.stop.asked() => Err(RestoreError::Stopped),
        Err(error) if target::is_lost(&error) => Err(RestoreError::Lost(error)),
        Err(error) => Err(RestoreError::Target(error)),
        Ok(()) => Ok(walk.counts()),
    }
}

/// Whether a path leads through names that entries can have; `..` is none.
fn is_sound(inside: &[u8]) -> bool {
    names(inside).into_iter().all(|name| crate::entry::check_name(name).is_ok())
}
