//! The location of the snapshots, for commands that only look at them. The sources may be unknown.

use std::path::Path;

use crate::config::layers::{Layers, first};
use crate::config::mistake::Mistake;
use crate::config::resolve::between_jobs::{
    check_each_has_its_own, check_names, check_shared_sources,
};
use crate::config::resolve::draft::{Draft, drafts, prefix};
use crate::config::types::SnapshotPlace;

/// The snapshot places of the jobs called `names`, or of all jobs if there are no names.
pub(crate) fn places(
    layers: &Layers,
    names: &[String],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Vec<SnapshotPlace> {
    let drafts = drafts(layers, names, mistakes);
    let lone = matches!(&drafts[..], [draft] if draft.origin.is_none());
    // Without a configuration, the names are those of the snapshots in the folder, which are read later.
    if !lone || says_prefix(&drafts[0]) {
        check_names("--job", names, &drafts, mistakes);
    }
    check_shared_sources(layers, &drafts, mistakes);
    let mut found = Vec::new();
    for draft in &drafts {
        draft.check_backups_dir(current_dir, mistakes);
        found.push(place(draft, lone, current_dir, mistakes));
    }
    check_each_has_its_own(&drafts, current_dir, mistakes);
    let chosen = drafts.iter().zip(found).filter(|(draft, place)| {
        draft.selected || place.as_ref().is_some_and(|place| place.prefix.is_none())
    });
    chosen.filter_map(|(_, place)| place).collect()
}

fn place(
    draft: &Draft<'_>,
    lone: bool,
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<SnapshotPlace> {
    let job = match says_sources(draft) {
        true => draft.build(current_dir, mistakes),
        false => None,
    };
    let said = prefix(&draft.layers).cloned();
    let prefix = if lone && !says_prefix(draft) { None } else { Some(said?) };
    let backups_dir = draft.backups_dir(current_dir)?;
    let retention = draft.retention()?;
    let copies = draft.copies(current_dir, mistakes)?;
    let alert = draft.alert()?;
    let backups_mode = draft.value(|layer| layer.backups_mode.as_ref());
    let answer_timeout = draft.answer_timeout();
    let name = draft.name.clone();
    let (sftp_channels, known_hosts) = (draft.sftp_channels(), None);
    Some(SnapshotPlace {
        name,
        backups_dir,
        prefix,
        retention,
        copies,
        alert,
        backups_mode,
        job,
        answer_timeout,
        sftp_channels,
        helper: draft.helper(),
        known_hosts,
    })
}

fn says_sources(draft: &Draft<'_>) -> bool {
    first(&draft.layers, |layer| layer.sources.as_ref()).is_some()
}

/// Whether the user selects snapshots: by a prefix, or by a job with the default prefix.
fn says_prefix(draft: &Draft<'_>) -> bool {
    let said = &draft.layers[..draft.layers.len().saturating_sub(1)];
    says_sources(draft) || said.iter().any(|layer| layer.prefix.is_some())
}
