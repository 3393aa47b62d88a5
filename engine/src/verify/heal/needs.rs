//! The entries of the other side that a healing looks at.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::entry::digest::NameDigest;
use crate::entry::tree_path::place_of;
use crate::repository::Repository;
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;
use crate::source::Selection;
use crate::verify::heal::alike::{Lacked, alike};
use crate::verify::heal::side::{Side, digests};
use crate::verify::outcome::{Flaw, Verified};

/// What [`heal`] needs of the other side to heal what is damaged in `found`, oldest snapshot first. `history` are the snapshots of
/// the side that is healed.
///
/// What may have been a link to the damaged inode is in it, too: the same path in the snapshots before and after, and what has
/// the same record in the same snapshot. Where the other side has one inode, the healed name becomes a link again.
///
/// [`heal`]: crate::verify::heal
#[must_use]
pub fn needs(
    repository: &Repository,
    history: &History,
    found: &Verified,
) -> Vec<(SnapshotName, Selection)> {
    let mut needs = Needs { history: &history.complete, parts: HashMap::new() };
    for (snapshot, path) in found.damaged.iter().flat_map(|damage| &damage.names) {
        needs.around(snapshot, |selection| selection.add_path(path));
    }
    let mut ours = Side::new(repository);
    let mut lacking: HashMap<&SnapshotName, Lacked> = HashMap::new();
    // Another name may have a good inode already, for example after a healing that was killed.
    for (snapshot, path) in found.damaged.iter().filter_map(|damage| damage.names.first()) {
        lacking.entry(snapshot).or_default().changed(path);
    }
    for (snapshot, flaw) in found.flaws.iter().filter(|(_, flaw)| flaw.is_damage()) {
        match flaw {
            // What cannot be compared any more is left by the healing as well.
            Flaw::Gone { folder, .. } => {
                if let Ok(names) = gone(&mut ours, snapshot, folder) {
                    needs.around(snapshot, |selection| {
                        selection.add_digests(folder, names.iter().copied());
                    });
                    lacking.entry(snapshot).or_default().gone(folder, &names);
                }
            }
            Flaw::Altered(path, _) => {
                needs.around(snapshot, |selection| selection.add_path(path));
                lacking.entry(snapshot).or_default().changed(path);
            }
            _ => {}
        }
    }
    for (snapshot, lacked) in lacking {
        // One that is not complete is not on the other side.
        let Some(selection) = needs.parts.get_mut(snapshot) else { continue };
        let Ok(Some(opened)) = ours.snapshot(snapshot) else { continue };
        alike(&opened, &lacked).iter().for_each(|path| selection.add_path(path));
    }
    let mut parts: Vec<_> = needs.parts.into_iter().collect();
    parts.sort_by_key(|(snapshot, _)| snapshot.stamp);
    parts
}

struct Needs<'a> {
    history: &'a [SnapshotName],
    parts: HashMap<SnapshotName, Selection>,
}

impl Needs<'_> {
    /// Adds to what is needed of `snapshot`, and of those before and after it.
    fn around(&mut self, snapshot: &SnapshotName, add: impl Fn(&mut Selection)) {
        let Some(at) = self.history.iter().position(|one| one == snapshot) else { return };
        let near = at.saturating_sub(1)..self.history.len().min(at + 2);
        for name in &self.history[near] {
            add(self.parts.entry(name.clone()).or_default());
        }
    }
}

/// The digests of the names that the manifest of a snapshot records in a folder and that the folder lacks.
fn gone(
    ours: &mut Side<'_>,
    snapshot: &SnapshotName,
    folder: &[u8],
) -> io::Result<HashSet<NameDigest>> {
    let opened = ours.snapshot(snapshot)?.ok_or(io::ErrorKind::NotFound)?;
    let place = place_of(folder);
    let manifest = opened.manifest.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let recorded = manifest.folder(&place)?.ok_or(io::ErrorKind::NotFound)?.records;
    let there = digests(&opened.folder(&place)?)?;
    let names = recorded.iter().map(|record| record.name);
    Ok(names.filter(|name| !there.contains(name)).collect())
}
