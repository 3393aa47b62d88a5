//! The files of the source on this machine, for the comparison of a drill.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::resolve::Resolved;
use crate::fs::metadata::stat;
use crate::repository::SourceRoots;

/// The files of the source.
pub(crate) struct SourceFiles {
    pub(crate) roots: SourceRoots,
    /// The second in which the run began that completed the snapshot.
    pub(crate) began: i64,
}

impl SourceFiles {
    /// Opens the file that was backed up to `inside`. Follows no symlink below the source root.
    ///
    /// # Errors
    /// Those of `openat(2)`; `InvalidInput` for what is no regular file.
    pub(crate) fn open(&self, inside: &[u8]) -> io::Result<File> {
        let path = self.roots.source(inside);
        let path = Path::new(OsStr::from_bytes(&path));
        let is_above = |root: &&(Vec<u8>, Vec<u8>)| path.starts_with(OsStr::from_bytes(&root.0));
        let root = self.roots.pairs().iter().filter(is_above).max_by_key(|root| root.0.len());
        let root = Path::new(OsStr::from_bytes(&root.ok_or(io::ErrorKind::NotFound)?.0));
        // The root itself can be a file.
        let top = if root == path { root.parent().unwrap_or(root) } else { root };
        let rest = path.strip_prefix(top).map_err(io::Error::other)?;
        let names: Vec<_> =
            rest.iter().map(|name| c_name(name.as_bytes())).collect::<Result<_, _>>()?;
        let (last, above) = names.split_last().ok_or(io::ErrorKind::NotFound)?;
        let top = Resolved::at(top)?.folder()?;
        let dir = above.iter().try_fold(top, |dir, name| dir.child(name))?;
        let file = dir.open_file(last)?;
        match stat::meta(&file)?.kind {
            Kind::File => Ok(file),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Whether a file of the source is still the one that was backed up with the metadata `stored`: of the same size
    /// and time, and not touched since the run began.
    pub(crate) fn is_unchanged(&self, now: &Meta, stored: &Meta) -> bool {
        let time = now.mtime == stored.mtime
            || stored.mtime.nanos == 0 && now.mtime.secs == stored.mtime.secs;
        now.size == stored.size && time && now.ctime.secs < self.began
    }
}
