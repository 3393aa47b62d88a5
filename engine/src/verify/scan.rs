//! Walks snapshots, compares their names with the manifest and reads each inode once, on all cores
//! and in inode order.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Meta};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::file_system::{reports_inodes, workers_in};
use crate::fs::lookup::find;
use crate::fs::metadata::stat;
use crate::fs::traverse::{OpenDir, most_open_folders};
use crate::monitor::add;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::manifest::of_snapshot::Hashes;
use crate::repository::manifest::read::ManifestReader;
use crate::repository::manifest::record::{ManifestRecord, RecordedFields, RecordedHash};
use crate::repository::records::sidecar::Sidecar;
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::Queue;
use crate::verify::compared::{ALTERED, Compared};
use crate::verify::inodes::Inodes;
use crate::verify::outcome::{Damage, Flaw, SnapshotFindings, Verified, changed_at};
use crate::verify::read::{Finding, judge};
use crate::verify::sample::Portion;

/// Files that a thread reads per task.
const BATCH: usize = 32;

/// A check of several snapshots, one after the other.
pub(crate) struct Scan<'a> {
    portion: Portion,
    record: bool,
    context: &'a Context,
    inodes: Inodes,
    names: AtomicU64,
    good: AtomicU64,
    bytes: AtomicU64,
    unproved: AtomicU64,
    recorded: AtomicU64,
    /// Hashes of files that cannot bear them, and how often one was found.
    unbearable: Mutex<(Hashes, u64)>,
}

/// A task of a worker thread.
enum ScanTask {
    /// List a folder. It is opened from its parent if that is still open, otherwise from the top.
    List(Option<Arc<OpenDir>>, Arc<TreePath>),
    Read(Arc<OpenDir>, Arc<TreePath>, Vec<ListedFolder>),
}

/// A name that does not belong to a folder.
#[derive(Clone)]
struct ListedFolder {
    ino: u64,
    name: CString,
    /// Whether it is known to be a regular file.
    file: bool,
    /// Its record in the manifest.
    record: Option<ManifestRecord>,
}

impl ListedFolder {
    fn recorded(&self) -> Option<u64> {
        self.record.as_ref().map(ManifestRecord::fingerprint)
    }
}

/// The state of one snapshot during its walk.
struct SnapshotScan {
    queue: Queue<ScanTask>,
    top: Dir,
    kept: Sidecar,
    name: SnapshotName,
    manifest: Option<ManifestReader>,
    /// Whether listings return inode numbers.
    known: bool,
    /// Whether the progress counts each name: the total of the oldest snapshot contains them all.
    each_name: bool,
    seen: Mutex<SnapshotFindings>,
    open: Arc<AtomicUsize>,
    most_open: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(portion: Portion, record: bool, context: &'a Context) -> Self {
        Self {
            portion,
            record,
            context,
            inodes: Inodes::new(),
            names: AtomicU64::new(0),
            good: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            unproved: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            unbearable: Mutex::default(),
        }
    }

    /// Walks one snapshot; `first` is the oldest of the check.
    pub(crate) fn snapshot(
        &self,
        repository: &Repository,
        name: &SnapshotName,
        first: bool,
    ) -> Result<SnapshotFindings, LookError> {
        let _stays = repository.lock_for_reading(name)?;
        let (top, kept) = (repository.top(name)?, repository.kept(name)?);
        let known = reports_inodes(&top);
        let mut seen = SnapshotFindings::default();
        let manifest = repository.manifest(name).unwrap_or_else(|_| {
            seen.no_manifest = true;
            None
        });
        let (queue, seen, open) = (Queue::new(0), Mutex::new(seen), Arc::default());
        let (name, threads) = (name.clone(), workers_in(&top));
        let most_open = most_open_folders();
        let each_name = first && self.context.progress.is_watched();
        let going = SnapshotScan {
            queue,
            top,
            kept,
            name,
            manifest,
            known,
            each_name,
            seen,
            open,
            most_open,
        };
        going.queue.push(ScanTask::List(None, TreePath::top(None)));
        going.queue.work(threads, |task| {
            if self.context.stop.asked() {
                return going.queue.close();
            }
            match task {
                ScanTask::List(parent, place) => {
                    if let Err(error) = self.list(&going, parent, &place) {
                        let mut seen = lock(&going.seen);
                        match error.kind() {
                            io::ErrorKind::PermissionDenied => seen.forbidden.push(place.inside()),
                            _ => seen.unread.push((place.inside(), error.to_string())),
                        }
                    }
                }
                ScanTask::Read(dir, place, files) => self.read(&going, &dir, &place, files),
            }
        });
        let mut seen = unpoisoned(going.seen.into_inner());
        if seen.no_manifest {
            seen.differing.push(Flaw::ManifestUnreadable);
        }
        Ok(seen)
    }

    /// Lists a folder and queues its files for reading.
    fn list(
        &self,
        going: &SnapshotScan,
        parent: Option<Arc<OpenDir>>,
        place: &Arc<TreePath>,
    ) -> io::Result<()> {
        let dir = match parent {
            Some(parent) => parent.child_unseen_here(place.name())?,
            None => {
                let chain = place.chain();
                let top = going.top.try_clone()?;
                chain[1..].iter().try_fold(top, |dir, at| dir.child_unseen_here(at.name()))?
            }
        };
        let dir = Arc::new(OpenDir::new(dir, &going.open));
        let records = going.kept.load(place)?;
        let mut compared = Compared::new(going.manifest.as_ref(), place);
        if compared.unreadable {
            lock(&going.seen).no_manifest = true;
        }
        let (mut files, mut folders, mut entries) = (Vec::new(), Vec::new(), 0_u64);
        let mut unknown = Vec::new();
        dir.names(|entry| {
            entries += 1;
            let record = compared.find(entry.name);
            if entry.folder {
                compared.folder(entry.name, record);
                folders.push(entry.name.to_owned());
                return ControlFlow::Continue(());
            }
            let (ino, name, file) = (entry.ino, entry.name.to_owned(), entry.file);
            let to = if file { &mut files } else { &mut unknown };
            to.push(ListedFolder { ino, name, file, record });
            ControlFlow::Continue(())
        })?;
        for listed in unknown {
            match dir.find(&listed.name)?.map(|meta| meta.kind) {
                Some(Kind::Folder) => {
                    compared.folder(&listed.name, listed.record);
                    folders.push(listed.name);
                }
                Some(Kind::File) => files.push(ListedFolder { file: true, ..listed }),
                // The content of special files and symlinks can be checked only against the
                // manifest.
                Some(_) if listed.record.is_some() => files.push(listed),
                _ => {}
            }
        }
        let beside = records.iter().filter(|(name, record)| {
            record.kind.is_some()
                && !name.is_empty()
                && find(&dir, name).is_ok_and(|it| it.is_none())
        });
        entries += beside.count() as u64;
        let meta = dir.meta()?;
        let differing = compared.finish(&meta);
        // The manifest is more precise than the time of the folder.
        let late = changed_at(&meta).filter(|_| differing.is_none());
        {
            let mut seen = lock(&going.seen);
            seen.entries += entries;
            seen.late.extend(late.map(|time| (place.inside(), time)));
            seen.differing.extend(differing.into_iter().flatten());
        }
        add(&self.names, files.iter().filter(|listed| listed.file).count() as u64);
        self.context.progress.set_folder(|| going.place_shown(place, c""));
        for name in folders {
            // With too many open folders, the subfolder is opened from the top when its turn comes.
            let many = going.open.load(Ordering::Relaxed) > going.most_open;
            let parent = (!many).then(|| Arc::clone(&dir));
            going.queue.push(ScanTask::List(parent, place.child(&name, None)));
        }
        if going.known && !going.each_name {
            files.retain(|listed| !self.inodes.is_done(listed.ino, listed.recorded()));
        }
        files.sort_unstable_by_key(|listed| listed.ino);
        // The queue is last-in-first-out.
        for batch in files.chunks(BATCH).rev() {
            going.queue.push(ScanTask::Read(Arc::clone(&dir), Arc::clone(place), batch.to_vec()));
        }
        Ok(())
    }

    fn read(
        &self,
        going: &SnapshotScan,
        dir: &Dir,
        place: &Arc<TreePath>,
        files: Vec<ListedFolder>,
    ) {
        for listed in files {
            if self.context.stop.asked() {
                return;
            }
            if !listed.file {
                self.compare_special(going, dir, place, &listed);
                continue;
            }
            let name = &listed.name;
            let opened = dir.open_file(name).and_then(|file| Ok((stat::meta(&file)?, file)));
            let (meta, file) = match opened {
                Ok(opened) => opened,
                // It was removed together with its snapshot.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    lock(&going.seen).forbidden.push(place.inside_of(name));
                    continue;
                }
                Err(error) => {
                    let meta = dir.find(name).ok().flatten();
                    let (ino, bytes) =
                        meta.and_then(|meta| Some((meta.id?.ino, meta.size))).unwrap_or_default();
                    let what = format!("it cannot be opened: {error}");
                    self.damage(ino, bytes, what, place.inside_of(name), false, going);
                    continue;
                }
            };
            if meta.kind == Kind::File && !self.read_file(going, place, &listed, &meta, &file) {
                return;
            }
        }
    }

    /// Checks an open file unless its inode was checked before. Returns `false` when a stop was
    /// requested.
    fn read_file(
        &self,
        going: &SnapshotScan,
        place: &Arc<TreePath>,
        listed: &ListedFolder,
        meta: &Meta,
        file: &std::fs::File,
    ) -> bool {
        let ino = meta.id.map_or(0, |id| id.ino);
        let Some(read_before) = self.take(ino, meta, listed) else {
            if going.each_name && self.portion.has(ino) {
                add(&self.context.progress.entries, 1);
                add(&self.context.progress.bytes, meta.size);
            }
            return true;
        };
        let differs = |what| {
            self.damage(ino, meta.size, what, place.inside_of(&listed.name), read_before, going);
        };
        let altered = listed.record.is_some_and(|record| !going.is_as(meta, None, &record));
        if !self.portion.has(ino) {
            if altered {
                differs(ALTERED.to_owned());
            }
            return true;
        }
        add(&self.context.progress.entries, 1);
        self.context.progress.set_file(|| going.place_shown(place, &listed.name));
        let stop = || self.context.stop.asked();
        let count = |count| {
            add(&self.bytes, count);
            add(&self.context.progress.bytes_copied, count);
            add(&self.context.progress.bytes, count);
        };
        let recorded = listed.record.map(|record| record.content);
        let (finding, now) = judge(file, recorded, self.record, &stop, &count);
        match finding {
            Finding::Stopped => return false,
            Finding::Damaged(what) => {
                differs(what);
                return true;
            }
            _ if altered => {
                differs(ALTERED.to_owned());
                return true;
            }
            Finding::Good => add(&self.good, 1),
            Finding::Recorded => add(&self.recorded, 1),
            // An empty file needs no proof.
            Finding::Unproved if meta.size == 0 => add(&self.good, 1),
            Finding::Unproved => {
                add(&self.unproved, 1);
                if let (true, Some(content)) = (self.record && ino != 0, now) {
                    let (hashes, count) = &mut *lock(&self.unbearable);
                    hashes.insert(ino, content);
                    *count += 1;
                }
            }
        }
        if recorded.is_some_and(RecordedHash::is_known) {
            self.inodes.good(ino);
        }
        if listed.record.is_none()
            && meta.links > 1
            && let Some(content) = now
        {
            // The manifest of a newer snapshot may contain it.
            let meta = RecordedFields::ALL.digest(meta, None, true);
            let record = ManifestRecord { name: [0; 8], meta, content };
            self.inodes.note(ino, record.fingerprint());
        }
        true
    }

    /// Claims an inode for reading; `None` if it was already checked. Otherwise returns whether it
    /// was read before.
    fn take(&self, ino: u64, meta: &Meta, listed: &ListedFolder) -> Option<bool> {
        if meta.links > 1 { self.inodes.take(ino, listed.recorded()) } else { Some(false) }
    }

    /// Compares an entry that is neither file nor folder with the manifest.
    fn compare_special(
        &self,
        going: &SnapshotScan,
        dir: &Dir,
        place: &Arc<TreePath>,
        listed: &ListedFolder,
    ) {
        let (Ok(Some(meta)), Some(record)) = (dir.find(&listed.name), listed.record) else {
            return;
        };
        let ino = meta.id.map_or(0, |id| id.ino);
        let Some(read_before) = self.take(ino, &meta, listed) else { return };
        let target = match meta.kind {
            Kind::Symlink => dir.read_link(&listed.name).ok(),
            _ => None,
        };
        if going.is_as(&meta, target.as_deref(), &record) {
            return self.inodes.good(ino);
        }
        let path = place.inside_of(&listed.name);
        self.damage(ino, 0, ALTERED.to_owned(), path, read_before, going);
    }

    fn damage(
        &self,
        ino: u64,
        bytes: u64,
        what: String,
        path: Vec<u8>,
        read_before: bool,
        going: &SnapshotScan,
    ) {
        if ino == 0 {
            // An entry that cannot be opened is reported by its path.
            lock(&going.seen).unread.push((path, what));
        } else {
            self.inodes.differs(ino, bytes, what, (going.name.clone(), path), read_before);
        }
    }

    /// The damaged inodes by number, without their names; and the names whose content was backed up
    /// under another name.
    pub(crate) fn judged(&self) -> (HashMap<u64, Damage>, Vec<(SnapshotName, Flaw)>) {
        self.inodes.judged()
    }

    /// The hashes of files that were to get one and cannot bear it, and how many files count as unproved for that.
    pub(crate) fn unbearable(&self) -> (Hashes, u64) {
        std::mem::take(&mut *lock(&self.unbearable))
    }

    /// Copies the totals into `found`.
    pub(crate) fn sums(&self, found: &mut Verified) {
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

impl SnapshotScan {
    /// The path of an entry below the backups folder, for displays; that of the folder `place` if `name` is empty.
    fn place_shown(&self, place: &Arc<TreePath>, name: &CStr) -> String {
        let inside = if name.is_empty() { place.inside() } else { place.inside_of(name) };
        format!("{}/{}", self.name, crate::entry::escape::shown(&inside))
    }

    /// Whether the entry on disk equals its record.
    fn is_as(&self, meta: &Meta, target: Option<&[u8]>, record: &ManifestRecord) -> bool {
        let coverage = self.manifest.as_ref().map(ManifestReader::coverage);
        coverage.is_none_or(|coverage| coverage.digest(meta, target, true) == record.meta)
    }
}
