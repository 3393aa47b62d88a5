//! Files without a name (open(2), `O_TMPFILE`). They vanish when they are closed, also when the process is killed.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

/// Creates a file without a name on the file system of `folder`.
///
/// # Errors
/// Those of `openat(2)`: several network file systems have no such files.
pub(crate) fn unnamed_file(folder: impl AsFd) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, c".", flags, Mode::RUSR | Mode::WUSR)?;
    Ok(file.into())
}
