//! Removes target entries that the snapshot does not contain (`--delete`), as far as the source provably did
//! not have them either. Removes nothing on other file systems than the one on which the restored folder
//! begins.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, ListedEntry};
use crate::fs::mount::point::is_mount_point;
use crate::restore::delete::absence::Absence;
use crate::restore::outcome::EntryOutcome;
use crate::restore::targets::Target;
use crate::restore::walk::entry::size_of;
use crate::restore::walk::folder::EntryInProgress;
use crate::restore::walk::{RestoreWalk, SharedFolder, SharedOpenFolder};
use crate::snapshot::name::OWN;

/// The maximum depth to which the restore enters folders that contain a protected entry.
const DEEPEST: usize = 100;

/// The maximum number of names that the restore reads from a folder that contains a protected entry.
const MOST_NAMES: usize = 2_000;

/// Why an entry stays that the snapshot does not contain.
const OTHER_FILE_SYSTEM: &str = "another file system is mounted there";
const UNKNOWN: &str = "nothing tells on which file system it lies";
const IN_BACKUPS: &str = "it is a backups folder";
const REMOVED_BY_HAND: &str =
    "the snapshot lacks entries of it that its run had stored: nothing in it or below is removed";
const UNRECORDED: &str = "the manifest, which tells what its run had stored, cannot be read: nothing in it or below is removed";
const TOO_DEEP: &str = "it lies too deep below something that stays";
const TOO_MANY: &str = "it holds too much beside something that stays";

/// An entry of the target that the snapshot does not contain.
struct Surplus<'a, F> {
    folder: &'a F,
    name: &'a CStr,
    there: &'a StoredEntry,
    /// The path below the target's top folder.
    to: &'a [u8],
    /// The path inside the snapshot.
    inside: &'a [u8],
}

impl<T: Target> RestoreWalk<'_, T> {
    /// Whether surplus entries of `folder` may be removed. They may only on the file system of the folder at
    /// which the complete part of the target begins. `names` are the names that the snapshot has in the folder.
    /// When some are missing that the run had stored, the restore removes nothing in or below the folder.
    pub(crate) fn may_remove_in(
        &self,
        folder: &SharedFolder<T>,
        opened: &SharedOpenFolder<T>,
        names: &[(u64, CString)],
    ) -> io::Result<bool> {
        if self.options.delete.is_none() || !folder.whole || folder.new {
            return Ok(false);
        }
        if folder.parent.as_ref().is_some_and(|parent| parent.is_lacking.load(Ordering::Relaxed)) {
            folder.is_lacking.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        if let Some(why) = self.lacking(folder, names) {
            folder.is_lacking.store(true, Ordering::Relaxed);
            self.protect(&folder.to.inside(), true, why);
            return Ok(false);
        }
        let own = self.target.file_system(&opened.to)?;
        let begins = folder.from.as_ref().is_some_and(|from| self.is_whole(from));
        let above = folder.parent.as_ref().and_then(|parent| parent.file_system.get().copied());
        if begins || (own.is_some() && above.flatten() == own) {
            let _ = folder.file_system.set(own);
            return Ok(true);
        }
        let why = if own.is_none() { UNKNOWN } else { OTHER_FILE_SYSTEM };
        self.protect(&folder.to.inside(), true, why);
        Ok(false)
    }

    /// Why the snapshot's folder is incomplete: its manifest records more entries than the folder has now.
    fn lacking(&self, folder: &SharedFolder<T>, names: &[(u64, CString)]) -> Option<&'static str> {
        let (manifest, from) = (self.manifest.as_ref()?, folder.from.as_ref()?);
        match manifest.has_more_than(from.inside(), names.iter().map(|(_, name)| &**name)) {
            Ok(more) => more.then_some(REMOVED_BY_HAND),
            Err(_) => Some(UNRECORDED),
        }
    }

    /// Removes `name` of `folder`, which the snapshot does not contain.
    pub(crate) fn remove(
        &self,
        folder: &SharedFolder<T>,
        opened: &SharedOpenFolder<T>,
        name: &CStr,
    ) {
        let (Some(absence), Some(from)) = (&self.options.delete, &folder.from) else { return };
        let (to, inside) = (folder.to.inside_of(name), from.inside_of(name));
        self.remove_in(absence, &opened.to, name, (&to, &inside), 0);
    }

    /// Removes a folder that occupies the name of an entry. Returns whether the folder is gone.
    pub(crate) fn make_way(
        &self,
        one: &EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
    ) -> io::Result<bool> {
        let Some(absence) = &self.options.delete else { return Ok(false) };
        let (name, from) = (&one.entry.name, one.from.inside());
        // In a parent folder of the restored paths, no file systems are compared. In a restored folder,
        // `file_system` is set only on the file system on which removal is allowed.
        let bounded = one.folder.from.is_none() || one.folder.file_system.get().is_some();
        if !bounded || absence.unseen(&from).is_some() {
            return Ok(false);
        }
        let spared = |below: &[u8], entry: ListedEntry<'_>| {
            absence.spares(&join(&from, below), entry).is_some()
        };
        if !self.target.may_remove(&opened.to, name, &spared)? {
            return Ok(false);
        }
        self.target.remove_folder(&opened.to, name).map(|()| true)
    }

    fn remove_in(
        &self,
        absence: &Absence,
        folder: &T::Folder,
        name: &CStr,
        (to, inside): (&[u8], &[u8]),
        depth: usize,
    ) {
        let removed = match self.target.look(folder, name) {
            Err(error) => Err(error),
            Ok(None) => return,
            Ok(Some(there)) => {
                let surplus = Surplus { folder, name, there: &there, to, inside };
                self.remove_one(absence, &surplus, depth)
            }
        };
        match removed {
            // A file can be a mount point too (unlink(2)). A folder can have become one meanwhile.
            Err(error)
                if is_mount_point(&error) || Errno::from_io_error(&error) == Some(Errno::BUSY) =>
            {
                self.protect(to, false, OTHER_FILE_SYSTEM);
            }
            Err(error) => self.trouble(to, false, &error),
            Ok(()) => {}
        }
    }

    fn remove_one(
        &self,
        absence: &Absence,
        surplus: &Surplus<'_, T::Folder>,
        depth: usize,
    ) -> io::Result<()> {
        let Surplus { folder, name, there, to, inside } = *surplus;
        let entry = crate::fs::metadata::entry_of(name, there);
        let is_folder = there.meta.kind == Kind::Folder;
        if let Some(why) = absence.unseen(inside) {
            self.protect(to, is_folder, why);
            return Ok(());
        }
        let why = absence.spares(inside, ListedEntry::from(&entry));
        if !is_folder {
            match why {
                Some(why) => self.protect(to, false, why),
                None => {
                    self.target.remove(folder, name)?;
                    self.report(EntryOutcome::Removed, to, false, size_of(there), None);
                }
            }
            return Ok(());
        }
        if let Some(why) = why {
            self.protect(to, true, why);
            return Ok(());
        }
        let spared = |below: &[u8], entry: ListedEntry<'_>| {
            absence.spares(&join(inside, below), entry).is_some()
        };
        if self.target.may_remove(folder, name, &spared)? {
            self.target.remove_folder(folder, name)?;
            self.report(EntryOutcome::Removed, to, true, 0, None);
            return Ok(());
        }
        self.remove_partly(absence, surplus, depth)
    }

    /// Removes the unprotected entries of a folder.
    fn remove_partly(
        &self,
        absence: &Absence,
        surplus: &Surplus<'_, T::Folder>,
        depth: usize,
    ) -> io::Result<()> {
        let Surplus { folder, name, to, inside, .. } = *surplus;
        if depth >= DEEPEST {
            self.protect(to, true, TOO_DEEP);
            return Ok(());
        }
        let (inner, outer) = (self.target.enter(folder, name)?, self.target.file_system(folder)?);
        if outer.is_none() || self.target.file_system(&inner)? != outer {
            self.protect(to, true, if outer.is_none() { UNKNOWN } else { OTHER_FILE_SYSTEM });
            return Ok(());
        }
        let Some(names) = self.target.names(&inner, MOST_NAMES)? else {
            self.protect(to, true, TOO_MANY);
            return Ok(());
        };
        if is_in_backups(&names) {
            self.protect(to, true, IN_BACKUPS);
            return Ok(());
        }
        let (inner, mode) = match self.target.open_up(&inner) {
            Some((opened, mode)) => (opened, Some(mode)),
            None => (inner, None),
        };
        for name in &names {
            if self.halted() {
                break;
            }
            let (to, inside) = (join(to, name.to_bytes()), join(inside, name.to_bytes()));
            self.remove_in(absence, &inner, name, (&to, &inside), depth + 1);
        }
        mode.map_or(Ok(()), |mode| self.target.set_mode(&inner, mode))
    }

    /// Reports an entry that stays although the snapshot does not contain it.
    fn protect(&self, path: &[u8], folder: bool, why: &str) {
        self.report(EntryOutcome::Protected, path, folder, 0, Some(why.to_owned()));
    }
}

fn is_in_backups(names: &[CString]) -> bool {
    names.iter().any(|name| name.to_bytes() == OWN.as_bytes())
}

/// Joins the paths `above` and `below`; either may be empty.
fn join(above: &[u8], below: &[u8]) -> Vec<u8> {
    match (above, below) {
        ([], path) | (path, []) => path.to_vec(),
        (above, below) => [above, b"/", below].concat(),
    }
}
