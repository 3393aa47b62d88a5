//! Room on a file system.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::StatVfs;

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Inodes that are free; `None` where the file system has no fixed number.
    pub free_inodes: Option<u64>,
}

impl Space {
    /// The room on the file system that an open file or folder lies on.
    ///
    /// # Errors
    /// The system's, of `fstatvfs(3)`.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        Ok(rustix::fs::fstatvfs(fd)?.into())
    }

    /// The room on the file system that `path` lies on.
    ///
    /// # Errors
    /// The system's, of `statvfs(3)`.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(rustix::fs::statvfs(path)?.into())
    }
}

impl From<StatVfs> for Space {
    fn from(found: StatVfs) -> Self {
        Self {
            free_bytes: found.f_bavail * found.f_frsize,
            total_bytes: found.f_blocks * found.f_frsize,
            free_inodes: (found.f_files > 0).then_some(found.f_favail),
        }
    }
}
