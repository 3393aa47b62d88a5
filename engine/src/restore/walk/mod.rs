//! Walks through a snapshot and the target in parallel, with several threads.

pub(crate) mod batch;
pub(crate) mod entry;
pub(crate) mod folder;
pub(crate) mod hard_links;
pub(crate) mod left_over;
pub(crate) mod read_snapshot;
pub(crate) mod shared_inodes;

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::entry::hard_links::Groups;
use crate::entry::overlay::SidecarRecords;
use crate::entry::tree_path::{TreePath, place_of};
use crate::fs::dir::Dir;
use crate::fs::metadata::{entry_of, exchanged};
use crate::fs::traverse::most_open_folders;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::Repository;
use crate::repository::manifest::recent::Recent;
use crate::repository::records::sidecar::Sidecar;
use crate::restore::outcome::{EntryOutcome, RestoreCounts, RestoreSink, RestoreTally};
use crate::restore::plan::RestoreRules;
use crate::restore::request::{RequestedPath, RestoreError, RestoreOptions, unread};
use crate::restore::targets::{Shortfall, Target};
use crate::restore::walk::folder::{
    EntryInProgress, OpenFolder, RelaxedModes, RestoreFolder, RestoreTask,
};
use crate::restore::walk::shared_inodes::Several;
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::lock;
use crate::threads::work_queue::Queue;

/// The maximum number of names of one target folder that each thread may hold without the lock `long`.
const FEW: usize = 2_000;

/// Opens the manifest of a snapshot. Reports a manifest that cannot be read.
fn manifest(repository: &Repository, snapshot: &SnapshotName, context: &Context) -> Option<Recent> {
    let found = repository.manifest(snapshot).unwrap_or_else(|error| {
        let what = format!(
            "the manifest of {snapshot} cannot be read ({error}): files are proved by the hashes that they bear, which their owners can write"
        );
        context.monitor.event(&Event::Aside { what });
        None
    });
    found.map(Recent::new)
}

/// One restore.
pub(crate) struct RestoreWalk<'a, T: Target> {
    pub(crate) target: &'a T,
    pub(crate) snapshot: Dir,
    pub(crate) kept: Sidecar,
    pub(crate) manifest: Option<Recent>,
    pub(crate) options: RestoreOptions,
    pub(crate) rules: RestoreRules,
    pub(crate) context: &'a Context,
    pub(crate) sink: &'a dyn RestoreSink,
    pub(crate) tally: RestoreTally,
    pub(crate) several: Several,
    whole: HashSet<Vec<u8>>,
    pub(crate) groups: Groups<EntryInProgress<T::Folder>>,
    pub(crate) queue: Queue<RestoreTask<T::Folder>>,
    pub(crate) opened_up: RelaxedModes<SharedFolder<T>>,
    open: Arc<AtomicUsize>,
    most_open: usize,
    /// Held by the thread that holds more than `FEW` names of a target folder.
    long: Mutex<()>,
    failed: Mutex<Option<RestoreError>>,
}

pub(crate) type SharedFolder<T> = Arc<RestoreFolder<<T as Target>::Folder>>;
pub(crate) type SharedOpenFolder<T> = Arc<OpenFolder<<T as Target>::Folder>>;

impl<'a, T: Target> RestoreWalk<'a, T> {
    pub(crate) fn new(
        (repository, snapshot): (&Repository, &SnapshotName),
        target: &'a T,
        options: RestoreOptions,
        context: &'a Context,
        sink: &'a dyn RestoreSink,
    ) -> Result<Self, RestoreError> {
        let facts = target.facts();
        let rules = RestoreRules {
            overwrite: options.overwrite,
            delete: options.delete.is_some(),
            owners: facts.owners,
            xattrs: facts.xattrs,
            granularity_ns: facts.granularity_ns,
            seconds: facts.seconds,
        };
        Ok(Self {
            target,
            snapshot: repository.top(snapshot)?,
            kept: repository.kept(snapshot)?,
            manifest: manifest(repository, snapshot, context),
            options,
            rules,
            context,
            sink,
            tally: RestoreTally::default(),
            several: Several::default(),
            whole: HashSet::new(),
            groups: Groups::unbounded(),
            queue: Queue::new(0),
            opened_up: RelaxedModes::default(),
            open: Arc::default(),
            most_open: most_open_folders(),
            long: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// Sets the results of the scan of the snapshot, and the paths inside the snapshot below which `--delete`
    /// may remove entries.
    pub(crate) fn with(self, several: Several, whole: HashSet<Vec<u8>>) -> Self {
        Self { several, whole, ..self }
    }

    /// Whether `--delete` may remove entries from the folder `from`.
    pub(crate) fn is_whole(&self, from: &Arc<TreePath>) -> bool {
        self.options.delete.is_some() && self.whole.contains(&from.inside())
    }

    /// The snapshot's folder.
    pub(crate) fn top(&self) -> &Dir {
        &self.snapshot
    }

    pub(crate) fn counts(&self) -> RestoreCounts {
        self.tally.counts()
    }

    pub(crate) fn failed(&self) -> Option<RestoreError> {
        lock(&self.failed).take()
    }

    pub(crate) fn halted(&self) -> bool {
        self.context.stop.asked() || lock(&self.failed).is_some()
    }

    pub(crate) fn fail(&self, error: RestoreError) {
        lock(&self.failed).get_or_insert(error);
        self.queue.close();
    }

    /// Restores everything in `items`.
    pub(crate) fn all(&self, items: &[RequestedPath]) {
        self.context.progress.enter(Phase::Copying);
        self.context.progress.begin_walk();
        let into_top = items.iter().find(|item| item.to.is_empty());
        let from = into_top.map(|item| place_of(&item.inside));
        let whole = from.as_ref().is_some_and(|from| self.is_whole(from));
        let top = RestoreFolder::top(from, whole);
        let mut ways = HashMap::new();
        for item in items.iter().filter(|item| !item.to.is_empty()) {
            if let Err((path, error)) = self.start(item, &top, &mut ways) {
                self.trouble(&path, false, &error);
            }
        }
        for way in ways.into_values() {
            self.settle(&way);
        }
        match into_top {
            Some(_) => self.queue.push(RestoreTask::List(top)),
            None => self.settle(&top),
        }
        self.queue.work(self.target.facts().threads, |task| {
            if self.halted() {
                return self.queue.close();
            }
            match task {
                RestoreTask::List(folder) => self.list(&folder),
                RestoreTask::Restore(folder, names) => self.some(&folder, &names),
            }
        });
        self.close_all();
    }

    /// Opens a folder of the target.
    pub(crate) fn reach(&self, place: &Arc<TreePath>) -> io::Result<T::Folder> {
        let chain = place.chain();
        chain[1..]
            .iter()
            .try_fold(self.target.top()?, |folder, at| self.target.enter(&folder, at.name()))
    }

    /// Enters the parent folders of an item, and restores the item.
    fn start(
        &self,
        item: &RequestedPath,
        top: &SharedFolder<T>,
        ways: &mut HashMap<Vec<u8>, SharedFolder<T>>,
    ) -> Result<(), (Vec<u8>, io::Error)> {
        let Some((last, above)) = item.to.split_last() else { return Ok(()) };
        let found = match self.find(item) {
            Ok(Some((_, wanted))) => Ok(wanted),
            // It was there when the restore began.
            Ok(None) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(io::Error::other(error)),
        };
        let wanted = found.map_err(|error| {
            let names: Vec<_> = item.to.iter().map(|name| name.to_bytes()).collect();
            (names.join(&b'/'), error)
        })?;
        let mut at = Arc::clone(top);
        for (number, name) in above.iter().enumerate() {
            let place = at.to.child(name, None);
            let path = place.inside();
            at = match ways.get(&path) {
                Some(way) => Arc::clone(way),
                None => {
                    let up = above.len() - number;
                    let made = self.pass(&at, place, name, &up_from(&item.inside, up));
                    let way = made.map_err(|error| (path.clone(), error))?;
                    ways.insert(path, Arc::clone(&way));
                    way
                }
            };
        }
        let path = at.to.inside_of(last);
        let opened = self.handles(&at).map_err(|error| (path, error))?;
        let (from, entry) = (place_of(&item.inside), entry_of(last, &wanted));
        let one = EntryInProgress::new(at, from, entry, wanted);
        self.entry(one, &opened, None);
        Ok(())
    }

    /// Enters a parent folder of an item. Creates a missing one with the metadata that the snapshot has for it.
    fn pass(
        &self,
        parent: &SharedFolder<T>,
        place: Arc<TreePath>,
        name: &CStr,
        inside: &Option<Vec<u8>>,
    ) -> io::Result<SharedFolder<T>> {
        let opened = self.handles(parent)?;
        let missing = self.target.look(&opened.to, name)?.is_none();
        let (mut entry, mut id) = (None, None);
        if missing {
            id = self.target.make_folder(&opened.to, name)?;
            let known = inside.as_ref().and_then(|inside| self.own(&place_of(inside), None).ok());
            entry = known.map(|held| entry_of(name, &held));
            if let Some(entry) = &entry {
                // Set the metadata now. Otherwise an interrupted restore would leave the folder with its
                // temporary mode.
                let mut open = entry.clone();
                open.meta.mode |= 0o700;
                let made = self.target.enter(&opened.to, name)?;
                if self.target.id(&made)? != id {
                    return Err(exchanged());
                }
                self.target.set_folder_metadata(&made, &open, true)?;
            }
            self.report(EntryOutcome::Created, &place.inside(), true, 0, None);
        }
        let folder = RestoreFolder::below(parent, None, place, entry, missing, false);
        if missing {
            folder.is(id);
        }
        Ok(folder)
    }

    /// The handles of a folder. Opens them when they are closed.
    pub(crate) fn handles(&self, folder: &SharedFolder<T>) -> io::Result<SharedOpenFolder<T>> {
        if let Some(open) = &*folder.opened() {
            return Ok(Arc::clone(open));
        }
        let above = folder.parent.as_ref().and_then(|parent| parent.opened().clone());
        let to = self.open_up(folder, self.in_target(folder, above.as_ref())?);
        let (from, records) = match &folder.from {
            None => (None, SidecarRecords::new()),
            Some(from) => {
                let near = above.as_ref().and_then(|above| above.from.as_ref());
                let dir = match near {
                    Some(near) => near.child(from.name()),
                    None => self.down(from),
                };
                (Some(dir.map_err(unread)?), self.kept.load(from).map_err(unread)?)
            }
        };
        let open = Arc::new(OpenFolder::new(from, to, records, &self.open));
        // Above the limit, close the parent. It is opened again from the top folder when it is needed.
        if open.count() > self.most_open
            && let Some(parent) = &folder.parent
        {
            *parent.opened() = None;
        }
        *folder.opened() = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Opens a folder in the target, through `above` when that is open.
    pub(crate) fn in_target(
        &self,
        folder: &SharedFolder<T>,
        above: Option<&SharedOpenFolder<T>>,
    ) -> io::Result<T::Folder> {
        let to = match above {
            Some(above) => self.target.enter(&above.to, folder.to.name()),
            None => self.reach(&folder.to),
        }?;
        if !folder.is(self.target.id(&to)?) {
            return Err(exchanged());
        }
        Ok(to)
    }

    /// Lists a folder, and queues its entries.
    fn list(&self, folder: &SharedFolder<T>) {
        let path = folder.to.inside();
        self.context.progress.set_folder(|| crate::entry::escape::shown(&path));
        if let Err(error) = self.try_list(folder) {
            self.trouble(&path, true, &error);
        }
        self.settle(folder);
    }

    fn try_list(&self, folder: &SharedFolder<T>) -> io::Result<()> {
        let opened = self.handles(folder)?;
        let Some(from) = &opened.from else { return Ok(()) };
        let mut names = Vec::new();
        let listed = from.names(|entry| {
            names.push((entry.ino, entry.name.to_owned()));
            ControlFlow::Continue(())
        });
        listed.map_err(unread)?;
        let there: HashSet<&CStr> = names.iter().map(|(_, name)| &**name).collect();
        let whole = |(name, record): (&CString, &crate::entry::overlay::SidecarRecord)| {
            (record.kind.is_some() && !name.is_empty() && !there.contains(&**name))
                .then(|| (0, name.clone()))
        };
        let beside: Vec<_> = opened.records.iter().filter_map(whole).collect();
        names.extend(beside);
        // Sort by inode number: neighbouring inodes are read together.
        names.sort_unstable();
        if !folder.new {
            let may_remove = self.may_remove_in(folder, &opened, &names)?;
            let wanted: HashSet<&CStr> = names.iter().map(|(_, name)| &**name).collect();
            let (surplus, _alone) = self.surplus(&opened.to)?;
            for name in surplus.iter().filter(|name| !wanted.contains(&***name)) {
                if let Some(maker) = self.target.creator(name) {
                    self.clear(folder, &opened, name, maker);
                } else if may_remove {
                    self.remove(folder, &opened, name);
                }
            }
        }
        let mut names = names.into_iter().map(|(_, name)| name);
        let most = self.target.facts().batch;
        loop {
            let batch: Vec<_> = names.by_ref().take(most).collect();
            if batch.is_empty() {
                return Ok(());
            }
            folder.expect();
            self.queue.push(RestoreTask::Restore(Arc::clone(folder), batch));
        }
    }

    /// The names in a target folder. Only one thread at a time may hold a long list, so that an untrusted
    /// target that invents names cannot exhaust the memory.
    fn surplus(&self, to: &T::Folder) -> io::Result<(Vec<CString>, Option<MutexGuard<'_, ()>>)> {
        if let Some(few) = self.target.names(to, FEW)? {
            return Ok((few, None));
        }
        let alone = lock(&self.long);
        let all = self.target.names(to, usize::MAX)?;
        Ok((all.unwrap_or_default(), Some(alone)))
    }

    /// Restores some entries of a folder.
    fn some(&self, folder: &SharedFolder<T>, names: &[CString]) {
        let together = names.len() > 1 && self.target.facts().together.is_some();
        let mut files = Vec::new();
        for name in names {
            if self.halted() {
                break;
            }
            let found = self.handles(folder).and_then(|opened| {
                let Some((from, place)) = opened.from.as_ref().zip(folder.from.as_ref()) else {
                    return Ok(None);
                };
                let wanted = self.look(from, place, name, &opened.records).map_err(unread)?;
                Ok(wanted.map(|wanted| (Arc::clone(&opened), place.child(name, None), wanted)))
            });
            match found {
                Ok(Some((opened, from, wanted))) => {
                    let (entry, folder) = (entry_of(name, &wanted), Arc::clone(folder));
                    let one = EntryInProgress::new(folder, from, entry, wanted);
                    match together {
                        true if self.goes_together(&one) => files.push(one),
                        true => self.apart(&one.folder, &one),
                        false => self.entry(one, &opened, opened.from.as_ref()),
                    }
                }
                Ok(None) => {}
                Err(error) => self.trouble(&folder.to.inside_of(name), false, &error),
            }
        }
        if !files.is_empty() {
            match self.handles(folder) {
                Ok(opened) => self.together(folder, &opened, files),
                Err(error) => self.trouble(&folder.to.inside(), true, &error),
            }
        }
        self.settle(folder);
    }

    /// Completes one step of `folder`. The last step finishes the folder, and completes a step of its parent.
    pub(crate) fn settle(&self, folder: &SharedFolder<T>) {
        let mut at = Arc::clone(folder);
        while at.settle() {
            if !self.halted() {
                self.finish(&at);
            }
            *at.opened() = None;
            let Some(parent) = &at.parent else { return };
            at = Arc::clone(parent);
        }
    }

    /// Sets the owner, mode, attributes and time of a folder, even when the snapshot's folder could not be
    /// read.
    fn finish(&self, folder: &SharedFolder<T>) {
        let mode = self.mode_before(folder);
        if folder.entry.is_none() && mode.is_none() {
            return;
        }
        let path = folder.to.inside();
        let set_metadata = |to: &T::Folder| {
            let result = match &folder.entry {
                Some(entry) => self.target.set_folder_metadata(to, entry, folder.new),
                None => Ok(Shortfall::default()),
            };
            match mode {
                Some(mode) if folder.entry.is_none() || result.is_err() => {
                    self.target.set_mode(to, mode).and(result)
                }
                _ => result,
            }
        };
        let opened = folder.opened().clone();
        let result = match opened {
            Some(opened) => set_metadata(&opened.to),
            None => {
                let above = folder.parent.as_ref().and_then(|parent| parent.opened().clone());
                self.in_target(folder, above.as_ref()).and_then(|to| set_metadata(&to))
            }
        };
        match result {
            Ok(shortfall) => self.short(&path, true, &shortfall),
            Err(error) => self.trouble(&path, true, &error),
        }
    }
}

/// The path `up` names above `inside`; `None` at or above the snapshot's top folder.
fn up_from(inside: &[u8], up: usize) -> Option<Vec<u8>> {
    let names: Vec<_> =
        inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let left = names.len().checked_sub(up).filter(|left| *left > 0)?;
    Some(names[..left].join(&b'/'))
}
