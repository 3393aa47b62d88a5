//! The entries that the source has if nothing has changed since the base was made: their digest, and the listing that they
//! become when the source confirms them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::entry::folder_digest::{Digest, DigestKey, FolderDigest};
use crate::entry::stored::StoredEntry;
use crate::entry::{Batch, Extra, Kind, ListedEntry, Meta, Time};
use crate::source::SourceError;
use crate::source::expected::{Confirmed, Reply, SeveralNames};

/// A folder of the base, as the source would list it.
#[derive(Debug, Default)]
pub(crate) struct KnownFolder {
    pub(crate) entries: Batch,
    /// The base's entries, in the same order.
    held: Vec<StoredEntry>,
    /// The positions of the subfolders, in the order of their names, and their content if that is known too.
    folders: Vec<(usize, Option<KnownFolder>)>,
}

/// Whatever a confirmed folder keeps alive until the walk has processed it.
pub(crate) type Hold = Arc<dyn Any + Send + Sync>;

/// A folder whose content the source has confirmed, before the walk reaches it.
pub(crate) struct ConfirmedFolder {
    pub(crate) folder: KnownFolder,
    pub(crate) hold: Hold,
}

impl std::fmt::Debug for ConfirmedFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.folder.fmt(f)
    }
}

/// What a source was asked to confirm.
pub(crate) struct Asked {
    pub(crate) known: KnownFolder,
    /// Whether the source may confirm less of what is below.
    pub(crate) chain: bool,
    pub(crate) reply: Arc<Reply>,
    /// Fewer requests start while these entries are in memory.
    pub(crate) hold: Hold,
}

/// Whether the base may have entries in a folder that the walk has not seen in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaseNamesLeft {
    Possible,
    /// The source has confirmed all names of the base, and the walk has processed all of them.
    None,
}

/// What came of a request to confirm a folder.
pub(crate) enum Confirmation {
    /// The source listed it.
    Listed,
    /// Its entries are as expected and processed.
    Same(BaseNamesLeft),
    /// It counts as not listed.
    Failed(SourceError),
}

/// Counts requests and those that were not confirmed.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    asked: AtomicUsize,
    differed: AtomicUsize,
    /// The number of folders for which a request was considered.
    folders: AtomicUsize,
}

impl Guesses {
    /// Whether most requests found a difference, so that another one hardly pays. One of sixteen is tried even then.
    pub(crate) fn are_vain(&self) -> bool {
        let folder = self.folders.fetch_add(1, Ordering::Relaxed);
        let (asked, differed) =
            (self.asked.load(Ordering::Relaxed), self.differed.load(Ordering::Relaxed));
        differed > 32 && differed > asked / 4 * 3 && !folder.is_multiple_of(16)
    }

    pub(crate) fn add(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn differs(&self) {
        self.differed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A listed entry, and what is known of it already.
pub(crate) struct Compared<'a> {
    pub(crate) entry: ListedEntry<'a>,
    /// The base's entry; `None` if it is to be looked up.
    pub(crate) base: Option<StoredEntry>,
    /// The content of a folder, if the source has confirmed it.
    pub(crate) confirmed: Option<Box<ConfirmedFolder>>,
}

impl<'a> From<ListedEntry<'a>> for Compared<'a> {
    fn from(entry: ListedEntry<'a>) -> Self {
        Self { entry, base: None, confirmed: None }
    }
}

/// An answer about folders or entries that were not asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source confirmed entries that it was not asked about")]
pub(crate) struct Unasked;

/// The metadata that the source's entry has if it is still the base's. Without a change time, the times do not show that
/// it may have changed: the source has checked this. A snapshot that is copied has checked that the one before it shares the
/// inode.
fn unchanged(meta: &Meta) -> Meta {
    let is_shared = meta.kind != Kind::Folder;
    Meta { ctime: Time::default(), id: None, links: 1, is_shared, ..meta.clone() }
}

/// The source's entry if it is still `base`.
pub(crate) fn source_of(base: &StoredEntry) -> (Meta, Option<Box<Extra>>) {
    let (target, xattrs) = (base.target.clone(), base.xattrs.clone());
    let extra = Extra { target, xattrs, xattrs_unread: false };
    (unchanged(&base.meta), (extra != Extra::default()).then(|| Box::new(extra)))
}

impl KnownFolder {
    /// Adds an entry of the base. `below` is the content of a folder.
    pub(crate) fn push(&mut self, name: &[u8], base: StoredEntry, below: Option<KnownFolder>) {
        let is_folder = base.meta.kind == Kind::Folder;
        let (meta, extra) = source_of(&base);
        // The names come from a file system.
        if self.entries.push(name, meta, extra).is_ok() {
            if is_folder {
                self.folders.push((self.held.len(), below));
            }
            self.held.push(base);
        }
    }

    /// Brings the subfolders into the order of their names.
    pub(crate) fn sort(&mut self) {
        let names: Vec<_> = self.entries.iter().map(|entry| entry.name).collect();
        self.folders.sort_unstable_by_key(|(at, _)| names[*at]);
    }

    /// The number of its entries, and of the folders among them, with those of all folders whose content is known.
    pub(crate) fn count(&self) -> (u64, usize) {
        let own = (self.held.len() as u64, self.folders.len());
        self.folders.iter().filter_map(|(_, below)| below.as_ref()).fold(own, |all, below| {
            let (entries, folders) = below.count();
            (all.0 + entries, all.1 + folders)
        })
    }

    /// The digest.
    pub(crate) fn digest(&self, key: DigestKey) -> Digest {
        let folders = self.folders.iter();
        let below = folders.filter_map(|(at, below)| Some((*at, below.as_ref()?.digest(key))));
        let below: HashMap<usize, Digest> = below.collect();
        let mut digest = FolderDigest::new(key);
        for (at, entry) in self.entries.iter().enumerate() {
            digest.add(entry, below.get(&at));
        }
        digest.finish()
    }

    /// The digest of its own entries, that of those of its first subfolder, and so on.
    pub(crate) fn chain(&self, key: DigestKey) -> Vec<Digest> {
        let mut digest = FolderDigest::new(key);
        self.entries.iter().for_each(|entry| digest.add(entry, None));
        let mut chain = vec![digest.finish()];
        let below = self.folders.first().and_then(|(_, below)| below.as_ref());
        chain.extend(below.into_iter().flat_map(|below| below.chain(key)));
        chain
    }

    /// Forgets what is more than `depth` folders below this one.
    pub(crate) fn cut(&mut self, depth: usize) {
        for (_, below) in &mut self.folders {
            match (depth.checked_sub(1), &mut *below) {
                (Some(depth), Some(folder)) => folder.cut(depth),
                _ => *below = None,
            }
        }
    }

    /// Adds what the source knows of the entries.
    ///
    /// # Errors
    /// [`Unasked`].
    pub(crate) fn confirm(&mut self, confirmed: Confirmed) -> Result<(), Unasked> {
        let Confirmed { folders, several } = confirmed;
        let mut names: HashMap<usize, Vec<SeveralNames>> = HashMap::new();
        for name in several {
            names.entry(name.folder).or_default().push(name);
        }
        let mut folders = folders.into_iter();
        let mut number = 0;
        self.fill(&mut number, &mut folders, &mut names)?;
        if names.is_empty() && folders.next().is_none() { Ok(()) } else { Err(Unasked) }
    }

    fn fill(
        &mut self,
        number: &mut usize,
        ids: &mut impl Iterator<Item = crate::entry::FileId>,
        several: &mut HashMap<usize, Vec<SeveralNames>>,
    ) -> Result<(), Unasked> {
        if let Some(several) = several.remove(number) {
            let at: HashMap<_, _> =
                self.entries.iter().enumerate().map(|(at, entry)| (entry.name, at)).collect();
            let found = several.iter().map(|one| at.get(one.name.as_c_str()).copied());
            let found = found.collect::<Option<Vec<_>>>().ok_or(Unasked)?;
            let mut metas: Vec<_> = self.entries.metas().collect();
            for (one, at) in several.into_iter().zip(found) {
                let meta = &mut metas[at];
                if meta.kind == Kind::Folder {
                    return Err(Unasked);
                }
                (meta.id, meta.links, meta.ctime) = (Some(one.id), one.links, one.ctime);
            }
        }
        let mut metas: Vec<_> = self.entries.metas().collect();
        for (at, below) in &mut self.folders {
            metas[*at].id = Some(ids.next().ok_or(Unasked)?);
            *number += 1;
            if let Some(below) = below {
                below.fill(number, ids, several)?;
            }
        }
        Ok(())
    }

    /// Passes on the entries, in parts of at most `most`. `hold` lives as long as the content of a subfolder.
    ///
    /// # Errors
    /// The first one of `each`.
    pub(crate) fn in_parts<E>(
        self,
        most: usize,
        hold: &Hold,
        mut each: impl FnMut(Vec<Compared<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut below: HashMap<usize, KnownFolder> =
            self.folders.into_iter().filter_map(|(at, below)| Some((at, below?))).collect();
        let mut part = Vec::new();
        for (at, (entry, base)) in self.entries.iter().zip(self.held).enumerate() {
            let confirmed = below
                .remove(&at)
                .map(|folder| Box::new(ConfirmedFolder { folder, hold: Arc::clone(hold) }));
            part.push(Compared { entry, base: Some(base), confirmed });
            if part.len() == most {
                each(std::mem::take(&mut part))?;
            }
        }
        each(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::FileId;

    const KEY: fn() -> DigestKey = || DigestKey::new([3; 32]);

    fn held(kind: Kind) -> StoredEntry {
        let id = Some(FileId { dev: 1, ino: 1 });
        let meta = Meta { id, links: 40, ctime: Time { secs: 5, nanos: 5 }, ..Meta::of(kind) };
        StoredEntry { meta, target: None, xattrs: Vec::new(), on_disk: true }
    }

    /// `a` with `deep` in it, a file, and `b`.
    fn tree() -> KnownFolder {
        let (mut a, mut top) = (KnownFolder::default(), KnownFolder::default());
        a.push(b"deep", held(Kind::Folder), Some(KnownFolder::default()));
        a.push(b"name", held(Kind::File), None);
        top.push(b"b", held(Kind::Folder), Some(KnownFolder::default()));
        top.push(b"file", held(Kind::File), None);
        top.push(b"a", held(Kind::Folder), Some(a));
        top.sort();
        top
    }

    fn id(ino: u64) -> FileId {
        FileId { dev: 9, ino }
    }

    #[test]
    fn as_much_of_a_chain_is_known_as_the_source_confirms() {
        let chain = || {
            let mut known = KnownFolder::default();
            known.push(b"c", held(Kind::Folder), None);
            for name in [b"b", b"a"] {
                let mut above = KnownFolder::default();
                above.push(name, held(Kind::Folder), Some(known));
                known = above;
            }
            known
        };
        let mut alone = KnownFolder::default();
        alone.push(b"a", held(Kind::Folder), None);
        let digests = chain().chain(KEY());
        assert_eq!((digests.len(), digests[0]), (3, alone.digest(KEY())));
        assert_ne!(digests[0], digests[1]);
        for count in 1..=3 {
            let mut known = chain();
            known.cut(count - 1);
            let folders = (1..=count as u64).map(id).collect();
            known.confirm(Confirmed { folders, several: Vec::new() }).unwrap();
            assert_eq!(known.count().1, count);
        }
    }

    #[test]
    fn what_the_source_knows_is_added_to_the_right_entries() {
        let mut tree = tree();
        assert_eq!(tree.count(), (5, 3));
        let before = tree.digest(KEY());
        let several = |folder, name: &std::ffi::CStr| SeveralNames {
            folder,
            name: name.to_owned(),
            id: id(7),
            links: 2,
            ctime: Time { secs: 1, nanos: 1 },
        };
        let folders = vec![id(1), id(2), id(3)];
        let named = vec![several(1, c"name")];
        tree.confirm(Confirmed { folders: folders.clone(), several: named }).unwrap();
        assert_eq!(tree.digest(KEY()), before);
        let mut seen = Vec::new();
        let mut below = Vec::new();
        let hold: Hold = Arc::new(());
        let every = |part: Vec<Compared<'_>>, seen: &mut Vec<_>, below: &mut Vec<_>| {
            for Compared { entry, confirmed, .. } in part {
                let meta = entry.meta;
                seen.push((entry.name.to_owned(), meta.id.map(|id| id.ino), meta.links));
                below.extend(confirmed);
            }
            Ok::<_, Unasked>(())
        };
        tree.in_parts(2, &hold, |part| every(part, &mut seen, &mut below)).unwrap();
        let a = below.pop().unwrap().folder;
        a.in_parts(2, &hold, |part| every(part, &mut seen, &mut below)).unwrap();
        let expected = [
            (c"b".to_owned(), Some(3), 1),
            (c"file".to_owned(), None, 1),
            (c"a".to_owned(), Some(1), 1),
            (c"deep".to_owned(), Some(2), 1),
            (c"name".to_owned(), Some(7), 2),
        ];
        assert_eq!(seen, expected);
        for wrong in [
            Confirmed { folders: folders[..2].to_vec(), several: Vec::new() },
            Confirmed { folders: [&folders[..], &folders[..1]].concat(), several: Vec::new() },
            Confirmed { folders: folders.clone(), several: vec![several(0, c"name")] },
            Confirmed { folders: folders.clone(), several: vec![several(0, c"a")] },
            Confirmed { folders: folders.clone(), several: vec![several(4, c"name")] },
        ] {
            assert_eq!(self::tree().confirm(wrong), Err(Unasked));
        }
    }
}
