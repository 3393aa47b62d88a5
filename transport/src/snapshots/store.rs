//! The backups folder of this machine that snapshots are copied from.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use engine::copy::{Beside, SnapshotReader, SnapshotStore, held};
use engine::entry::FileId;
use engine::entry::escape::shown;
use engine::fs::Dir;
use engine::repository::Hold;
use engine::{LookError, Prefix, Repository, RunError, SnapshotName, Stop};

use crate::snapshots::source::SnapshotSource;

/// A backups folder of this machine.
pub struct LocalStore {
    repository: Repository,
    /// `--fake-super`: owners and modes come from the attributes of that option.
    fake_super: bool,
    stop: Arc<Stop>,
}

impl LocalStore {
    /// Opens the backups folder at `path`, and changes nothing in it.
    ///
    /// # Errors
    /// The folder does not exist or cannot be read.
    pub fn open(path: &Path, fake_super: bool, stop: Arc<Stop>) -> Result<Self, LookError> {
        Ok(Self { repository: Repository::open(path)?, fake_super, stop })
    }
}

impl SnapshotStore for LocalStore {
    type Source = SnapshotSource;

    fn name(&self) -> String {
        shown(self.repository.path().as_os_str().as_bytes())
    }

    fn snapshots(&self, prefix: &Prefix) -> Result<Vec<SnapshotName>, RunError> {
        Ok(self.repository.history(prefix)?.complete)
    }

    fn open(
        &self,
        snapshot: &SnapshotName,
        previous: Option<&SnapshotName>,
    ) -> Result<Arc<SnapshotSource>, RunError> {
        let Self { repository, fake_super, stop } = self;
        let reader = SnapshotReader::open(repository, snapshot, previous, *fake_super, stop)?;
        Ok(Arc::new(SnapshotSource::new(reader)))
    }

    fn beside(&self, snapshot: &SnapshotName) -> Result<Beside, RunError> {
        Ok(Beside::of(&self.repository, snapshot))
    }

    fn holds(&self, snapshots: &[SnapshotName]) -> Result<Vec<(SnapshotName, Hold)>, RunError> {
        Ok(held(&self.repository, snapshots))
    }

    fn overlaps(&self, path: &Path) -> bool {
        // A folder that does not exist yet lies in its parent.
        let there = path.ancestors().find_map(|above| above.canonicalize().ok());
        let here = self.repository.path().canonicalize().ok();
        let (Some(there), Some(here)) = (there, here) else { return false };
        let is_new = !path.exists();
        lies_in(&there, &here) || !is_new && lies_in(&here, &there)
    }
}

/// Whether `inner` is the folder `outer`, or one below it.
fn lies_in(inner: &Path, outer: &Path) -> bool {
    let id = |path: &Path| Dir::at(path).and_then(|dir| dir.meta()).ok()?.id;
    let outer: Option<FileId> = id(outer);
    outer.is_some() && inner.ancestors().any(|above| id(above) == outer)
}
