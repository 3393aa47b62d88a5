//! Whether two stored entries have the same content or metadata.

use std::ffi::CStr;

use crate::entry::Kind;
use crate::entry::stored::StoredEntry;
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;

/// The recorded hash of a file; `None` if it has none.
pub(crate) fn hash_of(dir: &Dir, name: &CStr) -> Option<blake3::Hash> {
    xattrs::hash(&dir.open_file(name).ok()?).ok().flatten()
}

/// Whether two entries have the same content. `hashes` is called only when the sizes are equal.
pub(crate) fn same_content(
    one: &StoredEntry,
    other: &StoredEntry,
    hashes: impl FnOnce() -> [Option<blake3::Hash>; 2],
) -> bool {
    let (a, b) = (&one.meta, &other.meta);
    a.kind == b.kind
        && match a.kind {
            Kind::File if a.size != b.size => false,
            Kind::File if a.id.is_some() && a.id == b.id => true,
            Kind::File => match hashes() {
                [Some(one), Some(other)] => one == other,
                // rsync compares size and mtime as well.
                _ => a.mtime == b.mtime,
            },
            Kind::Symlink => one.target == other.target,
            Kind::BlockDevice | Kind::CharDevice => a.rdev == b.rdev,
            Kind::Folder | Kind::Fifo | Kind::Socket => true,
        }
}

/// Whether two entries have the same metadata.
pub(crate) fn same_metadata(one: &StoredEntry, other: &StoredEntry) -> bool {
    let (a, b) = (&one.meta, &other.meta);
    (a.uid, a.gid) == (b.uid, b.gid)
        // Linux reports mode 0777 for every symlink (symlink(7)).
        && (a.kind == Kind::Symlink || a.mode == b.mode)
        // The mtime of a folder changes with its entries, which are compared separately.
        && (a.kind == Kind::Folder || a.mtime == b.mtime)
        && one.xattrs == other.xattrs
}
