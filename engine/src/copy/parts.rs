//! Copies parts of snapshots into a folder of their own, from which a healing or a drill takes them.

use std::ffi::{CStr, OsStr};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::copy::choose::{CopyStep, refuse_overlap};
use crate::copy::job::{CopyJob, SnapshotStore};
use crate::copy::one::copy_one;
use crate::error::{RunError, destination};
use crate::fs::dir::Dir;
use crate::fs::metadata::fake_super::STAT;
use crate::fs::metadata::xattrs;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::healing::{FETCHED, clear, reserve};
use crate::repository::lock::Locked;
use crate::repository::store::Store;
use crate::snapshot::links::SnapshotLinks;
use crate::snapshot::name::{OWN, Prefix, SnapshotName};
use crate::snapshot::retention::Retention;
use crate::source::Selection;

/// A backups folder with parts of snapshots. It is removed when this value is dropped.
pub struct Fetched {
    /// The folder.
    pub repository: Repository,
    /// `.backup_manager/healing/`, locked.
    healing: Dir,
}

impl Fetched {
    /// Copies parts of the snapshots of `store` to a folder beside the snapshots of `repository`. `parts` chooses them, oldest
    /// first, from all that there are. First removes what a killed call left. Returns `None` while another call is at work in
    /// the same backups folder.
    ///
    /// # Errors
    /// `store` is `repository` itself; the parts cannot be read or stored.
    pub fn of<St: SnapshotStore>(
        store: &St,
        parts: impl FnOnce(&[SnapshotName]) -> Vec<(SnapshotName, Selection)>,
        (repository, prefix): (&Repository, &Prefix),
        fake_super: bool,
        context: &Context,
    ) -> Result<Option<Self>, RunError> {
        let offered = store.snapshots(prefix)?;
        refuse_overlap(repository.path(), store)?;
        let Some(fetched) = Self::make(repository.path())? else { return Ok(None) };
        let parts = parts(&offered);
        let fake_super =
            fake_super || parts.iter().any(|(name, _)| is_of_fake_super(repository, name));
        let job = CopyJob {
            prefix: prefix.clone(),
            backups_dir: fetched.repository.path().to_owned(),
            backups_mode: None,
            retention: Retention::default(),
            newest: None,
            rename_from: None,
            links: SnapshotLinks::default(),
            fake_super,
            only_adds: false,
            selection: None,
        };
        let Locked::Mine(lock) = fetched.repository.lock(prefix, &context.stop)? else {
            return Ok(None);
        };
        let mut common = None;
        for (name, selection) in parts.into_iter().filter(|(name, _)| offered.contains(name)) {
            let job = CopyJob { selection: Some(Arc::new(selection)), ..job.clone() };
            let step = CopyStep { name: name.clone(), common, resumes: false };
            copy_one(&job, store, (&fetched.repository, &lock), (&step, false), context)?;
            common = Some(name);
        }
        drop(lock);
        Ok(Some(fetched))
    }

    /// Makes the empty folder in the backups folder at `path`.
    fn make(path: &Path) -> Result<Option<Self>, RunError> {
        let failed = |error| destination("cannot make a folder in", path, path.join(OWN), error);
        let healing =
            Repository::open_or_make(path, None)?.make_store(Store::Healing).map_err(failed)?;
        if !reserve(&healing) {
            return Ok(None);
        }
        clear(&healing).and_then(|()| healing.make_folder(FETCHED, 0o700)).map_err(failed)?;
        let below = |name: &'static CStr| OsStr::from_bytes(name.to_bytes());
        let at = path.join(OWN).join(below(Store::Healing.folder())).join(below(FETCHED));
        Ok(Some(Self { repository: Repository::open_or_make(&at, None)?, healing }))
    }
}

/// Whether a snapshot keeps the owners of its uppermost folders as `--fake-super` does. A command without the settings of the
/// job cannot know it otherwise.
fn is_of_fake_super(repository: &Repository, snapshot: &SnapshotName) -> bool {
    let Ok(top) = repository.open_top(snapshot) else { return false };
    let mut is_found = false;
    let listed = top.names(|entry| {
        let value = xattrs::value(&top, entry.name, OsStr::new(STAT));
        is_found = entry.folder && matches!(value, Ok(Some(_)));
        if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    listed.is_ok() && is_found
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // The next call tries again.
        let _ = clear(&self.healing);
    }
}
