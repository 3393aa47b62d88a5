//! Looks up an entry of a snapshot.

use std::ffi::CStr;
use std::io;

use crate::entry::Kind;
use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::xattrs::XattrSelection;

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
    let on_disk = match dir.find(name)? {
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
