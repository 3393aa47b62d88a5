//! Removes a folder on the host with its content, after checking all of the content.

use std::ffi::{CStr, CString};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::entry::{Kind, ListedEntry, Meta};
use engine::restore::MustStay;
use engine::threads::lock;

use crate::sftp::protocol::attributes::meta;
use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::remote_path::child;
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::folder::{Entries, TargetFolder};
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{OwnedAnswer, Requests};
use crate::sftp::write::link::session::PATH_MAX;
use crate::sftp::write::target::SftpTarget;
use crate::sftp::write::top_dir::OWN;
use crate::ssh::again::again;

/// Maximum number of entries to check. Above it, an endless listing is more likely.
const ENTRIES_MOST: usize = 50_000_000;

/// Number of files that are removed together.
const TOGETHER: usize = 64;

/// Maximum memory in bytes for the names of unchecked folders, over all trees.
const WAITING_MOST: usize = 48 << 20;

/// Maximum number of names of a folder that each thread may hold without the lock `long`.
const FEW: usize = 2_000;

/// A step of the walk through a tree.
enum PathStep {
    /// Enter this subfolder of the current folder.
    Enter(CString),
    /// Leave the current folder.
    Leave,
}

/// The names in a folder. Only one large folder is held at a time, under the lock `long`.
struct FolderNames<'a> {
    folders: Vec<CString>,
    others: Vec<CString>,
    /// An entry in it must stay.
    stays: bool,
    _alone: Option<MutexGuard<'a, ()>>,
}

/// Whether an entry must stay.
type NameMustStay<'a> = dyn Fn(&CStr, &Meta) -> bool + 'a;

/// The walk through a tree. It keeps only names, because paths may be long and folders may have many entries.
struct TreeWalk<'a> {
    path: Vec<u8>,
    steps: Vec<PathStep>,
    /// Bytes of all waiting names, shared by all walks.
    waiting: &'a AtomicUsize,
}

impl<'a> TreeWalk<'a> {
    fn new(top: &[u8], waiting: &'a AtomicUsize) -> Self {
        Self { path: top.to_vec(), steps: vec![PathStep::Leave], waiting }
    }

    /// Adds subfolders of the current folder to the walk.
    fn add(&mut self, folders: Vec<CString>) -> Result<(), RequestError> {
        let more = folders.iter().map(|name| cost(name)).sum::<usize>();
        let before = self.waiting.fetch_add(more, Ordering::Relaxed);
        self.steps.extend(folders.into_iter().map(PathStep::Enter));
        if before + more > WAITING_MOST {
            return Err(RequestError::Impossible(
                "it is not removed: it holds too many folders; remove it on that machine",
            ));
        }
        Ok(())
    }

    /// Enters the next folder, and calls `leave` for each folder that it leaves before. Returns false at the
    /// end of the walk.
    fn enter(
        &mut self,
        mut leave: impl FnMut(&[u8]) -> Result<(), RequestError>,
    ) -> Result<bool, RequestError> {
        while let Some(step) = self.steps.pop() {
            let PathStep::Enter(name) = step else {
                leave(&self.path)?;
                let above = self.path.iter().rposition(|byte| *byte == b'/');
                self.path.truncate(above.unwrap_or_default());
                continue;
            };
            self.waiting.fetch_sub(cost(&name), Ordering::Relaxed);
            self.path = child(&self.path, name.to_bytes());
            if self.path.len() >= PATH_MAX {
                return Err(RequestError::Impossible(
                    "it is not removed: a path in it is longer than 4,095 bytes; remove it on that machine",
                ));
            }
            self.steps.push(PathStep::Leave);
            return Ok(true);
        }
        Ok(false)
    }
}

impl Drop for TreeWalk<'_> {
    fn drop(&mut self) {
        let left = self.steps.iter().map(|step| match step {
            PathStep::Enter(name) => cost(name),
            PathStep::Leave => 0,
        });
        self.waiting.fetch_sub(left.sum(), Ordering::Relaxed);
    }
}

/// Memory in bytes of a waiting name.
fn cost(name: &CStr) -> usize {
    size_of::<PathStep>() + name.count_bytes() + 16
}

impl SftpTarget {
    pub(crate) fn remove_tree(
        &self,
        folder: &TargetFolder,
        name: &CStr,
    ) -> Result<(), RequestError> {
        let top = folder.child(name)?;
        self.changed(folder);
        let mut walk = TreeWalk::new(&top, &self.waiting);
        loop {
            let FolderNames { folders, others, _alone, .. } =
                self.inside(&walk.path, &|_, _| false)?;
            for together in others.chunks(TOGETHER) {
                let requests = together.iter().fold(Requests::new(), |requests, name| {
                    requests.change(Change::Remove(&child(&walk.path, name.to_bytes())))
                });
                self.removed(&requests)?;
            }
            drop((others, _alone));
            walk.add(folders)?;
            let remove = |path: &[u8]| {
                let remove = Requests::new().change(Change::RemoveFolder(path));
                self.removed(&remove)
            };
            if !walk.enter(remove)? {
                return Ok(());
            }
        }
    }

    /// Sends removals. An entry that is already gone counts as removed.
    fn removed(&self, requests: &Requests) -> Result<(), RequestError> {
        let mut answers = again(|_| self.session.ask(requests.clone()))?;
        for _ in 0..requests.len() {
            match answers.next().done() {
                Err(fault) if !fault.is_absent() => return Err(fault),
                _ => {}
            }
        }
        Ok(())
    }

    /// The content of the folder at `path`.
    fn inside(
        &self,
        path: &[u8],
        stays: &NameMustStay<'_>,
    ) -> Result<FolderNames<'_>, RequestError> {
        let few = self.entries_of(path, FEW)?;
        let _alone = few.is_none().then(|| lock(&self.long));
        let entries = match few {
            Some(entries) => Some(entries),
            None => self.entries_of(path, usize::MAX)?,
        };
        let undescribed = RequestError::Impossible("the server does not list its content");
        let (mut folders, mut others, mut found) = (Vec::new(), Vec::new(), false);
        for (name, attrs) in entries.into_iter().flat_map(Entries::into_names) {
            let meta = meta(attrs).ok_or(undescribed.clone())?;
            found |= stays(&name, &meta);
            let into = if meta.kind == Kind::Folder { &mut folders } else { &mut others };
            into.push(name);
        }
        Ok(FolderNames { folders, others, stays: found, _alone })
    }

    /// Whether the whole folder `name` may be removed: no entry is `spared`, and it contains neither another
    /// file system nor a part of a backups folder.
    pub(crate) fn may_remove_tree(
        &self,
        folder: &TargetFolder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> Result<bool, RequestError> {
        let top = folder.child(name)?;
        let Some(outside) = self.file_system_of(&folder.path)? else { return Ok(false) };
        let mut seen = 0;
        let mut walk = TreeWalk::new(&top, &self.waiting);
        loop {
            let below = walk.path.get(top.len() + 1..).unwrap_or_default().to_vec();
            let stays = |name: &CStr, meta: &Meta| {
                let path = match &below[..] {
                    [] => name.to_bytes().to_vec(),
                    below => child(below, name.to_bytes()),
                };
                name.to_bytes() == OWN || spared(&path, ListedEntry { name, meta, extra: None })
            };
            if self.file_system_of(&walk.path)? != Some(outside) {
                return Ok(false);
            }
            let FolderNames { folders, others, _alone, stays } = self.inside(&walk.path, &stays)?;
            if stays {
                return Ok(false);
            }
            seen += folders.len() + others.len();
            if seen > ENTRIES_MOST {
                return Err(RequestError::Impossible("it is not removed: it does not end"));
            }
            walk.add(folders)?;
            if !walk.enter(|_| Ok(()))? {
                return Ok(true);
            }
        }
    }

    /// The file system of a path. `None` if the server does not report it, or reports the same ID for several
    /// (statvfs(3) has 0 for file systems without a number).
    pub(crate) fn file_system_of(&self, path: &[u8]) -> Result<Option<u64>, RequestError> {
        if !self.offers().statvfs {
            return Ok(None);
        }
        let ask = Requests::new().ask(Request::StatVfs(path));
        match again(|_| self.session.ask(ask.clone()))?.next() {
            OwnedAnswer::FileSystem(found) if found.id != 0 => Ok(Some(found.id)),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&CStr]) -> Vec<CString> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_way_leaves_each_folder_after_all_in_it() {
        let waiting = AtomicUsize::new(0);
        let (mut walk, mut seen, mut left) =
            (TreeWalk::new(b"/top", &waiting), Vec::new(), Vec::new());
        walk.add(names(&[c"b", c"a"])).unwrap();
        let mut leave = |path: &[u8]| {
            left.push(path.to_vec());
            Ok(())
        };
        while walk.enter(&mut leave).unwrap() {
            seen.push(walk.path.clone());
            if walk.path == b"/top/a" {
                walk.add(names(&[c"in"])).unwrap();
            }
        }
        assert_eq!(seen, [&b"/top/a"[..], b"/top/a/in", b"/top/b"]);
        assert_eq!(left, [&b"/top/a/in"[..], b"/top/a", b"/top/b", b"/top"]);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_tree_that_is_too_deep_or_too_large_ends_the_removal() {
        let long = CString::new(vec![b'n'; 255]).unwrap();
        let waiting = AtomicUsize::new(0);
        let mut walk = TreeWalk::new(b"/top", &waiting);
        let end = (0..100).try_for_each(|_| {
            walk.add(vec![long.clone()])?;
            walk.enter(|_| Ok(())).map(drop)
        });
        assert!(matches!(end, Err(RequestError::Impossible(_))));
        let end = walk.add(vec![long; 200_000]);
        assert!(matches!(end, Err(RequestError::Impossible(_))));
        drop(walk);
        assert_eq!(waiting.load(Ordering::Relaxed), 0, "what waits no longer is not counted");
    }
}
