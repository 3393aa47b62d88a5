//! Restores the names of one inode: the first restored name is the leader, and the others become hard links to
//! it.

use std::io;
use std::sync::Arc;

use crate::entry::Meta;
use crate::entry::hard_links::leader::Leader;
use crate::entry::hard_links::{Asks, Role};
use crate::entry::stored::StoredEntry;
use crate::fs::dir::Dir;
use crate::monitor::add;
use crate::restore::outcome::EntryOutcome;
use crate::restore::plan::{RestoreStep, decide};
use crate::restore::targets::{Shortfall, Target};
use crate::restore::walk::entry::{OCCUPIED, size_of};
use crate::restore::walk::folder::EntryInProgress;
use crate::restore::walk::{RestoreWalk, SharedOpenFolder};

impl<T: Target> RestoreWalk<'_, T> {
    /// Restores one of several names of an inode.
    pub(crate) fn grouped(
        &self,
        one: EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        source: Option<&Dir>,
        step: RestoreStep,
    ) {
        let Some(id) = one.wanted.meta.id else { return };
        // The number of names among the restored entries is unknown.
        let meta = Meta { links: u64::MAX / 2, ..one.wanted.meta.clone() };
        one.folder.expect();
        match self.groups.ask(Asks { id, meta: &meta, name: one, bytes: 0 }) {
            Role::Wait => {}
            // Groups without a bound never answer this.
            Role::Apart(one) => {
                self.single(&one, opened, source, step);
                self.settle(&one.folder);
            }
            Role::Follow(leader, one) => {
                self.follow(&one, &leader);
                self.settle(&one.folder);
            }
            Role::Lead(one) => {
                let stands = self.single(&one, opened, source, step);
                let waiting = if stands && !self.is_of_snapshot(&one, opened, step) {
                    let (place, name) = (Arc::clone(&one.folder.to), one.entry.name.clone());
                    self.groups.lead(id, Leader { place, name, id: one.inode.get(), record: None })
                } else {
                    self.groups.abandon(id)
                };
                self.settle(&one.folder);
                for one in waiting {
                    self.again(one);
                }
            }
        }
    }

    /// Whether the existing entry is the snapshot's own inode, which must get no further name.
    fn is_of_snapshot(
        &self,
        one: &EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        step: RestoreStep,
    ) -> bool {
        let there = || self.target.look(&opened.to, &one.entry.name).ok().flatten();
        step == RestoreStep::Keep
            && one.wanted.meta.id.is_some()
            && there().is_some_and(|there| there.meta.id == one.wanted.meta.id)
    }

    /// Retries a name that waited for the leader.
    fn again(&self, one: EntryInProgress<T::Folder>) {
        let folder = Arc::clone(&one.folder);
        let ready = self.handles(&folder).and_then(|opened| {
            let there = self.target.look(&opened.to, &one.entry.name)?;
            one.inode.set(there.as_ref().and_then(|there| there.meta.id));
            Ok((opened, decide(&one.wanted, there.as_ref(), &self.rules)))
        });
        match ready {
            Ok((opened, step)) => self.grouped(one, &opened, None, step),
            Err(error) => self.trouble(&one.path(), false, &error),
        }
        // The step that kept the folder pending while the name waited.
        self.settle(&folder);
    }

    /// Makes a name a hard link to the leader's inode.
    fn follow(&self, one: &EntryInProgress<T::Folder>, leader: &Leader) {
        add(&self.context.progress.bytes, size_of(&one.wanted));
        match self.try_follow(one, leader) {
            Ok(Some((what, why))) => {
                self.report(what, &one.path(), false, size_of(&one.wanted), why);
            }
            Ok(None) => {}
            Err(error) => self.trouble(&one.path(), false, &error),
        }
    }

    fn try_follow(
        &self,
        one: &EntryInProgress<T::Folder>,
        leader: &Leader,
    ) -> io::Result<Option<(EntryOutcome, Option<String>)>> {
        let opened = self.handles(&one.folder)?;
        let (target, name) = (self.target, &one.entry.name);
        let there = target.look(&opened.to, name)?;
        one.inode.set(there.as_ref().and_then(|there| there.meta.id));
        let step = decide(&one.wanted, there.as_ref(), &self.rules);
        let elsewhere;
        let leading = if leader.place.inside() == one.folder.to.inside() {
            &opened.to
        } else {
            elsewhere = self.reach(&leader.place)?;
            &elsewhere
        };
        let first = target.look(leading, &leader.name)?;
        let id = |held: &Option<StoredEntry>| held.as_ref().and_then(|held| held.meta.id);
        let is_linked = id(&there).is_some() && id(&there) == id(&first);
        // Where the target does not report inodes, an equal file with a link count above 1 counts as linked.
        let has_others = there.as_ref().is_some_and(|there| there.meta.links > 1);
        if is_linked || (step == RestoreStep::Keep && id(&first).is_none() && has_others) {
            self.report(EntryOutcome::Equal, &one.path(), false, 0, None);
            return Ok(None);
        }
        let (what, replace) = match step {
            RestoreStep::Create => (EntryOutcome::Created, false),
            // The file is equal but has its own inode: an interrupted restore had used this name as the leader.
            RestoreStep::Keep => (EntryOutcome::Metadata, true),
            RestoreStep::SetMetadata | RestoreStep::Replace => (EntryOutcome::Replaced, true),
            RestoreStep::ReplaceFolder if self.make_way(one, &opened)? => {
                (EntryOutcome::Replaced, false)
            }
            RestoreStep::ReplaceFolder => {
                return Ok(Some((EntryOutcome::Left, Some(OCCUPIED.to_owned()))));
            }
            RestoreStep::Leave(why) => return Ok(Some((EntryOutcome::Left, Some(why.to_owned())))),
        };
        match target.link(&opened.to, name, (leading, &leader.name, leader.id), replace) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let step = if replace { RestoreStep::Replace } else { RestoreStep::Create };
                if self.single(one, &opened, None, step) {
                    let shortfall = Shortfall { link: true, ..Shortfall::default() };
                    self.short(&one.path(), false, &shortfall);
                }
                Ok(None)
            }
            linked => linked.map(|()| Some((what, None))),
        }
    }
}
