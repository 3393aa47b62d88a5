//! Hard links within the source: the first stored name of an inode leads, the other names link to
//! it.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::entry::overlay::SidecarRecord;
use crate::entry::tree_path::TreePath;
use crate::entry::{FileId, Meta, Time};
use crate::threads::lock::lock;

/// The first name of an inode, and where it is in the snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    pub(crate) place: Arc<TreePath>,
    pub(crate) name: CString,
    /// The inode in the destination.
    pub(crate) id: Option<FileId>,
    /// The sidecar record, which is the same for all names of the inode.
    pub(crate) record: Option<Arc<SidecarRecord>>,
}

/// How to store a name of an inode.
pub(crate) enum Role<W> {
    /// Store it, then call [`Groups::lead`] or [`Groups::abandon`].
    Lead(W),
    /// Link it to the leader.
    Follow(Leader, W),
    /// Do nothing now: the thread that stores the leader handles it.
    Wait,
}

/// Distinguishes an inode from a later one with the same number: size, mtime and ctime. Size and
/// mtime alone are not enough, because in some trees all files share them. No program can set the
/// ctime.
type Version = (u64, Time, Time);

enum Slot<W> {
    Pending { version: Version, waiting: Vec<W>, left: u64 },
    Stored { version: Version, leader: Leader, left: u64 },
}

impl<W> Slot<W> {
    fn is(&self, meta: &Meta) -> bool {
        let (Self::Pending { version, .. } | Self::Stored { version, .. }) = self;
        *version == version_of(meta)
    }
}

fn version_of(meta: &Meta) -> Version {
    (meta.size, meta.mtime, meta.ctime)
}

/// The inodes whose names were not all seen yet.
pub(crate) struct Groups<W>(Mutex<HashMap<FileId, Slot<W>>>);

impl<W> Groups<W> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<FileId, Slot<W>>> {
        lock(&self.0)
    }

    /// Asks how to store `name` of the inode `id` with the metadata `meta`.
    pub(crate) fn ask(&self, id: FileId, meta: &Meta, name: W) -> Role<W> {
        let mut slots = self.slots();
        match slots.get_mut(&id).filter(|slot| slot.is(meta)) {
            None => {
                // A new inode, or a reused inode number whose earlier names may be elsewhere.
                let (version, left) = (version_of(meta), meta.links.saturating_sub(1));
                match slots.insert(id, Slot::Pending { version, waiting: Vec::new(), left }) {
                    Some(Slot::Pending { version, mut waiting, left }) => {
                        // The thread that stores the leader serves the waiting names, so they stay
                        // with it.
                        waiting.push(name);
                        slots.insert(id, Slot::Pending { version, waiting, left });
                        Role::Wait
                    }
                    _ => Role::Lead(name),
                }
            }
            Some(Slot::Pending { waiting, left, .. }) => {
                *left = left.saturating_sub(1);
                waiting.push(name);
                Role::Wait
            }
            Some(Slot::Stored { leader, left, .. }) => {
                *left = left.saturating_sub(1);
                let leader = leader.clone();
                if *left == 0 {
                    slots.remove(&id);
                }
                Role::Follow(leader, name)
            }
        }
    }

    /// Whether a name of the inode `id` with the metadata `meta` is stored or being stored.
    pub(crate) fn knows(&self, id: FileId, meta: &Meta) -> bool {
        self.slots().get(&id).is_some_and(|slot| slot.is(meta))
    }

    /// The first name of `id` was stored, or `leader` replaces it. Returns the waiting names, which
    /// must ask again.
    pub(crate) fn lead(&self, id: FileId, leader: Leader) -> Vec<W> {
        let mut slots = self.slots();
        match slots.remove(&id) {
            Some(Slot::Pending { version, waiting, left }) => {
                let left = left + waiting.len() as u64;
                if left > 0 {
                    slots.insert(id, Slot::Stored { version, leader, left });
                }
                waiting
            }
            Some(Slot::Stored { version, left, .. }) => {
                slots.insert(id, Slot::Stored { version, leader, left });
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The first name of `id` could not be stored. Returns the waiting names, which must ask again.
    pub(crate) fn abandon(&self, id: FileId) -> Vec<W> {
        match self.slots().remove(&id) {
            Some(Slot::Pending { waiting, .. }) => waiting,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::entry::Kind;

    const ID: FileId = FileId { dev: 1, ino: 2 };

    fn leader() -> Leader {
        Leader { place: TreePath::top(None), name: c"first".to_owned(), id: None, record: None }
    }

    fn inode(size: u64) -> Meta {
        let time = Time::default();
        Meta {
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            size,
            mtime: time,
            ctime: time,
            id: Some(ID),
            links: 3,
            rdev: 0,
            allocated: 0,
        }
    }

    #[test]
    fn the_first_leads_the_second_waits_the_third_follows_and_then_it_is_forgotten() {
        let groups = Groups::new();
        assert!(matches!(groups.ask(ID, &inode(1), "a"), Role::Lead("a")));
        assert!(matches!(groups.ask(ID, &inode(1), "b"), Role::Wait));
        assert_eq!(groups.lead(ID, leader()), ["b"]);
        assert!(matches!(groups.ask(ID, &inode(1), "c"), Role::Follow(..)));
        assert!(matches!(groups.ask(ID, &inode(1), "b"), Role::Follow(..)));
        assert!(groups.slots().is_empty());
    }

    #[test]
    fn when_the_first_fails_the_next_leads() {
        let groups = Groups::new();
        assert!(matches!(groups.ask(ID, &inode(1), "a"), Role::Lead("a")));
        assert!(matches!(groups.ask(ID, &inode(1), "b"), Role::Wait));
        assert_eq!(groups.abandon(ID), ["b"]);
        assert!(matches!(groups.ask(ID, &inode(1), "b"), Role::Lead("b")));
    }

    #[test]
    fn an_inode_that_took_the_number_of_another_leads_a_group_of_its_own() {
        let groups = Groups::new();
        assert!(matches!(groups.ask(ID, &inode(1), "old"), Role::Lead("old")));
        assert!(groups.lead(ID, leader()).is_empty());
        assert!(matches!(groups.ask(ID, &inode(2), "new"), Role::Lead("new")));
        assert!(matches!(groups.ask(ID, &inode(1), "old too"), Role::Wait));
    }

    #[test]
    fn two_inodes_with_one_number_size_and_time_are_distinguished_by_change_time() {
        let groups = Groups::new();
        assert!(matches!(groups.ask(ID, &inode(1), "old"), Role::Lead("old")));
        assert!(groups.lead(ID, leader()).is_empty());
        let later = Meta { ctime: Time { secs: 1, nanos: 0 }, ..inode(1) };
        assert!(groups.knows(ID, &inode(1)) && !groups.knows(ID, &later));
        assert!(matches!(groups.ask(ID, &later, "new"), Role::Lead("new")));
    }
}
