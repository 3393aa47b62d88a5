//! Sinks that store what they receive, and functions that read whole trees with them.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use engine::entry::{Batch, Entry, Kind, Meta};
use engine::source::{ContentProof, ContentSink, ListSink, Wanted};
use engine::{Source, SourceError};
use transport::sftp::read::{SftpFolder, SftpSource};

/// Longer than any wait in a test.
const PATIENCE: Duration = Duration::from_secs(120);

/// The listing of one folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) unreadable: Vec<CString>,
}

struct List {
    listing: Listing,
    done: Sender<(Listing, Result<(), SourceError>)>,
    pause: Duration,
}

impl ListSink for List {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        assert!(batch.len() <= engine::source::BATCH);
        std::thread::sleep(self.pause);
        self.listing.entries.extend(batch.iter().map(|listed| listed.to_entry()));
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, name: &CStr, _: SourceError) {
        self.listing.unreadable.push(name.to_owned());
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        let _ = self.done.send((self.listing, result));
    }
}

/// Requests the listing of a folder.
pub(crate) fn ask_listing(
    source: &SftpSource,
    folder: &Arc<SftpFolder>,
) -> Receiver<(Listing, Result<(), SourceError>)> {
    ask_slow_listing(source, folder, Duration::ZERO)
}

/// The same for a sink that processes each batch slowly.
pub(crate) fn ask_slow_listing(
    source: &SftpSource,
    folder: &Arc<SftpFolder>,
    pause: Duration,
) -> Receiver<(Listing, Result<(), SourceError>)> {
    let (done, listing) = channel();
    source.list(folder, Box::new(List { listing: Listing::default(), done, pause }));
    listing
}

/// Lists a folder; entries sorted by name.
pub(crate) fn list(source: &SftpSource, folder: &Arc<SftpFolder>) -> Result<Listing, SourceError> {
    let (mut listing, result) = ask_listing(source, folder).recv_timeout(PATIENCE).unwrap();
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    result.map(|()| listing)
}

/// The result for one file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) holes: Vec<(u64, u64)>,
    pub(crate) after: Option<Result<Meta, SourceError>>,
}

struct Fetch {
    files: Vec<Content>,
    done: Sender<Vec<Content>>,
    /// Called with the number of bytes so far, for each piece.
    meanwhile: Box<dyn FnMut(usize) + Send>,
    total: usize,
}

impl ContentSink for Fetch {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.files[index].bytes.extend_from_slice(bytes);
        self.total += bytes.len();
        (self.meanwhile)(self.total);
        ControlFlow::Continue(())
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        let file = &mut self.files[index];
        file.holes.push((file.bytes.len() as u64, length));
        file.bytes.resize(file.bytes.len() + length as usize, 0);
        ControlFlow::Continue(())
    }

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        assert!(self.files[index].after.is_none(), "a file ends once");
        self.files[index].after = Some(after);
    }

    fn end(self: Box<Self>) {
        let _ = self.done.send(self.files);
    }
}

/// Requests the content of files.
pub(crate) fn ask_fetch(
    source: &SftpSource,
    folder: &Arc<SftpFolder>,
    files: &[Entry],
    meanwhile: impl FnMut(usize) + Send + 'static,
) -> Receiver<Vec<Content>> {
    let wanted = files
        .iter()
        .map(|entry| Wanted { entry: entry.clone(), from: 0, again: false, base: None })
        .collect();
    ask_fetch_from(source, folder, wanted, meanwhile)
}

/// Requests the content of files, each from an offset.
pub(crate) fn ask_fetch_from(
    source: &SftpSource,
    folder: &Arc<SftpFolder>,
    wanted: Vec<Wanted>,
    meanwhile: impl FnMut(usize) + Send + 'static,
) -> Receiver<Vec<Content>> {
    let (done, contents) = channel();
    let sink = Fetch {
        files: wanted.iter().map(|_| Content::default()).collect(),
        done,
        meanwhile: Box::new(meanwhile),
        total: 0,
    };
    source.fetch(folder, wanted, Box::new(sink));
    contents
}

/// Fetches the content of files.
pub(crate) fn fetch(
    source: &SftpSource,
    folder: &Arc<SftpFolder>,
    files: &[Entry],
) -> Vec<Content> {
    ask_fetch(source, folder, files, |_| ()).recv_timeout(PATIENCE).unwrap()
}

/// The content of a tree: for each path its type, and its content or target.
pub(crate) type Tree = BTreeMap<Vec<u8>, (Kind, Vec<u8>)>;

/// Reads a whole tree from the source.
pub(crate) fn read_tree(source: &SftpSource, root: &Path) -> Tree {
    let root = source.root(root).unwrap();
    let mut tree = Tree::new();
    let mut folders = vec![(Vec::new(), root.folder)];
    while let Some((path, folder)) = folders.pop() {
        let listing = list(source, &folder).unwrap();
        assert!(listing.unreadable.is_empty());
        let of =
            |kind| listing.entries.iter().filter(move |entry: &&Entry| entry.meta.kind == kind);
        let files: Vec<Entry> = of(Kind::File).cloned().collect();
        let contents = fetch(source, &folder, &files);
        for (entry, content) in files.iter().zip(contents) {
            let after = content.after.unwrap().unwrap();
            assert_eq!((after.size, after.mtime), (entry.meta.size, entry.meta.mtime));
            tree.insert(join(&path, entry), (Kind::File, content.bytes));
        }
        for entry in &listing.entries {
            let path = join(&path, entry);
            match entry.meta.kind {
                Kind::File => continue,
                Kind::Folder => {
                    let child = source.folder(&folder, &entry.name, &entry.meta).unwrap();
                    folders.push((path.clone(), Arc::new(child)));
                }
                _ => {}
            }
            let target = entry.target().unwrap_or_default().to_vec();
            tree.insert(path, (entry.meta.kind, target));
        }
    }
    tree
}

fn join(path: &[u8], entry: &Entry) -> Vec<u8> {
    [path, b"/", entry.name.as_bytes()].concat()
}

/// Reads a whole local tree, as the reference.
pub(crate) fn local_tree(root: &Path) -> Tree {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileTypeExt;
    let mut tree = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let below = path.as_os_str().as_bytes()[root.as_os_str().len()..].to_vec();
            let found = if kind.is_dir() {
                folders.push(path);
                (Kind::Folder, Vec::new())
            } else if kind.is_symlink() {
                (Kind::Symlink, std::fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
            } else if kind.is_fifo() {
                (Kind::Fifo, Vec::new())
            } else {
                (Kind::File, std::fs::read(path).unwrap())
            };
            tree.insert(below, found);
        }
    }
    tree
}
