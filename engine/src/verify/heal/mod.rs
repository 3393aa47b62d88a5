//! Repairs what a check found damaged from the snapshots of the same names in another backups folder.
//!
//! Nothing is written into an inode of a snapshot. A new inode is made beside the snapshots, is synced and read again,
//! and then replaces the damaged one by rename(2) under each of its names. A reader sees the one or the other. After a
//! kill or a power cut each name has the damaged inode or the good one, and the mark of damage is still there: it is
//! removed last, for what was read again under its final name.

mod alike;
mod choose;
mod folders;
mod guard;
mod inodes;
mod links;
mod make;
mod marks;
mod needs;
mod outcome;
mod put;
mod side;

pub use self::needs::needs;
pub use self::outcome::{HealError, Healed, HealedName, Healing};

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::RunError;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::lock::Locked;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::verify::heal::make::Maker;
use crate::verify::heal::side::{Lacking, NameIn, Side};
use crate::verify::outcome::Verified;

/// A healing in progress.
struct Heal<'a> {
    /// The side that is healed.
    ours: Side<'a>,
    /// The side from which it is healed.
    other: Side<'a>,
    /// `None` in a dry run.
    maker: Option<Maker>,
    context: &'a Context,
    /// The complete snapshots of the job on the side that is healed, oldest first.
    history: Vec<SnapshotName>,
    /// Names that got the content of an inode of the other side, by its number there.
    twins: HashMap<u64, NameIn>,
    /// All names of inodes of the other side, by their numbers there.
    names_there: HashMap<u64, Vec<NameIn>>,
    /// The same within a snapshot, for what that snapshot lacks here.
    links_there: HashMap<SnapshotName, HashMap<u64, Vec<NameIn>>>,
    /// The names that do not have the content that was backed up.
    lacking: Lacking,
    healed: Healed,
}

/// Repairs what is damaged in `found` from `other`. In a `dry_run` it changes nothing. Returns `None` after a stop; what
/// was healed until then is stored.
///
/// # Errors
/// A run is at work, or a folder cannot be read or written.
pub fn heal(
    repository: &Repository,
    other: &Repository,
    prefix: &Prefix,
    found: &Verified,
    dry_run: bool,
    context: &Context,
) -> Result<Option<Healed>, HealError> {
    if repository.id == other.id {
        return Err(HealError::Same(other.path().to_owned()));
    }
    let writable = match dry_run {
        true => None,
        false => Some(Repository::open_or_make(repository.path(), None)?),
    };
    let _lock = match &writable {
        None => None,
        Some(writable) => match writable.lock(prefix, &context.stop)? {
            Locked::Mine(lock) => Some(lock),
            Locked::Busy => return Err(HealError::Busy(prefix.clone())),
        },
    };
    let repository = writable.as_ref().unwrap_or(repository);
    let history = repository.history(prefix)?;
    // Removing the lock file does not end a run. The lock on the snapshot's folder still shows the run.
    let _claim = match (dry_run, history.incomplete.last()) {
        (false, Some(incomplete)) => match repository.claim(incomplete) {
            Err(RunError::Taken { .. }) => return Err(HealError::Busy(prefix.clone())),
            claimed => claimed?,
        },
        _ => None,
    };
    let maker = match &writable {
        None => None,
        Some(writable) => Some(Maker::open(writable, prefix).map_err(|error| {
            let folder = writable.path().join(crate::snapshot::name::OWN);
            crate::error::destination("cannot write in", writable.path(), folder, error)
        })?),
    };
    let mut heal = Heal {
        ours: Side::new(repository),
        other: Side::new(other),
        maker,
        context,
        history: history.complete.clone(),
        twins: HashMap::new(),
        names_there: HashMap::new(),
        links_there: HashMap::new(),
        lacking: Lacking::new(),
        healed: Healed::default(),
    };
    let mut all = history.complete;
    all.extend(history.incomplete);
    heal.note_missing(&found.flaws);
    heal.inodes(&all, &found.damaged);
    heal.flaws(&found.flaws);
    let stopped = context.stop.asked();
    if writable.is_some() {
        heal.unmark(found);
    }
    Ok((!stopped).then_some(heal.healed))
}

impl Heal<'_> {
    fn report(&mut self, (snapshot, path): NameIn, result: Healing) {
        self.healed.names.push(HealedName { snapshot, path, result });
    }

    fn left(&mut self, names: Vec<NameIn>, why: &str) {
        for name in names {
            self.report(name, Healing::Left(why.to_owned()));
        }
    }

    /// Opens a snapshot of the side that is healed.
    fn our(&mut self, name: &SnapshotName) -> Result<Arc<side::OpenSnapshot>, String> {
        let found = self.ours.snapshot(name).map_err(|error| error.to_string())?;
        found.ok_or_else(|| "the snapshot was removed".to_owned())
    }
}
