//! Folders of this machine as a source. Every answer is given on the asking thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use engine::attrs::{self, Asked};
use engine::dir::{self, Dir};
use engine::entry::{Batch, Entry, Extra, Kind, Meta};
use engine::source::{Answers, BATCH, ContentSink, ListSink, Root, Source, SourceError, Wanted};
use rustix::io::Errno;

use crate::read::{Piece, READ, read_ahead, read_file};

/// From this size on a file is read by a thread of its own while its bytes are hashed and written.
const LARGE: u64 = 16 << 20;

/// Reads folders of this machine.
#[derive(Debug)]
pub struct LocalSource {
    asked: Asked,
}

impl LocalSource {
    /// A source that also tells the attributes that are asked for.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Self { asked }
    }

    fn describe(&self, folder: &Dir, name: &CStr) -> io::Result<(Meta, Option<Box<Extra>>)> {
        let meta = folder.stat(name)?;
        if meta.kind != Kind::Symlink && !self.asked.any() {
            return Ok((meta, None));
        }
        let target = if meta.kind == Kind::Symlink { Some(folder.read_link(name)?) } else { None };
        let xattrs = attrs::read(folder, name, self.asked)?;
        Ok((meta, Some(Box::new(Extra { target, xattrs }))))
    }
}

impl Source for LocalSource {
    type Folder = Dir;

    fn answers(&self) -> Answers {
        Answers::AtOnce
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn root(&self, path: &Path) -> Result<Root<Dir>, SourceError> {
        let open = |error| SourceError::from_io("open", error);
        let was_link = path.symlink_metadata().map_err(open)?.is_symlink();
        let leads_to = dir::meta_at(path);
        if was_link && let Err(error) = leads_to {
            // What it led to is not there: not mounted, most likely.
            return Err(open(error));
        }
        if leads_to.as_ref().is_ok_and(|meta| meta.kind == Kind::Folder) {
            // Of a folder on the way to a root only the attributes are asked for.
            let folder = match Dir::at(path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Dir::on(path),
                opened => opened,
            };
            let folder = folder.map_err(open)?;
            let meta = folder.meta().map_err(open)?;
            let xattrs = attrs::read_own(&folder, self.asked).map_err(open)?;
            let extra = (!xattrs.is_empty()).then(|| Box::new(Extra { target: None, xattrs }));
            let file_system = file_system(&folder);
            let entry = Entry { name: CString::default(), meta, extra };
            return Ok(Root { entry, folder: Arc::new(folder), was_link, file_system });
        }
        // A file, or a symlink that leads to none: the entry itself, in its folder.
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(open(leads_to.err().unwrap_or_else(|| Errno::NOTDIR.into())));
        };
        let folder = Dir::at(parent).map_err(open)?;
        let name = dir::c_name(name.as_bytes()).map_err(open)?;
        let (meta, extra) = self.describe(&folder, &name).map_err(open)?;
        let file_system = file_system(&folder);
        let entry = Entry { name, meta, extra };
        Ok(Root { entry, folder: Arc::new(folder), was_link: false, file_system })
    }

    fn folder(&self, parent: &Dir, name: &CStr, listed: &Meta) -> Result<Dir, SourceError> {
        let open = |error| SourceError::from_io("open", error);
        let folder = parent.child_unseen(name).map_err(open)?;
        if folder.meta().map_err(open)?.id == listed.id {
            Ok(folder)
        } else {
            Err(SourceError::Replaced)
        }
    }

    fn look(&self, folder: &Dir, name: &CStr) -> Result<Entry, SourceError> {
        let (meta, extra) =
            self.describe(folder, name).map_err(|error| SourceError::from_io("look at", error))?;
        Ok(Entry { name: name.to_owned(), meta, extra })
    }

    fn list(&self, folder: &Arc<Dir>, mut sink: Box<dyn ListSink>) {
        let mut pending: Vec<(u64, CString)> = Vec::with_capacity(64);
        let mut going = ControlFlow::Continue(());
        let result = folder.names(|entry| {
            pending.push((entry.ino, entry.name.to_owned()));
            if pending.len() == BATCH {
                going = self.deliver(folder, &mut pending, sink.as_mut());
            }
            going
        });
        if going.is_continue() && !pending.is_empty() {
            going = self.deliver(folder, &mut pending, sink.as_mut());
        }
        let _ = going;
        // A handle of a folder that may be passed through but not read (open(2), O_PATH).
        let result = result.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::BADF) => Errno::ACCESS.into(),
            _ => error,
        });
        sink.end(result.map_err(|error| SourceError::from_io("list", error)));
    }

    fn fetch(&self, folder: &Arc<Dir>, files: Vec<Wanted>, mut sink: Box<dyn ContentSink>) {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // Taken, not borrowed: a sink may ask for further files before this call is over.
        let mut buffer = BUFFER.take();
        buffer.resize(READ, 0);
        for (index, wanted) in files.iter().enumerate() {
            let mut into = |piece: Piece<'_>| match piece {
                Piece::Bytes(buffer, count) => sink.data(index, &buffer[..count]),
                Piece::Hole(length) => sink.hole(index, length),
            };
            let after = if wanted.entry.meta.size >= LARGE {
                read_ahead(folder, wanted, &mut into)
            } else {
                read_file(folder, wanted, &mut buffer, &mut into)
            };
            sink.file_end(index, after.map_err(|error| SourceError::from_io("read", error)));
        }
        BUFFER.set(buffer);
        sink.end();
    }
}

impl LocalSource {
    /// Describes what is `pending` and hands it on. Inodes are visited in the order of their numbers,
    /// which is that of the disk on most file systems: it spares a cold rotating disk its seeks.
    fn deliver(
        &self,
        folder: &Dir,
        pending: &mut Vec<(u64, CString)>,
        sink: &mut dyn ListSink,
    ) -> ControlFlow<()> {
        pending.sort_unstable_by_key(|(ino, _)| *ino);
        let mut batch = Batch::default();
        for (_, name) in pending.drain(..) {
            let pushed = self
                .describe(folder, &name)
                .map(|(meta, extra)| batch.push(name.as_bytes(), meta, extra));
            if let Err(error) = pushed {
                sink.unreadable(&name, SourceError::from_io("look at", error));
            }
        }
        sink.batch(batch)
    }
}

/// Type and identity of the file system that `folder` lies on (statfs(2), `f_type` and `f_fsid`).
fn file_system(folder: &Dir) -> Option<String> {
    let kind = rustix::fs::fstatfs(folder).ok()?.f_type;
    let id = rustix::fs::fstatvfs(folder).ok()?.f_fsid;
    Some(format!("{kind:x}:{id:016x}"))
}
