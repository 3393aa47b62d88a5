//! Facts about types of file systems.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::fs::dir::Dir;

/// Whether listings return the same inode numbers as stat(2). True for these file systems; not in
/// general for FUSE, overlayfs and network file systems.
pub(crate) fn tells_inodes(dir: &Dir) -> bool {
    // statfs(2): ext2 to ext4, xfs, btrfs, tmpfs, f2fs, zfs.
    const TELLING: [u32; 6] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1];
    dir.file_system_type().is_ok_and(|kind| TELLING.contains(&kind))
}

/// Syncs the file system of an open folder like `syncfs(2)`, and returns its errors.
pub type SyncFileSystem = fn(BorrowedFd<'_>) -> io::Result<()>;

/// Calls `syncfs(2)` on the current thread, which cannot be interrupted meanwhile.
///
/// # Errors
/// Write errors since the folder was opened (Linux 5.8).
pub fn sync_file_system(folder: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Whether `syncfs` reaches the disk. On FUSE and network file systems it returns 0 without effect
/// (measured), so each file and folder is synced separately there.
pub(crate) fn syncs_as_a_whole(dir: &Dir) -> bool {
    is_on_disk(dir)
}

/// Whether an open file or folder is on a local file system, on disk or in memory, where the
/// reported size of a file is correct.
#[must_use]
pub fn is_on_disk(fd: impl AsFd) -> bool {
    // linux/magic.h and the file systems' own headers.
    const LOCAL: [u64; 14] = [
        0xEF53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683E, // btrfs
        0xF2F5_2010, // f2fs
        0xCA45_1A4E, // bcachefs
        0x2FC1_2FC1, // zfs
        0x4D44,      // FAT
        0x2011_BAB0, // exFAT
        0x7366_746E, // ntfs3
        0x794C_7630, // overlayfs
        0x0102_1994, // tmpfs
        0x3153_464A, // jfs
        0x5265_4973, // reiserfs
        0x482B,      // HFS+
    ];
    rustix::fs::fstatfs(fd).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64)))
}

/// Whether change times show when a file was written. FAT and exFAT store none, and the behaviour
/// of FUSE file systems is unknown.
pub(crate) fn stamps_changes(dir: &Dir) -> bool {
    const NONE: [u64; 3] = [0x4D44, 0x2011_BAB0, 0x6573_5546];
    rustix::fs::fstatfs(dir).is_ok_and(|found| !NONE.contains(&(found.f_type as u64)))
}
