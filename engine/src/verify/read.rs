//! Reads one file as the disk holds it, and compares it with what was recorded.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::Advice;

use crate::attrs;
use crate::digest::Method;
use crate::dir;
use crate::restore::content::read_through;
use crate::restore::target::{Content, StoreError};

/// Bytes that one read asks for.
const CHUNK: u64 = 1024 * 1024;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// As it was recorded.
    Good,
    /// Nothing is recorded for it.
    Unproved,
    /// Nothing was recorded; now what it holds is.
    Recorded,
    /// Something is wrong.
    Damaged(String),
    /// The work was to end.
    Stopped,
}

/// Reads and judges a file. With `record` a file without a hash gets that of what it holds now.
pub(super) fn judge(
    file: &File,
    record: bool,
    stop: &(dyn Fn() -> bool + Sync),
    read: &(dyn Fn(u64) + Sync),
) -> Finding {
    let recorded = match attrs::recorded(file) {
        Ok(None) if !record => return Finding::Unproved,
        Ok(recorded) => recorded,
        Err(error) => {
            return Finding::Damaged(format!("its recorded hash cannot be read: {error}"));
        }
    };
    let method = recorded.as_ref().map(|(method, _)| *method);
    let recorded = match recorded.map(|(_, bytes)| blake3::Hash::from_slice(&bytes)) {
        Some(Err(_)) => {
            return Finding::Damaged("what is recorded as its hash is none".to_owned());
        }
        Some(Ok(hash)) => Some(hash),
        None => None,
    };
    let taken = hash(file, method, stop, read);
    match (taken, recorded) {
        (Err(error), _) if error.kind() == io::ErrorKind::Interrupted && stop() => Finding::Stopped,
        (Err(error), _) => Finding::Damaged(format!("it cannot be read: {error}")),
        (Ok((_, now)), Some(then)) if now == then => Finding::Good,
        (Ok(_), Some(_)) => Finding::Damaged("its content is not what was backed up".to_owned()),
        (Ok((method, now)), None) => match attrs::set_hash_by(file, method, &now) {
            Ok(true) => Finding::Recorded,
            Ok(false) | Err(_) => Finding::Unproved,
        },
    }
}

/// The hash of what the disk holds, not of what the system still has in memory, nor is it left there:
/// others need the memory more.
fn hash(
    file: &File,
    method: Option<Method>,
    stop: &(dyn Fn() -> bool + Sync),
    read: &(dyn Fn(u64) + Sync),
) -> io::Result<(Method, blake3::Hash)> {
    let forget = || rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
    let meta = dir::meta(file)?;
    let method = method.unwrap_or_else(|| Method::of(&meta));
    let _ = forget();
    let result = if meta.allocated < meta.size || method != Method::Plain {
        let content = Content { method, stop, written: read, ..Content::unproved(file) };
        read_through(&content, &mut |_| Ok(())).map(|(_, hash)| hash).map_err(|error| match error {
            StoreError::Unreadable(error) | StoreError::Target(error) => error,
            StoreError::Damaged => io::ErrorKind::InvalidData.into(),
        })
    } else {
        if meta.size > CHUNK {
            let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        }
        plain(file, meta.size, stop, read)
    };
    let _ = forget();
    result.map(|hash| (method, hash))
}

fn plain(
    mut file: &File,
    size: u64,
    stop: &(dyn Fn() -> bool + Sync),
    read: &(dyn Fn(u64) + Sync),
) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    // One byte more than the file has, so that the first read sees its end.
    let mut buffer = vec![0; (size + 1).min(CHUNK) as usize];
    let mut total = 0;
    loop {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                read(count as u64);
                total += count as u64;
                if count < buffer.len() && total == size {
                    return Ok(hasher.finalize());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
