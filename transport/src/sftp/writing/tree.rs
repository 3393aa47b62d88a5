//! Removes a folder on the host with all it holds, unless it reaches into another file system or a backups
//! folder: all of it is looked at before anything goes.

use std::ffi::CStr;

use engine::entry::Kind;

use super::super::change::Change;
use super::super::describe::meta;
use super::super::place::child;
use super::super::wire::Request;
use super::SftpTarget;
use super::fault::{Fault, again};
use super::folder::TargetFolder;
use super::parcel::{Requests, Told};
use super::place::OWN;

/// Most entries that are looked at: above that a server that never ends is more likely.
const ENTRIES_MOST: usize = 50_000_000;

/// Files that are removed together.
const TOGETHER: usize = 64;

/// A part of the way through a tree.
enum Step {
    Enter(Vec<u8>),
    Leave(Vec<u8>),
}

/// Paths of what a folder holds.
#[derive(Default)]
struct Inside {
    folders: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl SftpTarget {
    pub(super) fn remove_tree(&self, folder: &TargetFolder, name: &CStr) -> Result<(), Fault> {
        let top = folder.child(name)?;
        self.changed(folder);
        self.check_tree(&folder.path, &top)?;
        let mut steps = vec![Step::Enter(top)];
        while let Some(step) = steps.pop() {
            let path = match step {
                Step::Leave(path) => {
                    let remove = Requests::new().change(Change::RemoveFolder(&path));
                    self.removed(&remove)?;
                    continue;
                }
                Step::Enter(path) => path,
            };
            let Inside { folders, others } = self.inside(&path)?;
            for together in others.chunks(TOGETHER) {
                let requests = together
                    .iter()
                    .fold(Requests::new(), |requests, path| requests.change(Change::Remove(path)));
                self.removed(&requests)?;
            }
            steps.push(Step::Leave(path));
            steps.extend(folders.into_iter().map(Step::Enter));
        }
        Ok(())
    }

    /// Removes; what is gone already counts as removed.
    fn removed(&self, requests: &Requests) -> Result<(), Fault> {
        let mut answers = again(|_| self.session.ask(requests.clone()))?;
        for _ in 0..requests.len() {
            match answers.next().done() {
                Err(fault) if !fault.is_absent() => return Err(fault),
                _ => {}
            }
        }
        Ok(())
    }

    /// What the folder at `path` holds.
    fn inside(&self, path: &[u8]) -> Result<Inside, Fault> {
        let entries = self.entries_of(path)?;
        let undescribed = Fault::Impossible("the server does not tell what is in it");
        let Inside { mut folders, mut others } = Inside::default();
        for (name, attrs) in entries {
            let kind = meta(attrs).ok_or(undescribed.clone())?.kind;
            let into = if kind == Kind::Folder { &mut folders } else { &mut others };
            into.push(child(path, name.to_bytes()));
        }
        Ok(Inside { folders, others })
    }

    /// Looks below a folder for what must not be removed.
    fn check_tree(&self, above: &[u8], top: &[u8]) -> Result<(), Fault> {
        let outside = self.file_system(above)?;
        let mut seen = 0;
        let mut waiting = vec![top.to_vec()];
        while let Some(path) = waiting.pop() {
            let is_other = self.file_system(&path)? != outside;
            let Inside { folders, others } = self.inside(&path)?;
            let own = child(&path, OWN);
            if is_other || folders.contains(&own) || others.contains(&own) {
                return Err(Fault::Impossible(
                    "it is not removed: another file system or a backups folder lies in it",
                ));
            }
            seen += folders.len() + others.len();
            if seen > ENTRIES_MOST {
                return Err(Fault::Impossible("it is not removed: it does not end"));
            }
            waiting.extend(folders);
        }
        Ok(())
    }

    /// Which file system a path is on; `None` when the server does not tell.
    fn file_system(&self, path: &[u8]) -> Result<Option<u64>, Fault> {
        if !self.session.server().offers.statvfs {
            return Ok(None);
        }
        let ask = Requests::new().ask(Request::StatVfs(path));
        match again(|_| self.session.ask(ask.clone()))?.next() {
            Told::FileSystem(found) => Ok(Some(found.id)),
            _ => Ok(None),
        }
    }
}
