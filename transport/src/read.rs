//! Reads files of this machine, data and holes apart.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;

use engine::dir::{self, Dir};
use engine::entry::{Kind, Meta};
use engine::source::Wanted;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes that one read asks for: small enough for a core's cache, so that hashing and writing find it there.
pub(crate) const READ: usize = 256 * 1024;

/// How many pieces a file is read ahead of what is done with them.
const AHEAD: usize = 4;

/// A piece of a file.
pub(crate) enum Piece<'a> {
    /// So many bytes at the start of the buffer, which may be exchanged for another one.
    Bytes(&'a mut Vec<u8>, usize),
    /// So many zeros that take no room.
    Hole(u64),
}

/// How files are opened: symlinks followed or not.
pub(crate) type Open = fn(&Dir, &CStr) -> io::Result<File>;

/// What takes the pieces; `Break` when it wants no more.
type Into<'a> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a;

/// Reads a file from where it is wanted to its end; what its handle tells after the last byte.
///
/// # Errors
/// The system's, of `openat(2)`, `read(2)` and `lseek(2)`.
pub(crate) fn read_file(
    folder: &Dir,
    wanted: &Wanted,
    open: Open,
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> io::Result<Meta> {
    let (entry, from) = (&wanted.entry, wanted.from);
    let mut file = open(folder, &entry.name)?;
    // Of what took a small file's name since it was listed no more is read than the file had; what
    // its handle tells at the end shows that it is another. A large file is looked at first.
    let opened = if entry.meta.size > READ as u64 { dir::meta(&file)? } else { entry.meta.clone() };
    let changed = opened.size != entry.meta.size || opened.mtime != entry.meta.mtime;
    if opened.kind != Kind::File || (from > 0 && changed) {
        return Ok(opened);
    }
    if opened.allocated < opened.size {
        read_sparse(&mut file, from, opened.size, buffer, into)?;
    } else {
        if from > 0 {
            rustix::fs::seek(&file, SeekFrom::Start(from))?;
        }
        let _ = read_data(&mut file, opened.size.saturating_sub(from), buffer, into)?;
    }
    dir::meta(&file)
}

/// As [`read_file`], on a thread of its own that is a few pieces ahead.
///
/// # Errors
/// As [`read_file`].
pub(crate) fn read_ahead(
    folder: &Dir,
    wanted: &Wanted,
    open: Open,
    into: &mut Into<'_>,
) -> io::Result<Meta> {
    enum Read {
        Bytes(Vec<u8>, usize),
        Hole(u64),
    }
    let (full, pieces) = sync_channel(AHEAD);
    let (done, empty) = sync_channel(AHEAD + 2);
    std::thread::scope(|scope| {
        let read = move || {
            let mut buffer = vec![0; READ];
            // Either side may be gone: then no more is wanted.
            let sent = |sent: bool| match sent {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
            read_file(folder, wanted, open, &mut buffer, &mut |piece| match piece {
                Piece::Hole(length) => sent(full.send(Read::Hole(length)).is_ok()),
                Piece::Bytes(buffer, count) => {
                    let other = empty.try_recv().unwrap_or_else(|_| vec![0; READ]);
                    let bytes = std::mem::replace(buffer, other);
                    sent(full.send(Read::Bytes(bytes, count)).is_ok())
                }
            })
        };
        let reader = std::thread::Builder::new().spawn_scoped(scope, read)?;
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
        // `pieces` is dropped here, which ends a reader that is not through.
        reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))
    })
}

/// Reads `length` bytes from where the file stands, or to its end; `Break` when no more is wanted. A file
/// that grows faster than it is read has an end all the same.
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

/// Reads the data of a file behind `from` and tells its holes (lseek(2): `SEEK_DATA`, `SEEK_HOLE`).
fn read_sparse(
    file: &mut File,
    from: u64,
    size: u64,
    buffer: &mut Vec<u8>,
    into: &mut Into<'_>,
) -> io::Result<()> {
    let mut at = from;
    while at < size {
        let data = match rustix::fs::seek(&*file, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // No data behind `at`: a hole up to the end.
            Err(Errno::NXIO) => size,
            // A file system that knows no holes.
            Err(Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        if data > at && into(Piece::Hole(data - at)).is_break() {
            return Ok(());
        }
        at = data;
        let end = match rustix::fs::seek(&*file, SeekFrom::Hole(at)) {
            Ok(end) => end.min(size),
            Err(Errno::INVAL | Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        rustix::fs::seek(&*file, SeekFrom::Start(at))?;
        if read_data(file, end - at, buffer, into)?.is_break() {
            return Ok(());
        }
        at = end;
    }
    Ok(())
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
