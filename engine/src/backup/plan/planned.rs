//! An entry with its plan, and the files of the base that it may have been renamed from.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use crate::backup::plan::{Action, Step};
use crate::entry::overlay::SidecarRecord;
use crate::entry::preserve::Preserve;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, FileId, Kind, ListedEntry};
use crate::fs::dir::Dir;
use crate::fs::traverse::open_if_here;
use crate::source::BaseFile;
use crate::threads::lock::lock;

/// The most folders of the base that stay open because files were renamed from them.
const MOST_OPEN: usize = 16;

/// Opens the folders of the base from which files were renamed, and keeps a few of them open.
#[derive(Debug)]
pub(crate) struct OriginFolders {
    top: Dir,
    open: Mutex<VecDeque<(Arc<TreePath>, Arc<Dir>)>>,
}

impl OriginFolders {
    /// The folders below `top`, the top folder of the base.
    pub(crate) fn new(top: Dir) -> Self {
        Self { top, open: Mutex::default() }
    }

    /// Opens the folder at `place`.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub(crate) fn open(&self, place: &Arc<TreePath>) -> io::Result<Arc<Dir>> {
        let is_this = |(other, _): &&(Arc<TreePath>, Arc<Dir>)| Arc::ptr_eq(other, place);
        if let Some((_, dir)) = lock(&self.open).iter().find(is_this) {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(open_if_here(&self.top, place)?);
        let mut open = lock(&self.open);
        if open.len() >= MOST_OPEN {
            open.pop_front();
        }
        open.push_back((Arc::clone(place), Arc::clone(&dir)));
        Ok(dir)
    }
}

/// A file of the base that the source no longer has under this path.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) folders: Arc<OriginFolders>,
    pub(crate) place: Arc<TreePath>,
    pub(crate) name: CString,
    pub(crate) held: StoredEntry,
    /// What the sidecar of the base holds of it.
    pub(crate) record: Option<SidecarRecord>,
}

impl Origin {
    /// The path inside the base.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.place.inside_of(&self.name)
    }

    /// Its folder.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub(crate) fn folder(&self) -> io::Result<Arc<Dir>> {
        self.folders.open(&self.place)
    }
}

impl BaseFile for Origin {
    fn open(&self) -> io::Result<File> {
        self.folder()?.open_file(&self.name)
    }
}

/// Where in the base a file of the source was under another path.
#[derive(Debug, Clone)]
pub(crate) enum Renamed {
    /// One of these probably has the same content: size and time are equal. Only the hash proves it.
    Same(Vec<Arc<Origin>>),
    /// This is an older state of the file.
    Older(Arc<Origin>),
}

/// An entry of the source, the entries that the snapshots hold under its path, and the step decided for it.
pub(crate) struct Planned<'a> {
    pub(crate) entry: ListedEntry<'a>,
    pub(crate) base: Option<StoredEntry>,
    pub(crate) here: Option<StoredEntry>,
    pub(crate) step: Step,
    /// Where the base has a file that this one may have been renamed from.
    pub(crate) renamed: Option<Renamed>,
}

impl Planned<'_> {
    /// The same plan after the entry that an interrupted run left was removed.
    pub(crate) fn without_left(&self) -> Self {
        let (base, renamed) = (self.base.clone(), self.renamed.clone());
        Self { entry: self.entry, base, here: None, step: self.step, renamed }
    }

    /// Whether the snapshot will hold another inode than the base has under this path, according to the plan.
    pub(crate) fn is_apart(&self) -> bool {
        let id = |held: &Option<StoredEntry>| held.as_ref().and_then(|held| held.meta.id);
        match self.step.action {
            _ if self.renamed.is_some() => true,
            Action::Link | Action::FetchAndCompare | Action::Enter => false,
            Action::Keep | Action::Check => {
                id(&self.here).is_none() || id(&self.here) != id(&self.base)
            }
            Action::UpdateMetadata | Action::CopyLocally | Action::Make | Action::Fetch => true,
        }
    }
}

/// An entry with its plan, owned, for work that outlives the batch in which the entry was listed.
#[derive(Debug, Clone)]
pub(crate) struct PendingEntry {
    pub(crate) entry: Entry,
    pub(crate) base: Option<StoredEntry>,
    pub(crate) here: Option<StoredEntry>,
    pub(crate) step: Step,
    pub(crate) renamed: Option<Renamed>,
    /// The source's inode, when it has several names.
    pub(crate) group: Option<FileId>,
    /// The bytes of it that the progress counts already.
    pub(crate) shown: u64,
}

impl PendingEntry {
    /// A pending entry for a name of an inode with several names; `None` for any other entry.
    pub(crate) fn of(keep: Preserve, planned: &Planned<'_>) -> Option<Self> {
        let meta = planned.entry.meta;
        let several = keep.hard_links && meta.links > 1 && meta.kind != Kind::Folder;
        let group = meta.id.filter(|_| several)?;
        Some(Self { group: Some(group), ..Self::to_fetch(planned) })
    }

    /// A pending entry for a file that the run has to read from the source.
    pub(crate) fn to_fetch(planned: &Planned<'_>) -> Self {
        Self {
            entry: planned.entry.to_entry(),
            base: planned.base.clone(),
            here: planned.here.clone(),
            step: planned.step,
            renamed: planned.renamed.clone(),
            group: None,
            shown: 0,
        }
    }

    /// Approximate memory while it waits, with its share of the handles that wait with it, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let stored = [&self.base, &self.here].into_iter().flatten();
        let stored =
            stored.flat_map(|held| &held.xattrs).map(|(name, value)| name.len() + value.len());
        let extra = self.entry.extra.as_ref().map_or(0, |extra| extra.bytes());
        WAITING + self.entry.name.count_bytes() + extra + stored.sum::<usize>()
    }

    pub(crate) fn planned(&self) -> Planned<'_> {
        Planned {
            entry: ListedEntry::from(&self.entry),
            base: self.base.clone(),
            here: self.here.clone(),
            step: self.step,
            renamed: self.renamed.clone(),
        }
    }
}

/// Approximate memory of a waiting entry, without its parts of any length, bytes.
const WAITING: usize = size_of::<PendingEntry>() + 4 * size_of::<usize>() + 100;
