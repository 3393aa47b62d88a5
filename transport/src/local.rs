//! Folders of this machine as a source. Every answer is given on the asking thread.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use engine::attrs::{self, Asked};
use engine::dir::{self, Dir};
use engine::entry::{Batch, Entry, Extra, Kind, Meta};
use engine::source::{BATCH, ContentSink, ListSink, Root, Source, SourceError, Wanted};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes that one read asks for: small enough for a core's cache, so that hashing and writing find it there.
const READ: usize = 256 * 1024;

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

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn root(&self, path: &Path) -> Result<Root<Dir>, SourceError> {
        let open = |error| SourceError::from_io("open", error);
        let was_link = path.symlink_metadata().map_err(open)?.is_symlink();
        let leads_to = dir::meta_at(path);
        if leads_to.as_ref().is_ok_and(|meta| meta.kind == Kind::Folder) {
            let folder = Dir::at(path).map_err(open)?;
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
            let mut into = |bytes: Piece<'_>| match bytes {
                Piece::Bytes(bytes) => sink.data(index, bytes),
                Piece::Hole(length) => sink.hole(index, length),
            };
            let after = read_file(folder, &wanted.entry, &mut buffer, &mut into);
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

/// A piece of a file.
enum Piece<'a> {
    Bytes(&'a [u8]),
    Hole(u64),
}

/// Reads a file to its end; what its handle tells after the last byte.
fn read_file(
    folder: &Dir,
    entry: &Entry,
    buffer: &mut [u8],
    into: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> io::Result<Meta> {
    let mut file = folder.open_file(&entry.name)?;
    if entry.meta.allocated < entry.meta.size {
        read_sparse(&mut file, buffer, into)?;
    } else {
        // A read that comes back short has seen the end of a regular file: one call for most files.
        let length = entry.meta.size;
        let _ = read_until_end(&mut file, length, buffer, into)?;
    }
    dir::meta(&file)
}

/// Reads from where the file stands; `Break` when the sink wants no more.
fn read_until_end(
    file: &mut File,
    expected: u64,
    buffer: &mut [u8],
    into: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut seen = 0;
    loop {
        let count = read_some(file, buffer)?;
        seen += count as u64;
        if count > 0 && into(Piece::Bytes(&buffer[..count])).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let short = count < buffer.len();
        if count == 0 || (short && seen >= expected) {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

/// Reads the data of a file and tells its holes (lseek(2): `SEEK_DATA`, `SEEK_HOLE`).
fn read_sparse(
    file: &mut File,
    buffer: &mut [u8],
    into: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut at = 0;
    loop {
        let data = match rustix::fs::seek(&*file, SeekFrom::Data(at)) {
            Ok(data) => data,
            // No data behind `at`: a hole up to the end.
            Err(Errno::NXIO) => {
                let end = dir::meta(&*file)?.size;
                if end > at {
                    let _ = into(Piece::Hole(end - at));
                }
                return Ok(());
            }
            // A file system that knows no holes.
            Err(Errno::INVAL) => {
                rustix::fs::seek(&*file, SeekFrom::Start(at))?;
                let _ = read_until_end(file, 0, buffer, into)?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if data > at && into(Piece::Hole(data - at)).is_break() {
            return Ok(());
        }
        at = data;
        let end = rustix::fs::seek(&*file, SeekFrom::Hole(at))?;
        rustix::fs::seek(&*file, SeekFrom::Start(at))?;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let count = read_some(file, &mut buffer[..most])?;
            if count == 0 || into(Piece::Bytes(&buffer[..count])).is_break() {
                return Ok(());
            }
            at += count as u64;
        }
    }
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Type and identity of the file system that `folder` lies on (statfs(2), `f_type` and `f_fsid`).
fn file_system(folder: &Dir) -> Option<String> {
    let kind = rustix::fs::fstatfs(folder).ok()?.f_type;
    let id = rustix::fs::fstatvfs(folder).ok()?.f_fsid;
    Some(format!("{kind:x}:{id:016x}"))
}
