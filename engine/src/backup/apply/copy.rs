//! Copies files within the destination, and checks the files that an interrupted run left.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::backup::apply::snapshot_writer::{SnapshotWriter, here};
use crate::backup::apply::stored_names::create;
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::tally::Batched;
use crate::entry::ListedEntry;
use crate::entry::digest::Method;
use crate::fs::dir::Dir;
use crate::fs::extents::next_data;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::fs::mount::point::is_same_mount;
use crate::repository::content;
use crate::source::Source;
use crate::threads::lock::unpoisoned;

/// The most bytes that one `copy_file_range` or read requests.
const CHUNK: usize = 1024 * 1024;

impl<S: Source> SnapshotWriter<S> {
    /// Stores the content of `from` with the metadata of `entry`, with shared blocks where the file system supports
    /// reflinks. With `over`, it replaces the entry that has the name. Returns `false` when `from` cannot be read: the
    /// run then reads the source.
    pub(crate) fn copy_locally(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        from: (&Dir, &CStr),
        entry: ListedEntry<'_>,
        over: bool,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let (here, metadata_writer) = (here(handles)?, &self.metadata_writer);
        let Ok(original) = from.0.open_file(from.1) else { return Ok(false) };
        let mode = metadata_writer.creation_mode(entry.meta);
        let copy = create(over, here, entry.name, mode)?;
        let copied = copy_content(&original, &copy, metadata_writer.abilities.reflinks, &|| {
            self.walk.halted()
        });
        match copied {
            Ok(stored) => done.counts.bytes_stored += stored,
            // The file does not have its final mtime yet, so the next run does not take it for complete.
            Err(CopyError::Stopped) => return Ok(true),
            Err(CopyError::Read) => {
                here.unlink(entry.name)?;
                return Ok(false);
            }
            Err(CopyError::Write(error)) => return Err(error),
        }
        let of_base = handles.base.as_ref().is_some_and(|base| std::ptr::eq(base, from.0))
            && from.1 == entry.name;
        if let Ok(Some((method, hash))) = xattrs::hash_and_method(&original) {
            xattrs::set_hash_by(&copy, method, &hash)?;
        } else if !of_base {
            // Without attributes only the manifest has the hash of the other name, and under that name.
            let method = Method::of(entry.meta);
            match content_hash(&original, method, &|| self.walk.halted()) {
                Ok(hash) => folder.changes.stored(entry.name, method, &hash),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
                Err(_) => {
                    here.unlink(entry.name)?;
                    return Ok(false);
                }
            }
        }
        if of_base {
            folder.changes.copied(entry.name);
        }
        folder.changes.alter();
        let record =
            self.sealed_file(&copy, || metadata_writer.new_file(&copy, entry, folder.fresh))?;
        self.note(folder, entry.name, record);
        done.counts.bytes_saved += entry.meta.size;
        Ok(true)
    }

    /// Finishes a file by `set_metadata`, and syncs it where the file system cannot be synced as a whole.
    pub(crate) fn sealed_file<T>(
        &self,
        file: &File,
        set_metadata: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.sync_each {
            return set_metadata();
        }
        let _in_flight = unpoisoned(self.in_flight.read());
        let done = set_metadata()?;
        let synced = file.sync_all();
        if synced.is_err() {
            self.sync_failed.store(true, Ordering::Relaxed);
        }
        synced.map(|()| done)
    }

    /// Sets the metadata of a file that has the right content and an inode that only this snapshot has. Returns `false`
    /// when the file cannot be opened or the inode may be shared.
    pub(crate) fn update_metadata(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: ListedEntry<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        folder.changes.alter();
        let here = here(handles)?;
        let Ok(file) = here.open_file(entry.name) else { return Ok(false) };
        let meta = stat::meta(&file)?;
        // Another user may have put a file of that user there while the folder was open to others.
        let able = &self.metadata_writer.abilities;
        let foreign = able.owner && ![entry.meta.uid, able.uid].contains(&meta.uid);
        if meta.links != 1 || foreign || !is_same_mount(here, &file)? {
            return Ok(false);
        }
        let metadata_writer = &self.metadata_writer;
        let record = self.sealed_file(&file, || metadata_writer.existing(&file, entry))?;
        self.note(folder, entry.name, record);
        done.counts.bytes_stored += meta.size.min(meta.allocated);
        done.counts.kept += 1;
        Ok(true)
    }

    /// Keeps a file that an interrupted run left if its content has the recorded hash. Otherwise removes it and returns
    /// `false`.
    pub(crate) fn check(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: ListedEntry<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let here = here(handles)?;
        if !self.holds_its_hash(here, entry.name) {
            crate::backup::apply::snapshot_writer::clear(here, entry.name)?;
            return Ok(false);
        }
        done.counts.bytes_stored += entry.file_size();
        self.kept(folder, entry, folder.here_records.get(entry.name), done);
        Ok(true)
    }

    /// Whether the content of a file has its recorded hash. `false` when it cannot be read or has no hash.
    pub(crate) fn holds_its_hash(&self, dir: &Dir, name: &CStr) -> bool {
        let check = || -> io::Result<bool> {
            let file = dir.open_file(name)?;
            let Some((method, recorded)) = xattrs::hash_and_method(&file)? else {
                return Ok(false);
            };
            // The check must read from the disk, not from the page cache.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            Ok(content_hash(&file, method, &|| self.walk.halted())? == recorded)
        };
        check().unwrap_or(false)
    }
}

/// The hash of a file's content by `method`. It does not read holes.
///
/// # Errors
/// Those of `read(2)`; `Interrupted` when `stop` returns true.
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

/// Copies content and holes, by a reflink or `copy_file_range(2)` where the file system supports them. Returns the bytes that
/// share no blocks with `from` because of a reflink.
fn copy_content(
    from: &File,
    to: &File,
    reflinks: bool,
    stop: &dyn Fn() -> bool,
) -> Result<u64, CopyError> {
    if reflinks && rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(0);
    }
    let size = stat::meta(from).map_err(|_| CopyError::Read)?.size;
    let (mut at, mut stored) = (0, 0);
    while at < size {
        let (data, end) = next_data(from, at, size).map_err(|_| CopyError::Read)?;
        if data >= size {
            break;
        }
        copy_range(from, to, data, end, stop)?;
        stored += end - data;
        at = end;
    }
    to.set_len(size).map_err(CopyError::Write)?;
    Ok(stored)
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
                // These files or this kernel do not support it: read and write from here on.
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
