//! Reads one file from the disk and compares it with its record.

use std::fs::File;
use std::io;

use rustix::fs::Advice;

use crate::entry::digest::Method;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::repository::content;
use crate::repository::manifest::record::RecordedHash as Recorded;

/// Bytes per read.
const CHUNK: u64 = 1024 * 1024;

/// The result for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The file equals its record.
    Good,
    /// The file has no record.
    Unproved,
    /// The file had no record and got its current hash.
    Recorded,
    /// The file is damaged.
    Damaged(String),
    /// A stop was requested.
    Stopped,
}

/// Reads a file and compares it with its record in the manifest, or else with its hash attribute.
/// With `record`, a file without a hash gets its current one. Also returns the record that a
/// manifest would contain for the content.
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
            let what = "its recorded hash is not valid".to_owned();
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

/// Compares the hash `now` of the content with the manifest. The hash attribute is a weaker record:
/// the owner of the file can change it, but not the manifest.
fn by_manifest(file: &File, manifest: Recorded, now: &blake3::Hash) -> Finding {
    let borne = xattrs::recorded(file).ok().flatten();
    let agrees = borne
        .as_ref()
        .map(|(method, bytes)| *method == manifest.method() && bytes == now.as_bytes());
    match (manifest.is(now), agrees) {
        (false, Some(true)) => Finding::Damaged(format!(
            "{OTHER_CONTENT}, and its hash attribute was changed to match: it was modified on purpose"
        )),
        (false, _) => Finding::Damaged(OTHER_CONTENT.to_owned()),
        (true, Some(false)) => Finding::Damaged(
            "its content is what was backed up, but its hash attribute was changed".to_owned(),
        ),
        (true, _) => Finding::Good,
    }
}

/// Hashes the content on disk: drops the page cache before the read, so that the disk is read, and
/// after it, so that other programs keep their cache.
pub(crate) fn hash(
    file: &File,
    method: Option<Method>,
    stop: &(dyn Fn() -> bool + Sync),
    read: &(dyn Fn(u64) + Sync),
) -> io::Result<(Method, blake3::Hash)> {
    let forget = || rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
    let meta = stat::meta(file)?;
    let method = method.unwrap_or_else(|| Method::of(&meta));
    let _ = forget();
    if meta.size > CHUNK && meta.allocated >= meta.size {
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
    }
    let result = content::hash(file, &meta, method, stop, read);
    let _ = forget();
    result.map(|hash| (method, hash))
}
