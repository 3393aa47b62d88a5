//! Reads entries of the snapshot: the metadata on the disk, combined with the sidecar records.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::entry::Kind;
use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::{TreePath, place_of};
use crate::fs::dir::Dir;
use crate::fs::lookup::held;
use crate::fs::metadata::fake_super;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::repository::records::sidecar::Sidecar;
use crate::restore::request::{RequestedPath, RestoreError};
use crate::restore::targets::Target;
use crate::restore::walk::RestoreWalk;

/// The restore reads all attributes of the snapshot.
const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

/// Whether the snapshot below `top` has an item.
pub(crate) fn has(top: &Dir, kept: &Sidecar, item: &RequestedPath) -> Result<bool, RestoreError> {
    let place = place_of(&item.inside);
    let chain = place.chain();
    let broken = |error| broken(item, &error);
    let Some((last, above)) = chain[1..].split_last() else { return Ok(true) };
    let Some(dir) = folder_of(top, above).map_err(broken)? else { return Ok(false) };
    let parent = above.last().map_or_else(|| TreePath::top(None), Arc::clone);
    let records = kept.load(&parent).map_err(broken)?;
    Ok(held(&dir, last.name(), &records, ALL).map_err(broken)?.is_some())
}

/// Opens the folder at the end of `chain`, if it is there.
fn folder_of(top: &Dir, chain: &[Arc<TreePath>]) -> io::Result<Option<Dir>> {
    let mut dir = top.try_clone()?;
    for name in chain {
        dir = match dir.child(name.name()) {
            Err(error) if is_absent(&error) => return Ok(None),
            opened => opened?,
        };
    }
    Ok(Some(dir))
}

fn broken(item: &RequestedPath, error: &io::Error) -> RestoreError {
    let what = crate::entry::escape::shown(&item.inside);
    RestoreError::Target(io::Error::other(format!("cannot read {what}: {error}")))
}

impl<T: Target> RestoreWalk<'_, T> {
    /// Looks up an item in the snapshot. Returns its name there and its metadata.
    pub(crate) fn find(
        &self,
        item: &RequestedPath,
    ) -> Result<Option<(CString, StoredEntry)>, RestoreError> {
        let place = place_of(&item.inside);
        let chain = place.chain();
        let broken = |error| broken(item, &error);
        let Some((last, above)) = chain[1..].split_last() else {
            return self.own(&place, None).map(|held| Some((c"".to_owned(), held))).map_err(broken);
        };
        let Some(dir) = folder_of(&self.snapshot, above).map_err(broken)? else { return Ok(None) };
        let parent = above.last().map_or_else(|| TreePath::top(None), Arc::clone);
        let records = self.kept.load(&parent).map_err(broken)?;
        let found = self.look(&dir, &parent, last.name(), &records).map_err(broken)?;
        Ok(found.map(|held| (last.name().to_owned(), held)))
    }

    /// Looks up `name` in the snapshot. The sidecar record of a folder is in the folder's own sidecar file.
    pub(crate) fn look(
        &self,
        dir: &Dir,
        place: &Arc<TreePath>,
        name: &CStr,
        records: &SidecarRecords,
    ) -> io::Result<Option<StoredEntry>> {
        let found = held(dir, name, records, ALL)?;
        let written = |held: &StoredEntry| self.options.fake_super.contains(&held.meta.uid);
        let found = match found {
            Some(held) if written(&held) => fake_super::plain(dir, name, Some(held)),
            found => found,
        };
        match found {
            Some(held) if held.meta.kind == Kind::Folder && self.kept.any() => {
                self.own(&place.child(name, None), Some(held)).map(Some)
            }
            found => Ok(found),
        }
    }

    /// The metadata of the folder `place` itself.
    pub(crate) fn own(
        &self,
        place: &Arc<TreePath>,
        found: Option<StoredEntry>,
    ) -> io::Result<StoredEntry> {
        let found = match found {
            Some(found) => found,
            None => {
                let dir = self.down(place)?;
                let xattrs = xattrs::read_own(&dir, ALL)?;
                StoredEntry { meta: dir.meta()?, target: None, xattrs, on_disk: true }
            }
        };
        let record = self.kept.load(place)?.remove(c"");
        let complete = record.and_then(|record| record.complete(Some(found.clone())));
        Ok(complete.unwrap_or(found))
    }

    /// Opens a folder of the snapshot.
    pub(crate) fn down(&self, place: &Arc<TreePath>) -> io::Result<Dir> {
        let chain = place.chain();
        chain[1..].iter().try_fold(self.snapshot.try_clone()?, |dir, at| dir.child(at.name()))
    }

    /// Opens the parent folder of `place` in the snapshot.
    pub(crate) fn above(&self, place: &Arc<TreePath>) -> io::Result<Dir> {
        let chain = place.chain();
        let above = &chain[..chain.len() - 1];
        above[1..].iter().try_fold(self.snapshot.try_clone()?, |dir, at| dir.child(at.name()))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
