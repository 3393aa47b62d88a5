//! Reads a snapshot that is copied: its entries under their own names and with all their metadata, beside the snapshot before it.

pub(crate) mod content;

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, Kind, Time};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::hard_links::HardLinks;
use crate::fs::lookup::{find, held};
use crate::fs::metadata::xattrs::XattrSelection;
use crate::fs::metadata::{entry_of, fake_super, xattrs};
use crate::repository::Repository;
use crate::repository::lock::read_lock::ReadLock;
use crate::repository::manifest::recent::Recent;
use crate::repository::records::damage::{DamageRecord, damage};
use crate::repository::records::sidecar::Sidecar;
use crate::snapshot::name::SnapshotName;
use crate::source::SourceError;
use crate::threads::cancel::Stop;

/// A copy has all attributes of the snapshot.
const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

/// A complete snapshot, and the one before it, open for reading. No other process removes them while this value exists.
pub struct SnapshotReader {
    top: Dir,
    kept: Sidecar,
    previous: Option<(Dir, Sidecar)>,
    manifest: Option<Recent>,
    damage: DamageRecord,
    hard_links: HardLinks,
    /// The users whose `--fake-super` attributes count; empty without that option.
    fake_super: Vec<u32>,
    _stay: Vec<ReadLock>,
}

/// A folder of a snapshot that is copied, held open.
pub struct SnapshotFolder {
    dir: Dir,
    place: Arc<TreePath>,
    records: SidecarRecords,
    /// The same folder of the snapshot before.
    previous: Option<(Dir, SidecarRecords)>,
}

impl SnapshotReader {
    /// Opens `snapshot`, and `previous` if given. With `fake_super`, owners and modes come from the attributes of that option.
    ///
    /// # Errors
    /// One of them does not exist (any more) or cannot be read.
    pub fn open(
        repository: &Repository,
        snapshot: &SnapshotName,
        previous: Option<&SnapshotName>,
        fake_super: bool,
        stop: &Stop,
    ) -> Result<Self, LookError> {
        let mut stay = vec![repository.lock_for_reading(snapshot)?];
        let (top, kept) = (repository.top(snapshot)?, repository.kept(snapshot)?);
        let previous = match previous {
            Some(previous) => {
                stay.push(repository.lock_for_reading(previous)?);
                Some((repository.top(previous)?, repository.kept(previous)?))
            }
            None => None,
        };
        Ok(Self {
            hard_links: HardLinks::of(&top, &|| stop.asked()),
            // Files whose records are damaged are copied by their attributes.
            manifest: repository.manifest(snapshot).ok().flatten().map(Recent::new),
            damage: damage(repository, snapshot),
            fake_super: if fake_super { repository.writers() } else { Vec::new() },
            top,
            kept,
            previous,
            _stay: stay,
        })
    }

    /// The top folder, and its metadata.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn top(&self) -> io::Result<(SnapshotFolder, Entry)> {
        let place = TreePath::top(None);
        let previous = match &self.previous {
            Some((top, kept)) => Some((top.try_clone()?, kept.load(&place)?)),
            None => None,
        };
        let (dir, records) = (self.top.try_clone()?, self.kept.load(&place)?);
        let xattrs = xattrs::read_own(&dir, ALL)?;
        let held = StoredEntry { meta: dir.meta()?, target: None, xattrs, on_disk: true };
        let own = records.get(c"").and_then(|own| own.complete(Some(held.clone())));
        let entry = entry_of(c"", own.as_ref().unwrap_or(&held));
        Ok((SnapshotFolder { dir, place, records, previous }, entry))
    }

    /// Opens the subfolder `name`.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn folder(&self, parent: &SnapshotFolder, name: &CStr) -> io::Result<SnapshotFolder> {
        let place = parent.place.child(name, None);
        let dir = parent.dir.child_unseen_here(name)?;
        let records = self.kept.load(&place)?;
        let previous = match (&parent.previous, &self.previous) {
            (Some((above, _)), Some((_, kept))) => match above.child_if_here(name) {
                Ok(dir) => Some((dir, kept.load(&place)?)),
                // The snapshot before does not have the folder, or it cannot be read: nothing is known to be shared.
                Err(_) => None,
            },
            _ => None,
        };
        Ok(SnapshotFolder { dir, place, records, previous })
    }

    /// Passes on the names of the entries of `folder`, some at a time, in the order in which the disk has their inodes.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn names(
        &self,
        folder: &SnapshotFolder,
        most: usize,
        mut each: impl FnMut(Vec<CString>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        // The disk does not have what the sidecar holds as a whole. Another entry may be found there under the name.
        let whole = folder
            .records
            .iter()
            .filter(|(name, record)| record.kind.is_some() && !name.is_empty());
        let whole: HashSet<&CString> = whole.map(|(name, _)| name).collect();
        let mut some: Vec<(u64, CString)> = whole.iter().map(|name| (0, (*name).clone())).collect();
        let mut going = ControlFlow::Continue(());
        let mut pass = |some: &mut Vec<(u64, CString)>| {
            some.sort_unstable_by_key(|(ino, _)| *ino);
            each(some.drain(..).map(|(_, name)| name).collect())
        };
        folder.dir.names(|entry| {
            if !whole.contains(&entry.name.to_owned()) {
                some.push((entry.ino, entry.name.to_owned()));
            }
            if some.len() >= most {
                going = pass(&mut some);
            }
            going
        })?;
        if going.is_continue() && !some.is_empty() {
            let _ = pass(&mut some);
        }
        Ok(())
    }

    /// The entry `name` of `folder`; `None` when there is none. The number of its links is that of its names in this snapshot.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn entry(&self, folder: &SnapshotFolder, name: &CStr) -> io::Result<Option<Entry>> {
        let Some(found) = held(&folder.dir, name, &folder.records, ALL)? else { return Ok(None) };
        let written = self.fake_super.contains(&found.meta.uid);
        let found = match written {
            true => fake_super::plain(&folder.dir, name, Some(found.clone())).unwrap_or(found),
            false => found,
        };
        let is_folder = found.meta.kind == Kind::Folder;
        let own = match is_folder && self.kept.any() {
            true => self.kept.load(&folder.place.child(name, None))?.remove(c""),
            false => None,
        };
        let own = own.and_then(|own| own.complete(Some(found.clone())));
        let mut entry = entry_of(name, own.as_ref().unwrap_or(&found));
        let meta = &mut entry.meta;
        meta.is_shared = !is_folder && found.on_disk && is_in_previous(folder, name, &found);
        meta.id = meta.id.filter(|_| found.on_disk);
        meta.links = meta.id.map_or(1, |id| self.hard_links.names_of(id.ino));
        // Nothing in a complete snapshot changes, but a run that links a file to another snapshot sets its change time.
        meta.ctime = Time::default();
        Ok(Some(entry))
    }

    /// Looks whether a check found the file `name` damaged.
    ///
    /// # Errors
    /// [`SourceError::Damaged`].
    fn check_marks(&self, folder: &SnapshotFolder, name: &CStr) -> Result<(), SourceError> {
        let marked = &self.damage.paths;
        let is_marked = !marked.is_empty() && marked.contains(&folder.place.inside_of(name));
        if is_marked { Err(SourceError::Damaged) } else { Ok(()) }
    }
}

impl AsFd for SnapshotFolder {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Whether the snapshot before has the inode of the entry under the same name, with the same values in its sidecar.
fn is_in_previous(folder: &SnapshotFolder, name: &CStr, found: &StoredEntry) -> bool {
    let Some((dir, records)) = &folder.previous else { return false };
    let is_same = |before: &crate::entry::Meta| before.id.is_some() && before.id == found.meta.id;
    let before = find(dir, name).ok().flatten();
    before.as_ref().is_some_and(is_same) && records.get(name) == folder.records.get(name)
}
