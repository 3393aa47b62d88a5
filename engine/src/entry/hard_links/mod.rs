//! Hard links within the source: the first stored name of an inode leads, the other names link to
//! it.

pub(crate) mod leader;
mod leader_file;

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Mutex, MutexGuard};

use crate::entry::hard_links::leader::{Leader, StoredGroup, Version, version_of};
use crate::entry::hard_links::leader_file::LeaderFile;
use crate::entry::{FileId, Meta};
use crate::threads::lock::lock;

/// The most memory of stored leaders, and of names that wait for a leader, bytes.
const LEADERS: usize = 12 << 20;
const WAITING: usize = 12 << 20;

/// How to store a name of an inode.
pub(crate) enum Role<W> {
    /// Store it, then call [`Groups::lead`] or [`Groups::abandon`].
    Lead(W),
    /// Link it to the leader.
    Follow(Leader, W),
    /// Do nothing now: the thread that stores the leader handles it.
    Wait,
    /// Ask again later, or store it as an inode of its own: too many names wait for leaders.
    Apart(W),
}

/// A name that asks for its role.
pub(crate) struct Asks<'a, W> {
    pub(crate) id: FileId,
    pub(crate) meta: &'a Meta,
    pub(crate) name: W,
    /// Approximate memory of `name`, bytes.
    pub(crate) bytes: usize,
}

enum Slot<W> {
    Pending(Pending<W>),
    Stored { version: Version, leader: Leader, left: u64 },
}

/// An inode whose first name is being stored.
struct Pending<W> {
    version: Version,
    waiting: Vec<W>,
    /// The memory of those.
    bytes: usize,
    left: u64,
}

impl<W> Slot<W> {
    fn is(&self, meta: &Meta) -> bool {
        let (Self::Pending(Pending { version, .. }) | Self::Stored { version, .. }) = self;
        *version == version_of(meta)
    }
}

/// Makes the file for the leaders that take too much memory; `None` if there can be none. They then stay in memory.
pub(crate) type MakeFile = Box<dyn Fn() -> Option<File> + Send + Sync>;

/// The inodes whose names were not all seen yet.
pub(crate) struct Groups<W> {
    state: Mutex<State<W>>,
    /// `None`: memory has no bound.
    make: Option<MakeFile>,
}

struct State<W> {
    slots: HashMap<FileId, Slot<W>>,
    /// Memory of stored leaders and of waiting names, bytes.
    leaders: usize,
    waiting: usize,
    /// The other leaders. `None` until there are some, `Some(None)` if there can be no file.
    away: Option<Option<LeaderFile>>,
}

impl<W> State<W> {
    /// The file, if it has leaders.
    fn file(&mut self) -> Option<&mut LeaderFile> {
        self.away.as_mut()?.as_mut()
    }

    /// Puts an inode into the table, and returns the one that had its number.
    fn put(&mut self, id: FileId, slot: Slot<W>) -> Option<Slot<W>> {
        if let Slot::Stored { leader, .. } = &slot {
            self.leaders += leader.bytes();
        }
        let before = self.slots.insert(id, slot);
        self.left_out(before.as_ref());
        before
    }

    fn take(&mut self, id: FileId) -> Option<Slot<W>> {
        let taken = self.slots.remove(&id);
        self.left_out(taken.as_ref());
        taken
    }

    fn left_out(&mut self, slot: Option<&Slot<W>>) {
        if let Some(Slot::Stored { leader, .. }) = slot {
            self.leaders -= leader.bytes();
        }
    }

    /// Keeps a leader: in memory, or in the file if there are too many.
    fn keep(&mut self, group: StoredGroup, make: Option<&MakeFile>) {
        if let Some((place, file)) =
            self.file().and_then(|file| Some((file.find(group.id)?.0, file)))
        {
            file.remove(place);
        }
        let is_much = self.leaders + group.leader.bytes() > LEADERS;
        if let Some(make) = make.filter(|_| is_much) {
            let file = self.away.get_or_insert_with(|| make().map(LeaderFile::new));
            // On a full disk they stay in memory.
            if file.as_mut().is_some_and(|file| file.insert(&group).is_ok()) {
                drop(self.take(group.id));
                return;
            }
        }
        let StoredGroup { id, version, leader, left } = group;
        drop(self.put(id, Slot::Stored { version, leader, left }));
    }

    /// The leader of an inode in the file, for one more name. A group of an earlier inode with this number is removed.
    fn follow_away(&mut self, id: FileId, meta: &Meta) -> Option<Leader> {
        let file = self.file()?;
        let (place, group) = file.find(id)?;
        if group.version != version_of(meta) {
            file.remove(place);
            return None;
        }
        match group.left {
            0 | 1 => file.remove(place),
            left => file.set_left(place, left - 1),
        }
        Some(group.leader)
    }
}

impl<W> Groups<W> {
    /// Groups that take as much memory as they need.
    pub(crate) fn unbounded() -> Self {
        Self::new(None)
    }

    /// Groups that keep many leaders in the file that `make` makes.
    pub(crate) fn bounded(make: MakeFile) -> Self {
        Self::new(Some(make))
    }

    fn new(make: Option<MakeFile>) -> Self {
        let state = State { slots: HashMap::new(), leaders: 0, waiting: 0, away: None };
        Self { state: Mutex::new(state), make }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        lock(&self.state)
    }

    /// Asks how to store a name.
    pub(crate) fn ask(&self, asks: Asks<'_, W>) -> Role<W> {
        let Asks { id, meta, name, bytes } = asks;
        let state = &mut *self.state();
        let is_much = self.make.is_some() && state.waiting + bytes > WAITING;
        match state.slots.get_mut(&id) {
            Some(Slot::Pending(_)) if is_much => Role::Apart(name),
            // A name of another inode, which has this number now, waits too: the thread that stores the leader serves
            // all waiting names. Then it asks again, and leads.
            Some(Slot::Pending(pending)) => {
                pending.left = pending.left.saturating_sub(1);
                pending.waiting.push(name);
                pending.bytes += bytes;
                state.waiting += bytes;
                Role::Wait
            }
            Some(Slot::Stored { version, leader, left }) if *version == version_of(meta) => {
                *left = left.saturating_sub(1);
                let leader = leader.clone();
                if *left == 0 {
                    drop(state.take(id));
                }
                Role::Follow(leader, name)
            }
            _ => {
                if let Some(leader) = state.follow_away(id, meta) {
                    return Role::Follow(leader, name);
                }
                // A new inode, or a reused inode number whose earlier names may be elsewhere.
                let (version, left) = (version_of(meta), meta.links.saturating_sub(1));
                let new = Pending { version, waiting: Vec::new(), bytes: 0, left };
                drop(state.put(id, Slot::Pending(new)));
                Role::Lead(name)
            }
        }
    }

    /// Whether a name of the inode `id` with the metadata `meta` is stored or being stored.
    pub(crate) fn knows(&self, id: FileId, meta: &Meta) -> bool {
        let state = &mut *self.state();
        if let Some(slot) = state.slots.get(&id) {
            return slot.is(meta);
        }
        let away = state.file().and_then(|file| file.find(id));
        away.is_some_and(|(_, group)| group.version == version_of(meta))
    }

    /// The first name of `id` was stored, or `leader` replaces it. Returns the waiting names, which
    /// must ask again.
    pub(crate) fn lead(&self, id: FileId, leader: Leader) -> Vec<W> {
        let state = &mut *self.state();
        match state.take(id) {
            Some(Slot::Pending(Pending { version, waiting, bytes, left })) => {
                state.waiting -= bytes;
                let left = left.saturating_add(waiting.len() as u64);
                if left > 0 {
                    state.keep(StoredGroup { id, version, leader, left }, self.make.as_ref());
                }
                waiting
            }
            Some(Slot::Stored { version, left, .. }) => {
                state.keep(StoredGroup { id, version, leader, left }, self.make.as_ref());
                Vec::new()
            }
            None => {
                let away = state.file().and_then(|file| file.find(id));
                if let Some((_, group)) = away {
                    state.keep(StoredGroup { leader, ..group }, self.make.as_ref());
                }
                Vec::new()
            }
        }
    }

    /// The first name of `id` could not be stored. Returns the waiting names, which must ask again.
    pub(crate) fn abandon(&self, id: FileId) -> Vec<W> {
        let state = &mut *self.state();
        match state.take(id) {
            Some(Slot::Pending(Pending { waiting, bytes, .. })) => {
                state.waiting -= bytes;
                waiting
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::entry::tree_path::TreePath;
    use crate::entry::{Kind, Time};

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
            is_shared: false,
        }
    }

    fn ask<W>(groups: &Groups<W>, id: FileId, meta: &Meta, name: W) -> Role<W> {
        groups.ask(Asks { id, meta, name, bytes: 1000 })
    }

    #[test]
    fn the_first_leads_the_second_waits_the_third_follows_and_then_it_is_forgotten() {
        let groups = Groups::unbounded();
        assert!(matches!(ask(&groups, ID, &inode(1), "a"), Role::Lead("a")));
        assert!(matches!(ask(&groups, ID, &inode(1), "b"), Role::Wait));
        assert_eq!(groups.lead(ID, leader()), ["b"]);
        assert!(matches!(ask(&groups, ID, &inode(1), "c"), Role::Follow(..)));
        assert!(matches!(ask(&groups, ID, &inode(1), "b"), Role::Follow(..)));
        assert!(groups.state().slots.is_empty());
    }

    #[test]
    fn when_the_first_fails_the_next_leads() {
        let groups = Groups::unbounded();
        assert!(matches!(ask(&groups, ID, &inode(1), "a"), Role::Lead("a")));
        assert!(matches!(ask(&groups, ID, &inode(1), "b"), Role::Wait));
        assert_eq!(groups.abandon(ID), ["b"]);
        assert!(matches!(ask(&groups, ID, &inode(1), "b"), Role::Lead("b")));
    }

    #[test]
    fn an_inode_that_took_the_number_of_another_leads_a_group_of_its_own() {
        let groups = Groups::unbounded();
        assert!(matches!(ask(&groups, ID, &inode(1), "old"), Role::Lead("old")));
        assert!(groups.lead(ID, leader()).is_empty());
        assert!(matches!(ask(&groups, ID, &inode(2), "new"), Role::Lead("new")));
        assert!(matches!(ask(&groups, ID, &inode(1), "old too"), Role::Wait));
    }

    #[test]
    fn a_name_of_an_inode_that_took_the_number_while_the_earlier_one_was_read_follows_no_other_inode()
     {
        let groups = Groups::unbounded();
        assert!(matches!(ask(&groups, ID, &inode(1), "old"), Role::Lead("old")));
        assert!(matches!(ask(&groups, ID, &inode(2), "new"), Role::Wait));
        assert_eq!(groups.lead(ID, leader()), ["new"]);
        assert!(matches!(ask(&groups, ID, &inode(2), "new"), Role::Lead("new")));
        assert!(matches!(ask(&groups, ID, &inode(2), "new too"), Role::Wait));
        assert_eq!(groups.lead(ID, leader()), ["new too"]);
        assert!(matches!(ask(&groups, ID, &inode(2), "new too"), Role::Follow(..)));
    }

    #[test]
    fn two_inodes_with_one_number_size_and_time_are_distinguished_by_change_time() {
        let groups = Groups::unbounded();
        assert!(matches!(ask(&groups, ID, &inode(1), "old"), Role::Lead("old")));
        assert!(groups.lead(ID, leader()).is_empty());
        let later = Meta { ctime: Time { secs: 1, nanos: 0 }, ..inode(1) };
        assert!(groups.knows(ID, &inode(1)) && !groups.knows(ID, &later));
        assert!(matches!(ask(&groups, ID, &later, "new"), Role::Lead("new")));
    }

    /// Stores the first names of `count` inodes with three names each.
    fn led(groups: &Groups<u64>, count: u64) {
        for ino in 0..count {
            let id = FileId { dev: 1, ino };
            assert!(matches!(ask(groups, id, &inode(ino), ino), Role::Lead(_)));
            assert!(groups.lead(id, leader()).is_empty());
        }
    }

    #[test]
    fn leaders_beyond_the_bound_are_in_a_file_and_are_followed_all_the_same() {
        const COUNT: u64 = 60_000;
        let groups = Groups::bounded(Box::new(|| tempfile::tempfile().ok()));
        led(&groups, COUNT);
        assert!(groups.state().leaders <= LEADERS);
        let away = groups.state().file().map_or(0, |file| file.len());
        assert!(away > 10_000, "{away} are in the file");
        for _ in 0..2 {
            for ino in 0..COUNT {
                let (id, meta) = (FileId { dev: 1, ino }, inode(ino));
                assert!(groups.knows(id, &meta) && !groups.knows(id, &inode(ino + 1)));
                let Role::Follow(found, _) = ask(&groups, id, &meta, ino) else { panic!("{ino}") };
                assert_eq!(found.name, leader().name);
            }
        }
        assert!(groups.state().slots.is_empty() && groups.state().leaders == 0);
        assert_eq!(groups.state().file().map(|file| file.len()), Some(0));
    }

    #[test]
    fn a_leader_in_the_file_is_replaced_and_an_inode_that_took_its_number_leads() {
        const COUNT: u64 = 60_000;
        let groups = Groups::bounded(Box::new(|| tempfile::tempfile().ok()));
        led(&groups, COUNT);
        let id = FileId { dev: 1, ino: COUNT - 1 };
        assert!(!groups.state().slots.contains_key(&id), "it is in the file");
        groups.lead(id, Leader { name: c"other".to_owned(), ..leader() });
        let followed = ask(&groups, id, &inode(COUNT - 1), 1);
        assert!(matches!(followed, Role::Follow(found, _) if *found.name == *c"other"));
        assert!(matches!(ask(&groups, id, &inode(7), 1), Role::Lead(_)));
        assert!(!groups.knows(id, &inode(COUNT - 1)) && groups.knows(id, &inode(7)));
    }

    #[test]
    fn without_a_file_leaders_stay_in_memory() {
        let made = std::sync::Arc::new(AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&made);
        let groups = Groups::bounded(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            None
        }));
        led(&groups, 40_000);
        assert_eq!((groups.state().slots.len(), made.load(Ordering::Relaxed)), (40_000, 1));
    }

    #[test]
    fn names_that_would_take_too_much_memory_do_not_wait() {
        let groups = Groups::bounded(Box::new(|| None));
        assert!(matches!(ask(&groups, ID, &inode(1), 0), Role::Lead(_)));
        let roles = (1..100_000).map(|name| ask(&groups, ID, &inode(1), name));
        let apart = roles.filter(|role| matches!(role, Role::Apart(_))).count();
        let waited = groups.lead(ID, leader()).len();
        assert_eq!((waited, waited + apart), (WAITING / 1000, 99_999));
        assert_eq!(groups.state().waiting, 0);
        let groups = Groups::unbounded();
        assert!(matches!(ask(&groups, ID, &inode(1), 0), Role::Lead(_)));
        assert!((1..100_000).all(|name| matches!(ask(&groups, ID, &inode(1), name), Role::Wait)));
    }
}
