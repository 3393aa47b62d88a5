//! Small files: bounded reads and atomic writes.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::Dir;
use crate::fs::refusal::says_full;
use crate::fs::temporary::unfinished_name;

/// Creates a private folder if it is missing. If root creates it in another user's folder, that
/// user becomes its owner.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn make_if_missing(dir: &Dir, name: &CStr) -> io::Result<()> {
    match dir.make_folder(name, 0o700) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            if let Some((uid, gid)) = other_owner(dir) {
                let made = dir.child(name)?;
                // The other user may have moved one of root's snapshots there, which must not
                // become theirs.
                if is_empty(&made)? {
                    let _ = crate::fs::metadata::stat::set_owner(&made, Some(uid), Some(gid));
                }
            }
            Ok(())
        }
    }
}

pub(crate) fn is_empty(folder: &Dir) -> io::Result<bool> {
    let mut empty = true;
    folder.names(|_| {
        empty = false;
        ControlFlow::Break(())
    })?;
    Ok(empty)
}

/// If root runs, gives an open file or folder to the owner of `folder`, whose runs will use it.
///
/// # Errors
/// Those of `fchown(2)`.
pub(crate) fn give(file: impl AsFd, folder: &Meta) -> io::Result<()> {
    let user = rustix::process::geteuid();
    if !user.is_root() || folder.uid == user.as_raw() {
        return Ok(());
    }
    crate::fs::metadata::stat::set_owner(file, Some(folder.uid), Some(folder.gid))
}

/// Creates the file `name` in `.backup_manager`, readable only by its owner.
///
/// # Errors
/// Those of `openat(2)`.
pub(crate) fn create_state(dir: &Dir, name: &CStr) -> io::Result<File> {
    let file = dir.create_file(name, 0o600)?;
    if let Some((uid, gid)) = other_owner(dir) {
        let _ = crate::fs::metadata::stat::set_owner(&file, Some(uid), Some(gid));
    }
    Ok(file)
}

/// Gives a folder that root owns in another user's folder to that user. An older version may have
/// created it as root.
pub(crate) fn give_to_owner(dir: &Dir, name: &CStr) {
    let Some((uid, gid)) = other_owner(dir) else { return };
    if let Ok(folder) = dir.child(name)
        && folder.meta().is_ok_and(|meta| meta.uid == 0)
    {
        let _ = crate::fs::metadata::stat::set_owner(&folder, Some(uid), Some(gid));
    }
}

/// The owner of the folder `dir`, if root is about to create something in another user's folder:
/// that user's runs must be able to read and replace it.
pub(crate) fn other_owner(dir: &Dir) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let meta = dir.meta().ok()?;
    (meta.uid != 0).then_some((meta.uid, meta.gid))
}

/// Writes a small file atomically and durably.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn write_whole(dir: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    replace(dir, name, content, File::sync_all)?;
    dir.sync()
}

/// Writes a small file atomically, but without a sync: a power cut may lose it.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn write_soon(dir: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    replace(dir, name, content, |_| Ok(()))
}

/// Writes what a run must be able to say also on a full disk, like `write`, which is [`write_whole`] or [`write_soon`]. Where the
/// disk has no room for another file, it overwrites the file in the blocks that it has: a power cut may then lose it.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn write_even_if_full(
    dir: &Dir,
    name: &str,
    content: &[u8],
    write: fn(&Dir, &str, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    match write(dir, name, content) {
        Err(error) if says_full(&error) => overwrite(dir, name, content).or(Err(error)),
        written => written,
    }
}

fn overwrite(dir: &Dir, name: &str, content: &[u8]) -> io::Result<()> {
    let file = dir.open_to_write(&c_name(name)?)?;
    let meta = crate::fs::metadata::stat::meta(&file)?;
    if meta.kind != Kind::File || meta.links != 1 || meta.allocated < content.len() as u64 {
        return Err(Errno::NOSPC.into());
    }
    file.write_all_at(content, 0)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

/// Writes `content` to a temporary file, calls `finish`, and renames the file to `name`.
pub(crate) fn replace(
    dir: &Dir,
    name: &str,
    content: &[u8],
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let (name, temporary) = (c_name(name)?, unfinished_name(name)?);
    let mut file = create_state(dir, &temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| finish(&file))
        .and_then(|()| dir.rename_over(&temporary, &name));
    if written.is_err() {
        let _ = dir.unlink(&temporary);
    }
    written
}

/// Like [`read_small`], for guards: returns `None` only if the file certainly does not exist.
///
/// # Errors
/// The file cannot be read, or its existence cannot be determined.
pub(crate) fn read_if_any(dir: &Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let mut content = Vec::new();
    match dir.open_file(&c_name(name)?) {
        Ok(file) => {
            file.take(64 * 1024 * 1024).read_to_end(&mut content)?;
            Ok(Some(content))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a small file; `None` if it is missing or cannot be read.
pub(crate) fn read_small(dir: &Dir, name: &str) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    let file = dir.open_file(&c_name(name).ok()?).ok()?;
    file.take(64 * 1024 * 1024).read_to_end(&mut content).ok()?;
    Some(content)
}
