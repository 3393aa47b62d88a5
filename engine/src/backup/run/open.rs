//! Opens what an attempt writes to (the incomplete snapshot, its journal, sidecar and manifest), and the walk that fills it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::backup::apply::snapshot_writer::{SnapshotWriter, in_progress};
use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::{DurableFiles, named_after};
use crate::entry::escape::shown_path;
use crate::error::{RunError, destination};
use crate::fs::dir::Dir;
use crate::fs::file_system::capabilities::{Abilities, probe};
use crate::fs::file_system::reports_inodes;
use crate::fs::metadata::MetadataWriter;
use crate::fs::small_file::make_if_missing;
use crate::monitor::event::Event;
use crate::repository::manifest::read::ManifestReader;
use crate::repository::manifest::write::Writer;
use crate::repository::records::journal::Checkpoints;
use crate::repository::records::names::{names_in_progress, names_of};
use crate::repository::records::sidecar::Sidecar;
use crate::repository::store::Store;
use crate::repository::{folder_name, manifest};
use crate::snapshot::name::SnapshotName;
use crate::source::Source;
use crate::threads::lock::lock;

/// The longest step of the clock from which the kernel takes the times of inodes (`CONFIG_HZ=100`).
const CLOCK_STEP: Duration = Duration::from_millis(10);

/// The most complete snapshots among which a walk looks for the names of an inode.
const LOOKED_AT: usize = 32;

/// Tests what the destination can hold. With `report`, reports its file system and its limits.
pub(crate) fn probe_destination<S: Source>(
    attempt: &Attempt<'_, S>,
    report: bool,
) -> Result<Abilities, RunError> {
    let (repository, monitor) = (attempt.repository, &attempt.context.monitor);
    let own = repository.own.as_ref().map_or(Err(Errno::NOENT.into()), probe);
    let path = || repository.path.clone();
    let abilities =
        own.map_err(|error| destination("cannot write to", &repository.path, path(), error))?;
    if report {
        monitor.event(&Event::Destination {
            about: crate::repository::destination::describe(repository),
        });
        for limit in abilities.limits() {
            monitor.event(&Event::Limited { what: limit.to_owned() });
        }
    }
    Ok(abilities)
}

/// Creates the folder of the incomplete snapshot, and denies access to other users.
pub(crate) fn make_incomplete<S: Source>(
    attempt: &Attempt<'_, S>,
    name: &SnapshotName,
) -> Result<(), RunError> {
    let repository = attempt.repository;
    let path = repository.path.join(name.to_string());
    let made = folder_name(name).and_then(|folder| {
        make_if_missing(&repository.dir, &folder)?;
        // A setgid bit of the backups folder would apply to each folder of the snapshot (mkdir(2)), and a default ACL to
        // each file. So both are removed.
        in_progress(&repository.dir, &folder).map(drop)
    });
    made.map_err(|error| destination("cannot create", &repository.path, path, error))
}

/// Opens the journal of the incomplete snapshot.
pub(crate) fn checkpoints<S: Source>(
    attempt: &Attempt<'_, S>,
    incomplete: &SnapshotName,
) -> Result<Checkpoints, RunError> {
    let repository = attempt.repository;
    let broken = |error| attempt.broken(error);
    let dir = repository.store(Store::Journal).ok_or_else(|| broken(Errno::NOENT.into()))?;
    let top =
        folder_name(incomplete).and_then(|name| repository.dir.child(&name)).map_err(broken)?;
    let (prefix, sync) = (&attempt.job.prefix, attempt.context.sync);
    Ok(Checkpoints::new(dir, prefix, incomplete.to_string(), top, sync))
}

/// Which files of the incomplete snapshot are certainly on disk.
fn trust<S: Source>(
    attempt: &Attempt<'_, S>,
    checkpoints: &Checkpoints,
) -> Result<DurableFiles, RunError> {
    let now = checkpoints.clock().map_err(|error| attempt.broken(error))?;
    let (durable, failed) = checkpoints.state();
    // The clock was set back: the recorded time no longer separates old files from new ones.
    if durable.is_some_and(|durable| durable > now) {
        checkpoints.distrust().map_err(|error| attempt.broken(error))?;
        return Ok(DurableFiles { before: None, checkable: !failed });
    }
    Ok(DurableFiles { before: durable, checkable: !failed })
}

/// Sets up a walk, and the writer that carries out its plans in the incomplete snapshot.
pub(crate) fn new_writer<S: Source>(
    attempt: &Attempt<'_, S>,
    names: &SnapshotNames,
    abilities: &Abilities,
    checkpoints: &Checkpoints,
) -> Result<Arc<SnapshotWriter<S>>, RunError> {
    let Attempt { job, source, repository, .. } = attempt;
    let broken = |error| attempt.broken(error);
    let trust = trust(attempt, checkpoints)?;
    let kept = repository.store(Store::Sidecars).ok_or_else(|| broken(Errno::NOENT.into()))?;
    let all_kept = kept;
    let incomplete = folder_name(&names.incomplete).map_err(broken)?;
    let kept = Sidecar::create(&all_kept, &incomplete).map_err(broken)?;
    let manifest = new_manifest(attempt, names, abilities);
    let granularity = source.time_granularity_ns().max(abilities.time_granularity_ns);
    // On a full disk the start cannot be recorded. Then the files stored now count as read by the run before.
    let _ = checkpoints.note_begin(names.reads_from);
    let mut set = attempt.setting(names, granularity, trust)?;
    set.writes = true;
    set.begins = set.begins.with(checkpoints.begins());
    set.folds_case = abilities.folds_case;
    let (changed, each) = (abilities.changed_names, !checkpoints.whole());
    let stored = all_kept
        .child(&incomplete)
        .and_then(|kept| names_in_progress(kept, changed, each))
        .map_err(broken)?;
    set.here.top = set.here.top.take().map(|top| top.with_names(stored));
    if let (true, Some(base)) = (changed.any(), &names.base) {
        let stored = folder_name(base).and_then(|base| names_of(Some(&all_kept), &base, changed));
        let stored = stored.map_err(broken)?;
        let top = set.base.top.take();
        set.base.top = match stored {
            Some(stored) => top.map(|top| top.with_names(stored)),
            None => top,
        };
    }
    let mut begun_on = checkpoints.roots();
    for root in &mut set.roots {
        let noted = || begun_on.get(&shown_path(&root.path)).cloned();
        root.file_system_before = root.file_system_before.take().or_else(noted);
    }
    let metadata_writer = MetadataWriter::new(job.keep, abilities.clone());
    let walk = WalkState::new(Arc::clone(source), set);
    // The clock is read before the first link. An interrupted run has linked since it began.
    let takes_up = names.resumed || attempt.links_since.get().is_some();
    let links_since = *attempt.links_since.get_or_init(|| match names.resumed {
        _ if !checkpoints.stamps() => None,
        true => {
            let first = checkpoints.begins().first().map(|begin| begin.destination);
            let named = named_after(&names.incomplete);
            Some(first.map_or(named, |first| first.min(named)))
        }
        false => checkpoints.clock().ok(),
    });
    let mut writer =
        SnapshotWriter::new(&walk, source, metadata_writer, kept, manifest, each, links_since);
    if takes_up && checkpoints.stamps() {
        // An early removal has just changed inodes. Without a pause this walk could take these changes for its own.
        std::thread::sleep(CLOCK_STEP);
        writer.walk_links_since = checkpoints.clock().ok();
        writer.complete = complete_snapshots(attempt);
    }
    walk.look_at_roots(&job.layout, std::mem::take(&mut *lock(&attempt.opened)))?;
    // The incomplete snapshot contains only the roots of this run, so only these are recorded.
    let recorded: BTreeMap<_, _> = walk
        .roots()
        .into_iter()
        .map(|root| {
            let path = shown_path(&root.path);
            let file_system = begun_on.remove(&path).or(root.file_system).unwrap_or_default();
            (path, file_system)
        })
        .collect();
    checkpoints.note_roots(recorded, &job.host).map_err(broken)?;
    Ok(Arc::new(writer))
}

/// The top folders of the newest complete snapshots.
fn complete_snapshots<S: Source>(attempt: &Attempt<'_, S>) -> Vec<Dir> {
    let Attempt { job, repository, .. } = attempt;
    let Ok(history) = repository.history(&job.prefix) else { return Vec::new() };
    let newest = history.complete.iter().rev().take(LOOKED_AT);
    let opened = newest.map(|name| folder_name(name).and_then(|name| repository.dir.child(&name)));
    opened.filter_map(Result::ok).collect()
}

/// Creates the manifest of the snapshot under its complete name. A damaged manifest of the base is reported, and the run
/// goes on.
fn new_manifest<S: Source>(
    attempt: &Attempt<'_, S>,
    names: &SnapshotNames,
    abilities: &Abilities,
) -> Writer {
    let repository = attempt.repository;
    let base = names.base.as_ref().and_then(|base| {
        let opened = folder_name(base)
            .and_then(|name| ManifestReader::open(repository.store(Store::Manifests).as_ref(), &name));
        let broken = |error| {
            let what = format!("the manifest of {base} cannot be read: hashes of unchanged files are taken from their attributes");
            attempt.aside(&what, error);
        };
        let (reader, torn) = opened.map_err(broken).ok().flatten()?.prove();
        if torn {
            broken(io::ErrorKind::InvalidData.into());
        }
        Some(reader)
    });
    let known = reports_inodes(&repository.dir);
    let all = manifest::folder(repository);
    Writer::create(all, &names.complete.to_string(), base, abilities.into(), known)
}
