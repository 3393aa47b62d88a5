//! Walks the source and, beside it, the base and the incomplete snapshot: lists a folder, compares,
//! plans, and hands the plan to a target that builds it or tells it.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::attrs::Asked;
use crate::dir::Dir;
use crate::entry::{Batch, Entry, FileId, Kind, Listed, Time};
use crate::error::RunError;
use crate::event::{Event, Instead, Problem, shown_path};
use crate::folder::{Folder, Handles, Opened, held};
use crate::job::{Job, Keep};
use crate::kept::{Kept, Records};
use crate::layout::Node;
use crate::monitor::add;
use crate::place::Place;
use crate::plan::{Held, Known, Rules, Step, plan};
use crate::queue::{Queue, workers};
use crate::run::Context;
use crate::source::{ListSink, Root, Source, SourceError};
use crate::tally::{Batched, Tally};

/// How many entries that could not be read are tried again at the end; more are carried forward at once.
const RETRIES: usize = 50_000;

/// What becomes of a plan.
pub(crate) trait Target<S: Source>: Sized + Send + Sync + 'static {
    /// Opens the incomplete snapshot's folder for `entry` in `parent`; whether it was made just now.
    fn enter(
        walk: &Arc<Walk<S, Self>>,
        parent: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: &Entry,
    ) -> Result<(Option<Dir>, bool), RunError>;

    /// Carries out the steps of some entries of one folder. Folders among them are entered afterwards.
    fn apply(
        walk: &Arc<Walk<S, Self>>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    );

    /// `name` is in the base and no longer in the source.
    fn deleted(walk: &Arc<Walk<S, Self>>, folder: &Folder<S::Folder>, name: &CStr, is_folder: bool);

    /// `name` is in the incomplete snapshot and no longer in the source.
    fn superfluous(
        walk: &Arc<Walk<S, Self>>,
        folder: &Folder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError>;

    /// `name` could not be read, this time or for good; what the snapshot holds instead.
    fn unread(
        walk: &Arc<Walk<S, Self>>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError>;

    /// Everything directly in the folder has happened.
    fn finish(walk: &Arc<Walk<S, Self>>, folder: &Folder<S::Folder>) -> Result<(), RunError>;
}

/// An entry of the source with what is known and decided about it.
pub(crate) struct Planned<'a> {
    pub(crate) entry: Listed<'a>,
    pub(crate) base: Option<Held>,
    pub(crate) here: Option<Held>,
    pub(crate) step: Step,
}

/// A snapshot to look into, held open at its top.
pub(crate) struct Beside {
    pub(crate) top: Option<Dir>,
    pub(crate) kept: Kept,
}

/// Which files of the incomplete snapshot are certainly on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust {
    /// Written before this change time: before a checkpoint that succeeded.
    pub(crate) before: Option<Time>,
    /// Written from this change time on: by this very run.
    pub(crate) from: Option<Time>,
}

impl Trust {
    fn covers(self, here: &Held, base: Option<&Held>) -> bool {
        let of_base = base.is_some_and(|base| base.meta.id == here.meta.id);
        let ctime = here.meta.ctime;
        of_base
            || here.meta.size == 0
            || self.before.is_some_and(|before| ctime < before)
            || self.from.is_some_and(|from| ctime >= from)
    }
}

/// What is found at a source root before the walk.
#[derive(Debug, Clone)]
pub(crate) struct RootSeen {
    pub(crate) path: PathBuf,
    pub(crate) inside: Vec<u8>,
    pub(crate) file_system: Option<String>,
    /// The file system that the base's report tells for it.
    pub(crate) file_system_before: Option<String>,
}

/// What a walk is made from.
pub(crate) struct Setting {
    pub(crate) rules: Rules,
    pub(crate) trust: Trust,
    pub(crate) base: Beside,
    pub(crate) here: Beside,
    pub(crate) backups: FileId,
    pub(crate) backups_dir: PathBuf,
    pub(crate) roots: Vec<RootSeen>,
    /// An empty root on another file system than last time is taken as it is.
    pub(crate) accept_empty: bool,
    pub(crate) context: Context,
}

/// A walk in progress, shared by its threads.
pub(crate) struct Walk<S: Source, T> {
    pub(crate) source: Arc<S>,
    pub(crate) target: T,
    pub(crate) set: Setting,
    pub(crate) tally: Tally,
    queue: Queue<Task<S::Folder>>,
    fatal: Mutex<Option<RunError>>,
    halted: AtomicBool,
    last_try: AtomicBool,
    again: Mutex<Vec<Retry>>,
    roots: Mutex<Vec<RootSeen>>,
    pub(crate) open: Arc<AtomicUsize>,
    most_open: usize,
}

enum Task<F> {
    /// Go into a folder that was listed.
    Enter { parent: Arc<Folder<F>>, entry: Entry, found: Option<Found<F>>, mounted: bool },
    /// Look again at entries of one folder.
    Again { retries: Vec<Retry> },
    /// Count what was below a folder of the base that is gone.
    Gone { parent: Arc<Dir>, name: CString, root: Option<usize> },
}

/// An entry that could not be read and will be tried again.
struct Retry {
    place: Arc<Place>,
    name: CString,
    root: Option<usize>,
    dev: Option<u64>,
    /// It was listed, and so is counted already.
    counted: bool,
}

/// A folder of the layout, found on the source.
struct Found<F> {
    node: Node,
    source: Arc<F>,
    root: Option<usize>,
}

impl<S: Source, T: Target<S>> Walk<S, T> {
    pub(crate) fn new(source: Arc<S>, target: T, set: Setting) -> Arc<Self> {
        Arc::new(Self {
            source,
            target,
            tally: Tally::new(set.roots.len()),
            queue: Queue::new(),
            fatal: Mutex::new(None),
            halted: AtomicBool::new(false),
            last_try: AtomicBool::new(false),
            again: Mutex::default(),
            roots: Mutex::new(set.roots.clone()),
            open: Arc::default(),
            most_open: most_open_folders(),
            set,
        })
    }

    /// Walks everything below `job`'s layout.
    ///
    /// # Errors
    /// The first thing that ended the walk.
    pub(crate) fn walk(self: &Arc<Self>, job: &Job) -> Result<(), RunError> {
        let top = self.top(job.layout.top(), false)?;
        if let Some(node) = &top.node {
            self.list(&top, node.root);
        }
        self.work()?;
        self.last_try.store(true, Ordering::Relaxed);
        let again = std::mem::take(&mut *lock(&self.again));
        let mut folders: HashMap<*const Place, Vec<Retry>> = HashMap::new();
        for retry in again {
            folders.entry(Arc::as_ptr(&retry.place)).or_default().push(retry);
        }
        for retries in folders.into_values() {
            self.queue.push(Task::Again { retries });
        }
        self.work()
    }

    /// What the walk found at each root.
    pub(crate) fn roots(&self) -> Vec<RootSeen> {
        lock(&self.roots).clone()
    }

    fn work(self: &Arc<Self>) -> Result<(), RunError> {
        self.queue.work(workers(), |task| {
            if !self.halted() {
                let result = match task {
                    Task::Enter { parent, entry, found, mounted } => {
                        self.enter(&parent, entry, found, mounted)
                    }
                    Task::Again { retries } => self.again(retries),
                    Task::Gone { parent, name, root } => self.gone(&parent, &name, root),
                };
                if let Err(error) = result {
                    self.fail(error);
                }
            }
        });
        match lock(&self.fatal).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Ends the walk; the first error counts.
    pub(crate) fn fail(&self, error: RunError) {
        lock(&self.fatal).get_or_insert(error);
        self.halted.store(true, Ordering::Relaxed);
        self.queue.close();
    }

    /// Whether the walk is about to end.
    pub(crate) fn halted(&self) -> bool {
        if self.halted.load(Ordering::Relaxed) {
            return true;
        }
        if self.set.context.stop.asked() {
            self.fail(RunError::Stopped);
            return true;
        }
        false
    }

    /// Whether what cannot be read now will not be tried again.
    pub(crate) fn last_try(&self) -> bool {
        self.last_try.load(Ordering::Relaxed)
    }

    pub(crate) fn event(&self, event: &Event) {
        self.set.context.monitor.event(event);
    }

    pub(crate) fn keep(&self) -> Keep {
        self.set.rules.keep
    }

    pub(crate) fn asked(&self) -> Asked {
        Asked { xattrs: self.keep().xattrs, acls: self.keep().acls }
    }

    /// An error of the backups folder at `name` in `folder`.
    pub(crate) fn destination(
        &self,
        action: &'static str,
        place: &Arc<Place>,
        name: &CStr,
        error: io::Error,
    ) -> RunError {
        use std::os::unix::ffi::OsStringExt;
        let inside = std::ffi::OsString::from_vec(place.inside_of(name));
        crate::error::destination(
            action,
            &self.set.backups_dir,
            self.set.backups_dir.join(inside),
            error,
        )
    }

    fn top(
        self: &Arc<Self>,
        node: &Node,
        partial: bool,
    ) -> Result<Arc<Folder<S::Folder>>, RunError> {
        let found = match &node.path {
            Some(path) => Some(self.root(path, node.root)?),
            None => None,
        };
        let place = Place::top(node.path.clone());
        let clone = |dir: &Option<Dir>| dir.as_ref().map(Dir::try_clone).transpose();
        let broken = |error| self.destination("cannot open", &place, c"", error);
        let (base, here) = (
            clone(&self.set.base.top).map_err(broken)?,
            clone(&self.set.here.top).map_err(broken)?,
        );
        let (entry, source, root) = match found {
            Some((found, root)) => (Some(found.entry), Some(found.folder), root),
            None => (None, None, None),
        };
        let dev = entry.as_ref().and_then(|entry| entry.meta.id).map(|id| id.dev);
        Ok(Folder::new(Opened {
            entry,
            root,
            dev: dev.filter(|_| self.keep().one_file_system),
            node: Some(node.clone()),
            fresh: false,
            partial,
            base_records: self.set.base.kept.load(&place).map_err(broken)?,
            here_records: self.set.here.kept.load(&place).map_err(broken)?,
            place,
            handles: Arc::new(Handles::new(source, base, here, &self.open)),
        }))
    }

    /// Opens a folder of the layout on the source; the number of its source root, if it is one.
    fn root(
        &self,
        path: &std::path::Path,
        is_root: bool,
    ) -> Result<(Root<S::Folder>, Option<usize>), RunError> {
        let failed = |error| RunError::Root { path: path.to_owned(), error };
        let found = self.source.root(path).map_err(failed)?;
        if !is_root {
            return Ok((found, None));
        }
        if found.entry.meta.id == Some(self.set.backups) {
            let (path, backups) = (path.to_owned(), self.set.backups_dir.clone());
            return Err(RunError::InsideBackups { path, backups });
        }
        if found.was_link && !self.last_try() {
            self.event(&Event::RootIsLink { path: shown_path(path) });
        }
        let mut roots = lock(&self.roots);
        let number = roots.iter().position(|root| root.path == path);
        if let Some(root) = number.and_then(|number| roots.get_mut(number)) {
            root.file_system.clone_from(&found.file_system);
        }
        Ok((found, number))
    }

    /// Lists a folder: the source's, or on the way to a source root what the layout has there.
    fn list(self: &Arc<Self>, folder: &Arc<Folder<S::Folder>>, whole: bool) {
        let source = folder.open_handles().and_then(|handles| handles.source.clone());
        let sink =
            Box::new(Listing { walk: Arc::clone(self), folder: Arc::clone(folder), listed: 0 });
        match source {
            Some(source) if whole => self.source.list(&source, sink),
            _ => (sink as Box<dyn ListSink>).end(Ok(())),
        }
    }

    fn enter(
        self: &Arc<Self>,
        parent: &Arc<Folder<S::Folder>>,
        entry: Entry,
        found: Option<Found<S::Folder>>,
        mounted: bool,
    ) -> Result<(), RunError> {
        let handles = self.handles(parent)?;
        let opened = match (&found, &handles.source) {
            (Some(found), _) => Ok(Arc::clone(&found.source)),
            (None, Some(source)) => {
                self.source.folder(source, &entry.name, &entry.meta).map(Arc::new)
            }
            (None, None) => Err(SourceError::Vanished),
        };
        let source = match opened {
            Ok(source) => source,
            Err(error) => {
                self.unread(parent, &entry.name, error)?;
                return self.settle(parent);
            }
        };
        let origin = found.as_ref().and_then(|found| found.node.path.clone());
        let place = parent.place.child(&entry.name, origin);
        let base = handles.base.as_ref().and_then(|base| base.child(&entry.name).ok());
        let (here, fresh) = T::enter(self, parent, &handles, &entry)?;
        let broken =
            |error| self.destination("cannot read what is kept beside", &place, c"", error);
        let whole = found.as_ref().is_none_or(|found| found.node.root);
        let (node, root, dev) = match found {
            Some(found) if found.root.is_some() => {
                let dev = entry.meta.id.map(|id| id.dev);
                (Some(found.node), found.root, dev.filter(|_| self.keep().one_file_system))
            }
            Some(found) => (Some(found.node), parent.root, parent.dev),
            None => (None, parent.root, parent.dev),
        };
        self.set.context.progress.set_folder(|| crate::bytes::shown(&place.source_of(c"")));
        let folder = Folder::new(Opened {
            entry: Some(entry),
            node,
            root,
            dev,
            fresh,
            partial: false,
            base_records: self.set.base.kept.load(&place).map_err(broken)?,
            here_records: if fresh {
                Records::new()
            } else {
                self.set.here.kept.load(&place).map_err(broken)?
            },
            place: Arc::clone(&place),
            handles: Arc::new(Handles::new(Some(source), base, here, &self.open)),
        });
        drop(handles);
        self.settle(parent)?;
        self.list(&folder, whole && !mounted);
        if self.open.load(Ordering::Relaxed) > self.most_open {
            folder.set_handles(None);
        }
        Ok(())
    }

    /// The handles of `folder`, opened again from the top if they were closed.
    pub(crate) fn handles(
        self: &Arc<Self>,
        folder: &Folder<S::Folder>,
    ) -> Result<Arc<Handles<S::Folder>>, RunError> {
        match folder.open_handles() {
            Some(handles) => Ok(handles),
            None => {
                let (handles, _) = self.reopen(&folder.place)?;
                folder.set_handles(Some(Arc::clone(&handles)));
                Ok(handles)
            }
        }
    }

    /// Goes down to `place` from the top, a name at a time.
    fn reopen(
        self: &Arc<Self>,
        place: &Arc<Place>,
    ) -> Result<(Arc<Handles<S::Folder>>, Option<Entry>), RunError> {
        let chain = place.chain();
        let (mut source, mut entry) = (None, None);
        let clone = |dir: &Option<Dir>| dir.as_ref().map(Dir::try_clone).transpose();
        let broken = |error| self.destination("cannot open again", place, c"", error);
        let mut base = clone(&self.set.base.top).map_err(broken)?;
        let mut here = clone(&self.set.here.top).map_err(broken)?;
        for (depth, place) in chain.iter().enumerate() {
            if depth > 0 {
                base = base.and_then(|base| base.child(place.name()).ok());
                here = here.map(|here| here.child(place.name())).transpose().map_err(broken)?;
            }
            if let Some(path) = place.origin() {
                let (found, _) = self.root(path, false)?;
                (source, entry) = (Some(found.folder), Some(found.entry));
            } else if let Some(parent) = source.take() {
                let looked = self.source.look(&parent, place.name());
                let opened = looked.and_then(|looked| {
                    let folder = self.source.folder(&parent, place.name(), &looked.meta)?;
                    Ok((Arc::new(folder), looked))
                });
                match opened {
                    Ok((folder, looked)) => (source, entry) = (Some(folder), Some(looked)),
                    // Gone or closed since: what is asked for below it has vanished as well.
                    Err(_) => {
                        entry = None;
                        break;
                    }
                }
            }
        }
        Ok((Arc::new(Handles::new(source, base, here, &self.open)), entry))
    }

    /// Compares and plans some entries of `folder` that `source` listed, and has the plan carried out.
    fn process<'a>(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        source: &Arc<S::Folder>,
        entries: impl Iterator<Item = Listed<'a>>,
        count: bool,
    ) -> Result<(), RunError> {
        let handles = self.handles(folder)?;
        let mut steps = Vec::new();
        let mut enter = Vec::new();
        let mut batched = Batched::default();
        for entry in entries {
            if self.halted() {
                return Ok(());
            }
            if !self.belongs(folder, entry) || !folder.see(entry.name) {
                continue;
            }
            let planned = self.plan(folder, &handles, entry)?;
            batched.entry(entry.meta, planned.step.verdict);
            if let Some(base) = &planned.base {
                if base.meta.kind != Kind::Folder {
                    batched.root.before += 1;
                } else if entry.meta.kind != Kind::Folder
                    && let Some(base) = handles.base.as_ref().and_then(|dir| dir.try_clone().ok())
                {
                    let (parent, name) = (Arc::new(base), entry.name.to_owned());
                    self.queue.push(Task::Gone { parent, name, root: folder.root });
                }
            }
            if entry.meta.kind == Kind::Folder {
                enter.push((entry.to_entry(), folder.is_mount_point(entry.meta)));
            }
            steps.push(planned);
        }
        if count {
            self.tally.add(&batched, folder.root);
            add(&self.set.context.progress.entries, batched.counts.entries);
        }
        T::apply(self, folder, &handles, source, &steps);
        for (entry, mounted) in enter {
            if mounted {
                let path = crate::bytes::shown(&folder.place.source_of(&entry.name));
                self.event(&Event::MountPoint { path });
            }
            folder.expect(1);
            self.queue.push(Task::Enter {
                parent: Arc::clone(folder),
                entry,
                found: None,
                mounted,
            });
        }
        Ok(())
    }

    /// Whether the job keeps this entry, and the layout has nothing else in its place.
    fn belongs(&self, folder: &Folder<S::Folder>, entry: Listed<'_>) -> bool {
        let keep = self.keep();
        let kind = entry.meta.kind;
        if kind == Kind::Folder && entry.meta.id == Some(self.set.backups) {
            let path = crate::bytes::shown(&folder.place.source_of(entry.name));
            self.event(&Event::BackupsInsideSource { path });
            return false;
        }
        let in_layout =
            folder.node.as_ref().is_some_and(|node| node.below.contains_key(entry.name.to_bytes()));
        !(in_layout
            || kind == Kind::Symlink && !keep.symlinks
            || kind.is_device() && !keep.devices
            || kind.is_special() && !keep.specials)
    }

    fn plan<'a>(
        &self,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: Listed<'a>,
    ) -> Result<Planned<'a>, RunError> {
        // What cannot be read in the base is copied anew.
        let look = |dir: &Option<Dir>, records: &Records| match dir {
            Some(dir) => held(dir, entry.name, records, self.asked()),
            None => Ok(None),
        };
        let mut base = look(&handles.base, &folder.base_records).unwrap_or(None);
        if entry.meta.kind == Kind::Folder && self.set.base.kept.any() {
            // A folder's own record stands in the folder's own file.
            let place = folder.place.child(entry.name, None);
            let own = self.set.base.kept.load(&place).ok().and_then(|mut own| own.remove(c""));
            base = match own {
                Some(own) => own.complete(base),
                None => base,
            };
        }
        let here = if folder.fresh {
            None
        } else {
            look(&handles.here, &folder.here_records).map_err(|error| {
                self.destination("cannot look at", &folder.place, entry.name, error)
            })?
        };
        let here_durable =
            here.as_ref().is_none_or(|here| self.set.trust.covers(here, base.as_ref()));
        let known = Known { base: base.as_ref(), here: here.as_ref(), here_durable };
        let step = plan(entry, known, &self.set.rules);
        Ok(Planned { entry, base, here, step })
    }

    /// Plans what the layout has directly below `folder`.
    fn below(self: &Arc<Self>, folder: &Arc<Folder<S::Folder>>) -> Result<(), RunError> {
        let Some(node) = folder.node.clone() else { return Ok(()) };
        for (name, node) in &node.below {
            let Some(path) = &node.path else { continue };
            let (found, root) = self.root(path, node.root)?;
            let name = crate::dir::c_name(name.clone())
                .map_err(|error| self.destination("cannot name", &folder.place, c"", error))?;
            let entry = Entry { name, ..found.entry };
            self.planted(folder, Listed::from(&entry), &found.folder, root)?;
            if entry.meta.kind == Kind::Folder {
                folder.expect(1);
                let found = Found { node: node.clone(), source: found.folder, root };
                self.queue.push(Task::Enter {
                    parent: Arc::clone(folder),
                    entry,
                    found: Some(found),
                    mounted: false,
                });
            }
        }
        Ok(())
    }

    /// Plans one entry that stands where the layout puts it, whatever its folder lists.
    fn planted(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        entry: Listed<'_>,
        source: &Arc<S::Folder>,
        root: Option<usize>,
    ) -> Result<(), RunError> {
        let handles = self.handles(folder)?;
        folder.see(entry.name);
        let planned = self.plan(folder, &handles, entry)?;
        let mut batched = Batched::default();
        batched.entry(entry.meta, planned.step.verdict);
        batched.root.before +=
            u64::from(planned.base.as_ref().is_some_and(|base| base.meta.kind != Kind::Folder));
        self.tally.add(&batched, root);
        T::apply(self, folder, &handles, source, &[planned]);
        Ok(())
    }

    /// Says that an entry cannot be read: it is tried again later, or given up.
    pub(crate) fn unread(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
        error: SourceError,
    ) -> Result<(), RunError> {
        let counted = !folder.see(name);
        match error {
            SourceError::Lost(_) => return Err(RunError::SourceLost(error)),
            SourceError::Vanished => {
                self.tally.count(|counts| counts.vanished += 1);
                let handles = self.handles(folder)?;
                let Some(here) = &handles.here else { return Ok(()) };
                return T::superfluous(self, folder, here, name);
            }
            SourceError::Replaced | SourceError::Unreadable { .. } => {}
        }
        let mut again = lock(&self.again);
        if !self.last_try() && again.len() < RETRIES {
            let (place, name) = (Arc::clone(&folder.place), name.to_owned());
            again.push(Retry { place, name, root: folder.root, dev: folder.dev, counted });
            return Ok(());
        }
        drop(again);
        let instead = T::unread(self, folder, name)?;
        self.problem(&folder.place.source_of(name), error, instead);
        Ok(())
    }

    /// Tells and counts an entry that was not read well.
    pub(crate) fn problem(&self, path: &[u8], what: impl std::fmt::Display, instead: Instead) {
        self.tally.count(|counts| {
            counts.problems += 1;
            counts.carried_forward += u64::from(instead == Instead::CarriedForward);
        });
        self.event(&Event::Problem(Problem::new(path, what, instead)));
    }

    /// Looks once more at entries of one folder that could not be read.
    fn again(self: &Arc<Self>, retries: Vec<Retry>) -> Result<(), RunError> {
        let Some(Retry { place, root, dev, .. }) = retries.first() else { return Ok(()) };
        let (handles, entry) = self.reopen(place)?;
        let broken = |error| self.destination("cannot read what is kept beside", place, c"", error);
        let source = handles.source.clone();
        let folder = Folder::new(Opened {
            place: Arc::clone(place),
            entry,
            node: None,
            root: *root,
            dev: *dev,
            fresh: false,
            partial: true,
            base_records: self.set.base.kept.load(place).map_err(broken)?,
            here_records: self.set.here.kept.load(place).map_err(broken)?,
            handles,
        });
        for Retry { name, counted, .. } in &retries {
            let looked = match &source {
                Some(source) => self.source.look(source, name),
                None => Err(SourceError::Vanished),
            };
            match (looked, &source) {
                (Ok(entry), Some(source)) => {
                    self.process(&folder, source, std::iter::once(Listed::from(&entry)), !counted)?;
                }
                (Err(error), _) => self.unread(&folder, name, error)?,
                (Ok(_), None) => {}
            }
        }
        self.settle(&folder)
    }

    /// Counts what was below `name`, which the base has and the source no longer.
    fn gone(
        self: &Arc<Self>,
        parent: &Dir,
        name: &CStr,
        root: Option<usize>,
    ) -> Result<(), RunError> {
        let Ok(dir) = parent.child(name).map(Arc::new) else { return Ok(()) };
        let mut batched = Batched::default();
        // A base that cannot be read is counted as far as it can.
        let _ = dir.names(|entry| {
            batched.counts.deleted += 1;
            if entry.folder {
                let (parent, name) = (Arc::clone(&dir), entry.name.to_owned());
                self.queue.push(Task::Gone { parent, name, root });
            } else {
                batched.root.before += 1;
            }
            ControlFlow::Continue(())
        });
        self.tally.add(&batched, root);
        Ok(())
    }

    /// The listing of a folder is through: what it did not show is gone.
    fn listed(self: &Arc<Self>, folder: &Arc<Folder<S::Folder>>) -> Result<(), RunError> {
        self.below(folder)?;
        let handles = self.handles(folder)?;
        if let Some(base) = handles.base.as_ref().and_then(|dir| dir.try_clone().ok()) {
            let base = Arc::new(base);
            let mut batched = Batched::default();
            let _ = base.names(|entry| {
                if !folder.saw(entry.name) {
                    batched.counts.deleted += 1;
                    T::deleted(self, folder, entry.name, entry.folder);
                    if entry.folder {
                        let (parent, name) = (Arc::clone(&base), entry.name.to_owned());
                        self.queue.push(Task::Gone { parent, name, root: folder.root });
                    } else {
                        batched.root.before += 1;
                    }
                }
                ControlFlow::Continue(())
            });
            self.tally.add(&batched, folder.root);
        }
        if folder.fresh {
            return Ok(());
        }
        let Some(here) = &handles.here else { return Ok(()) };
        let mut extra = Vec::new();
        here.names(|entry| {
            if !folder.saw(entry.name) {
                extra.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| self.destination("cannot list", &folder.place, c"", error))?;
        extra.iter().try_for_each(|name| T::superfluous(self, folder, here, name))
    }

    /// One thing that `folder` waited for has happened; the last one finishes it.
    pub(crate) fn settle(self: &Arc<Self>, folder: &Folder<S::Folder>) -> Result<(), RunError> {
        if folder.settle() && !self.halted() { T::finish(self, folder) } else { Ok(()) }
    }

    /// Whether an empty source root is one whose file system is not mounted.
    fn check_empty(&self, folder: &Folder<S::Folder>) -> Result<(), RunError> {
        let roots = lock(&self.roots);
        let Some(root) = folder.root.and_then(|number| roots.get(number)) else { return Ok(()) };
        let is_root = folder.node.as_ref().is_some_and(|node| node.root && node.below.is_empty());
        let moved =
            root.file_system_before.is_some() && root.file_system_before != root.file_system;
        let mut held_something = false;
        if let Some(base) = folder.open_handles().as_ref().and_then(|handles| handles.base.as_ref())
        {
            let _ = base.names(|_| {
                held_something = true;
                ControlFlow::Break(())
            });
        }
        if is_root && moved && held_something && !self.set.accept_empty {
            return Err(RunError::Unmounted { path: root.path.clone() });
        }
        Ok(())
    }
}

/// Takes a folder's listing.
struct Listing<S: Source, T: Target<S>> {
    walk: Arc<Walk<S, T>>,
    folder: Arc<Folder<S::Folder>>,
    listed: u64,
}

impl<S: Source, T: Target<S>> ListSink for Listing<S, T> {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        self.listed += batch.len() as u64;
        let walk = &self.walk;
        let result = walk.handles(&self.folder).and_then(|handles| match &handles.source {
            Some(source) => walk.process(&self.folder, source, batch.iter(), true),
            None => Ok(()),
        });
        if let Err(error) = result {
            walk.fail(error);
        }
        if walk.halted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn unreadable(&mut self, name: &CStr, error: SourceError) {
        self.listed += 1;
        if let Err(error) = self.walk.unread(&self.folder, name, error) {
            self.walk.fail(error);
        }
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        let (walk, folder) = (&self.walk, &self.folder);
        if walk.halted() {
            return;
        }
        let empty = self.listed == 0;
        let outcome = match result {
            Ok(()) if empty => walk.check_empty(folder).and_then(|()| walk.listed(folder)),
            Ok(()) => walk.listed(folder),
            Err(error) => walk.unlisted(folder, error),
        };
        if let Err(error) = outcome.and_then(|()| walk.settle(folder)) {
            walk.fail(error);
        }
    }
}

impl<S: Source, T: Target<S>> Walk<S, T> {
    /// A folder whose listing broke off is tried again as a whole, as an entry of its parent.
    fn unlisted(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        error: SourceError,
    ) -> Result<(), RunError> {
        if let Some(node) = &folder.node {
            let path = node.path.clone().unwrap_or_default();
            return Err(RunError::Root { path, error });
        }
        if matches!(error, SourceError::Lost(_)) {
            return Err(RunError::SourceLost(error));
        }
        let chain = folder.place.chain();
        let [.., parent, _] = &chain[..] else { return Ok(()) };
        let name = folder.place.name();
        let mut again = lock(&self.again);
        if !self.last_try() && again.len() < RETRIES {
            let (place, name) = (Arc::clone(parent), name.to_owned());
            again.push(Retry { place, name, root: folder.root, dev: folder.dev, counted: true });
            return Ok(());
        }
        drop(again);
        let instead = T::unread(self, folder, c"")?;
        self.problem(&folder.place.source_of(c""), error, instead);
        Ok(())
    }
}

/// How many folders may be open at once: each holds up to three handles of the process's limit.
fn most_open_folders() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    let files =
        limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files.min(200_000) / 4).saturating_sub(32).max(8)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
