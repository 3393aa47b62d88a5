//! Checks the settings of several jobs against each other, and the names of jobs on the command line.

use std::path::{Path, PathBuf};

use crate::config::layers::{Layers, first};
use crate::config::mistake::{Mistake, SettingOrigin, shown_path};
use crate::config::names::meant;
use crate::config::resolve::draft::{Draft, prefix};
use crate::config::resolve::overlap;

/// Checks that the jobs named on the command line exist. `said` is the text before the name, for example
/// `run`.
pub(crate) fn check_names(
    said: &str,
    names: &[String],
    drafts: &[Draft<'_>],
    mistakes: &mut Vec<Mistake>,
) {
    // A file that could not be read completely may contain the missing job.
    if drafts.iter().all(|draft| draft.origin.is_none()) && !mistakes.is_empty() {
        return;
    }
    for name in names {
        if drafts.iter().any(|draft| draft.name == *name) {
            continue;
        }
        let known: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        let origin = SettingOrigin::command_line(&format!("{said} {name}"));
        if name.contains('/') {
            mistakes.push(origin.mistake(
                "this has to be the name of a job; write folders to SRCS_TO_BACKUP (--srcs-to-backup) and BACKUPS_DIR (--backups-dir)",
            ));
            continue;
        }
        mistakes.push(origin.mistake(match meant(name, known.iter().copied()) {
            Some(near) => format!("there is no job of that name; did you mean {near}?"),
            None => format!("there is no job of that name; there is {}", known.join(", ")),
        }));
    }
}

/// Reports sources that would silently belong to no job, or to all jobs.
pub(crate) fn check_shared_sources(
    layers: &Layers,
    drafts: &[Draft<'_>],
    mistakes: &mut Vec<Mistake>,
) {
    let jobs = &layers.file.jobs;
    if jobs.is_empty() {
        return;
    }
    if let Some(given) = &layers.environment.sources {
        mistakes.push(given.origin.mistake(
            "the config file holds [[job]] entries; write the sources into them, or unset it",
        ));
    }
    if let Some(given) = &layers.file.top.sources
        && jobs.iter().all(|job| job.layer.sources.is_some())
    {
        mistakes.push(
            given.origin.mistake(
                "every [[job]] has sources of its own; move it into a [[job]], or remove it",
            ),
        );
    }
    if let Some(given) = &layers.flags.sources
        && drafts.iter().filter(|draft| draft.selected).count() > 1
    {
        mistakes.push(
            given
                .origin
                .mistake("it would hold for several jobs; name the one that is meant: run NAME"),
        );
    }
}

/// Checks that no two jobs write the same snapshots or have the same name.
pub(crate) fn check_each_has_its_own(
    drafts: &[Draft<'_>],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) {
    for (index, draft) in drafts.iter().enumerate() {
        let (Some(origin), before) = (draft.origin, &drafts[..index]) else { continue };
        let same_prefix = |other: &&Draft<'_>| {
            let dirs = (draft.backups_dir(current_dir), other.backups_dir(current_dir));
            prefix(&draft.layers).is_some_and(|own| prefix(&other.layers) == Some(own))
                && matches!(dirs, (Some(own), Some(others)) if overlap::same(&own, &others))
        };
        if let (Some(other), Some(prefix)) =
            (before.iter().find(same_prefix), prefix(&draft.layers))
        {
            mistakes.push(origin.mistake(format!(
                "the job {} has the prefix {prefix} in the same backups folder; write another BACKUP_NAME_PREFIX",
                other.name
            )));
        } else if before.iter().any(|other| other.name == draft.name) {
            mistakes.push(origin.mistake(format!(
                "there are two jobs named {}; give each a NAME of its own",
                draft.name
            )));
        }
    }
    check_copies(drafts, current_dir, mistakes);
}

/// Checks that the snapshots of no two jobs mix in the folder of a copy.
fn check_copies(drafts: &[Draft<'_>], current_dir: &Path, mistakes: &mut Vec<Mistake>) {
    let has_prefix_of = |one: &Draft<'_>, other: &Draft<'_>| {
        prefix(&one.layers).is_some_and(|own| prefix(&other.layers) == Some(own))
    };
    for (index, draft) in drafts.iter().enumerate() {
        let Some(given) = first(&draft.layers, |layer| layer.copy_to.as_ref()) else { continue };
        let others = drafts.iter().enumerate();
        for (other_index, other) in others.filter(|(other, _)| *other != index) {
            if !has_prefix_of(draft, other) {
                continue;
            }
            let backups = other.backups_dir(current_dir);
            let theirs = copies(other, current_dir);
            for to in copies(draft, current_dir) {
                let what = if backups.as_ref().is_some_and(|dir| overlap::same(dir, &to)) {
                    "is the backups folder of"
                } else if other_index < index && theirs.iter().any(|dir| overlap::same(dir, &to)) {
                    "is the folder of the copy of"
                } else {
                    continue;
                };
                mistakes.push(given.origin.mistake(format!(
                    "{} {what} the job {}, whose snapshots have the same prefix; write another folder, or another BACKUP_NAME_PREFIX",
                    shown_path(&to),
                    other.name
                )));
            }
        }
    }
}

/// The folders of the copies of a job.
fn copies(draft: &Draft<'_>, current_dir: &Path) -> Vec<PathBuf> {
    let folders = draft.value(|layer| layer.copy_to.as_ref()).unwrap_or_default();
    folders.iter().map(|folder| current_dir.join(folder).components().collect()).collect()
}
