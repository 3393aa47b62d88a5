//! Reads one file as the disk holds it, and compares it with what was recorded.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::Advice;

use crate::entry::digest::Method;
use crate::fs::{stat, xattrs};
use crate::repository::content::{Content, StoreError, read_through};
use crate::repository::manifest::record::Content as Recorded;

/// Bytes that one read asks for.
const CHUNK: u64 = 1024 * 1024;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
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

/// Reads and judges a file by what the manifest records of it, or else by the hash that it bears. With
/// `record` a file without a hash gets that of what it holds now. Returns what a manifest would record of what was read.
pub(crate) fn judge(
    file: &File,
    manifest: Option<Recorded>,
    record: bool,
    stop: &(dyn Fn() -> bool + Sync),
    read: &(dyn Fn(u64) + Sync),
) -> (Finding, Option<Recorded>) {
    if let Some(manifest) = manifest.filter(|manifest| manifest.is_known()) {
        return match hash(file, Some(manifest.method()), stop, read) {
            Err(error) => (unreadable(&error, stop), None),
            Ok((_, now)) => (by_manifest(file, manifest, &now), Some(manifest)),
        };
    }
    let recorded = match xattrs::recorded(file) {
        Ok(None) if !record => return (Finding::Unproved, None),
        Ok(recorded) => recorded,
        Err(error) => {
            let what = format!("its recorded hash cannot be read: {error}");
            return (Finding::Damaged(what), None);
        }
    };
    let method = recorded.as_ref().map(|(method, _)| *method);
    let recorded = match recorded.map(|(_, bytes)| blake3::Hash::from_slice(&bytes)) {
        Some(Err(_)) => {
            let what = "what is recorded as its hash is none".to_owned();
            return (Finding::Damaged(what), None);
        }
        Some(Ok(hash)) => Some(hash),
        None => None,
    };
    let (method, now) = match hash(file, method, stop, read) {
        Err(error) => return (unreadable(&error, stop), None),
        Ok(taken) => taken,
    };
    let finding = match recorded {
        Some(then) if now == then => Finding::Good,
        Some(_) => Finding::Damaged(OTHER_CONTENT.to_owned()),
        None => match xattrs::set_hash_by(file, method, &now) {
            Ok(true) => Finding::Recorded,
            Ok(false) | Err(_) => Finding::Unproved,
        },
    };
    (finding, Some(Recorded::new(method, &now)))
}

const OTHER_CONTENT: &str = "its content is not what was backed up";

fn unreadable(error: &io::Error, stop: &(dyn Fn() -> bool + Sync)) -> Finding {
    if error.kind() == io::ErrorKind::Interrupted && stop() {
        return Finding::Stopped;
    }
    Finding::Damaged(format!("it cannot be read: {error}"))
}

/// Judges a file that holds content of the hash `now`. Its attribute belongs to the owner of the file, who
/// can write it; the manifest does not.
fn by_manifest(file: &File, manifest: Recorded, now: &blake3::Hash) -> Finding {
    let borne = xattrs::recorded(file).ok().flatten();
    let agrees = borne
        .as_ref()
        .map(|(method, bytes)| *method == manifest.method() && bytes == now.as_bytes());
    match (manifest.is(now), agrees) {
        (false, Some(true)) => Finding::Damaged(format!(
            "{OTHER_CONTENT}, and the hash that it bears was changed with it: somebody wrote to it"
        )),
        (false, _) => Finding::Damaged(OTHER_CONTENT.to_owned()),
        (true, Some(false)) => Finding::Damaged(
            "its content is what was backed up, but the hash that it bears is not".to_owned(),
        ),
        (true, _) => Finding::Good,
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
    let meta = stat::meta(file)?;
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
