//! A folder on the host: enters, lists and queries it. Its listing is kept while the folder is open, so that
//! looking at its entries costs no round trip.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use engine::StoredEntry;
use engine::entry::{Kind, Meta, Xattrs, check_name};
use engine::threads::lock;

use crate::sftp::protocol::attributes::target;
use crate::sftp::protocol::packet::{Attrs, Request, StatusCode};
use crate::sftp::protocol::remote_path::child;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::{PATH_MAX, bare, described, is_folder};
use crate::sftp::write::target::SftpTarget;
use crate::sftp::write::top_dir::OWN;
use crate::ssh::again::again;

/// Maximum number of names in a folder. Above it, a server that sends names without end is more likely.
const NAMES_MOST: usize = 1_000_000;

/// Maximum bytes of the names of one folder, with the overhead of each name.
const BYTES_MOST: usize = 64 << 20;

/// Maximum bytes of the listings kept for all open folders.
const KEPT_MOST: usize = 24 << 20;

/// Memory that a listing may use while it arrives: this many answers of the maximum size. `LONG` is for
/// listings with many names.
const LISTING: u64 = 4 << 20;
const LONG: u64 = 64 << 20;

/// An answer without names counts as this many names, because a folder leads to at most one such answer.
const NOTHING: usize = 1000;

/// Maximum number of outstanding READDIR requests, after the first ones.
const AHEAD: usize = 8;

/// A folder, by its path, which contains no symlink: SFTP has no folder handles in which something could be
/// opened.
#[derive(Debug)]
pub struct TargetFolder {
    pub(crate) path: Arc<[u8]>,
    found: Mutex<Found>,
    /// This restore created the folder: no other user may enter it until its metadata is set.
    pub(crate) is_own: bool,
    /// An entry was created or removed since the folder was last synced.
    pub(crate) changed: AtomicBool,
    kept: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Found {
    /// The listing of the folder; empty for a new folder.
    entries: Option<Entries>,
    /// Folders that were created in it and not entered yet.
    made: HashSet<CString>,
}

/// The entries of a folder, sorted by name. There may be a million, and a map needs twice the memory.
#[derive(Debug, Default)]
pub(crate) struct Entries(Vec<(CString, Attrs)>);

impl Entries {
    fn get(&self, name: &CStr) -> Option<Attrs> {
        let found = self.0.binary_search_by(|(other, _)| (**other).cmp(name));
        found.ok().map(|at| self.0[at].1)
    }

    /// Approximate memory in bytes.
    fn cost(&self) -> usize {
        self.0.iter().map(|(name, _)| cost(name.as_bytes()) + size_of::<(CString, Attrs)>()).sum()
    }

    pub(crate) fn into_names(self) -> impl Iterator<Item = (CString, Attrs)> {
        self.0.into_iter()
    }
}

/// Memory of a name in bytes, in addition to its slot in the list.
fn cost(name: &[u8]) -> usize {
    name.len() + 16
}

impl TargetFolder {
    pub(crate) fn new(path: Arc<[u8]>, kept: &Arc<AtomicUsize>) -> Self {
        let (found, kept) = (Mutex::default(), Arc::clone(kept));
        Self { path, found, is_own: false, changed: false.into(), kept }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }

    /// The path of `name` in the folder.
    pub(crate) fn child(&self, name: &CStr) -> Result<Vec<u8>, RequestError> {
        let path = child(&self.path, name.to_bytes());
        if path.len() >= PATH_MAX {
            return Err(RequestError::Impossible("its path there is longer than 4,095 bytes"));
        }
        Ok(path)
    }

    /// Records that a folder was created in it.
    pub(crate) fn made(&self, name: &CStr) {
        self.found().made.insert(name.to_owned());
    }

    /// The listed attributes of `name`. The outer `None` means that there is no listing.
    pub(crate) fn listed(&self, name: &CStr) -> Option<Option<Attrs>> {
        self.found().entries.as_ref().map(|entries| entries.get(name))
    }

    /// Records that the folder was just created and is empty.
    pub(crate) fn is_empty(&self) {
        drop(self.keep(Entries::default()));
    }

    /// Keeps the entries while there is room. Returns all names.
    fn keep(&self, entries: Entries) -> Vec<CString> {
        let cost = entries.cost();
        if self.kept.load(Ordering::Relaxed) + cost > KEPT_MOST {
            return entries.into_names().map(|(name, _)| name).collect();
        }
        self.kept.fetch_add(cost, Ordering::Relaxed);
        let names = entries.0.iter().map(|(name, _)| name.clone()).collect();
        let before = self.found().entries.replace(entries);
        self.kept.fetch_sub(before.as_ref().map_or(0, Entries::cost), Ordering::Relaxed);
        names
    }
}

impl Drop for TargetFolder {
    fn drop(&mut self) {
        let kept = self.found().entries.as_ref().map_or(0, Entries::cost);
        self.kept.fetch_sub(kept, Ordering::Relaxed);
    }
}

impl SftpTarget {
    /// Enters a folder: checks that it is one, and that its real path is its path.
    pub(crate) fn enter_folder(
        &self,
        folder: &TargetFolder,
        name: &CStr,
    ) -> Result<TargetFolder, RequestError> {
        let path = folder.child(name)?;
        let made = folder.found().made.remove(name);
        let mut requests = Requests::new().ask(Request::LStat(&path)).ask(Request::RealPath(&path));
        if !made {
            requests = requests.ask(Request::LStat(&child(&path, OWN)));
        }
        let mut answers = again(|_| self.session.ask(requests.clone()))?;
        if described(answers.next().attrs()?)?.kind != Kind::Folder {
            return Err(RequestError::Replaced);
        }
        stands_at(&path, answers.next())?;
        if !made && answers.next().attrs().is_ok_and(is_folder) {
            return Err(RequestError::Impossible("it is a backups folder"));
        }
        let mut entered = TargetFolder::new(path.into(), &self.kept);
        entered.is_own = made;
        if made {
            entered.is_empty();
        }
        Ok(entered)
    }

    /// All names in a folder; `None` if there are more than `most`.
    pub(crate) fn list(
        &self,
        folder: &TargetFolder,
        most: usize,
    ) -> Result<Option<Vec<CString>>, RequestError> {
        let entries = self.entries_of(&folder.path, most)?;
        Ok(entries.map(|entries| folder.keep(entries)))
    }

    /// The entries of the folder at `path`; `None` if there are more than `most`. Impossible names are
    /// skipped.
    pub(crate) fn entries_of(
        &self,
        path: &[u8],
        most: usize,
    ) -> Result<Option<Entries>, RequestError> {
        self.handles.with_one(|| {
            let _room = self.memory.acquire(if most < NAMES_MOST { LISTING } else { LONG });
            again(|_| self.try_entries_of(path, most))
        })
    }

    fn try_entries_of(&self, path: &[u8], most: usize) -> Result<Option<Entries>, RequestError> {
        let requester = &self.session.requester;
        let open = Requests::new()
            .ask(Request::OpenDir(path))
            .ask(Request::LStat(path))
            .ask(Request::RealPath(path));
        let mut answers = requester.ask(Via::Any, open)?;
        let (channel, handle) = (answers.channel, answers.next().handle());
        let there = answers.next().attrs();
        let is_there = there.clone().is_ok_and(is_folder);
        let handle = match handle {
            // `Replaced` explains more than the server's refusal.
            Err(fault) if fault.is_refusal() && there.is_ok() && !is_there => {
                return Err(RequestError::Replaced);
            }
            handle => handle?,
        };
        let placed = stands_at(path, answers.next());
        let close = std::sync::Arc::new(Requests::new().ask(Request::Close(&handle)));
        let mut entries = Vec::new();
        let mut read = || {
            placed.clone()?;
            if !is_there {
                return Err(RequestError::Replaced);
            }
            let (mut ahead, mut seen, mut bytes) = (2, 0, 0);
            loop {
                let ask =
                    (0..ahead).fold(Requests::new(), |ask, _| ask.ask(Request::ReadDir(&handle)));
                let mut answers = requester.ask(Via::Same(channel), ask)?;
                for _ in 0..ahead {
                    match answers.next() {
                        OwnedAnswer::Names(names) => {
                            seen += if names.is_empty() { NOTHING } else { names.len() };
                            bytes += insert(names, &mut entries);
                        }
                        OwnedAnswer::Status(StatusCode::Eof) => return Ok(true),
                        answer => return answer.done().map(|()| true),
                    }
                }
                if entries.len() > most {
                    return Ok(false);
                }
                if seen > NAMES_MOST || bytes > BYTES_MOST {
                    return Err(RequestError::Impossible("its listing does not end"));
                }
                ahead = AHEAD;
            }
        };
        let read = read();
        // Its answer is ignored.
        drop(requester.send(Via::Same(channel), &close));
        let is_all = read?;
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|(one, _), (other, _)| one == other);
        Ok(is_all.then_some(Entries(entries)))
    }

    /// The entry `name`; `None` if it does not exist.
    pub(crate) fn look_at(
        &self,
        folder: &TargetFolder,
        name: &CStr,
    ) -> Result<Option<StoredEntry>, RequestError> {
        let path = folder.child(name)?;
        let listed = match folder.listed(name) {
            Some(None) => return Ok(None),
            Some(Some(attrs)) => described(attrs).ok().map(|meta| with_links(meta, attrs)),
            None => None,
        };
        let (meta, link) = match listed {
            Some(meta) if meta.kind != Kind::Symlink => (meta, None),
            Some(meta) => {
                let ask = Requests::new().ask(Request::ReadLink(&path));
                let mut answers = again(|_| self.session.ask(ask.clone()))?;
                (meta, Some(answers.next()))
            }
            None => {
                let ask = Requests::new().ask(Request::LStat(&path)).ask(Request::ReadLink(&path));
                let mut answers = again(|_| self.session.ask(ask.clone()))?;
                match answers.next().attrs() {
                    Err(fault) if fault.is_absent() => return Ok(None),
                    attrs => {
                        let attrs = attrs?;
                        (with_links(described(attrs)?, attrs), Some(answers.next()))
                    }
                }
            }
        };
        let target = match link {
            Some(answer) if meta.kind == Kind::Symlink => {
                let odd =
                    RequestError::Impossible("the server sent a target that no symlink can have");
                Some(target(&answer.name()?).map_err(|_| odd)?)
            }
            _ => None,
        };
        Ok(Some(StoredEntry { meta, target, xattrs: Xattrs::new(), on_disk: true }))
    }
}

/// Adds the link count from a listing. If it is unknown, there may be any number of links.
fn with_links(meta: Meta, attrs: Attrs) -> Meta {
    Meta { links: attrs.links.map_or(u64::MAX, u64::from), ..meta }
}

/// Checks that the server reports `path` itself as the real path. The server may refuse to answer.
pub(crate) fn stands_at(path: &[u8], answer: OwnedAnswer) -> Result<(), RequestError> {
    match answer.name() {
        Ok(real) if bare(&real) == path => Ok(()),
        Ok(_) => Err(RequestError::Replaced),
        Err(fault) if fault.is_absent() => Err(fault),
        Err(_) => Ok(()),
    }
}

/// Adds the entries with possible names. Returns the memory of all names in bytes.
fn insert(names: Vec<(Box<[u8]>, Attrs)>, entries: &mut Vec<(CString, Attrs)>) -> usize {
    let mut bytes = 0;
    for (name, attrs) in names {
        bytes += cost(&name);
        if check_name(&name).is_ok()
            && let Ok(name) = CString::new(Vec::from(name))
        {
            entries.push((name, attrs));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_a_symlink_leads_away_from_is_refused() {
        let answer = |real: &[u8]| OwnedAnswer::Names(vec![(real.into(), Attrs::default())]);
        assert_eq!(stands_at(b"/a/b", answer(b"/a/b")), Ok(()));
        assert_eq!(stands_at(b"/a/b", answer(b"/a/b/")), Ok(()));
        assert_eq!(stands_at(b"/a/b", answer(b"/elsewhere")), Err(RequestError::Replaced));
        let untold = OwnedAnswer::Status(StatusCode::Other(8));
        assert_eq!(stands_at(b"/a/b", untold), Ok(()), "a server that does not tell");
        assert!(stands_at(b"/a/b", OwnedAnswer::Status(StatusCode::NoSuchFile)).is_err());
    }

    #[test]
    fn names_that_no_entry_can_have_are_dropped() {
        let names = [&b"."[..], b"..", b"", b"a/b", b"n\0l", b"good"];
        let names = names.iter().map(|name| ((*name).into(), Attrs::default())).collect();
        let mut entries = Vec::new();
        insert(names, &mut entries);
        let names: Vec<_> = entries.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [c"good".to_owned()]);
    }
}
