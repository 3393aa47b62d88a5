//! Measures how much space snapshots take, and how much each would free alone. Writes nothing.
//!
//! Only one snapshot holds a file exactly when the link count of the inode equals the number of its
//! names there. This also covers links from other jobs and from users. Each inode is read once,
//! however many snapshots share it: on many file systems the listing returns the inode number of
//! each name.
//!
//! Blocks that files share without a hard link (reflinks) count for each file, and no snapshot uses
//! them alone. They are looked for in large files, on the file systems that show them.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Meta};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::extents;
use crate::fs::file_system::{reports_inodes, shows_shared_blocks};
use crate::fs::traverse::{Visitor, explore};
use crate::repository::Repository;
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// The smallest file of which shared blocks are looked for, bytes. A run shares no blocks of smaller ones, except where only
/// metadata changed.
const LARGE: u64 = 1 << 20;

/// The space that a snapshot, or a group of snapshots, takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries, counting every name; the top folder of a snapshot is not counted.
    pub entries: u64,
    /// Sum of the sizes of the regular files, bytes. A file with several names counts once.
    pub bytes: u64,
    /// Bytes allocated on disk, as in du(1).
    pub disk_bytes: u64,
    /// Bytes that its removal would free.
    pub alone_bytes: u64,
    /// Bytes of [`Usage::disk_bytes`] in blocks that other files use too. They count for each file.
    pub shared_bytes: u64,
}

/// The result of a measurement.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// One value per group, in the given order.
    pub each: Vec<Usage>,
    /// Bytes that all groups take together.
    pub disk_bytes: u64,
    /// Folders that could not be read: escaped path and reason. Their content is not counted.
    pub unread: Vec<(String, String)>,
}

/// Measures groups of snapshots. A group counts as one: files that only its members share count as
/// its own.
///
/// # Errors
/// A snapshot cannot be opened.
pub fn measure(
    repository: &Repository,
    groups: &[Vec<SnapshotName>],
) -> Result<Measured, LookError> {
    let inodes = Inodes::default();
    let (mut each, mut unread, mut disk_bytes) = (Vec::new(), Vec::new(), 0);
    for (number, group) in groups.iter().enumerate() {
        let sums = Sums::default();
        for name in group {
            let top = repository.top(name)?;
            let gauge = UsageMeter::new(number, &inodes, &sums, &top, name);
            explore(&top, &TreePath::top(None), workers(), &gauge);
            unread.append(&mut lock(&gauge.unread));
            // The top folder itself is not counted as an entry.
            sums.entries.fetch_sub(1, Ordering::Relaxed);
        }
        let usage = sums.usage();
        disk_bytes += usage.alone_bytes + sums.single_shared.load(Ordering::Relaxed);
        each.push(usage);
    }
    let mut measured = Measured { each, disk_bytes, unread };
    let in_shared_blocks = unpoisoned(inodes.in_shared_blocks.into_inner());
    for (key, inode) in inodes.shards.into_iter().flat_map(|shard| unpoisoned(shard.into_inner())) {
        measured.disk_bytes += inode.disk;
        if !inode.shared && inode.names == inode.links {
            let in_shared_blocks = in_shared_blocks.get(&key).copied().unwrap_or(0);
            measured.each[inode.first].alone_bytes += inode.disk - in_shared_blocks;
        }
    }
    Ok(measured)
}

/// Measures everything below the folder `inside` of a snapshot.
///
/// # Errors
/// The folder cannot be opened.
pub(crate) fn measure_below(
    repository: &Repository,
    name: &SnapshotName,
    inside: &[u8],
) -> Result<Usage, LookError> {
    let mut names = inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let dir =
        names.try_fold(repository.top(name)?, |dir, name| dir.child(&crate::entry::c_name(name)?));
    let dir = dir.map_err(|error| LookError {
        action: "cannot read",
        path: repository.path_of(name),
        error,
    })?;
    let (inodes, sums) = (Inodes::default(), Sums::default());
    let gauge = UsageMeter::new(0, &inodes, &sums, &dir, name);
    explore(&dir, &TreePath::top(None), workers(), &gauge);
    sums.entries.fetch_sub(1, Ordering::Relaxed);
    Ok(sums.usage())
}

/// An inode with several names.
struct Inode {
    disk: u64,
    size: u64,
    links: u64,
    /// The group in which it was first seen.
    first: usize,
    /// The group in which it was last seen.
    last: usize,
    /// The number of its names in the first group.
    names: u64,
    /// Whether another group contains it too.
    shared: bool,
}

/// Hashes inode numbers with one multiplication.
#[derive(Default)]
struct InodeHasher(u64);

impl Hasher for InodeHasher {
    fn finish(&self) -> u64 {
        // Hash tables use the lowest bits, and the keys of a shard share six of them.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: 2^64 divided by the golden ratio.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Shard = HashMap<u64, Inode, BuildHasherDefault<InodeHasher>>;

/// All inodes with several names, in shards so that threads rarely wait for each other.
struct Inodes {
    shards: [Mutex<Shard>; 64],
    /// The bytes in shared blocks, of those that have any.
    in_shared_blocks: Mutex<HashMap<u64, u64>>,
}

impl Default for Inodes {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, in_shared_blocks: Mutex::default() }
    }
}

impl Inodes {
    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(key % 64) as usize])
    }
}

/// The running totals of a group.
#[derive(Default)]
struct Sums {
    entries: AtomicU64,
    bytes: AtomicU64,
    disk: AtomicU64,
    alone: AtomicU64,
    shared: AtomicU64,
    /// Bytes in shared blocks of inodes with one name.
    single_shared: AtomicU64,
}

impl Sums {
    fn usage(&self) -> Usage {
        let value = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Usage {
            entries: value(&self.entries),
            bytes: value(&self.bytes),
            disk_bytes: value(&self.disk),
            alone_bytes: value(&self.alone),
            shared_bytes: value(&self.shared),
        }
    }

    fn add(&self, usage: Usage) {
        for (sum, more) in [
            (&self.entries, usage.entries),
            (&self.bytes, usage.bytes),
            (&self.disk, usage.disk_bytes),
            (&self.alone, usage.alone_bytes),
            (&self.shared, usage.shared_bytes),
        ] {
            sum.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// Measures one snapshot.
struct UsageMeter<'a> {
    group: usize,
    inodes: &'a Inodes,
    sums: &'a Sums,
    /// Whether listings return inode numbers.
    known: bool,
    /// Whether the file system shows shared blocks.
    shows_shared: bool,
    /// The device of the snapshot.
    dev: u64,
    name: &'a SnapshotName,
    unread: Mutex<Vec<(String, String)>>,
}

impl<'a> UsageMeter<'a> {
    /// Prepares to measure what is below `top` in the snapshot `name`.
    fn new(
        group: usize,
        inodes: &'a Inodes,
        sums: &'a Sums,
        top: &Dir,
        name: &'a SnapshotName,
    ) -> Self {
        let dev = top.meta().ok().and_then(|meta| meta.id).map_or(0, |id| id.dev);
        let (known, shows_shared) = (reports_inodes(top), shows_shared_blocks(top));
        Self { group, inodes, sums, known, shows_shared, dev, name, unread: Mutex::default() }
    }

    /// Counts another name of the known inode `key`.
    fn again(&self, key: u64, inode: &mut Inode, usage: &mut Usage) {
        if inode.last != self.group {
            inode.last = self.group;
            inode.shared = true;
            usage.disk_bytes += inode.disk;
            usage.bytes += inode.size;
            if self.shows_shared && inode.size >= LARGE {
                let all = lock(&self.inodes.in_shared_blocks);
                usage.shared_bytes += all.get(&key).copied().unwrap_or(0);
            }
        }
        inode.names += u64::from(!inode.shared);
    }

    /// Counts a name of the inode `key`. Returns `false` if the inode is not known yet.
    fn count_known(&self, key: u64, usage: &mut Usage) -> bool {
        let mut shard = self.inodes.shard(key);
        shard.get_mut(&key).map(|inode| self.again(key, inode, usage)).is_some()
    }

    /// Bytes of the file `name` in blocks that other files use too.
    fn in_shared_blocks(&self, dir: &Dir, name: &CStr, meta: &Meta) -> u64 {
        if !self.shows_shared || meta.kind != Kind::File || meta.size < LARGE {
            return 0;
        }
        // Of a file that may not be read, nothing is known.
        let found = dir.open_file(name).ok().and_then(|file| extents::shared_bytes(&file));
        found.unwrap_or(0).min(meta.allocated)
    }

    /// Counts the name `name` of the inode that `meta` describes.
    fn count(&self, dir: &Dir, name: &CStr, meta: &Meta, usage: &mut Usage) {
        let Some(id) = meta.id else { return };
        let (disk, group) = (meta.allocated, self.group);
        let size = if meta.kind == Kind::File { meta.size } else { 0 };
        let in_shared_blocks = self.in_shared_blocks(dir, name, meta);
        if meta.links > 1 {
            // Another file system has its own inode numbers.
            let other = if id.dev == self.dev { 0 } else { id.dev.rotate_left(32) };
            let key = id.ino ^ other;
            let mut shard = self.inodes.shard(key);
            // Another thread may have added it since the listing.
            if let Some(inode) = shard.get_mut(&key) {
                return self.again(key, inode, usage);
            }
            if in_shared_blocks > 0 {
                lock(&self.inodes.in_shared_blocks).insert(key, in_shared_blocks);
            }
            let links = meta.links;
            let (first, last, names, shared) = (group, group, 1, false);
            shard.insert(key, Inode { disk, size, links, first, last, names, shared });
        } else {
            usage.alone_bytes += disk - in_shared_blocks;
            self.sums.single_shared.fetch_add(in_shared_blocks, Ordering::Relaxed);
        }
        usage.shared_bytes += in_shared_blocks;
        usage.disk_bytes += disk;
        usage.bytes += size;
    }
}

impl Visitor for UsageMeter<'_> {
    fn folder(&self, _: &Arc<TreePath>, dir: &Dir, enter: &mut dyn FnMut(&CStr)) -> io::Result<()> {
        let meta = dir.meta()?;
        let known = self.known && meta.id.is_some_and(|id| id.dev == self.dev);
        let mut usage = Usage {
            entries: 1,
            disk_bytes: meta.allocated,
            alone_bytes: meta.allocated,
            ..Usage::default()
        };
        let mut unknown: Vec<(u64, CString)> = Vec::new();
        let listed = dir.names(|entry| {
            if entry.folder {
                enter(entry.name);
            } else if known && self.count_known(entry.ino, &mut usage) {
                usage.entries += 1;
            } else {
                unknown.push((entry.ino, entry.name.to_owned()));
            }
            ControlFlow::Continue(())
        });
        // Inodes with close numbers share disk blocks.
        unknown.sort_unstable_by_key(|(ino, _)| *ino);
        for (_, name) in unknown {
            match dir.stat(&name) {
                Ok(meta) if meta.kind == Kind::Folder => enter(&name),
                Ok(meta) => {
                    usage.entries += 1;
                    self.count(dir, &name, &meta, &mut usage);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.sums.add(usage);
        listed
    }

    fn failed(&self, place: &Arc<TreePath>, error: io::Error) {
        let inside = crate::entry::escape::shown(&place.inside());
        lock(&self.unread).push((format!("{}/{inside}", self.name), error.to_string()));
    }
}
