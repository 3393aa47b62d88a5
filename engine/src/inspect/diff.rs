//! Compares two snapshots: two ordered walks, merged folder by folder. Writes nothing.
//!
//! Memory is bounded by the largest folder, the depth, and [`crate::inspect::renames::MOST`]
//! entries that may have been renamed.

use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{FileId, Kind};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::lookup::{find, held};
use crate::fs::metadata::xattrs::XattrSelection;
use crate::inspect::browse::{FolderName, OpenSnapshot, list};
use crate::inspect::difference::{Difference, DifferenceKind, Differences};
use crate::inspect::equality::{hash_of, same_content, same_metadata};
use crate::inspect::renames::{RenameDetector, UnmatchedEntry};
use crate::repository::Repository;
use crate::snapshot::name::SnapshotName;

/// Receives the differences. Returns `Break` when no more are wanted.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&Difference) -> ControlFlow<()>;

/// Compares the snapshots `first` and `second`. With a non-empty `below`, a path inside them, only
/// that entry and what it contains. Changed entries are reported first, in the order of the walk;
/// then renamed, added and removed ones, sorted by path.
///
/// # Errors
/// A snapshot cannot be opened.
pub fn diff(
    first: (&Repository, &SnapshotName),
    second: (&Repository, &SnapshotName),
    below: &[u8],
    sink: Sink<'_>,
) -> Result<Differences, LookError> {
    let sides = [Side::open(first)?, Side::open(second)?];
    let mut place = TreePath::top(None);
    let mut names: Vec<CString> = Vec::new();
    for name in below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let Ok(name) = crate::entry::c_name(name) else { return Ok(Differences::default()) };
        names.push(name);
    }
    let last = names.pop();
    for name in &names {
        place = place.child(name, None);
    }
    let mut walk = Comparison {
        sides,
        sink,
        found: Differences::default(),
        renames: RenameDetector::default(),
        stack: Vec::new(),
        stopped: false,
    };
    let handles = [walk.sides[0].reopen(&place), walk.sides[1].reopen(&place)];
    match last {
        None => walk.push(place, handles),
        Some(last) => walk.compare_one(&place, &handles, &last),
    }
    walk.go();
    Ok(walk.finish())
}

/// One of the two snapshots.
struct Side {
    open: OpenSnapshot,
    /// The device of the snapshot, if listings return the inode numbers that stat(2) returns.
    dev: Option<u64>,
}

impl Side {
    fn open((repository, name): (&Repository, &SnapshotName)) -> Result<Self, LookError> {
        let open = OpenSnapshot::open(repository, name)?;
        let dev = open.top.meta().ok().and_then(|meta| meta.id).map(|id| id.dev);
        let dev = dev.filter(|_| crate::fs::file_system::reports_inodes(&open.top));
        Ok(Self { open, dev })
    }

    /// Opens the folder `place`, starting at the top; `None` if it does not exist.
    fn reopen(&self, place: &Arc<TreePath>) -> Option<Dir> {
        let (chain, top) = (place.chain(), self.open.top.try_clone().ok()?);
        chain[1..].iter().try_fold(top, |dir, at| dir.child(at.name()).ok())
    }
}

/// One folder on both sides, and its subfolders that are not entered yet.
struct Level {
    place: Arc<TreePath>,
    /// `None` after the handles were closed because the walk is much deeper.
    handles: Option<[Option<Dir>; 2]>,
    /// In reverse order: the next one is the last.
    folders: Vec<(CString, [bool; 2])>,
}

/// The number of levels that keep their handles open.
const OPEN_LEVELS: usize = 100;

/// Compare all attributes and ACLs that the snapshots hold.
const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

struct Comparison<'a> {
    sides: [Side; 2],
    sink: Sink<'a>,
    found: Differences,
    renames: RenameDetector,
    stack: Vec<Level>,
    stopped: bool,
}

impl Comparison<'_> {
    fn go(&mut self) {
        while let Some(level) = self.stack.last_mut() {
            if self.stopped {
                return;
            }
            let Some((name, there)) = level.folders.pop() else {
                self.stack.pop();
                continue;
            };
            let place = Arc::clone(&level.place);
            let sides = &self.sides;
            let handles = level
                .handles
                .get_or_insert_with(|| [sides[0].reopen(&place), sides[1].reopen(&place)]);
            let mut opened = [None, None];
            for side in 0..2 {
                if let (true, Some(dir)) = (there[side], &handles[side]) {
                    match dir.child(&name) {
                        Ok(child) => opened[side] = Some(child),
                        Err(error) => {
                            self.found.unread.push(unread(&place.child(&name, None), &error))
                        }
                    }
                }
            }
            // A folder that is unreadable on one side is neither added nor removed.
            if there.iter().zip(&opened).all(|(there, opened)| *there == opened.is_some()) {
                self.push(place.child(&name, None), opened);
            }
        }
    }

    /// Compares the entries of a folder and pushes it onto the stack for its subfolders.
    fn push(&mut self, place: Arc<TreePath>, handles: [Option<Dir>; 2]) {
        let mut records = [SidecarRecords::new(), SidecarRecords::new()];
        let mut lists = [Vec::new(), Vec::new()];
        for side in 0..2 {
            let Some(dir) = &handles[side] else { continue };
            let listed = self.sides[side].open.kept.load(&place).and_then(|found| {
                records[side] = found;
                list(dir, &records[side])
            });
            match listed {
                Ok(names) => lists[side] = names,
                Err(error) => return self.found.unread.push(unread(&place, &error)),
            }
        }
        let mut folders = Vec::new();
        let [first, second] = lists;
        let merged =
            Merge { first: first.into_iter().peekable(), second: second.into_iter().peekable() };
        for pair in merged {
            if self.stopped {
                return;
            }
            let name = match &pair {
                [Some(one), _] | [None, Some(one)] => one.name.clone(),
                [None, None] => continue,
            };
            match self.compare(&place, &handles, &records, &name, &pair) {
                Ok(Some(there)) => folders.push((name, there)),
                Ok(None) => {}
                Err(error) => self.found.unread.push(unread(&place.child(&name, None), &error)),
            }
        }
        folders.reverse();
        self.stack.push(Level { place, handles: Some(handles), folders });
        if let Some(far) = self.stack.len().checked_sub(OPEN_LEVELS + 1) {
            self.stack[far].handles = None;
        }
    }

    /// Compares the entry `name` of `place`, and everything below it.
    fn compare_one(&mut self, place: &Arc<TreePath>, handles: &[Option<Dir>; 2], name: &CStr) {
        let mut records = [SidecarRecords::new(), SidecarRecords::new()];
        let mut pair = [None, None];
        for side in 0..2 {
            let Some(dir) = &handles[side] else { continue };
            let found = self.sides[side].open.kept.load(place).and_then(|found| {
                records[side] = found;
                find(dir, name)
            });
            let kept = records[side].get(name).is_some_and(|record| record.kind.is_some());
            pair[side] = match found {
                Ok(Some(meta)) => {
                    let ino = meta.id.map_or(0, |id| id.ino);
                    Some(FolderName {
                        name: name.to_owned(),
                        ino,
                        folder: meta.kind == Kind::Folder,
                    })
                }
                Ok(None) => {
                    kept.then(|| FolderName { name: name.to_owned(), ino: 0, folder: false })
                }
                Err(error) => return self.found.unread.push(unread(place, &error)),
            };
        }
        match self.compare(place, handles, &records, name, &pair) {
            Ok(Some(there)) => {
                let place = Arc::clone(place);
                self.stack.push(Level {
                    place,
                    handles: None,
                    folders: vec![(name.to_owned(), there)],
                });
            }
            Ok(None) => {}
            Err(error) => self.found.unread.push(unread(&place.child(name, None), &error)),
        }
    }

    /// Compares the entries of one name. Returns on which sides it is a folder to enter; `None` if
    /// on neither.
    fn compare(
        &mut self,
        place: &Arc<TreePath>,
        handles: &[Option<Dir>; 2],
        records: &[SidecarRecords; 2],
        name: &CStr,
        pair: &[Option<FolderName>; 2],
    ) -> io::Result<Option<[bool; 2]>> {
        let is_folder = |side: usize| pair[side].as_ref().is_some_and(|name| name.folder);
        if let [Some(one), Some(other)] = pair {
            let same_device = self.sides[0].dev.is_some() && self.sides[0].dev == self.sides[1].dev;
            let known = same_device && one.ino == other.ino && one.ino != 0 && !one.folder;
            if known && records[0].get(name) == records[1].get(name) {
                self.found.unchanged += 1;
                return Ok(None);
            }
        }
        let look = |side: usize| match (&handles[side], &pair[side]) {
            (Some(dir), Some(_)) => held(dir, name, &records[side], ALL),
            _ => Ok(None),
        };
        let helds = [look(0)?, look(1)?];
        let path = place.inside_of(name);
        let there = [0, 1].map(|side| {
            is_folder(side)
                || helds[side].as_ref().is_some_and(|held| held.meta.kind == Kind::Folder)
        });
        match &helds {
            [Some(one), Some(other)] if there[0] == there[1] => {
                let hash = |dir: &Option<Dir>| dir.as_ref().and_then(|dir| hash_of(dir, name));
                let kind = match same_content(one, other, || handles.each_ref().map(hash)) {
                    false => Some(DifferenceKind::Changed),
                    true if same_metadata(one, other) => None,
                    true => Some(DifferenceKind::Metadata),
                };
                match kind {
                    None => self.found.unchanged += 1,
                    Some(kind) => self.report(Difference {
                        kind,
                        path,
                        from: None,
                        folder: there[1],
                        bytes: content_bytes(other),
                    }),
                }
            }
            helds => {
                for side in 0..2 {
                    let (Some(held), Some(dir)) = (&helds[side], &handles[side]) else { continue };
                    self.loose(side, path.clone(), held, dir, name);
                }
            }
        }
        Ok(there.iter().any(|there| *there).then_some(there))
    }

    /// Records an entry that exists on one side only.
    fn loose(&mut self, side: usize, path: Vec<u8>, held: &StoredEntry, dir: &Dir, name: &CStr) {
        let folder = held.meta.kind == Kind::Folder;
        let bytes = content_bytes(held);
        let file = held.meta.kind == Kind::File && held.on_disk;
        let loose = UnmatchedEntry {
            path,
            id: held.meta.id.filter(|id: &FileId| id.ino != 0 && !folder && held.on_disk),
            bytes,
            folder,
            hash: if file && bytes > 0 { hash_of(dir, name) } else { None },
        };
        if let Some(too_much) = self.renames.add(side, loose) {
            self.found.renames_unsure = true;
            self.one_sided(side, too_much);
        }
    }

    fn one_sided(
        &mut self,
        side: usize,
        UnmatchedEntry { path, bytes, folder, .. }: UnmatchedEntry,
    ) {
        let kind = if side == 0 { DifferenceKind::Removed } else { DifferenceKind::Added };
        self.report(Difference { kind, path, from: None, folder, bytes });
    }

    fn report(&mut self, difference: Difference) {
        let (counter, bytes) = match difference.kind {
            DifferenceKind::Added => (&mut self.found.added, Some(&mut self.found.bytes_added)),
            DifferenceKind::Removed => {
                (&mut self.found.removed, Some(&mut self.found.bytes_removed))
            }
            DifferenceKind::Changed => (&mut self.found.changed, Some(&mut self.found.bytes_added)),
            DifferenceKind::Metadata => (&mut self.found.metadata, None),
            DifferenceKind::Renamed => (&mut self.found.renamed, None),
        };
        *counter += 1;
        if let Some(bytes) = bytes {
            *bytes += difference.bytes;
        }
        self.stopped = self.stopped || (self.sink)(&difference).is_break();
    }

    /// Reports renamed, added and removed entries.
    fn finish(mut self) -> Differences {
        let matched = std::mem::take(&mut self.renames).matched();
        for (from, to) in matched.renamed {
            let UnmatchedEntry { path, bytes, folder, .. } = to;
            let kind = DifferenceKind::Renamed;
            self.report(Difference { kind, path, from: Some(from.path), folder, bytes });
        }
        for (side, loose) in [(1, matched.added), (0, matched.removed)] {
            for one in loose {
                if !self.stopped {
                    self.one_sided(side, one);
                }
            }
        }
        self.found
    }
}

fn unread(place: &Arc<TreePath>, error: &io::Error) -> (String, String) {
    (crate::entry::escape::shown(&place.inside()), error.to_string())
}

fn content_bytes(held: &StoredEntry) -> u64 {
    if held.meta.kind == Kind::File { held.meta.size } else { 0 }
}

/// Merges two sorted lists into pairs.
struct Merge<I: Iterator<Item = FolderName>> {
    first: std::iter::Peekable<I>,
    second: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = FolderName>> Iterator for Merge<I> {
    type Item = [Option<FolderName>; 2];

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.first.peek(), self.second.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.name.cmp(&other.name),
        };
        Some(match order {
            Ordering::Less => [self.first.next(), None],
            Ordering::Greater => [None, self.second.next()],
            Ordering::Equal => [self.first.next(), self.second.next()],
        })
    }
}
