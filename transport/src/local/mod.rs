//! Local folders as a source. A [`LocalSource`] answers each request on the calling thread.

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

use engine::Filters;
use engine::entry;
use engine::entry::{Batch, Entry, Extra, FileId, Kind, Meta, Xattrs};
use engine::fs::ByName;
use engine::fs::Dir;
use engine::fs::Resolved;
use engine::fs::XattrSelection;
use engine::fs::file_system;
use engine::fs::stat;
use engine::fs::untrusted;
use engine::fs::xattrs;
use engine::leads_out;
use engine::source::{
    Answers, BATCH, ConnectionReport, ContentSink, Crossing, ListSink, Root, Wanted,
};
use engine::threads::unpoisoned;
use engine::{Preserve, Source, SourceError};
use rustix::io::Errno;

use crate::local::read::{Open, Opened, Opening, Piece, READ, read_ahead, read_file};
use crate::local::subvolume::subvolume;

/// Size in bytes from which a separate thread reads a file while the caller hashes and writes it.
const LARGE: u64 = 16 << 20;

/// Reads local folders.
#[derive(Debug)]
pub struct LocalSource {
    asked: XattrSelection,
    filters: Arc<Filters>,
    follow: Follow,
    /// For each source root, the number of snapshot folders above its entries.
    depths: HashMap<PathBuf, usize>,
    /// Device numbers seen so far, and whether that device reports correct file sizes.
    size_reports: RwLock<HashMap<u64, bool>>,
}

/// Which symlinks are replaced by their targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follow {
    /// Every symlink.
    pub all: bool,
    /// Symlinks that lead out of the source ([`leads_out`]).
    pub unsafe_ones: bool,
    /// Symlinks to folders.
    pub folders: bool,
}

impl Follow {
    pub(crate) fn any(self) -> bool {
        self.all || self.unsafe_ones || self.folders
    }
}

/// A local folder, held as an open directory handle.
#[derive(Debug)]
pub struct LocalFolder {
    dir: Dir,
    /// The chain of folders that leads here, present if symlinks are followed.
    way: Option<Arc<Way>>,
    /// Set when the source root is a symlink to a file: the name of the target, which replaces any requested
    /// name.
    only: Option<CString>,
}

/// A folder and the folders above it, in the order in which they were opened.
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

/// For each source root and its path inside a snapshot, the number of snapshot folders above its entries.
pub(crate) fn depths(roots: Vec<(PathBuf, Vec<u8>)>) -> HashMap<PathBuf, usize> {
    let depth =
        |inside: &[u8]| inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count();
    roots.into_iter().map(|(path, inside)| (path, depth(&inside))).collect()
}

impl LocalFolder {
    /// The inode of the folder.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.dir.meta().ok()?.id
    }
}

type Described = (Meta, Option<Box<Extra>>);

impl LocalSource {
    /// Creates a source that also reports the requested attributes.
    #[must_use]
    pub fn new(asked: XattrSelection) -> Self {
        let (filters, follow) = (Arc::default(), Follow::default());
        let (depths, size_reports) = (HashMap::new(), RwLock::default());
        Self { asked, filters, follow, depths, size_reports }
    }

    /// Drops the extended attributes that the filters exclude (filter modifier `x`).
    #[must_use]
    pub fn filtered(self, filters: Arc<Filters>) -> Self {
        Self { filters, ..self }
    }

    /// Returns the attributes of `found` to back up, and whether the system could not list them. In that case
    /// the entry is stored without attributes.
    fn kept(&self, found: io::Result<Xattrs>) -> io::Result<(Xattrs, bool)> {
        let mut xattrs = match found {
            Err(error) if xattrs::cannot_be_listed(&error) => return Ok((Xattrs::new(), true)),
            found => found?,
        };
        // The filter rules do not apply to ACLs.
        xattrs
            .retain(|(name, _)| name.starts_with(b"system.") || self.filters.keeps_attribute(name));
        Ok((xattrs, false))
    }

    /// Replaces symlinks by their targets, as `follow` says. `roots` are the source roots and their paths
    /// inside a snapshot; they decide whether a symlink leads out of the source.
    #[must_use]
    pub fn following(self, follow: Follow, roots: Vec<(PathBuf, Vec<u8>)>) -> Self {
        self.following_at(follow, depths(roots))
    }

    /// [`LocalSource::following`] with the number of snapshot folders above the entries of each root.
    pub(crate) fn following_at(self, follow: Follow, depths: HashMap<PathBuf, usize>) -> Self {
        Self { follow, depths, ..self }
    }

    /// `by_name`: entries without attributes can be described without a handle.
    fn describe(
        &self,
        folder: &LocalFolder,
        name: &CStr,
        by_name: Option<ByName>,
    ) -> Result<Described, SourceError> {
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
        if let Some(meta) =
            by_name.and_then(|by_name| by_name.without_attributes(dir, name, self.asked))
        {
            return Ok((meta, None));
        }
        // Read everything from one inode. Otherwise a user could exchange two names between the calls and
        // give their program the attributes of a root-owned file.
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

    /// The target of the symlink `name`, if the options say to follow it.
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
            // A dangling symlink is reported as an error; it does not count as vanished.
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

    fn reports(&self, keep: Preserve) -> Preserve {
        keep
    }

    fn connection(&self) -> Option<ConnectionReport> {
        None
    }

    fn hashes(&self) -> bool {
        true
    }

    fn root(&self, path: &Path) -> Result<Root<LocalFolder>, SourceError> {
        let depth = self.depths.get(path).copied().unwrap_or(0);
        let open = |error| SourceError::from_io("open", error);
        let found = match Resolved::at(path) {
            // An untrusted symlink that leads to no folder is backed up as a symlink.
            Err(error) if untrusted(&error).is_some() && !leads_to_folder(path) => None,
            // The target of a symlink is missing, most likely because it is not mounted.
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
            // For the folders above a root only the attributes are read, so permission to pass through is
            // enough.
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
        // A file root is backed up as one entry of its parent folder. A symlink to a file is followed like a
        // symlink to a folder; a symlink to anything else is stored as a symlink.
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
        let (meta, extra) = self.describe(&folder, &name, None)?;
        // A folder here would be taken for its own parent; another inode is not the target that was resolved.
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
        // With symlinks followed, the open also checks that this is the listed folder.
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
        let (meta, extra) = self.describe(folder, name, None)?;
        Ok(Entry { name: name.to_owned(), meta, extra })
    }

    fn crossing(&self, parent: &LocalFolder, name: &CStr) -> Crossing {
        let Ok(dir) = parent.dir.child_unseen(name) else { return Crossing::default() };
        let subvolume = subvolume(&parent.dir, &dir);
        Crossing { file_system: file_system(&dir), subvolume }
    }

    fn list(&self, folder: &Arc<LocalFolder>, mut sink: Box<dyn ListSink>) {
        let mut pending: Vec<(u64, CString)> = Vec::with_capacity(64);
        let by_name = self.asked.any().then(|| ByName::in_folder(&folder.dir)).flatten();
        let mut going = ControlFlow::Continue(());
        let result = folder.dir.names(|entry| {
            pending.push((entry.ino, entry.name.to_owned()));
            if pending.len() == BATCH {
                going = self.deliver(folder, by_name, &mut pending, sink.as_mut());
            }
            going
        });
        if going.is_continue() && !pending.is_empty() {
            going = self.deliver(folder, by_name, &mut pending, sink.as_mut());
        }
        let _ = going;
        // The handle is O_PATH (open(2)): the folder may be passed through but not read.
        let result = result.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::BADF) => Errno::ACCESS.into(),
            _ => error,
        });
        sink.end(result.map_err(|error| SourceError::from_io("list", error)));
    }

    fn fetch(&self, folder: &Arc<LocalFolder>, files: Vec<Wanted>, mut sink: Box<dyn ContentSink>) {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // Taken, not borrowed: a sink may request more files before this call returns.
        let mut buffer = BUFFER.take();
        if buffer.is_empty() {
            // Fresh pages are zeros already, so that nothing is written here.
            buffer = vec![0; READ];
        }
        for (index, wanted) in files.iter().enumerate() {
            let mut into = |piece: Piece<'_>| match piece {
                Piece::Bytes(buffer, count) => sink.data(index, &buffer[..count]),
                Piece::Hole(length) => sink.hole(index, length),
            };
            let reports_size = |file: &File, dev| self.reports_size(file, dev);
            let opening = self.opening(folder, &reports_size);
            let renamed = folder.renamed(wanted);
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

impl LocalFolder {
    /// The wanted file under the name that it has here, if that is another one.
    fn renamed(&self, wanted: &Wanted) -> Option<Wanted> {
        self.only.as_ref().map(|name| {
            let entry = Entry { name: name.clone(), ..wanted.entry.clone() };
            Wanted { entry, ..wanted.clone() }
        })
    }
}

impl LocalSource {
    /// Opens a file to be read at any offset.
    ///
    /// # Errors
    /// The file is gone or cannot be opened.
    pub(crate) fn open_at_any_offset(
        &self,
        folder: &LocalFolder,
        wanted: &Wanted,
    ) -> Result<Opened, SourceError> {
        let reports_size = |file: &File, dev| self.reports_size(file, dev);
        let renamed = folder.renamed(wanted);
        let opening = self.opening(folder, &reports_size);
        read::open_at_any_offset(opening, renamed.as_ref().unwrap_or(wanted))
    }

    fn opening<'a>(
        &self,
        folder: &'a LocalFolder,
        reports_size: &'a (dyn Fn(&File, u64) -> bool + Sync),
    ) -> Opening<'a> {
        // For a followed file, the metadata of its handle after the last byte proves that it is the listed
        // one.
        let links = self.follow.all || self.follow.unsafe_ones;
        let open: Open = if links { Dir::open_followed } else { Dir::open_file };
        Opening { folder: &folder.dir, open, reports_size }
    }

    /// Whether files on this device have the size that they report. They do not in /proc, and not always on
    /// FUSE.
    fn reports_size(&self, file: &File, dev: u64) -> bool {
        let known = unpoisoned(self.size_reports.read());
        if let Some(reports) = known.get(&dev) {
            return *reports;
        }
        drop(known);
        let reports = engine::fs::is_on_disk(file);
        unpoisoned(self.size_reports.write()).insert(dev, reports);
        reports
    }

    /// Reads the metadata of the `pending` entries and passes them to the sink. Entries are visited in order
    /// of inode number, which matches the disk order on most file systems; on a rotating disk with a cold
    /// cache this avoids seeks.
    fn deliver(
        &self,
        folder: &LocalFolder,
        by_name: Option<ByName>,
        pending: &mut Vec<(u64, CString)>,
        sink: &mut dyn ListSink,
    ) -> ControlFlow<()> {
        pending.sort_unstable_by_key(|(ino, _)| *ino);
        let mut batch = Batch::default();
        for (_, name) in pending.drain(..) {
            let pushed = self
                .describe(folder, &name, by_name)
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
