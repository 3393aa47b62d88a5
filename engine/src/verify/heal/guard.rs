//! Keeps content that was backed up under another name, which cannot be healed.

use std::collections::HashMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::entry::digest::{NameDigest, name_digest};
use crate::entry::escape::shown;
use crate::entry::tree_path::{TreePath, place_of};
use crate::snapshot::name::SnapshotName;
use crate::verify::heal::Heal;
use crate::verify::heal::make::check;
use crate::verify::heal::side::{NameIn, Recorded, borne, digests, split};
use crate::verify::outcome::Flaw;
use crate::verify::read::{Finding, judge};

impl Heal<'_> {
    /// Adds the names that are missing in the folders of `flaws` to what lacks its content.
    pub(super) fn note_missing(&mut self, flaws: &[(SnapshotName, Flaw)]) {
        for (snapshot, flaw) in flaws {
            let Flaw::Gone { folder, .. } = flaw else { continue };
            let place = place_of(folder);
            let Ok(ours) = self.our(snapshot) else { continue };
            let Some(Ok(Some(records))) = ours.manifest.as_ref().map(|all| all.folder(&place))
            else {
                continue;
            };
            let there = ours.folder(&place).and_then(|dir| digests(&dir)).unwrap_or_default();
            let names = self.names_in(snapshot, &place);
            for record in records.records.iter().filter(|record| record.content.is_known()) {
                if !there.contains(&record.name) {
                    let name = names.get(&record.name);
                    let name = name.map(|name| (snapshot.clone(), place.inside_of(name)));
                    self.lacking.entry(record.content).or_default().push(name);
                }
            }
        }
    }

    /// The names in a folder of the other side by their digests.
    fn names_in(
        &mut self,
        snapshot: &SnapshotName,
        place: &Arc<TreePath>,
    ) -> HashMap<NameDigest, CString> {
        let mut names = HashMap::new();
        let theirs = self.other.snapshot(snapshot).ok().flatten();
        if let Some(dir) = theirs.and_then(|theirs| theirs.folder(place).ok()) {
            // A name that cannot be listed cannot be healed.
            let _ = dir.names(|entry| {
                names.insert(name_digest(entry.name), entry.name.to_owned());
                ControlFlow::Continue(())
            });
        }
        names
    }

    /// Adds a name that does not have its content.
    pub(super) fn note_lacking(&mut self, name: &NameIn, recorded: &Recorded) {
        if recorded.content.is_known() {
            self.lacking.entry(recorded.content).or_default().push(Some(name.clone()));
        }
    }

    /// Why the inode under `name` stays, although it is not what was `recorded`: it is what was backed up under another
    /// name, and nothing else has that.
    pub(super) fn needed(&mut self, name: &NameIn, recorded: &Recorded) -> Option<String> {
        let ours = self.our(&name.0).ok()?;
        let (parent, file_name) = split(&name.1);
        let dir = ours.folder(&parent).ok()?;
        let held = borne(&dir, &file_name).ok()?;
        if held == recorded.content {
            return None;
        }
        let others = self.lacking.get(&held)?.clone();
        if others.iter().flatten().any(|other| self.has_other_source(other)) {
            return None;
        }
        let file = dir.open_file(&file_name).ok()?;
        let stop = || self.context.stop.asked();
        let is_whole = judge(&file, Some(held), false, &stop, &|_| {}).0 == Finding::Good;
        let other = others.into_iter().flatten().next();
        let other = other.map_or_else(
            || "under a name that is missing".to_owned(),
            |(snapshot, path)| format!("as {snapshot}/{}", shown(&path)),
        );
        is_whole.then(|| {
            format!("it is what was backed up {other}, and the only one: give it that name first")
        })
    }

    /// Whether `name` is good, or can be healed from the other side.
    fn has_other_source(&mut self, name: &NameIn) -> bool {
        let recorded =
            self.our(&name.0).ok().and_then(|ours| ours.recorded(&name.1).ok().flatten());
        let Some(recorded) = recorded else { return false };
        self.is_good(name, &recorded)
            || self
                .offer(name, &recorded)
                .and_then(|offer| check(&offer, &recorded, self.context))
                .is_ok()
    }
}
