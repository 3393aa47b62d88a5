//! What is copied from where to where, and what came of it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::copy::beside::{Beside, RunTimes};
use crate::error::RunError;
use crate::repository::records::holds::Hold;
use crate::repository::records::report::Counts;
use crate::snapshot::links::SnapshotLinks;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::snapshot::retention::Retention;
use crate::source::Source;
use crate::source::files_from::Selection;

/// The backups folder that snapshots are copied from. Nothing in it changes.
pub trait SnapshotStore: Send + Sync {
    /// One of its snapshots, as a source. Its only root is `/`.
    type Source: Source;

    /// The folder, for messages.
    fn name(&self) -> String;

    /// The complete snapshots of `prefix`, oldest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn snapshots(&self, prefix: &Prefix) -> Result<Vec<SnapshotName>, RunError>;

    /// Opens a snapshot. Each listed entry says whether `previous` has its inode under the same name, too
    /// ([`Meta::is_shared`]). Both stay as long as the source exists.
    ///
    /// [`Meta::is_shared`]: crate::entry::Meta::is_shared
    ///
    /// # Errors
    /// One of them is gone or cannot be read.
    fn open(
        &self,
        snapshot: &SnapshotName,
        previous: Option<&SnapshotName>,
    ) -> Result<Arc<Self::Source>, RunError>;

    /// What is stored beside a snapshot.
    ///
    /// # Errors
    /// It cannot be read.
    fn beside(&self, snapshot: &SnapshotName) -> Result<Beside, RunError>;

    /// [`Beside::identity`] of a snapshot.
    ///
    /// # Errors
    /// It cannot be read.
    fn identity(&self, snapshot: &SnapshotName) -> Result<Option<RunTimes>, RunError> {
        Ok(self.beside(snapshot)?.identity())
    }

    /// The holds of those of `snapshots` that are held.
    ///
    /// # Errors
    /// They cannot be read.
    fn holds(&self, snapshots: &[SnapshotName]) -> Result<Vec<(SnapshotName, Hold)>, RunError>;

    /// Whether the folder at `path` of this machine is this backups folder, lies in it, or contains it. A store on a host knows it
    /// once its snapshots were listed.
    fn overlaps(&self, path: &Path) -> bool;
}

/// What is copied where.
#[derive(Debug, Clone)]
pub struct CopyJob {
    /// The prefix of the snapshots.
    pub prefix: Prefix,
    /// The backups folder that gets the copies.
    pub backups_dir: PathBuf,
    /// The permission bits of that folder, see [`Job::backups_mode`].
    ///
    /// [`Job::backups_mode`]: crate::Job::backups_mode
    pub backups_mode: Option<u32>,
    /// The retention rules of the copy.
    pub retention: Retention,
    /// Only so many of the newest snapshots are copied.
    pub newest: Option<NonZeroUsize>,
    /// The smallest file that is looked for under another path, see [`Job::rename_from`].
    ///
    /// [`Job::rename_from`]: crate::Job::rename_from
    pub rename_from: Option<u64>,
    /// The symlinks to snapshots that other programs use.
    pub links: SnapshotLinks,
    /// `--fake-super`: owners and modes that cannot be set are stored in attributes.
    pub fake_super: bool,
    /// A later copy adds holds to snapshots that are there, and neither changes nor removes any.
    pub only_adds: bool,
    /// Only these entries of each snapshot are copied.
    pub selection: Option<Arc<Selection>>,
}

/// A snapshot that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// What its copy took.
    pub counts: Counts,
    /// Entries that are not in the copy, or not as they are in the snapshot.
    pub problems: u64,
}

/// The result of a copy that did not fail.
#[derive(Debug)]
pub enum CopyOutcome {
    /// A run or another copy of the same prefix is active in the backups folder. Nothing was done.
    Busy,
    /// The copy has all snapshots that it is to have.
    Done {
        /// The snapshots that were copied now, oldest first.
        copied: Vec<CopiedSnapshot>,
        /// The newest complete snapshot of the copy.
        newest: Option<SnapshotName>,
    },
}
