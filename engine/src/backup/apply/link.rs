//! Links entries to the base and to each other, and copies them where a link is impossible.

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::backup::apply::snapshot_writer::{
    Applied, SnapshotWriter, WaitingName, here, is, replacing,
};
use crate::backup::plan::planned::{PendingEntry, Planned};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::tally::Batched;
use crate::entry::hard_links::leader::Leader;
use crate::entry::hard_links::{Asks, Role};
use crate::entry::overlay::SidecarRecord;
use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, ListedEntry};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::lookup::find;
use crate::fs::refusal::{ProbeKind, Refusal, classify, is_no_name, store_elsewhere};
use crate::monitor::event::Event;
use crate::source::Source;

/// A file of the base that an entry of the snapshot is linked to.
pub(crate) struct LinkedFrom<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) name: &'a CStr,
    pub(crate) held: Option<&'a StoredEntry>,
    /// What the base's sidecar holds of it.
    pub(crate) record: Option<&'a SidecarRecord>,
}

/// The result of an attempt at a hard link, other than an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linked {
    Yes,
    /// The file system has no hard links.
    NotTried,
    /// The file system refused this link. Its name may still appear for a moment (GlusterFS).
    Failed,
}

impl Linked {
    /// Whether a copy may replace the entry that has the name now. In a `fresh` folder it may only after a failed link: the
    /// name was free before, so the link left this entry.
    fn over(self, fresh: bool) -> bool {
        !fresh || self == Self::Failed
    }
}

impl<S: Source> SnapshotWriter<S> {
    /// Stores a hard-linked entry according to its role in its group: it leads, follows the leader, or waits.
    /// [`Applied::Fetch`] means that the file has to be read from the source.
    pub(crate) fn grouped(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        source: &Arc<S::Folder>,
        item: PendingEntry,
        done: &mut Batched,
    ) -> Result<Applied, RunError> {
        let Some(id) = item.group else { return Ok(Applied::Fetch(item)) };
        let (meta, bytes) = (item.entry.meta.clone(), item.bytes());
        let name = WaitingName {
            folder: Arc::clone(folder),
            handles: Arc::clone(handles),
            source: Arc::clone(source),
            item,
        };
        // The folder waits too. This comes first because another thread may release the entry before `ask` returns.
        folder.expect(1);
        let role = self.groups.ask(Asks { id, meta: &meta, name, bytes });
        if !matches!(role, Role::Wait) {
            folder.settle();
        }
        match role {
            Role::Wait => Ok(Applied::Stored),
            Role::Follow(leader, waiting) => {
                self.follow(folder, handles, &leader, &waiting.item, done)?;
                Ok(Applied::Stored)
            }
            // By the end of the walk the content has arrived.
            Role::Apart(name) if self.walk.may_look_later() => {
                self.walk.look_later(folder, &name.item.entry.name);
                Ok(Applied::Stored)
            }
            Role::Apart(name) => {
                if !self.apart_said.swap(true, Ordering::Relaxed) {
                    let what = "so many names of hard-linked files arrived before the content of these files that some are stored as files of their own".to_owned();
                    self.walk.event(&Event::Limited { what });
                }
                folder.changes.alter();
                let planned = PendingEntry { group: None, ..name.item };
                self.carry_out(folder, handles, &planned.planned(), done)
            }
            Role::Lead(name) => {
                let item = name.item;
                match self.carry_out(folder, handles, &item.planned(), done)? {
                    Applied::Fetch(fetch) => {
                        Ok(Applied::Fetch(PendingEntry { group: Some(id), ..fetch }))
                    }
                    done => {
                        let stored = matches!(done, Applied::Stored);
                        self.led(folder, handles, &item, stored).map(|()| done)
                    }
                }
            }
        }
    }

    /// Finishes the first name of a hard-linked inode. The waiting names link to it, or ask for a new role if it was not
    /// stored.
    pub(crate) fn led(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        item: &PendingEntry,
        stored: bool,
    ) -> Result<(), RunError> {
        let Some(id) = item.group else { return Ok(()) };
        let name = &item.entry.name;
        let found = here(handles).and_then(|here| if stored { find(here, name) } else { Ok(None) });
        let waiting = match found
            .map_err(|error| self.walk.destination("cannot look at", &folder.place, name, error))?
        {
            Some(meta) => {
                let place = Arc::clone(&folder.place);
                let record = folder.records().get(name).cloned().map(Arc::new);
                let leader = Leader { place, name: name.clone(), id: meta.id, record };
                self.groups.lead(id, leader)
            }
            None => self.groups.abandon(id),
        };
        for WaitingName { folder, handles, source, item } in waiting {
            let mut done = Batched::default();
            let outcome = self.grouped(&folder, &handles, &source, item, &mut done)?;
            if let Applied::Fetch(item) = outcome {
                // This may be the thread that receives all contents, on which the end of every other request depends.
                // The memory of the waiting names has a bound of its own.
                self.fetch(&folder, &handles, &source, vec![item], false);
            }
            self.walk.tally.add(&done, None);
            self.settle(&folder)?;
        }
        Ok(())
    }

    /// Links an unchanged entry to the base. Returns `false` when it has to be read from the source instead.
    pub(crate) fn link(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        planned: &Planned<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let (name, held) = (planned.entry.name, &planned.base);
        let Some(base) = &handles.base else { return Ok(false) };
        if let (Some(held), Some(record)) = (held, folder.base_records.get(name)) {
            let stored = (base, held, record, self.walk.set.base_holds);
            if let Some(stored) = self.put_on_disk(folder, handles, planned, stored, done) {
                return stored;
            }
        }
        let record = folder.base_records.get(name);
        let id = held.as_ref().and_then(|held| held.meta.id);
        if planned.entry.meta.kind == Kind::File && id.is_some_and(|id| self.is_renamed_from(id)) {
            // Another name of the inode left the source, and another file was found to have its content.
            return self.copy_locally(
                folder,
                handles,
                (base, name),
                planned.entry,
                !folder.fresh,
                done,
            );
        }
        let from = LinkedFrom { dir: base, name, held: held.as_ref(), record };
        self.link_to(folder, handles, planned.entry, &from, done)
    }

    /// Links an entry to a file of the base. Returns `false` when it has to be read from the source instead.
    pub(crate) fn link_to(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        entry: ListedEntry<'_>,
        from: &LinkedFrom<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let (name, base) = (entry.name, (from.dir, from.name));
        if from.held.is_some_and(|held| held.on_disk) {
            // All names of a hard-linked inode must share one inode, so it must have room for all of them.
            let names = entry.meta.links;
            let most = self.metadata_writer.abilities.most_links;
            let links = from.held.map_or(0, |held| held.meta.links);
            if self.walk.keep().hard_links && names > 1 && links.saturating_add(names) > most {
                done.counts.link_fallbacks += 1;
                return self.copy_locally(folder, handles, base, entry, !folder.fresh, done);
            }
            match self.linked(folder, here(handles)?, name, base) {
                Ok(Linked::Yes) => {}
                Ok(tried) if entry.meta.kind == Kind::File => {
                    done.counts.link_fallbacks += 1;
                    let over = tried.over(folder.fresh);
                    return self.copy_locally(folder, handles, base, entry, over, done);
                }
                Ok(tried) => {
                    done.counts.link_fallbacks += 1;
                    return self.make(folder, handles, entry, tried.over(folder.fresh));
                }
                // The base no longer has the name: a user removed it by hand.
                Err(error) if is(&error, Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if let Some(record) = from.record {
            self.note(folder, name, record.clone());
        }
        done.counts.linked += 1;
        done.counts.bytes_saved += entry.file_size();
        Ok(true)
    }

    /// Makes a hard link, unless the file system has none or allows no further link to this inode.
    fn linked(
        &self,
        folder: &WalkFolder<S::Folder>,
        here: &Dir,
        name: &CStr,
        from: (&Dir, &CStr),
    ) -> io::Result<Linked> {
        if !self.metadata_writer.abilities.links {
            return Ok(Linked::NotTried);
        }
        let link = || here.link(name, from.0, from.1);
        match replacing(!folder.fresh, here, name, link) {
            Ok(()) => Ok(Linked::Yes),
            Err(error) if is_no_name(&error) && store_elsewhere(here, name, &error)? => {
                replacing(!folder.fresh, here, name, link).map(|()| Linked::Yes)
            }
            Err(error) if folder.fresh && is(&error, Errno::EXIST) && is_left(here, name)? => {
                replacing(true, here, name, link).map(|()| Linked::Yes)
            }
            Err(error) if no_more_links(&error, here) => Ok(Linked::Failed),
            Err(error) => Err(error),
        }
    }

    /// Links a further name of a hard-linked inode to the first one.
    pub(crate) fn follow(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        leader: &Leader,
        item: &PendingEntry,
        done: &mut Batched,
    ) -> Result<(), RunError> {
        match self.follow_to(folder, handles, leader, item, done) {
            Err(error) => self.refused(folder, handles, &item.entry.name, error),
            Ok(()) => Ok(()),
        }
    }

    fn follow_to(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        leader: &Leader,
        item: &PendingEntry,
        done: &mut Batched,
    ) -> io::Result<()> {
        let name = item.entry.name.as_c_str();
        done.counts.hard_links += 1;
        let same = |held: &Option<crate::entry::stored::StoredEntry>| {
            leader.id.is_some() && held.as_ref().is_some_and(|held| held.meta.id == leader.id)
        };
        let record = if same(&item.here) {
            done.counts.kept += 1;
            folder.here_records.get(name)
        } else {
            same(&item.base).then(|| folder.base_records.get(name)).flatten()
        };
        if let Some(record) = record.or(leader.record.as_deref()) {
            self.note(folder, name, record.clone());
        }
        let apart = || folder.changes.alter();
        if same(&item.here) {
            if !same(&item.base) {
                apart();
            }
            return Ok(());
        }
        let here = here(handles)?;
        if item.here.is_some() {
            crate::backup::apply::snapshot_writer::clear(here, name)?;
        }
        let mut over = !folder.fresh;
        if let Some(base) = handles.base.as_ref().filter(|_| same(&item.base)) {
            let tried = self.linked(folder, here, name, (base, name))?;
            if tried == Linked::Yes {
                done.counts.linked += 1;
                return Ok(());
            }
            over = tried.over(folder.fresh);
        }
        apart();
        let other = if Arc::ptr_eq(&leader.place, &folder.place) {
            here.try_clone()?
        } else {
            self.open_here(&leader.place)?
        };
        let tried = self.linked(folder, here, name, (&other, &leader.name))?;
        if tried == Linked::Yes {
            return Ok(());
        }
        over |= tried.over(folder.fresh);
        done.counts.link_fallbacks += 1;
        let entry = ListedEntry::from(&item.entry);
        if item.entry.meta.kind != Kind::File {
            self.make(folder, handles, entry, over)?;
        } else {
            let from = (&other, leader.name.as_c_str());
            if !self.copy_locally(folder, handles, from, entry, over, done)? {
                return Err(Errno::NOENT.into());
            }
        }
        if let Some(id) = item.group {
            let name = item.entry.name.clone();
            let (place, id_here) = (Arc::clone(&folder.place), here.stat(&name)?.id);
            let record = folder.records().get(&name).cloned().map(Arc::new);
            self.groups.lead(id, Leader { place, name, id: id_here, record });
        }
        Ok(())
    }
}

/// Whether the entry `name`, in a folder that this walk created, was left by a failed link, or no longer exists.
/// GlusterFS returns EEXIST for a moment after it reported too many links to an inode. Otherwise the name belongs to
/// another entry: the file system does not distinguish the two names, and lists the entry under its own name.
fn is_left(here: &Dir, name: &CStr) -> io::Result<bool> {
    if here.find(name)?.is_none() {
        return Ok(true);
    }
    let mut listed = false;
    here.names(|entry| {
        listed = entry.name == name;
        if listed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(listed)
}

/// Whether a copy may succeed after a link failed with `error`. The inode may have the most links possible (ext4:
/// 65,000). The file system may have no links (EPERM on FAT), or allow no links to files of other users
/// (`protected_hardlinks`, proc_sys_fs(5)). It may refuse this link but accept other files: GlusterFS returns ENOSPC
/// at its link limit.
fn no_more_links(error: &io::Error, here: &Dir) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::XDEV | Errno::NOSYS) => true,
        // The caller handles these: the name exists already, or the base's file is gone.
        Some(Errno::EXIST | Errno::NOENT) => false,
        _ => classify(error, here, ProbeKind::File) == Refusal::Entry,
    }
}
