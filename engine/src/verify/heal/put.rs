//! Gives a name of a snapshot to a new inode, by rename(2), and puts back the metadata of the folder.

use std::ffi::{CStr, OsStr};
use std::io;
use std::sync::Arc;

use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, ListedEntry, Meta};
use crate::fs::dir::Dir;
use crate::fs::metadata::fake_super::STAT;
use crate::fs::metadata::{entry_of, fake_super, stat, xattrs};
use crate::repository::manifest::record::{MetaDigest, RecordedFields};
use crate::snapshot::name::SnapshotName;
use crate::verify::heal::Heal;
use crate::verify::heal::make::Made;
use crate::verify::heal::side::{NameIn, split};

/// A folder of a snapshot in which names are changed, with its metadata before.
pub(super) struct Opened {
    pub(super) dir: Dir,
    pub(super) before: Meta,
}

impl Heal<'_> {
    /// Opens a folder to change names in it.
    pub(super) fn open(
        &mut self,
        snapshot: &SnapshotName,
        place: &Arc<TreePath>,
    ) -> Result<Opened, String> {
        let ours = self.our(snapshot)?;
        let open = || -> io::Result<Opened> {
            let dir = ours.folder(place)?;
            let before = dir.meta()?;
            let user = rustix::process::geteuid();
            let is_closed = before.mode & 0o300 != 0o300;
            let dir = match !user.is_root() && before.uid == user.as_raw() && is_closed {
                true => dir.with_mode(before.mode | 0o700)?,
                false => dir,
            };
            Ok(Opened { dir, before })
        };
        open().map_err(|error| format!("its folder cannot be opened: {error}"))
    }

    /// Puts the inode `made` under `name`. With `keep` its temporary name stays, if the file system has hard links.
    /// With `over` it replaces the entry there, otherwise there must be none. Returns whether the temporary name is gone.
    pub(super) fn put(
        &mut self,
        made: &Made,
        name: &NameIn,
        keep: bool,
        over: bool,
    ) -> Result<bool, String> {
        let (parent, file_name) = split(&name.1);
        let opened = self.open(&name.0, &parent)?;
        let Some(maker) = &self.maker else { return Err("this is a dry run".to_owned()) };
        let store = &maker.store;
        let put = || -> io::Result<bool> {
            let mut from = made.name.clone();
            if keep {
                let link = maker.temporary()?;
                // Too many links, or none at all: this name takes the inode, and the others get one of their own.
                if store.link(&link, store, &made.name).is_ok() {
                    from = link;
                }
            }
            let moved = match over {
                true => store.move_to(&from, &opened.dir, &file_name),
                false => store.move_new(&from, &opened.dir, &file_name),
            };
            let is_moved = from == made.name;
            if moved.is_err() && !is_moved {
                let _ = store.unlink(&from);
            }
            moved?;
            let now = opened.dir.stat(&file_name)?;
            if now.id != Some(made.id) {
                return Err(io::Error::other("another process replaced it"));
            }
            Ok(is_moved)
        };
        let put = put().map_err(|error| format!("it cannot be put in place: {error}"));
        let settled = self.settle(&name.0, &parent, &opened);
        let put = put?;
        settled.map(|()| put)
    }

    pub(super) fn drop_made(&self, made: &Made) {
        if let Some(maker) = &self.maker {
            let _ = maker.store.unlink(&made.name);
        }
    }

    /// Gives a folder the metadata that was recorded for it, after names in it changed, and makes the names durable.
    pub(super) fn settle(
        &mut self,
        snapshot: &SnapshotName,
        place: &Arc<TreePath>,
        opened: &Opened,
    ) -> Result<(), String> {
        let ours = self.our(snapshot)?;
        let recorded = ours.manifest.as_ref().and_then(|manifest| {
            let own = manifest.folder(place).ok()??.own;
            (own != MetaDigest::default()).then(|| (manifest.coverage(), own))
        });
        let wanted = self.folder_meta(snapshot, place, &opened.before, recorded);
        let Some(maker) = &self.maker else { return Ok(()) };
        let set = |meta: &Meta| -> io::Result<()> {
            match recorded {
                Some(_) => {
                    let entry =
                        Entry { name: place.name().to_owned(), meta: meta.clone(), extra: None };
                    maker.plain.existing(&opened.dir, ListedEntry::from(&entry))?;
                }
                None => {
                    if opened.dir.meta()?.mode != meta.mode {
                        stat::set_mode(&opened.dir, meta.mode)?;
                    }
                    stat::set_mtime(&opened.dir, meta.mtime)?;
                }
            }
            opened.dir.sync()
        };
        set(wanted.as_ref().unwrap_or(&opened.before))
            .map_err(|error| format!("its folder cannot get its metadata back: {error}"))?;
        wanted.map(drop)
    }

    /// Makes the folder `name` in the folder `parent`, with the metadata and attributes of the other side's folder. No manifest
    /// records attributes and ACLs, so it gets them before it has its name.
    pub(super) fn put_folder(
        &mut self,
        snapshot: &SnapshotName,
        parent: &Arc<TreePath>,
        name: &CStr,
    ) -> Result<(), String> {
        let failed = |error: io::Error| {
            format!("the folder {} cannot be made: {error}", name.to_string_lossy())
        };
        if self.maker.is_none() {
            return Ok(());
        }
        let (dir, own) = self.folder_there(snapshot, &parent.child(name, None))?;
        let owner = xattrs::own_value(&dir, OsStr::new(STAT)).map_err(failed)?;
        let opened = self.open(snapshot, parent)?;
        let Some(maker) = &self.maker else { return Ok(()) };
        let temporary = maker.temporary().map_err(failed)?;
        let put = || -> io::Result<()> {
            maker.store.make_folder(&temporary, 0o700)?;
            let made = maker.store.child(&temporary)?;
            if let Some(owner) = owner {
                fake_super::give(&made, &owner)?;
            }
            // rename(2) of a folder needs write permission for it. Its own mode comes when it has its content.
            let mut entry = entry_of(name, &own);
            entry.meta.mode |= 0o700;
            maker.whole.existing(&made, ListedEntry::from(&entry))?;
            // Its attributes have to be durable before its name is: a later check cannot see that they are missing.
            made.sync()?;
            maker.store.move_new(&temporary, &opened.dir, name)
        };
        put().map_err(|error| {
            let _ = maker.store.remove_folder(&temporary);
            failed(error)
        })
    }

    /// A folder of the other side, with its metadata.
    pub(super) fn folder_there(
        &mut self,
        snapshot: &SnapshotName,
        place: &Arc<TreePath>,
    ) -> Result<(Dir, StoredEntry), String> {
        let unread =
            |error: io::Error| format!("the other folder's folder cannot be read: {error}");
        let theirs = self.other.snapshot(snapshot).map_err(unread)?;
        let theirs = theirs.ok_or("the other folder has no snapshot of this name")?;
        theirs.own(place).map_err(unread)
    }

    /// The metadata that was recorded for a folder: what it had before, or else what the other side has.
    fn folder_meta(
        &mut self,
        snapshot: &SnapshotName,
        place: &Arc<TreePath>,
        before: &Meta,
        recorded: Option<(RecordedFields, MetaDigest)>,
    ) -> Result<Meta, String> {
        let Some((fields, own)) = recorded else { return Ok(before.clone()) };
        if fields.digest(before, None, false) == own {
            return Ok(before.clone());
        }
        let theirs = self.folder_there(snapshot, place).ok().map(|(_, own)| own.meta);
        theirs.filter(|meta| fields.digest(meta, None, false) == own).ok_or_else(|| {
            "the other folder has other metadata of this folder than was backed up".to_owned()
        })
    }
}
