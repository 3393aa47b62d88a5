//! Reads a file of a snapshot once, to copy it and to verify its hash in one pass.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::entry::Meta;
use crate::entry::digest::Method;
use crate::fs::extents::next_data;

/// Bytes per read call.
const CHUNK: u64 = 1024 * 1024;

/// A part of a file. The parts come in file order.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Data: the offset and the bytes.
    Data(u64, &'a [u8]),
    /// A hole: the offset and the length in bytes.
    Hole(u64, u64),
}

/// Passes all of a file to `each`, piece by piece. Returns the file's length in bytes and the hash of the
/// content read.
///
/// # Errors
/// The file cannot be read, `each` fails, or `content.stop` returns true.
pub fn read_through(
    content: &Content<'_>,
    each: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> Result<(u64, blake3::Hash), StoreError> {
    let size = crate::fs::metadata::stat::meta(content.file).map_err(StoreError::Unreadable)?.size;
    read_pieces(content, size, true, each).map(|hash| (size, hash))
}

/// Hashes all of `file`, whose metadata is `meta`. After each read, calls `read` with the number of bytes read.
///
/// # Errors
/// Any error of `read(2)` or `lseek(2)`; `Interrupted` when `stop` returns true.
pub(crate) fn hash(
    file: &File,
    meta: &Meta,
    method: Method,
    stop: &(dyn Fn() -> bool + Sync),
    read: &(dyn Fn(u64) + Sync),
) -> io::Result<blake3::Hash> {
    let content = Content { method, stop, written: read, ..Content::unproved(file) };
    let holes = meta.allocated < meta.size;
    read_pieces(&content, meta.size, holes, &mut |_| Ok(())).map_err(|error| match error {
        StoreError::Unreadable(error) | StoreError::Target(error) => error,
        StoreError::Damaged => io::ErrorKind::InvalidData.into(),
    })
}

/// Reads and hashes a stored file of `size` bytes. With `holes` false, reads the file from end to end without
/// looking for holes.
fn read_pieces(
    content: &Content<'_>,
    size: u64,
    holes: bool,
    each: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> Result<blake3::Hash, StoreError> {
    let file = content.file;
    let mut hasher = content.method.begin();
    let mut buffer = vec![0; size.min(CHUNK) as usize];
    let mut at = 0;
    while at < size {
        let (data, end) = match holes {
            true => next_data(file, at, size).map_err(StoreError::Unreadable)?,
            false => (at, size),
        };
        if data > at {
            each(Piece::Hole(at, data - at))?;
            if !hasher.zeros(data - at, content.stop) {
                return Err(io::Error::from(io::ErrorKind::Interrupted).into());
            }
        }
        at = data;
        while at < end {
            stopped(content)?;
            let want = (end - at).min(CHUNK) as usize;
            let count = match file.read_at(&mut buffer[..want], at) {
                Ok(0) => return Err(StoreError::Unreadable(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Unreadable(error)),
            };
            hasher.update(&buffer[..count]);
            each(Piece::Data(at, &buffer[..count]))?;
            (content.written)(count as u64);
            at += count as u64;
        }
    }
    Ok(hasher.finish())
}

fn stopped(content: &Content<'_>) -> Result<(), StoreError> {
    if (content.stop)() { Err(io::Error::from(io::ErrorKind::Interrupted).into()) } else { Ok(()) }
}

/// Whether `hash`, the hash of the content read, contradicts the recorded hash.
#[must_use]
pub fn is_damaged(content: &Content<'_>, hash: &blake3::Hash) -> bool {
    content.recorded.is_some_and(|recorded| !recorded.is(hash))
}

/// Copies all of a file into `to`, which is new and empty. Shares blocks where the file systems support it.
/// Returns the hash of the snapshot's content.
///
/// # Errors
/// As [`read_through`], and when `to` cannot be written.
pub(crate) fn copy(
    content: &Content<'_>,
    to: &File,
    reflink: bool,
) -> Result<blake3::Hash, StoreError> {
    if reflink && rustix::fs::ioctl_ficlone(to, content.file).is_ok() {
        // The copy shares the blocks, so the content read here is the content of the copy.
        return read_through(content, &mut |_| Ok(())).map(|(_, hash)| hash);
    }
    let (size, hash) = read_through(content, &mut |piece| match piece {
        Piece::Data(at, bytes) => to.write_all_at(bytes, at),
        Piece::Hole(..) => Ok(()),
    })?;
    to.set_len(size).map_err(StoreError::Target)?;
    Ok(hash)
}

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The content in the snapshot differs from the content that was backed up.
    #[error("its content is not what was backed up: it has another hash than the recorded one")]
    Damaged,
    /// The file in the snapshot cannot be read.
    #[error("it cannot be read in the snapshot: {0}")]
    Unreadable(io::Error),
    /// The target refused the file.
    #[error("{0}")]
    Target(#[from] io::Error),
}

/// The expected hash of a content, or its first bytes.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    pub(crate) bytes: [u8; blake3::OUT_LEN],
    pub(crate) length: usize,
}

impl Proof {
    /// Takes the `first` bytes of the hash, 32 at most.
    #[must_use]
    pub fn new(first: &[u8]) -> Self {
        let (mut bytes, length) = ([0; blake3::OUT_LEN], first.len().min(blake3::OUT_LEN));
        bytes[..length].copy_from_slice(&first[..length]);
        Self { bytes, length }
    }

    /// Whether `hash` begins with the recorded bytes.
    #[must_use]
    pub fn is(&self, hash: &blake3::Hash) -> bool {
        hash.as_bytes()[..self.length] == self.bytes[..self.length]
    }
}

/// The content of a file to store.
pub struct Content<'a> {
    /// The snapshot's file, open at its start.
    pub file: &'a File,
    /// The recorded hash, if there is one.
    pub recorded: Option<Proof>,
    /// The method of the recorded hash. The content read is hashed the same way.
    pub method: Method,
    /// Store the file even when its hash differs from the recorded one.
    pub accept_damage: bool,
    /// Ends the work early when it returns true. The work then fails with [`io::ErrorKind::Interrupted`].
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Receives the number of bytes written since the last call.
    pub written: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Content<'a> {
    /// All of `file`, without a recorded hash.
    #[must_use]
    pub fn unproved(file: &'a File) -> Self {
        let (stop, written) = (&|| false, &|_| {});
        let method = Method::Plain;
        Self { file, recorded: None, method, accept_damage: false, stop, written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(file: &File) -> Content<'_> {
        Content::unproved(file)
    }

    #[test]
    fn a_copy_has_the_content_the_holes_and_the_hash() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        for (name, islands, size) in [
            ("empty", vec![], 0),
            ("hole", vec![], 3 << 20),
            ("islands", vec![(1_u64 << 20, 5000_usize), (5 << 20, 1_200_000)], 9 << 20),
            ("whole", vec![(0, 3_000_000)], 3_000_000),
        ] {
            let open = |name: &str| {
                let path = folder.path().join(name);
                let mut options = File::options();
                options.read(true).write(true).create_new(true).open(path).unwrap()
            };
            let from = open(name);
            for (at, length) in islands {
                from.write_all_at(&vec![7; length], at).unwrap();
            }
            from.set_len(size).unwrap();
            let to = open(&format!("{name}.copy"));
            let hash = copy(&content(&from), &to, false).unwrap();
            let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
            assert_eq!(read(name), read(&format!("{name}.copy")));
            assert_eq!(hash, blake3::hash(&read(name)));
            let blocks = |file: &File| crate::fs::metadata::stat::meta(file).unwrap().allocated;
            assert!(blocks(&to) <= blocks(&from) + 8192, "{name}");
        }
    }

    #[test]
    fn the_work_ends_when_it_is_to_end() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let stop = || true;
        let content = Content { stop: &stop, ..content(&file) };
        let Err(StoreError::Target(error)) = read_through(&content, &mut |_| Ok(())) else {
            panic!("a terabyte of zeros was read")
        };
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
