//! Copies within the destination, and checks of what an interrupted run left.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::backup::apply::snapshot_writer::{SnapshotWriter, here, replacing};
use crate::backup::walk::folder::{Folder, Handles};
use crate::backup::walk::state::tally::Batched;
use crate::entry::Listed;
use crate::entry::digest::Method;
use crate::fs::dir::Dir;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::repository::content;
use crate::source::Source;
use crate::threads::lock::unpoisoned;

/// Bytes that one `copy_file_range` or read asks for.
const CHUNK: usize = 1024 * 1024;

impl<S: Source> SnapshotWriter<S> {
    /// Stores the content of `from` with the metadata of `entry`, sharing blocks where the file system
    /// can, `over` what has its name. `false` when `from` cannot be read: then the source has to be.
    pub(crate) fn copy_locally(
        self: &Arc<Self>,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        from: (&Dir, &CStr),
        entry: Listed<'_>,
        over: bool,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let (here, dresser) = (here(handles)?, &self.dresser);
        let Ok(original) = from.0.open_file(from.1) else { return Ok(false) };
        let mode = dresser.creation_mode(entry.meta);
        let copy = replacing(over, here, entry.name, || here.create_file(entry.name, mode))?;
        let copied =
            copy_content(&original, &copy, dresser.abilities.reflinks, &|| self.walk.halted());
        match copied {
            Ok(()) => {}
            // It has not got its time yet.
            Err(CopyError::Stopped) => return Ok(true),
            Err(CopyError::Read) => {
                here.unlink(entry.name)?;
                return Ok(false);
            }
            Err(CopyError::Write(error)) => return Err(error),
        }
        if let Ok(Some((method, hash))) = xattrs::hash_and_method(&original) {
            xattrs::set_hash_by(&copy, method, &hash)?;
        }
        if handles.base.as_ref().is_some_and(|base| std::ptr::eq(base, from.0))
            && from.1 == entry.name
        {
            folder.changes.copied(entry.name);
        }
        folder.changes.alter();
        let record = self.sealed_file(&copy, || dresser.new_file(&copy, entry, folder.fresh))?;
        self.note(folder, entry.name, record);
        done.counts.bytes_saved += entry.meta.size;
        Ok(true)
    }

    /// Finishes a file by `dress`; where the file system cannot be synced as a whole, syncs it.
    pub(crate) fn sealed_file<T>(
        &self,
        file: &File,
        dress: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.sync_each {
            return dress();
        }
        let _in_flight = unpoisoned(self.in_flight.read());
        let done = dress()?;
        let synced = file.sync_all();
        if synced.is_err() {
            self.sync_failed.store(true, Ordering::Relaxed);
        }
        synced.map(|()| done)
    }

    /// Sets the metadata of a file of this snapshot's own, whose content is right.
    pub(crate) fn mend(
        self: &Arc<Self>,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: Listed<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        folder.changes.alter();
        let here = here(handles)?;
        let Ok(file) = here.open_file(entry.name) else { return Ok(false) };
        let meta = stat::meta(&file)?;
        // What another user owns may have been put there while the folder was open to that user.
        let able = &self.dresser.abilities;
        let foreign = able.owner && ![entry.meta.uid, able.uid].contains(&meta.uid);
        if meta.links != 1 || foreign {
            return Ok(false);
        }
        let dresser = &self.dresser;
        let record = self.sealed_file(&file, || dresser.existing(&file, entry))?;
        self.note(folder, entry.name, record);
        done.counts.kept += 1;
        Ok(true)
    }

    /// Keeps a file that an interrupted run left, if its content has the hash that was recorded for it.
    pub(crate) fn check(
        self: &Arc<Self>,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: Listed<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let here = here(handles)?;
        if !self.holds_its_hash(here, entry.name) {
            crate::backup::apply::snapshot_writer::clear(here, entry.name)?;
            return Ok(false);
        }
        self.kept(folder, entry, folder.here_records.get(entry.name), done);
        Ok(true)
    }

    /// Whether a file's content has the hash that is recorded for it.
    pub(crate) fn holds_its_hash(&self, dir: &Dir, name: &CStr) -> bool {
        let check = || -> io::Result<bool> {
            let file = dir.open_file(name)?;
            let Some((method, recorded)) = xattrs::hash_and_method(&file)? else {
                return Ok(false);
            };
            // What the disk holds counts, not what the system still has in memory.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            Ok(content_hash(&file, method, &|| self.walk.halted())? == recorded)
        };
        check().unwrap_or(false)
    }
}

/// The hash of a file's content by `method`. Holes are not read.
///
/// # Errors
/// The system's, of `read(2)`; `Interrupted` when `stop` says so.
pub(crate) fn content_hash(
    file: &File,
    method: Method,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<blake3::Hash> {
    content::hash(file, &stat::meta(file)?, method, stop, &|_| {})
}

enum CopyError {
    Read,
    Write(io::Error),
    Stopped,
}

/// Copies content and holes. Reflinks and `copy_file_range(2)` leave the work to the file system.
fn copy_content(
    from: &File,
    to: &File,
    reflinks: bool,
    stop: &dyn Fn() -> bool,
) -> Result<(), CopyError> {
    if reflinks && rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let size = stat::meta(from).map_err(|_| CopyError::Read)?.size;
    let mut at = 0;
    while at < size {
        let (data, end) = content::next_data(from, at, size).map_err(|_| CopyError::Read)?;
        if data >= size {
            break;
        }
        copy_range(from, to, data, end, stop)?;
        at = end;
    }
    to.set_len(size).map_err(CopyError::Write)
}

fn copy_range(
    from: &File,
    to: &File,
    start: u64,
    end: u64,
    stop: &dyn Fn() -> bool,
) -> Result<(), CopyError> {
    use std::os::unix::fs::FileExt;
    let mut buffer = Vec::new();
    let (mut input, mut output) = (start, start);
    while input < end {
        if stop() {
            return Err(CopyError::Stopped);
        }
        let want = usize::try_from(end - input).unwrap_or(CHUNK).min(CHUNK);
        if buffer.is_empty() {
            match rustix::fs::copy_file_range(from, Some(&mut input), to, Some(&mut output), want) {
                Ok(0) => return Err(CopyError::Read),
                Ok(_) => continue,
                Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
                    return Err(CopyError::Write(error.into()));
                }
                // Not between these files or on this kernel: by hand from here on.
                Err(_) => buffer = vec![0; CHUNK],
            }
        }
        let count = match from.read_at(&mut buffer[..want], input) {
            Ok(0) | Err(_) => return Err(CopyError::Read),
            Ok(count) => count,
        };
        to.write_all_at(&buffer[..count], output).map_err(CopyError::Write)?;
        input += count as u64;
        output = input;
    }
    Ok(())
}
