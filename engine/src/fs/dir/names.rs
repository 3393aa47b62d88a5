//! The names of the entries in a snapshot's folder whose own names the destination refuses or changes. [`Dir`] translates
//! between an entry's own name and its stored name, so that the rest of the program knows own names only.
//!
//! [`Dir`]: crate::fs::dir::Dir

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};

use rustix::io::Errno;

use crate::entry::stored_name::{ChangedNames, is_reserved, stored_name};
use crate::entry::tree_path::TreePath;
use crate::threads::lock::{lock, unpoisoned};

/// Where the names of a snapshot are recorded.
pub(crate) trait NameRecords: Send + Sync {
    /// The own names in the folder `place` that are stored under other names, each with its stored name.
    ///
    /// # Errors
    /// The record cannot be read.
    fn load(&self, place: &Arc<TreePath>) -> io::Result<Vec<(CString, CString)>>;

    /// Records that the entry `own` of the folder `place` is stored as `stored`.
    ///
    /// # Errors
    /// The record cannot be written.
    fn add(&self, place: &Arc<TreePath>, own: &CStr, stored: &CStr) -> io::Result<()>;
}

/// The number of counters by which handles of the same folder notice new names.
const COUNTERS: usize = 1024;

/// The names of one snapshot.
pub(crate) struct SnapshotNames {
    records: Box<dyn NameRecords>,
    /// Whether entries are being stored in the snapshot.
    writable: bool,
    /// The names that the destination changes.
    changed: ChangedNames,
    /// Whether any entry of the snapshot may have a stored name.
    any: AtomicBool,
    /// Counts the names given in a folder. Folders share counters.
    given: Vec<AtomicU64>,
    /// Held while a name is given.
    giving: Mutex<()>,
}

impl fmt::Debug for SnapshotNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotNames").field("writable", &self.writable).finish_non_exhaustive()
    }
}

impl SnapshotNames {
    /// The names of a snapshot that is only read. `any` says whether the snapshot has a record of names.
    pub(crate) fn read_only(
        records: Box<dyn NameRecords>,
        changed: ChangedNames,
        any: bool,
    ) -> Arc<Self> {
        Self::new(records, false, changed, any)
    }

    /// The names of a snapshot in which entries are stored.
    pub(crate) fn writable(
        records: Box<dyn NameRecords>,
        changed: ChangedNames,
        any: bool,
    ) -> Arc<Self> {
        Self::new(records, true, changed, any)
    }

    fn new(
        records: Box<dyn NameRecords>,
        writable: bool,
        changed: ChangedNames,
        any: bool,
    ) -> Arc<Self> {
        let given = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        let (any, giving) = (AtomicBool::new(any), Mutex::default());
        Arc::new(Self { records, writable, changed, any, given, giving })
    }

    /// Whether no entry may be on the disk under its own name `name`.
    fn forbids(&self, name: &CStr) -> bool {
        self.writable && is_reserved(name) || self.changed.include(name)
    }
}

/// The names of one folder of a snapshot.
#[derive(Debug)]
pub(crate) struct FolderNames {
    snapshot: Arc<SnapshotNames>,
    place: Arc<TreePath>,
    pairs: RwLock<NamePairs>,
    /// Whether a listing contained stored names without a record.
    strays: AtomicBool,
}

#[derive(Debug, Default)]
struct NamePairs {
    /// The value of the folder's counter when the names were read; `None` when they were not read yet.
    as_of: Option<u64>,
    stored: HashMap<CString, CString>,
    own: HashMap<CString, CString>,
}

impl NamePairs {
    fn insert(&mut self, own: CString, stored: CString) {
        self.own.insert(stored.clone(), own.clone());
        self.stored.insert(own, stored);
    }
}

impl FolderNames {
    pub(crate) fn top(snapshot: Arc<SnapshotNames>) -> Arc<Self> {
        Self::new(snapshot, TreePath::top(None))
    }

    fn new(snapshot: Arc<SnapshotNames>, place: Arc<TreePath>) -> Arc<Self> {
        let (pairs, strays) = (RwLock::default(), AtomicBool::new(false));
        Arc::new(Self { snapshot, place, pairs, strays })
    }

    /// The names of the subfolder with the own name `name`.
    pub(crate) fn child(&self, name: &CStr) -> Arc<Self> {
        Self::new(Arc::clone(&self.snapshot), self.place.child(name, None))
    }

    /// The counter of the folder.
    fn counter(&self) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        self.place.inside().hash(&mut hasher);
        &self.snapshot.given[hasher.finish() as usize % COUNTERS]
    }

    /// The recorded names; `None` when the snapshot has none. Another handle of the folder may have added names, so the
    /// record is read again when the counter has changed.
    fn pairs(&self) -> io::Result<Option<RwLockReadGuard<'_, NamePairs>>> {
        if !self.snapshot.any.load(Ordering::Acquire) {
            return Ok(None);
        }
        let now = self.counter().load(Ordering::Acquire);
        let known = unpoisoned(self.pairs.read());
        if known.as_of == Some(now) {
            return Ok(Some(known));
        }
        drop(known);
        let mut read = NamePairs { as_of: Some(now), ..NamePairs::default() };
        for (own, stored) in self.snapshot.records.load(&self.place)? {
            read.insert(own, stored);
        }
        *unpoisoned(self.pairs.write()) = read;
        Ok(Some(unpoisoned(self.pairs.read())))
    }

    /// The name on the disk of the entry `name`, to look it up.
    ///
    /// # Errors
    /// `ENOENT` when the entry can exist only under a stored name and has none; an error when the record cannot be read.
    pub(crate) fn on_disk<'a>(&self, name: &'a CStr) -> io::Result<Cow<'a, CStr>> {
        if let Some(stored) = self.stored(name)? {
            return Ok(Cow::Owned(stored));
        }
        if self.snapshot.forbids(name) { Err(Errno::NOENT.into()) } else { Ok(Cow::Borrowed(name)) }
    }

    /// The name on the disk under which to create the entry `name`.
    ///
    /// # Errors
    /// The record cannot be read or written.
    pub(crate) fn to_create<'a>(&self, name: &'a CStr) -> io::Result<Cow<'a, CStr>> {
        if self.snapshot.writable && self.snapshot.forbids(name) {
            self.give(name)?;
        }
        self.on_disk(name)
    }

    /// The stored name of the entry `name`, if it has one.
    ///
    /// # Errors
    /// The record cannot be read.
    pub(crate) fn stored(&self, name: &CStr) -> io::Result<Option<CString>> {
        let pairs = self.pairs()?;
        Ok(pairs.and_then(|pairs| pairs.stored.get(name).cloned()))
    }

    /// Gives the entry `name` a stored name. Returns `false` when it has one already, or when the snapshot is only read.
    ///
    /// # Errors
    /// The record cannot be read or written.
    pub(crate) fn give(&self, name: &CStr) -> io::Result<bool> {
        let snapshot = &self.snapshot;
        if !snapshot.writable {
            return Ok(false);
        }
        let _giving = lock(&snapshot.giving);
        if self.stored(name)?.is_some() {
            return Ok(false);
        }
        let stored = stored_name(name);
        snapshot.records.add(&self.place, name, &stored)?;
        // No other thread changes the counter, because each one that does holds `giving`.
        let counter = self.counter();
        let before = counter.load(Ordering::Acquire);
        let mut pairs = unpoisoned(self.pairs.write());
        if !snapshot.any.load(Ordering::Acquire) || pairs.as_of == Some(before) {
            pairs.insert(name.to_owned(), stored);
            pairs.as_of = Some(before + 1);
        }
        drop(pairs);
        counter.store(before + 1, Ordering::Release);
        snapshot.any.store(true, Ordering::Release);
        Ok(true)
    }

    /// The own name of the entry that is on the disk as `raw`. `None` for a stored name without a record in a snapshot that
    /// is being written: it was left when a power cut lost the record.
    pub(crate) fn own<'a>(&self, raw: &'a CStr) -> io::Result<Option<Cow<'a, CStr>>> {
        let snapshot = &self.snapshot;
        if let Some(pairs) = self.pairs()?
            && let Some(own) = pairs.own.get(raw)
        {
            return Ok(Some(Cow::Owned(own.clone())));
        }
        if snapshot.writable && is_reserved(raw) {
            self.strays.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(Some(Cow::Borrowed(raw)))
    }

    /// All entries with stored names, sorted: own name, stored name.
    ///
    /// # Errors
    /// The record cannot be read.
    pub(crate) fn all(&self) -> io::Result<Vec<(CString, CString)>> {
        let mut all = Vec::new();
        if let Some(pairs) = self.pairs()? {
            all.extend(pairs.stored.iter().map(|(own, stored)| (own.clone(), stored.clone())));
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Whether a listing contained stored names without a record.
    pub(crate) fn has_strays(&self) -> bool {
        self.strays.load(Ordering::Relaxed)
    }
}
