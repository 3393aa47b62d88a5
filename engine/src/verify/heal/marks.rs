//! Removes the marks of damage from what was healed and read again, and stores for the status what is left.

use std::collections::{BTreeMap, HashSet};

use crate::entry::human::rfc3339;
use crate::repository::records::{damage, last_check};
use crate::verify::heal::{Heal, Healing};
use crate::verify::outcome::Verified;

impl Heal<'_> {
    /// Removes the marks of what was healed. A path keeps its mark while anything that was found there is left.
    pub(super) fn unmark(&mut self, found: &Verified) {
        let now = rfc3339((self.context.now)());
        let mut healed: BTreeMap<String, HashSet<Vec<u8>>> = BTreeMap::new();
        let key = |name: &crate::snapshot::name::SnapshotName| name.to_string();
        for name in &self.healed.names {
            if name.result == Healing::Healed {
                healed.entry(key(&name.snapshot)).or_default().insert(name.path.clone());
            }
        }
        for name in &self.healed.names {
            if matches!(name.result, Healing::Left(_))
                && let Some(paths) = healed.get_mut(&key(&name.snapshot))
            {
                paths.remove(&name.path);
            }
        }
        let repository = self.ours.repository;
        for snapshot in &self.history {
            let Some(paths) = healed.get(&key(snapshot)) else { continue };
            let before = damage::load(repository, snapshot);
            let mut marks = before.clone();
            marks.retain(|path, _| !paths.contains(path));
            if marks != before
                && let Err(error) = damage::store(repository, snapshot, &marks, &now)
            {
                let what = format!("cannot remove the damage marks of {snapshot}: {error}");
                self.healed.aside.push(what);
            }
        }
        self.note(found, now);
    }

    /// Stores for the status that the check found only what is left now.
    fn note(&mut self, found: &Verified, finished: String) {
        let Some(prefix) = self.history.first().map(|name| name.prefix.clone()) else { return };
        let [_, _, left] = self.healed.counts();
        let repository = self.ours.repository;
        if found.is_damaged()
            && let Some(check) = last_check::load(repository, &prefix)
        {
            let damaged = usize::try_from(left).unwrap_or(usize::MAX);
            let check = last_check::LastCheck { damaged, finished, ..check };
            if let Err(error) = last_check::store(repository, &prefix, &check) {
                let what = format!("cannot store for the status that {prefix} was healed: {error}");
                self.healed.aside.push(what);
            }
        }
    }
}
