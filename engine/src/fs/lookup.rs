//! Looks up an entry of a snapshot.

use std::ffi::CStr;
use std::io;

use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, Meta};
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::fs::refusal::is_no_name;

/// The metadata of `name`; `None` if the name does not exist, or the file system cannot have it.
///
/// # Errors
/// Those of `fstatat(2)`.
pub(crate) fn find(dir: &Dir, name: &CStr) -> io::Result<Option<Meta>> {
    match dir.find(name) {
        Err(error) if is_no_name(&error) => Ok(None),
        found => found,
    }
}

/// The entry `name` of `dir`, combined with its sidecar record.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn held(
    dir: &Dir,
    name: &CStr,
    records: &SidecarRecords,
    asked: XattrSelection,
) -> io::Result<Option<StoredEntry>> {
    let on_disk = match find(dir, name)? {
        None => None,
        Some(meta) => {
            let link = meta.kind == Kind::Symlink;
            let target = if link { Some(dir.read_link(name)?) } else { None };
            let xattrs = xattrs::read(dir, name, asked)?;
            Some(StoredEntry { meta, target, xattrs, on_disk: true })
        }
    };
    match records.get(name) {
        Some(record) => Ok(record.complete(on_disk)),
        None => Ok(on_disk),
    }
}
