//! Folders of this machine as a source. Every answer is given on the asking thread.

pub(crate) mod read;
pub(crate) mod subvolume;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use engine::entry;
use engine::entry::preserve::leads_out;
use engine::entry::{Batch, Entry, Extra, FileId, Kind, Meta, Xattrs};
use engine::filter::filters::Filters;
use engine::fs::dir::node::file_system;
use engine::fs::dir::resolve::Resolved;
use engine::fs::dir::{Dir, resolve};
use engine::fs::metadata::stat;
use engine::fs::metadata::xattrs;
use engine::fs::metadata::xattrs::Asked;
use engine::source::{
    Answers, BATCH, ContentSink, Crossing, ListSink, Root, Source, SourceError, Wanted,
};
use engine::threads::lock::unpoisoned;
use rustix::io::Errno;

use crate::local::read::{Open, Opening, Piece, READ, read_ahead, read_file};
use crate::local::subvolume::subvolume;

/// From this size on a file is read by a thread of its own while its bytes are hashed and written.
const LARGE: u64 = 16 << 20;

/// Reads folders of this machine.
#[derive(Debug)]
pub struct LocalSource {
    asked: Asked,
    filters: Arc<Filters>,
    follow: Follow,
    /// How many folders of a snapshot the entries of a source root lie in.
    depths: HashMap<PathBuf, usize>,
    /// Devices that were seen, and whether the sizes that they report are true.
    sizes_told: RwLock<HashMap<u64, bool>>,
}

/// Which symlinks are replaced by what they lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follow {
    /// Each.
    pub all: bool,
    /// Those that lead out of the source ([`leads_out`]).
    pub unsafe_ones: bool,
    /// Those that lead to folders.
    pub folders: bool,
}

impl Follow {
    fn any(self) -> bool {
        self.all || self.unsafe_ones || self.folders
    }
}

/// A folder of this machine, held open.
#[derive(Debug)]
pub struct LocalFolder {
    dir: Dir,
    /// The path to it, where symlinks are followed.
    way: Option<Arc<Way>>,
    /// The name in it that every other name stands for: that of the file which a source root leads to.
    only: Option<CString>,
}

/// The folders that a folder lies in, as they were gone through.
#[derive(Debug)]
struct Way {
    id: Option<FileId>,
    depth: usize,
    above: Option<Arc<Way>>,
}

impl Way {
    fn leads_through(&self, id: Option<FileId>) -> bool {
        let mut ways = std::iter::successors(Some(self), |way| way.above.as_deref());
        ways.any(|way| way.id == id)
    }
}

type Described = (Meta, Option<Box<Extra>>);

impl LocalSource {
    /// A source that also reports the requested attributes.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        let (filters, follow) = (Arc::default(), Follow::default());
        let (depths, sizes_told) = (HashMap::new(), RwLock::default());
        Self { asked, filters, follow, depths, sizes_told }
    }

    /// The same, without the attributes that the filters leave out (their modifier `x`).
    #[must_use]
    pub fn filtered(self, filters: Arc<Filters>) -> Self {
        Self { filters, ..self }
    }

    /// What of `found` is backed up, and whether the system could not list it: then the entry is stored without.
    fn kept(&self, found: io::Result<Xattrs>) -> io::Result<(Xattrs, bool)> {
        let mut xattrs = match found {
            Err(error) if xattrs::cannot_be_listed(&error) => return Ok((Xattrs::new(), true)),
            found => found?,
        };
        // ACLs are no matter of these rules.
        xattrs
            .retain(|(name, _)| name.starts_with(b"system.") || self.filters.keeps_attribute(name));
        Ok((xattrs, false))
    }

    /// The same, with symlinks replaced by what they lead to. `roots` are the source roots and their
    /// paths inside a snapshot, which show whether a symlink leads out.
    #[must_use]
    pub fn following(self, follow: Follow, roots: Vec<(PathBuf, Vec<u8>)>) -> Self {
        let depth =
            |inside: &[u8]| inside.split(|byte| *byte == b'/').filter(|n| !n.is_empty()).count();
        let depths = roots.into_iter().map(|(path, inside)| (path, depth(&inside))).collect();
        Self { follow, depths, ..self }
    }

    fn describe(&self, folder: &LocalFolder, name: &CStr) -> Result<Described, SourceError> {
        let look = |error| SourceError::from_io("look at", error);
        let dir = &folder.dir;
        let name = folder.only.as_deref().unwrap_or(name);
        if !self.asked.any() {
            let meta = dir.stat(name).map_err(look)?;
            if meta.kind != Kind::Symlink {
                return Ok((meta, None));
            }
            let target = dir.read_link(name).map_err(look)?;
            if let Some(way) = &folder.way
                && let Some(meta) = self.followed(dir, way, name, &target)?
            {
                return Ok((meta, None));
            }
            return Ok((meta, Some(Box::new(Extra { target: Some(target), ..Extra::default() }))));
        }
        // All of one inode: a user who exchanges two names must not give his own program the attributes of root's.
        let node = dir.node(name).map_err(look)?;
        let meta = node.meta().map_err(look)?;
        let target = match meta.kind {
            Kind::Symlink => Some(node.read_link().map_err(look)?),
            _ => None,
        };
        if let (Some(way), Some(target)) = (&folder.way, &target)
            && let Some(meta) = self.followed(dir, way, name, target)?
        {
            let node = dir.node_followed(name).map_err(look)?;
            if node.meta().map_err(look)?.id != meta.id {
                return Err(SourceError::Replaced);
            }
            let found = self.kept(xattrs::read_node(&node, self.asked)).map_err(look)?;
            return Ok((meta, Extra::of_attributes(found)));
        }
        let (xattrs, xattrs_unread) =
            self.kept(xattrs::read_node(&node, self.asked)).map_err(look)?;
        Ok((meta, Some(Box::new(Extra { target, xattrs, xattrs_unread }))))
    }

    /// What the symlink `name` leads to, when it is to be followed.
    fn followed(
        &self,
        dir: &Dir,
        way: &Way,
        name: &CStr,
        target: &[u8],
    ) -> Result<Option<Meta>, SourceError> {
        let always =
            self.follow.all || self.follow.unsafe_ones && leads_out(Some(target), way.depth);
        if !always && !self.follow.folders {
            return Ok(None);
        }
        let refused = |error| Err(SourceError::Unreadable { action: "follow the symlink", error });
        match dir.stat_followed(name) {
            Ok(meta) if meta.kind == Kind::Folder => match way.leads_through(meta.id) {
                true => refused(io::Error::other("it leads to a folder that it lies in")),
                false => Ok(Some(meta)),
            },
            Ok(meta) => Ok(always.then_some(meta)),
            Err(_) if !always => Ok(None),
            // That it leads nowhere does not make the symlink vanish.
            Err(error) => refused(io::Error::other(error.to_string())),
        }
    }

    fn way(
        &self,
        dir: &Dir,
        depth: usize,
        above: Option<&Arc<Way>>,
    ) -> io::Result<Option<Arc<Way>>> {
        if !self.follow.any() {
            return Ok(None);
        }
        let id = dir.meta()?.id;
        Ok(Some(Arc::new(Way { id, depth, above: above.map(Arc::clone) })))
    }
}

impl Source for LocalSource {
    type Folder = LocalFolder;

    fn answers(&self) -> Answers {
        Answers::AtOnce
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn root(&self, path: &Path) -> Result<Root<LocalFolder>, SourceError> {
        let depth = self.depths.get(path).copied().unwrap_or(0);
        let open = |error| SourceError::from_io("open", error);
        let found = match Resolved::at(path) {
            // A symlink to a file is backed up as what it is.
            Err(error) if resolve::untrusted(&error).is_some() && !leads_to_folder(path) => None,
            // What a symlink led to is not there: not mounted, most likely.
            found => Some(found.map_err(open)?),
        };
        if found.as_ref().is_some_and(|found| !found.missing.is_empty()) {
            return Err(SourceError::Vanished);
        }
        let leads_to = found.as_ref().map(|found| found.node.meta()).transpose().map_err(open)?;
        let is_link = found.as_ref().is_some_and(|found| found.is_link);
        if let Some(found) = found
            && leads_to.as_ref().is_some_and(|meta| meta.kind == Kind::Folder)
        {
            let was_link = found.is_link;
            // Of a folder on the way to a root only the attributes are asked for.
            let folder = match found.node.open_folder() {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.node.pass(),
                opened => opened.map_err(open)?,
            };
            let meta = folder.meta().map_err(open)?;
            let found = self.kept(xattrs::read_own(&folder, self.asked)).map_err(open)?;
            let extra = Extra::of_attributes(found);
            let file_system = file_system(&folder);
            let entry = Entry { name: CString::default(), meta, extra };
            let way = self.way(&folder, depth, None).map_err(open)?;
            let folder = Arc::new(LocalFolder { dir: folder, way, only: None });
            return Ok(Root { entry, folder, was_link, file_system });
        }
        // A file: the entry itself, in its folder. A symlink to one is followed as one to a folder is; one
        // to anything else is stored as it is.
        let file = leads_to.filter(|meta| is_link && meta.kind == Kind::File);
        let was_link = file.is_some();
        let real = was_link.then(|| path.canonicalize()).transpose().map_err(open)?;
        let path = real.as_deref().unwrap_or(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(open(Errno::NOTDIR.into()));
        };
        let folder = Resolved::at(parent).and_then(Resolved::folder).map_err(open)?;
        let name = entry::c_name(name.as_bytes()).map_err(open)?;
        let file_system = file_system(&folder);
        let way = self.way(&folder, depth.saturating_sub(1), None).map_err(open)?;
        let only = was_link.then(|| name.clone());
        let folder = Arc::new(LocalFolder { dir: folder, way, only });
        let (meta, extra) = self.describe(&folder, &name)?;
        // It would be taken for its parent, or is not what the symlink led to.
        if meta.kind == Kind::Folder || file.is_some_and(|file| file.id != meta.id) {
            return Err(SourceError::Replaced);
        }
        let entry = Entry { name, meta, extra };
        Ok(Root { entry, folder, was_link, file_system })
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<LocalFolder>, SourceError>> {
        paths.iter().map(|path| self.root(path)).collect()
    }

    fn folder(
        &self,
        parent: &LocalFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<LocalFolder, SourceError> {
        let open = |error| SourceError::from_io("open", error);
        // Through a symlink it is the listed folder as well, or is refused.
        let dir = match &parent.way {
            Some(_) => parent.dir.child_followed(name),
            None => parent.dir.child_unseen(name),
        };
        let dir = dir.map_err(open)?;
        if dir.meta().map_err(open)?.id != listed.id {
            return Err(SourceError::Replaced);
        }
        let depth = parent.way.as_ref().map_or(0, |way| way.depth + 1);
        let way = self.way(&dir, depth, parent.way.as_ref()).map_err(open)?;
        Ok(LocalFolder { dir, way, only: None })
    }

    fn look(&self, folder: &LocalFolder, name: &CStr) -> Result<Entry, SourceError> {
        let (meta, extra) = self.describe(folder, name)?;
        Ok(Entry { name: name.to_owned(), meta, extra })
    }

    fn crossing(&self, parent: &LocalFolder, name: &CStr) -> Crossing {
        let Ok(dir) = parent.dir.child_unseen(name) else { return Crossing::default() };
        let subvolume = subvolume(&parent.dir, &dir);
        Crossing { file_system: file_system(&dir), subvolume }
    }

    fn list(&self, folder: &Arc<LocalFolder>, mut sink: Box<dyn ListSink>) {
        let mut pending: Vec<(u64, CString)> = Vec::with_capacity(64);
        let mut going = ControlFlow::Continue(());
        let result = folder.dir.names(|entry| {
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

    fn fetch(&self, folder: &Arc<LocalFolder>, files: Vec<Wanted>, mut sink: Box<dyn ContentSink>) {
        // The metadata of the handle after the last byte proves that a followed file is the listed one.
        let links = self.follow.all || self.follow.unsafe_ones;
        let open: Open = if links { Dir::open_followed } else { Dir::open_file };
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
            let tells_size = |file: &File, dev| self.tells_size(file, dev);
            let opening = Opening { folder: &folder.dir, open, tells_size: &tells_size };
            let renamed = folder.only.as_ref().map(|name| {
                let entry = Entry { name: name.clone(), ..wanted.entry.clone() };
                Wanted { entry, ..wanted.clone() }
            });
            let wanted = renamed.as_ref().unwrap_or(wanted);
            let after = if wanted.entry.meta.size >= LARGE {
                read_ahead(opening, wanted, &mut into)
            } else {
                read_file(opening, wanted, &mut buffer, &mut into)
            };
            sink.file_end(index, after);
        }
        BUFFER.set(buffer);
        sink.end();
    }
}

impl LocalSource {
    /// Whether files of the device have their reported size: not in /proc, nor always over FUSE.
    fn tells_size(&self, file: &File, dev: u64) -> bool {
        let known = unpoisoned(self.sizes_told.read());
        if let Some(told) = known.get(&dev) {
            return *told;
        }
        drop(known);
        let told = engine::fs::file_system::is_on_disk(file);
        unpoisoned(self.sizes_told.write()).insert(dev, told);
        told
    }

    /// Describes what is `pending` and hands it on. Inodes are visited in the order of their numbers,
    /// which is that of the disk on most file systems: it spares a cold rotating disk its seeks.
    fn deliver(
        &self,
        folder: &LocalFolder,
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
                sink.unreadable(&name, error);
            }
        }
        sink.batch(batch)
    }
}

fn leads_to_folder(path: &Path) -> bool {
    stat::meta_at(path).is_ok_and(|meta| meta.kind == Kind::Folder)
}
