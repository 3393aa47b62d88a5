//! Goes through snapshots and reads each inode once: all cores, in the order of inodes.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::portion::Portion;
use super::read::{Finding, judge};
use super::reports::changed_at;
use super::{Damage, Verified};
use crate::catalog::Catalog;
use crate::dir::{self, Dir};
use crate::entry::{Kind, Time};
use crate::error::LookError;
use crate::explore::Held;
use crate::kept::Kept;
use crate::monitor::add;
use crate::name::SnapshotName;
use crate::place::Place;
use crate::queue::{Queue, workers};
use crate::run::Context;
use crate::usage::tells_inodes;
use crate::walk::most_open_folders;

/// Files that a thread reads at a time.
const BATCH: usize = 32;
/// The inodes that were read are kept in so many tables, so that threads seldom wait for one another.
const SHARDS: usize = 64;

/// What was seen of one snapshot.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Entries, folders among them, and those that are only kept beside it.
    pub(super) entries: u64,
    /// Folders whose entries changed at a time, with that.
    pub(super) late: Vec<(Vec<u8>, Time)>,
    /// Folders that cannot be read, each with the reason.
    pub(super) unread: Vec<(Vec<u8>, String)>,
    /// Files and folders that this user may not read.
    pub(super) forbidden: Vec<Vec<u8>>,
}

/// A check of some snapshots, one after the other.
pub(super) struct Scan<'a> {
    portion: Portion,
    record: bool,
    context: &'a Context,
    /// Inodes of several names that were read, or left out.
    done: [Mutex<HashSet<u64>>; SHARDS],
    damaged: Mutex<HashMap<u64, Damage>>,
    names: AtomicU64,
    good: AtomicU64,
    bytes: AtomicU64,
    unproved: AtomicU64,
    recorded: AtomicU64,
}

/// Work for one thread.
enum Task {
    /// Opened below its parent, while that is held open.
    List(Option<Arc<Held>>, Arc<Place>),
    Read(Arc<Held>, Arc<Place>, Vec<(u64, CString)>),
}

/// One snapshot while it is gone through.
struct Going {
    queue: Queue<Task>,
    top: Dir,
    kept: Kept,
    /// Whether listings tell inodes.
    known: bool,
    seen: Mutex<Seen>,
    open: Arc<AtomicUsize>,
    most_open: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Scan<'a> {
    pub(super) fn new(portion: Portion, record: bool, context: &'a Context) -> Self {
        Self {
            portion,
            record,
            context,
            done: std::array::from_fn(|_| Mutex::default()),
            damaged: Mutex::default(),
            names: AtomicU64::new(0),
            good: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            unproved: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
        }
    }

    /// Goes through one snapshot.
    pub(super) fn snapshot(
        &self,
        catalog: &Catalog,
        name: &SnapshotName,
    ) -> Result<Seen, LookError> {
        let _stays = catalog.read(name)?;
        let (top, kept) = (catalog.top(name)?, catalog.kept(name)?);
        let known = tells_inodes(&top);
        let (queue, seen, open) = (Queue::new(0), Mutex::default(), Arc::default());
        let most_open = most_open_folders();
        let going = Going { queue, top, kept, known, seen, open, most_open };
        going.queue.push(Task::List(None, Place::top(None)));
        going.queue.work(workers(), |task| {
            if self.context.stop.asked() {
                return going.queue.close();
            }
            match task {
                Task::List(parent, place) => {
                    if let Err(error) = self.list(&going, parent, &place) {
                        let mut seen = lock(&going.seen);
                        match error.kind() {
                            io::ErrorKind::PermissionDenied => seen.forbidden.push(place.inside()),
                            _ => seen.unread.push((place.inside(), error.to_string())),
                        }
                    }
                }
                Task::Read(dir, place, files) => self.read(&going, &dir, &place, files),
            }
        });
        Ok(going.seen.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lists a folder, and sends its files to be read.
    fn list(&self, going: &Going, parent: Option<Arc<Held>>, place: &Arc<Place>) -> io::Result<()> {
        let dir = match parent {
            Some(parent) => parent.child_unseen(place.name())?,
            None => {
                let chain = place.chain();
                let top = going.top.try_clone()?;
                chain[1..].iter().try_fold(top, |dir, at| dir.child_unseen(at.name()))?
            }
        };
        let dir = Arc::new(Held::new(dir, &going.open));
        let records = going.kept.load(place)?;
        let (mut files, mut folders, mut entries) = (Vec::new(), Vec::new(), 0);
        let mut unknown = Vec::new();
        dir.names(|entry| {
            entries += 1;
            if entry.folder {
                folders.push(entry.name.to_owned());
            } else if entry.file {
                files.push((entry.ino, entry.name.to_owned()));
            } else {
                unknown.push((entry.ino, entry.name.to_owned()));
            }
            ControlFlow::Continue(())
        })?;
        for (ino, name) in unknown {
            match dir.find(&name)?.map(|meta| meta.kind) {
                Some(Kind::Folder) => folders.push(name),
                Some(Kind::File) => files.push((ino, name)),
                _ => {}
            }
        }
        let beside = records.iter().filter(|(name, record)| {
            record.kind.is_some() && !name.is_empty() && dir.find(name).is_ok_and(|it| it.is_none())
        });
        entries += beside.count() as u64;
        let late = changed_at(&dir.meta()?);
        {
            let mut seen = lock(&going.seen);
            seen.entries += entries;
            seen.late.extend(late.map(|time| (place.inside(), time)));
        }
        add(&self.names, files.len() as u64);
        self.context.progress.set_folder(|| crate::bytes::shown(&place.inside()));
        for name in folders {
            // Beyond that a folder is opened again from the top when it is its turn.
            let many = going.open.load(Ordering::Relaxed) > going.most_open;
            let parent = (!many).then(|| Arc::clone(&dir));
            going.queue.push(Task::List(parent, place.child(&name, None)));
        }
        if going.known {
            files.retain(|(ino, _)| !self.is_done(*ino));
        }
        files.sort_unstable();
        // The last that is pushed is the first that is done.
        for batch in files.chunks(BATCH).rev() {
            going.queue.push(Task::Read(Arc::clone(&dir), Arc::clone(place), batch.to_vec()));
        }
        Ok(())
    }

    fn shard(&self, ino: u64) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.done[(ino % SHARDS as u64) as usize])
    }

    fn is_done(&self, ino: u64) -> bool {
        self.shard(ino).contains(&ino)
    }

    fn read(&self, going: &Going, dir: &Dir, place: &Arc<Place>, files: Vec<(u64, CString)>) {
        for (_, name) in files {
            if self.context.stop.asked() {
                return;
            }
            let opened = dir.open_file(&name).and_then(|file| Ok((dir::meta(&file)?, file)));
            let (meta, file) = match opened {
                Ok(opened) => opened,
                // It went with its snapshot.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    lock(&going.seen).forbidden.push(place.inside_of(&name));
                    continue;
                }
                Err(error) => {
                    let meta = dir.find(&name).ok().flatten();
                    let (ino, bytes) =
                        meta.and_then(|meta| Some((meta.id?.ino, meta.size))).unwrap_or_default();
                    let what = format!("it cannot be opened: {error}");
                    self.damage(ino, bytes, what, place.inside_of(&name), going);
                    continue;
                }
            };
            let ino = meta.id.map_or(0, |id| id.ino);
            if meta.kind != Kind::File
                || (meta.links > 1 && !self.shard(ino).insert(ino))
                || !self.portion.has(ino)
            {
                continue;
            }
            add(&self.context.progress.entries, 1);
            let stop = || self.context.stop.asked();
            let count = |count| {
                add(&self.bytes, count);
                add(&self.context.progress.bytes_copied, count);
            };
            match judge(&file, self.record, &stop, &count) {
                Finding::Good => add(&self.good, 1),
                Finding::Recorded => add(&self.recorded, 1),
                // Of nothing there is nothing to prove.
                Finding::Unproved if meta.size == 0 => add(&self.good, 1),
                Finding::Unproved => add(&self.unproved, 1),
                Finding::Damaged(what) => {
                    self.damage(ino, meta.size, what, place.inside_of(&name), going);
                }
                Finding::Stopped => return,
            }
        }
    }

    fn damage(&self, ino: u64, bytes: u64, what: String, path: Vec<u8>, going: &Going) {
        if ino == 0 {
            // What cannot even be looked at is told by its path.
            lock(&going.seen).unread.push((path, what));
        } else {
            lock(&self.damaged).entry(ino).or_insert(Damage { what, bytes, names: Vec::new() });
        }
    }

    /// The damaged inodes, by number, without their names.
    pub(super) fn damaged(&self) -> HashMap<u64, Damage> {
        std::mem::take(&mut *lock(&self.damaged))
    }

    /// Fills in the sums.
    pub(super) fn sums(&self, found: &mut Verified) {
        for (sum, to) in [
            (&self.names, &mut found.names),
            (&self.good, &mut found.good),
            (&self.bytes, &mut found.bytes),
            (&self.unproved, &mut found.unproved),
            (&self.recorded, &mut found.recorded),
        ] {
            *to = sum.load(Ordering::Relaxed);
        }
    }
}
