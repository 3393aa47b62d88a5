//! Facts about types of file systems.

pub(crate) mod capabilities;
pub(crate) mod space;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::threads::work_queue::workers;

/// A type of file system.
struct FileSystemType {
    /// The number of the type, of `statfs(2)`: from linux/magic.h and the file systems' own headers.
    number: u64,
    /// It is local, on disk or in memory: the reported size of a file is correct.
    on_disk: bool,
    /// Listings return the same inode numbers as `stat(2)`.
    lists_inodes: bool,
    /// The change time of a file shows when it was written.
    stamps_changes: bool,
    /// An inode gets a new change time when it is renamed, exchanged or linked (measured).
    stamps_renames: bool,
    /// The highest number of names of an inode, where backups can reach it.
    most_links: u64,
}

/// A local file system whose listings may return other inode numbers.
const fn on_disk(number: u64) -> FileSystemType {
    FileSystemType {
        number,
        on_disk: true,
        lists_inodes: false,
        stamps_changes: true,
        stamps_renames: false,
        most_links: u64::MAX,
    }
}

/// A local file system whose listings return the inode numbers of `stat(2)`.
const fn with_inodes(number: u64, most_links: u64) -> FileSystemType {
    FileSystemType { lists_inodes: true, most_links, ..on_disk(number) }
}

/// The same, for one whose renames and links show in the change time of the inode.
const fn with_stamps(number: u64, most_links: u64) -> FileSystemType {
    FileSystemType { stamps_renames: true, ..with_inodes(number, most_links) }
}

/// The known types. In general FUSE, overlayfs and network file systems list other inode numbers than stat(2).
static KNOWN_FILE_SYSTEMS: [FileSystemType; 15] = [
    // EXT4_LINK_MAX (fs/ext4/ext4.h); ext2 and ext3 have the same number.
    with_stamps(0xEF53, 65_000),
    // BTRFS_LINK_MAX (fs/btrfs/ctree.h).
    with_stamps(0x9123_683E, 65_535),
    // Its RENAME_EXCHANGE leaves the change times of files as they are (measured).
    with_inodes(0x5846_5342, u64::MAX), // xfs
    with_inodes(0xF2F5_2010, u64::MAX), // f2fs
    with_inodes(0x2FC1_2FC1, u64::MAX), // zfs
    with_stamps(0x0102_1994, u64::MAX), // tmpfs
    on_disk(0xCA45_1A4E),               // bcachefs
    on_disk(0x7366_746E),               // ntfs3
    on_disk(0x794C_7630),               // overlayfs
    on_disk(0x3153_464A),               // jfs
    on_disk(0x5265_4973),               // reiserfs
    on_disk(0x482B),                    // HFS+
    // FAT and exFAT store no change times.
    FileSystemType { stamps_changes: false, ..on_disk(0x4D44) },
    FileSystemType { stamps_changes: false, ..on_disk(0x2011_BAB0) },
    // The behaviour of FUSE file systems is unknown.
    FileSystemType { on_disk: false, stamps_changes: false, ..on_disk(0x6573_5546) },
];

/// The number of procfs.
pub(crate) const PROC: u64 = 0x9FA0;

fn number(fd: impl AsFd) -> Option<u64> {
    rustix::fs::fstatfs(fd).ok().map(|found| found.f_type as u64)
}

fn known(fd: impl AsFd) -> Option<&'static FileSystemType> {
    let number = number(fd)?;
    KNOWN_FILE_SYSTEMS.iter().find(|known| known.number == number)
}

/// Whether listings return the same inode numbers as stat(2).
pub(crate) fn reports_inodes(dir: impl AsFd) -> bool {
    known(dir).is_some_and(|known| known.lists_inodes)
}

/// Whether files may share blocks there, and FIEMAP shows which: on btrfs, xfs and bcachefs.
pub(crate) fn shows_shared_blocks(dir: impl AsFd) -> bool {
    number(dir).is_some_and(|number| [0x9123_683E, 0x5846_5342, 0xCA45_1A4E].contains(&number))
}

/// Whether ACLs are among the attributes that the file system of an open entry lists. MooseFS answers what it is asked about an
/// ACL, and lists none (measured), and what others do is unknown.
pub(crate) fn lists_acls(fd: impl AsFd) -> bool {
    thread_local! {
        /// The last device that was found to list none. There statfs(2) asks the server each time.
        static LISTS_NONE: Cell<Option<u64>> = const { Cell::new(None) };
    }
    let device = rustix::fs::fstat(&fd).ok().map(|found| found.st_dev);
    if device.is_some() && LISTS_NONE.get() == device {
        return false;
    }
    let lists = is_on_disk(fd);
    if !lists {
        LISTS_NONE.set(device);
    }
    lists
}

/// The highest number of names of an inode on the file system of `dir`.
pub(crate) fn most_links(dir: impl AsFd) -> u64 {
    known(dir).map_or(u64::MAX, |known| known.most_links)
}

/// The number of threads that work in the folder `dir`: one per core, and on a network file system more, because each call waits
/// for its servers.
pub(crate) fn workers_in(dir: impl AsFd) -> usize {
    /// A few files of each thread's folder are in memory. Sixteen threads gained no more than eight (MooseFS, two cores).
    const WAITING: usize = 8;
    let cores = workers();
    if is_on_disk(dir) { cores } else { cores.max(WAITING) }
}

/// Syncs the file system of an open folder like `syncfs(2)`, and returns its errors.
pub(crate) type SyncFileSystem = fn(BorrowedFd<'_>) -> io::Result<()>;

/// Calls `syncfs(2)` on the current thread, which cannot be interrupted meanwhile.
///
/// # Errors
/// Write errors since the folder was opened (Linux 5.8).
pub fn sync_file_system(folder: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Whether `syncfs` reaches the disk. On FUSE and network file systems it returns 0 without effect
/// (measured), so each file and folder is synced separately there.
pub(crate) fn syncs_as_a_whole(dir: impl AsFd) -> bool {
    is_on_disk(dir)
}

/// Whether an open file or folder is on a local file system, on disk or in memory, where the
/// reported size of a file is correct.
#[must_use]
pub fn is_on_disk(fd: impl AsFd) -> bool {
    known(fd).is_some_and(|known| known.on_disk)
}

/// Whether change times show when a file was written.
pub(crate) fn stamps_changes(dir: impl AsFd) -> bool {
    let known = |number| KNOWN_FILE_SYSTEMS.iter().find(|known| known.number == number);
    number(dir).is_some_and(|number| known(number).is_none_or(|known| known.stamps_changes))
}

/// Whether an inode is known to get a new change time when it is renamed, exchanged or linked.
pub(crate) fn stamps_renames(dir: impl AsFd) -> bool {
    known(dir).is_some_and(|known| known.stamps_renames)
}
