//! Confirms that a folder, or everything below it, is as the near end expects.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use engine::SourceError;
use engine::entry::folder_digest::{Digest, FolderDigest};
use engine::entry::{Batch, Entry, FileId, Kind, ListedEntry};
use engine::source::{Confirmed, DEEPEST, ListSink, SeveralNames, Terms};
use engine::threads::lock;

use crate::helper::protocol::known::SentExpected;
use crate::helper::protocol::message::Answer;
use crate::helper::serve::send::sinks::{Listing, Reply};
use crate::helper::serve::served::{Served, ServedFolder};

/// The most entries that one answer confirms. What is held of them takes 10 MiB.
const MOST: u64 = 64 * 1024;

/// Bytes of entries that are held until it is known whether they have to be sent. A folder with more is listed twice
/// if it differs.
const HELD: usize = 2 << 20;

/// Answers a request about `folder`.
pub(crate) fn confirm(
    source: &Served,
    folder: &Arc<ServedFolder>,
    terms: &Terms,
    expected: &SentExpected,
    reply: &Reply,
) {
    let look = Look { source, terms, most: expected.entries.min(MOST), reply };
    let (found, held) = if expected.below {
        let mut tree = TreeRead::default();
        (look.tree(folder, DEEPEST, &mut tree).map(|digest| (digest, tree.confirmed)), None)
    } else {
        look.folder(folder)
    };
    let same = found.filter(|(digest, _)| *digest == expected.digest);
    if let Some((_, mut confirmed)) = same {
        if !expected.below && !expected.chain.is_empty() {
            let _ = look.chain(folder, &expected.chain, &mut confirmed.folders);
        }
        if reply.answer_if_short(&Answer::Same(confirmed.into())) {
            return;
        }
    }
    if expected.below {
        return reply.answer(&Answer::Differs);
    }
    let mut listing = Box::new(Listing { reply: reply.clone() });
    match held {
        Some(batches) => {
            let _ = batches.into_iter().try_for_each(|batch| listing.batch(batch));
            listing.end(Ok(()));
        }
        None => source.list(folder, listing),
    }
}

/// What is looked for.
struct Look<'a> {
    source: &'a Served,
    terms: &'a Terms,
    /// The most entries.
    most: u64,
    reply: &'a Reply,
}

/// What was read of a tree.
#[derive(Default)]
struct TreeRead {
    confirmed: Confirmed,
    entries: u64,
}

/// What was read of one folder.
struct FolderRead {
    terms: Terms,
    /// The most entries.
    most: u64,
    /// All entries but the folders.
    digest: FolderDigest,
    folders: Vec<Entry>,
    several: Vec<SeveralNames>,
    /// Whether something cannot be confirmed.
    differs: bool,
    /// The entries, if they may have to be sent and are not too many.
    held: Option<Vec<Batch>>,
    folder: Arc<ServedFolder>,
    bytes: usize,
    reply: Reply,
}

impl Look<'_> {
    /// Reads one folder. `held` as in [`FolderRead`]; `None` if an entry was lost that had to be read.
    fn read(&self, folder: &Arc<ServedFolder>, most: u64, held: bool) -> Option<FolderRead> {
        let read = FolderRead {
            terms: *self.terms,
            most,
            digest: FolderDigest::new(self.terms.key),
            folders: Vec::new(),
            several: Vec::new(),
            differs: false,
            held: held.then(Vec::new),
            folder: Arc::clone(folder),
            bytes: 0,
            reply: self.reply.clone(),
        };
        let read = Arc::new(Mutex::new(read));
        self.source.list(folder, Box::new(Reading(Arc::clone(&read))));
        // The source has dropped its sink.
        let read = Arc::into_inner(read)?;
        let mut read = engine::threads::unpoisoned(read.into_inner());
        read.folders.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        Some(read)
    }

    /// The digest of one folder, and its entries if they may have to be sent.
    fn folder(
        &self,
        folder: &Arc<ServedFolder>,
    ) -> (Option<(Digest, Confirmed)>, Option<Vec<Batch>>) {
        let Some(mut read) = self.read(folder, self.most, true) else { return (None, None) };
        let ids: Option<Vec<FileId>> = read.folders.iter().map(|folder| folder.meta.id).collect();
        let held = read.held.take();
        let Some(folders) = ids.filter(|_| !read.differs) else { return (None, held) };
        read.folders.iter().for_each(|folder| read.digest.add(folder.into(), None));
        (Some((read.digest.finish(), Confirmed { folders, several: read.several })), held)
    }

    /// Adds to `ids` the inodes of the folders of a chain below `folder`, up to the first one that differs. Then it returns `None`.
    fn chain(
        &self,
        folder: &Arc<ServedFolder>,
        chain: &[Digest],
        ids: &mut Vec<FileId>,
    ) -> Option<()> {
        let mut folder = Arc::clone(folder);
        let mut entries = self.read(&folder, 1, false)?.folders;
        for digest in chain.iter().take(DEEPEST) {
            let [entry] = &entries[..] else { return None };
            // Another file system or subvolume begins there.
            entry.meta.id.filter(|id| folder.id().is_some_and(|own| id.dev == own.dev))?;
            folder = Arc::new(self.source.child(&folder, &entry.name, &entry.meta).ok()?);
            let mut below = self.read(&folder, 1, false)?;
            let [entry] = &below.folders[..] else { return None };
            let id = entry.meta.id.filter(|_| !below.differs)?;
            below.digest.add(entry.into(), None);
            (below.digest.finish() == *digest).then(|| ids.push(id))?;
            entries = below.folders;
        }
        Some(())
    }

    /// The digest of a folder with everything below it; `None` if that cannot be confirmed.
    fn tree(
        &self,
        folder: &Arc<ServedFolder>,
        depth: usize,
        tree: &mut TreeRead,
    ) -> Option<Digest> {
        let own = folder.id()?;
        let number = tree.confirmed.folders.len();
        let read = self.read(folder, self.most.checked_sub(tree.entries)?, false)?;
        if read.differs || (depth == 0 && !read.folders.is_empty()) {
            return None;
        }
        tree.entries += read.digest.entries() + read.folders.len() as u64;
        let several = read.several.into_iter();
        tree.confirmed.several.extend(several.map(|one| SeveralNames { folder: number, ..one }));
        let mut digest = read.digest;
        for entry in &read.folders {
            // Another file system or subvolume begins there.
            let id = entry.meta.id.filter(|id| id.dev == own.dev)?;
            tree.confirmed.folders.push(id);
            let below = self.source.child(folder, &entry.name, &entry.meta).ok()?;
            let below = self.tree(&Arc::new(below), depth - 1, tree)?;
            digest.add(entry.into(), Some(&below));
        }
        Some(digest.finish())
    }
}

impl FolderRead {
    fn take(&mut self, entry: ListedEntry<'_>) {
        let unread = entry.extra.is_some_and(|extra| extra.xattrs_unread);
        let count = self.digest.entries() + self.folders.len() as u64;
        let meta = entry.meta;
        let is_admitted = self.terms.admit(meta) && self.folder.is_shared(meta);
        if self.differs || unread || count >= self.most || !is_admitted {
            self.differs = true;
            return;
        }
        if meta.kind == Kind::Folder {
            return self.folders.push(entry.to_entry());
        }
        self.digest.add(entry, None);
        if self.terms.links && meta.links > 1 {
            let Some(id) = meta.id else { return self.differs = true };
            let (name, links, ctime) = (entry.name.to_owned(), meta.links, meta.ctime);
            self.several.push(SeveralNames { folder: 0, name, id, links, ctime });
        }
    }
}

/// Reads a listing.
struct Reading(Arc<Mutex<FolderRead>>);

impl ListSink for Reading {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        let mut read = lock(&self.0);
        batch.iter().for_each(|entry| read.take(entry));
        read.bytes += batch.bytes();
        if read.bytes > HELD {
            read.held = None;
        } else if let Some(held) = &mut read.held {
            held.push(batch);
        }
        let vain = read.differs && read.held.is_none();
        if vain || read.reply.cancelled.load(Ordering::Relaxed) {
            read.differs = true;
            read.held = None;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {
        let mut read = lock(&self.0);
        read.differs = true;
        // It is met again when the folder is listed.
        read.held = None;
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        if result.is_err() {
            let mut read = lock(&self.0);
            read.differs = true;
            read.held = None;
        }
    }
}
