//! Walks a folder of a snapshot in order and passes each entry to an archive.

use std::fs::File;
use std::io;

use engine::StoredEntry;
use engine::entry::Kind;
use engine::inspect::{FolderName, OpenFolder, OpenSnapshot};

/// Levels that keep their handles open.
const OPEN_LEVELS: usize = 100;

/// An archive that is written.
pub(crate) trait Archive {
    /// Adds an entry. `path` begins with the name of the top folder, and `file` is the content of a regular file.
    fn add(&mut self, path: &[u8], entry: &StoredEntry, file: Option<File>) -> io::Result<()>;
}

/// A folder whose entries are not all added.
struct Level<'a> {
    /// `None` after the handle was closed because the walk is much deeper.
    folder: Option<OpenFolder<'a>>,
    inside: Vec<u8>,
    path: Vec<u8>,
    /// In reverse order: the next one is the last.
    names: Vec<FolderName>,
}

impl<'a> Level<'a> {
    fn new(folder: OpenFolder<'a>, inside: Vec<u8>, path: Vec<u8>) -> io::Result<Self> {
        let mut names = folder.names()?;
        names.reverse();
        Ok(Self { folder: Some(folder), inside, path, names })
    }
}

/// Adds the folder `inside` and all below it, under the name `top`. An entry that cannot be read ends the archive: it is
/// never complete without one.
pub(crate) fn walk(
    open: &OpenSnapshot,
    inside: &[u8],
    top: &[u8],
    archive: &mut dyn Archive,
) -> io::Result<()> {
    let folder = open.folder(inside)?;
    archive.add(top, &folder.own()?, None)?;
    let mut stack = vec![Level::new(folder, inside.to_vec(), top.to_vec())?];
    while let Some(level) = stack.last_mut() {
        let Some(FolderName { name, .. }) = level.names.pop() else {
            stack.pop();
            continue;
        };
        let folder = match &mut level.folder {
            Some(folder) => folder,
            closed => closed.insert(open.folder(&level.inside)?),
        };
        let Some(entry) = folder.whole_entry(&name)? else { continue };
        let path = [&level.path[..], b"/", name.to_bytes()].concat();
        match entry.meta.kind {
            Kind::Folder => {
                archive.add(&path, &entry, None)?;
                let inside = [&level.inside[..], b"/", name.to_bytes()].concat();
                let below = Level::new(folder.child(&name)?, inside, path)?;
                stack.push(below);
                if let Some(far) = stack.len().checked_sub(OPEN_LEVELS + 1) {
                    stack[far].folder = None;
                }
            }
            Kind::File if entry.on_disk => archive.add(&path, &entry, Some(folder.file(&name)?))?,
            _ => archive.add(&path, &entry, None)?,
        }
    }
    Ok(())
}
