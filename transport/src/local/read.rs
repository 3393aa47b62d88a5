//! Reads local files and distinguishes data from holes.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;

use engine::SourceError;
use engine::entry::{Kind, Meta};
use engine::fs::{Dir, next_data, stat};
use engine::source::Wanted;
use rustix::fs::SeekFrom;

/// Bytes per read: small enough to stay in a core's cache until the bytes are hashed and written.
pub(crate) const READ: usize = 256 * 1024;

/// Maximum number of pieces that the reading thread is ahead of the consumer.
const AHEAD: usize = 4;

/// A piece of a file.
pub(crate) enum Piece<'a> {
    /// A buffer and the number of valid bytes at its start. The consumer may swap the buffer for another.
    Bytes(&'a mut Vec<u8>, usize),
    /// A hole of this many bytes.
    Hole(u64),
}

/// How a file is opened: with or without following symlinks.
pub(crate) type Open = fn(&Dir, &CStr) -> io::Result<File>;

/// The folder that holds a file, and how to open the file.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) folder: &'a Dir,
    pub(crate) open: Open,
    /// Whether files on the device with this number have the size that they report.
    pub(crate) reports_size: &'a (dyn Fn(&File, u64) -> bool + Sync),
}

/// Maximum number of bytes read beyond the reported size. Without it, an endless file would never end.
const MOST_UNTOLD: u64 = 4 << 30;

/// Receives the pieces; returns `Break` to stop the read.
type Into<'a> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a;

/// Reads a file from the requested offset to its end. Returns the metadata of the open handle after the last
/// byte.
///
/// # Errors
/// The errors of `openat(2)`, `read(2)` and `lseek(2)`.
pub(crate) fn read_file(
    opening: Opening<'_>,
    wanted: &Wanted,
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> Result<Meta, SourceError> {
    let mut file = open_file(opening, wanted)?;
    read_opened(&mut file, opening, wanted, buffer, into)
        .map_err(|error| SourceError::from_io("read", error))
}

fn open_file(opening: Opening<'_>, wanted: &Wanted) -> Result<File, SourceError> {
    (opening.open)(opening.folder, &wanted.entry.name).map_err(|error| {
        // Another program holds a lease on the file (fcntl(2)). This open makes the kernel notify that
        // program.
        let leased = error.kind() == io::ErrorKind::WouldBlock;
        SourceError::from_io(if leased { "open" } else { "read" }, error)
    })
}

/// Whether an opened file is not the one that is wanted, or not in the state that is wanted.
fn is_other(opened: &Meta, wanted: &Wanted) -> bool {
    let listed = &wanted.entry.meta;
    let other = opened.kind != Kind::File || opened.id != listed.id;
    let changed =
        opened.size != listed.size || opened.mtime != listed.mtime || opened.ctime != listed.ctime;
    // A file that changes constantly is accepted as it is on the second read.
    other || (changed && (wanted.from > 0 || !wanted.again))
}

/// A file that was opened to be read at any offset.
pub(crate) enum Opened {
    /// The wanted file, and its metadata.
    Wanted(File, Meta),
    /// The metadata of what was found instead.
    Other(Meta),
    /// The file does not have the size that it reports.
    WithoutSize,
}

/// Opens a file to be read at any offset.
///
/// # Errors
/// Those of `openat(2)` and `fstat(2)`.
pub(crate) fn open_at_any_offset(
    opening: Opening<'_>,
    wanted: &Wanted,
) -> Result<Opened, SourceError> {
    let file = open_file(opening, wanted)?;
    let opened = stat::meta(&file).map_err(|error| SourceError::from_io("read", error))?;
    if is_other(&opened, wanted) {
        return Ok(Opened::Other(opened));
    }
    let has_size = opened.id.is_none_or(|id| (opening.reports_size)(&file, id.dev));
    Ok(if has_size { Opened::Wanted(file, opened) } else { Opened::WithoutSize })
}

/// Reads the bytes of an opened file from an offset on: `range` has the offset and the most bytes. `opened` is the
/// metadata of the handle before. Returns that after the last byte.
///
/// # Errors
/// Those of [`read_file`].
pub(crate) fn read_range(
    file: &mut File,
    opened: &Meta,
    range: (u64, u64),
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> Result<Meta, SourceError> {
    let (from, length) = range;
    let end = from.saturating_add(length).min(opened.size);
    let mut read = || {
        // A new handle has no read-ahead yet. An error changes nothing.
        let length = NonZeroU64::new(end.saturating_sub(from));
        let _ = rustix::fs::fadvise(&*file, from, length, rustix::fs::Advice::WillNeed);
        if opened.allocated < opened.size {
            let _ = read_sparse(file, from, end, buffer, into)?;
        } else {
            rustix::fs::seek(&*file, SeekFrom::Start(from))?;
            let _ = read_data(file, end.saturating_sub(from), buffer, into)?;
        }
        stat::meta(&*file)
    };
    read().map_err(|error: io::Error| SourceError::from_io("read", error))
}

fn read_opened(
    file: &mut File,
    opening: Opening<'_>,
    wanted: &Wanted,
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> io::Result<Meta> {
    let from = wanted.from;
    let opened = stat::meta(&*file)?;
    if is_other(&opened, wanted) {
        return Ok(opened);
    }
    let has_size = opened.id.is_none_or(|id| (opening.reports_size)(file, id.dev));
    let mut length = from;
    let mut counting = |piece: Piece<'_>| {
        length += match &piece {
            Piece::Bytes(_, count) => *count as u64,
            Piece::Hole(length) => *length,
        };
        into(piece)
    };
    let virtually = !has_size && opened.allocated == 0 && opened.size <= READ as u64;
    let wants = if opened.allocated < opened.size && !virtually {
        read_sparse(file, from, opened.size, buffer, &mut counting)?
    } else {
        if from > 0 {
            rustix::fs::seek(&*file, SeekFrom::Start(from))?;
        }
        read_data(file, opened.size.saturating_sub(from), buffer, &mut counting)?
    };
    if has_size || wants.is_break() {
        return stat::meta(&*file);
    }
    if read_data(file, MOST_UNTOLD, buffer, &mut counting)?.is_continue()
        && length >= opened.size.saturating_add(MOST_UNTOLD)
    {
        let size = opened.size;
        let what =
            format!("its reported size is {size} bytes, and it continues after {MOST_UNTOLD} more");
        return Err(io::Error::other(what));
    }
    // The reported size is unreliable here, so the size is the number of bytes read.
    Ok(Meta { size: length, ..stat::meta(&*file)? })
}

/// Like [`read_file`], but a separate thread reads up to [`AHEAD`] pieces in advance.
///
/// # Errors
/// Those of [`read_file`].
pub(crate) fn read_ahead(
    opening: Opening<'_>,
    wanted: &Wanted,
    into: &mut Into<'_>,
) -> Result<Meta, SourceError> {
    enum Read {
        Bytes(Vec<u8>, usize),
        Hole(u64),
    }
    let (full, pieces) = sync_channel(AHEAD);
    let (done, empty) = sync_channel(AHEAD + 2);
    std::thread::scope(|scope| {
        let read = move || {
            let mut buffer = vec![0; READ];
            // If the other side has dropped its end, stop reading.
            let sent = |sent: bool| match sent {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
            read_file(opening, wanted, &mut buffer, &mut |piece| match piece {
                Piece::Hole(length) => sent(full.send(Read::Hole(length)).is_ok()),
                Piece::Bytes(buffer, count) => {
                    let other = empty.try_recv().unwrap_or_else(|_| vec![0; READ]);
                    let bytes = std::mem::replace(buffer, other);
                    sent(full.send(Read::Bytes(bytes, count)).is_ok())
                }
            })
        };
        let broken = |error| SourceError::from_io("read", error);
        let reader = std::thread::Builder::new().spawn_scoped(scope, read).map_err(broken)?;
        for piece in pieces {
            let wants = match piece {
                Read::Hole(length) => into(Piece::Hole(length)),
                Read::Bytes(mut bytes, count) => {
                    let wants = into(Piece::Bytes(&mut bytes, count));
                    let _ = done.try_send(bytes);
                    wants
                }
            };
            if wants.is_break() {
                break;
            }
        }
        // Dropping `pieces` here stops a reader that has not finished.
        let panicked = || broken(io::Error::other("the reader panicked"));
        reader.join().unwrap_or_else(|_| Err(panicked()))
    })
}

/// Reads `length` bytes from the current position, or up to the end of the file. Returns `Break` if the
/// consumer wants no more. The limit stops the read even if the file grows faster than it is read.
fn read_data(
    file: &mut File,
    length: u64,
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> io::Result<ControlFlow<()>> {
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = read_some(file, &mut buffer[..most])?;
        if count == 0 {
            break;
        }
        left -= count as u64;
        if into(Piece::Bytes(buffer, count)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Reads the data from offset `from` on, and reports the holes (lseek(2): `SEEK_DATA`, `SEEK_HOLE`).
fn read_sparse(
    file: &mut File,
    from: u64,
    size: u64,
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> io::Result<ControlFlow<()>> {
    let mut at = from;
    while at < size {
        let (data, end) = next_data(file, at, size)?;
        if data > at && into(Piece::Hole(data - at)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = data;
        rustix::fs::seek(&*file, SeekFrom::Start(at))?;
        if read_data(file, end - at, buffer, into)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = end;
    }
    // Leave the position at the end, also if the file ends with a hole.
    rustix::fs::seek(&*file, SeekFrom::Start(at))?;
    Ok(ControlFlow::Continue(()))
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
