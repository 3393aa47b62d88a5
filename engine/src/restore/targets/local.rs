//! A folder of this machine as the target of a restore. Uses open handles and single names, follows no symlink,
//! and gives an entry its final name only when it is complete.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::io::Errno;

use crate::entry::escape::unshown;
use crate::entry::overlay::{SidecarRecord, SidecarRecords};
use crate::entry::preserve::Preserve;
use crate::entry::stored::StoredEntry;
use crate::entry::stored_name::ChangedNames;
use crate::entry::{Entry, FileId, Kind, ListedEntry, Xattrs};
use crate::fs::access::own_umask;
use crate::fs::dir::Dir;
use crate::fs::dir::resolve::Resolved;
use crate::fs::file_system::capabilities::Abilities;
use crate::fs::file_system::{SyncFileSystem, syncs_as_a_whole};
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::fs::metadata::{MetadataWriter, exchanged};
use crate::fs::refusal::{is_full, says_full};
use crate::repository::Repository;
use crate::repository::content::{Content, StoreError, copy, is_damaged};
use crate::restore::targets::place_error::PlaceError;
use crate::restore::targets::private;
use crate::restore::targets::private::Private;
use crate::restore::targets::spared::{file_system, may_remove};
use crate::restore::targets::temporary::temporary_name;
use crate::restore::targets::{
    MountedFileSystem, MustStay, Shortfall, StoreOutcome, Target, TargetFacts,
};

/// A folder of this machine.
pub struct LocalTarget {
    /// `None` when the folder does not exist and the target is only read.
    top: Option<Dir>,
    /// The backups folder that the restore reads, if it is on this machine.
    backups: Option<FileId>,
    /// For entries that this restore creates.
    pub(super) whole: MetadataWriter,
    /// For existing folders and files for which the snapshot has no attributes.
    plain: MetadataWriter,
    reflinks: AtomicBool,
    pub(super) root: bool,
    /// Whether each file is synced by itself, because the file system cannot be synced as a whole.
    pub(super) sync_each: bool,
    sync: SyncFileSystem,
}

/// The number of entries of one folder per task. Their inodes are close together on the disk.
const BATCH: usize = 64;

/// All attributes of an entry.
const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

impl LocalTarget {
    /// Opens the folder at `path`. Creates it and its parents when they are missing. Follows symlinks in `path`
    /// only where no other user can have created them ([`Resolved`]). `repository` has the snapshots that the
    /// restore reads.
    ///
    /// # Errors
    /// The folder cannot be created, or is in a backups folder.
    pub fn make(
        path: &Path,
        repository: &Repository,
        sync: SyncFileSystem,
    ) -> Result<Self, PlaceError> {
        let error = |error| PlaceError::Impossible { action: "open", path: path.to_owned(), error };
        Self::make_resolved(Resolved::at(path).map_err(error)?, path, Some(repository), sync)
    }

    /// Like [`LocalTarget::make`], for a path that the caller has resolved. `repository` is `None` when the snapshots
    /// are on another machine.
    ///
    /// # Errors
    /// See [`LocalTarget::make`].
    pub fn make_resolved(
        found: Resolved,
        path: &Path,
        repository: Option<&Repository>,
        sync: SyncFileSystem,
    ) -> Result<Self, PlaceError> {
        let impossible =
            |action| move |error| PlaceError::Impossible { action, path: path.to_owned(), error };
        // Check the existing part of the path before creating anything.
        Self::guarded(&found, path, repository)?;
        let mut top = found.node.open_folder().map_err(impossible("open"))?;
        for name in &found.missing {
            let opened = opened_up(&top);
            let made = private::make_folder(&top, name).and_then(|made| {
                stat::set_mode(&made, 0o777 & !own_umask())?;
                Ok(made)
            });
            let closed = opened.map_or(Ok(()), |(dir, mode)| stat::set_mode(&dir, mode));
            top = closed.and(made).map_err(impossible("make"))?;
        }
        Ok(Self::new(Some(top), repository, sync))
    }

    /// Opens the folder at `path` only for reading. The folder need not exist.
    ///
    /// # Errors
    /// The folder is in a backups folder or cannot be opened.
    pub fn look_at(
        path: &Path,
        repository: &Repository,
        sync: SyncFileSystem,
    ) -> Result<Self, PlaceError> {
        match Resolved::at(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::new(None, Some(repository), sync))
            }
            Err(error) => {
                Err(PlaceError::Impossible { action: "open", path: path.to_owned(), error })
            }
            Ok(found) => Self::look_resolved(found, path, Some(repository), sync),
        }
    }

    /// Like [`LocalTarget::look_at`], for a path that the caller has resolved.
    ///
    /// # Errors
    /// See [`LocalTarget::look_at`].
    pub fn look_resolved(
        found: Resolved,
        path: &Path,
        repository: Option<&Repository>,
        sync: SyncFileSystem,
    ) -> Result<Self, PlaceError> {
        let impossible =
            |error| PlaceError::Impossible { action: "open", path: path.to_owned(), error };
        Self::guarded(&found, path, repository)?;
        if !found.missing.is_empty() {
            return Ok(Self::new(None, repository, sync));
        }
        let top = found.node.open_folder().map_err(impossible)?;
        Ok(Self::new(Some(top), repository, sync))
    }

    /// The empty folder `top`, which the caller has just created outside of every backups folder.
    pub(crate) fn in_new_folder(top: Dir, repository: &Repository, sync: SyncFileSystem) -> Self {
        Self::new(Some(top), Some(repository), sync)
    }

    /// Refuses the folder at `path` when it, or a folder above it, is a backups folder.
    ///
    /// # Errors
    /// It is one, or cannot be opened.
    pub(crate) fn guarded(
        found: &Resolved,
        path: &Path,
        repository: Option<&Repository>,
    ) -> Result<(), PlaceError> {
        let impossible =
            |error| PlaceError::Impossible { action: "open", path: path.to_owned(), error };
        let mut at = found.node.try_clone().map_err(impossible)?.pass();
        let mut above = found.real.ancestors();
        let mut id = at.meta().map_err(impossible)?.id;
        loop {
            let own = at.find(c".backup_manager").ok().flatten();
            let here = above.next().unwrap_or(path);
            let read = repository.filter(|repository| id == Some(repository.id));
            if read.is_some() || own.is_some_and(|own| own.kind == Kind::Folder) {
                let backups = repository.map_or(here, Repository::path).to_owned();
                return Err(PlaceError::InBackups { path: path.to_owned(), backups });
            }
            let parent = at.pass(c"..").map_err(impossible)?;
            let parent_id = parent.meta().map_err(impossible)?.id;
            if parent_id == id {
                return Ok(());
            }
            (at, id) = (parent, parent_id);
        }
    }

    fn new(top: Option<Dir>, repository: Option<&Repository>, sync: SyncFileSystem) -> Self {
        let root = rustix::process::geteuid().is_root();
        let abilities = Abilities {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            links: true,
            most_links: u64::MAX,
            symlinks: true,
            nodes: true,
            owner: root,
            mode: true,
            xattrs: true,
            reflinks: true,
            changed_names: ChangedNames::default(),
            folds_case: false,
            time_granularity_ns: 1,
        };
        let plain = Preserve::default();
        let whole = Preserve { xattrs: true, acls: true, ..plain };
        Self {
            backups: repository.map(|repository| repository.id),
            whole: MetadataWriter::new(whole, abilities.clone()),
            plain: MetadataWriter::new(plain, abilities),
            reflinks: AtomicBool::new(true),
            root,
            sync_each: !top.as_ref().is_none_or(syncs_as_a_whole),
            sync,
            top,
        }
    }

    /// Renames a complete entry from its temporary name to its final name.
    pub(super) fn placed(
        &self,
        folder: &Dir,
        from: &CStr,
        name: &CStr,
        replace: bool,
    ) -> io::Result<()> {
        let placed =
            if replace { folder.rename_over(from, name) } else { folder.rename_new(from, name) };
        let placed = placed.map_err(|error| judged(folder, error));
        if placed.is_err() {
            let _ = folder.unlink(from);
        }
        placed
    }

    /// Creates an entry that is neither a file nor a folder.
    fn make_node(&self, folder: &Dir, entry: &Entry, replace: bool) -> io::Result<StoreOutcome> {
        let (name, meta) = (temporary_name(&entry.name)?, &entry.meta);
        let private = made(folder, &name, || Private::in_folder(folder, &name))?;
        let dir = private.dir();
        made(dir, &name, || match entry.target() {
            Some(target) => dir.make_symlink(&name, target),
            None => dir.make_node(&name, meta.kind, meta.mode & 0o777, meta.rdev),
        })?;
        let named = Entry { name: name.clone(), ..entry.clone() };
        let placed =
            self.whole.new_node(dir, ListedEntry::from(&named), false).and_then(|record| {
                let node = dir.node(&name)?;
                let (shortfall, id) = (self.shortfall(&node, record), node.meta()?.id);
                private.place(&name, &entry.name, replace)?;
                Ok(StoreOutcome { shortfall, damaged: false, id })
            });
        if placed.is_err() {
            let _ = dir.unlink(&name);
        }
        placed
    }

    /// The metadata that the system refused, except for attributes that the entry has nevertheless.
    pub(super) fn shortfall(&self, fd: impl AsFd, record: SidecarRecord) -> Shortfall {
        let plain = |pair: &(String, String)| Some((unshown(&pair.0)?, unshown(&pair.1)?));
        let refused: Xattrs = record.xattrs.iter().filter_map(plain).collect();
        let there = if refused.is_empty() { Ok(Vec::new()) } else { xattrs::read_held(fd, ALL) };
        let there = there.unwrap_or_default();
        Shortfall {
            owner: record.uid.is_some() || record.gid.is_some(),
            mode: record.mode.is_some(),
            time: record.mtime.is_some(),
            xattrs: refused
                .into_iter()
                .filter(|pair| !there.contains(pair))
                .map(|(name, _)| name)
                .collect(),
            link: false,
        }
    }
}

/// Adds all permissions for the owner of a folder, when this process is the owner. Returns the folder, opened
/// with them, and its original mode. `None` when the folder already has them, or they cannot be set.
fn opened_up(folder: &Dir) -> Option<(Dir, u32)> {
    let (meta, user) = (folder.meta().ok()?, rustix::process::geteuid());
    if user.is_root() || meta.uid != user.as_raw() || meta.mode & 0o700 == 0o700 {
        return None;
    }
    Some((folder.with_mode(meta.mode | 0o700).ok()?, meta.mode))
}

/// Creates an entry under a temporary name of this process. Replaces an entry that this process left under that
/// name.
pub(super) fn made<T>(dir: &Dir, name: &CStr, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            crate::fs::remove_tree::remove(dir, name, 1, &AtomicU64::new(0), &|| false)?;
            make()
        }
        result => result,
    }
}

/// The error of an entry in `folder`. When an error says "full" but the file system has room, it concerns only
/// this entry: ext4 returns it for a directory index that cannot grow, and a quota may be another user's.
pub(super) fn judged(folder: &Dir, error: io::Error) -> io::Error {
    if !says_full(&error) || is_full(&error, folder) {
        return error;
    }
    io::Error::other(format!("{error}, though the file system has room"))
}

impl Target for LocalTarget {
    type Folder = Dir;

    fn facts(&self) -> TargetFacts {
        TargetFacts {
            owners: self.root,
            xattrs: true,
            granularity_ns: 1,
            seconds: (i64::MIN, i64::MAX),
            threads: crate::threads::work_queue::workers(),
            batch: BATCH,
            together: None,
        }
    }

    fn top(&self) -> io::Result<Dir> {
        self.top.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    fn enter(&self, folder: &Dir, name: &CStr) -> io::Result<Dir> {
        let entered = match folder.child(name) {
            // A parent folder of the restored paths needs only search permission.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => folder.pass(name),
            entered => entered,
        }?;
        if self.backups.is_some() && entered.meta()?.id == self.backups {
            return Err(io::Error::other("it is the backups folder"));
        }
        Ok(entered)
    }

    fn look(&self, folder: &Dir, name: &CStr) -> io::Result<Option<StoredEntry>> {
        crate::fs::lookup::held(folder, name, &SidecarRecords::new(), ALL)
    }

    fn names(&self, folder: &Dir, _: usize) -> io::Result<Option<Vec<CString>>> {
        let mut names = Vec::new();
        folder.names(|entry| {
            names.push(entry.name.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(Some(names))
    }

    fn open_up(&self, folder: &Dir) -> Option<(Dir, u32)> {
        opened_up(folder)
    }

    fn set_mode(&self, folder: &Dir, mode: u32) -> io::Result<()> {
        stat::set_mode(folder, mode)
    }

    fn id(&self, folder: &Dir) -> io::Result<Option<FileId>> {
        Ok(folder.meta()?.id)
    }

    fn make_folder(&self, folder: &Dir, name: &CStr) -> io::Result<Option<FileId>> {
        let made = private::make_folder(folder, name).map_err(|error| judged(folder, error));
        Ok(made?.meta()?.id)
    }

    fn store(
        &self,
        folder: &Dir,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        let new = self.new_file(folder, &entry.name)?;
        let reflink = self.reflinks.load(Ordering::Relaxed);
        let damaged = copy(content, new.file(), reflink).and_then(|hash| {
            let damaged = is_damaged(content, &hash);
            if damaged && !content.accept_damage { Err(StoreError::Damaged) } else { Ok(damaged) }
        });
        match damaged {
            Ok(damaged) => {
                let stored = self.finish_file(folder, new, entry, replace)?;
                Ok(StoreOutcome { damaged, ..stored })
            }
            // Check for a full file system while the data written still occupies its space.
            Err(StoreError::Target(error)) => {
                Err(StoreError::Target(self.give_up_file(folder, new, error)))
            }
            Err(error) => {
                new.discard(folder);
                Err(error)
            }
        }
    }

    fn make(&self, folder: &Dir, entry: &Entry, replace: bool) -> io::Result<StoreOutcome> {
        self.make_node(folder, entry, replace).map_err(|error| judged(folder, error))
    }

    fn link(
        &self,
        folder: &Dir,
        name: &CStr,
        to: (&Dir, &CStr, Option<FileId>),
        replace: bool,
    ) -> io::Result<()> {
        let unsupported = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::PERM | Errno::NOTSUP | Errno::MLINK | Errno::XDEV) => {
                io::ErrorKind::Unsupported.into()
            }
            _ => judged(folder, error),
        };
        let node = to.0.node(to.1)?;
        if to.2.is_some() && node.meta()?.id != to.2 {
            // Another process exchanged the file. A hard link to it could give it the trust of this folder.
            return Err(exchanged());
        }
        if !replace {
            return folder.link_node(name, &node).map_err(unsupported);
        }
        let new = temporary_name(name)?;
        made(folder, &new, || folder.link_node(&new, &node)).map_err(unsupported)?;
        self.placed(folder, &new, name, true)?;
        // When both names are hard links to the same inode, rename(2) keeps both.
        let _ = folder.unlink(&new);
        Ok(())
    }

    fn set_file_metadata(
        &self,
        folder: &Dir,
        entry: &Entry,
        id: Option<FileId>,
    ) -> io::Result<Shortfall> {
        let file = folder.open_file(&entry.name)?;
        let found = stat::meta(&file)?;
        // Another hard link of the file may be in a snapshot. Another owner may still have the file open, or
        // may have put a third user's file there. Therefore no file changes its owner here. The setuid bit, the
        // setgid bit and security attributes are set only on content that this restore has just written.
        let lends = entry.meta.mode & 0o6000 != 0
            || entry.xattrs().iter().any(|(name, _)| name.starts_with(b"security."));
        let given = self.root && found.uid != entry.meta.uid;
        if found.kind != Kind::File || found.links != 1 || found.id != id || given || lends {
            return Err(Errno::MLINK.into());
        }
        let metadata_writer = if entry.xattrs().is_empty() { &self.plain } else { &self.whole };
        let record = metadata_writer.existing(&file, ListedEntry::from(entry));
        Ok(self.shortfall(&file, record.map_err(|error| judged(folder, error))?))
    }

    fn set_folder_metadata(&self, folder: &Dir, entry: &Entry, new: bool) -> io::Result<Shortfall> {
        if !new && self.root && folder.meta()?.uid != entry.meta.uid {
            // A user with write access to the parent folder can have moved another user's folder there.
            if !private::is_closed(&folder.pass(c"..")?.meta()?) {
                return Ok(Shortfall { owner: true, mode: true, ..Shortfall::default() });
            }
        }
        let plain = !new && entry.xattrs().is_empty();
        let metadata_writer = if plain { &self.plain } else { &self.whole };
        let record = metadata_writer.existing(folder, ListedEntry::from(entry));
        let record = record.map_err(|error| judged(folder, error))?;
        if self.sync_each {
            folder.sync()?;
        }
        Ok(self.shortfall(folder, record))
    }

    fn remove(&self, folder: &Dir, name: &CStr) -> io::Result<()> {
        folder.unlink(name)
    }

    fn file_system(&self, folder: &Dir) -> io::Result<Option<MountedFileSystem>> {
        file_system(folder)
    }

    fn may_remove(&self, folder: &Dir, name: &CStr, spared: &MustStay<'_>) -> io::Result<bool> {
        may_remove(folder, name, self.backups, spared)
    }

    fn remove_folder(&self, folder: &Dir, name: &CStr) -> io::Result<()> {
        crate::fs::remove_tree::remove(folder, name, 1, &AtomicU64::new(0), &|| false)
    }

    fn sync(&self) -> io::Result<()> {
        match &self.top {
            Some(top) if !self.sync_each => (self.sync)(top.as_fd()),
            _ => Ok(()),
        }
    }
}
