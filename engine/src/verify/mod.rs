//! Verifies snapshots: every byte against the recorded hash, each inode once however many snapshots
//! share it, and the entries of each snapshot against its report.

pub(crate) mod compared;
pub(crate) mod expected;
pub(crate) mod heal;
pub(crate) mod inode_names;
pub(crate) mod inodes;
pub(crate) mod outcome;
pub(crate) mod read;
pub(crate) mod recording;
pub(crate) mod report_check;
pub(crate) mod sample;
pub(crate) mod scan;

pub use self::heal::{HealError, Healed, HealedName, Healing, heal, needs};
pub use self::outcome::{Flaw, Verified};
pub use self::sample::{Portion, Rolling};

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use chrono::TimeDelta;

use crate::entry::human::rfc3339;
use crate::error::LookError;
use crate::fs::small_file::write_whole;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::folder_name;
use crate::repository::records::damage::{self, DamageMarks};
use crate::repository::records::last_check;
use crate::repository::records::last_check::LastCheck;
use crate::repository::store::Store;
use crate::repository::store::file_of;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::verify::sample::roll;
use crate::verify::scan::Scan;

/// Checks `portion` of the content of `snapshots`, which must all be in `repository`.
/// Returns `None` after a stop; what was found until then is stored.
///
/// # Errors
/// A snapshot cannot be opened.
pub fn verify(
    repository: &Repository,
    snapshots: &[SnapshotName],
    portion: Portion,
    record: bool,
    context: &Context,
) -> Result<Option<Verified>, LookError> {
    context.progress.enter(Phase::Verifying);
    if context.progress.is_watched()
        && let Some(total) = expected::of(repository, snapshots, portion)
    {
        context.progress.expect(total.files, total.bytes);
    }
    context.progress.begin_walk();
    let scan = Scan::new(portion, record, context);
    let mut found = Verified { snapshots: snapshots.len(), ..Verified::default() };
    for (number, name) in snapshots.iter().enumerate() {
        let seen = scan.snapshot(repository, name, number == 0);
        // A snapshot that another process removes during the check is not damaged.
        if found.snapshots > 1 && is_gone(repository, name) {
            found.snapshots -= 1;
            found.aside.push(format!("{name} was removed during the check"));
            continue;
        }
        let seen = seen?;
        if context.stop.asked() {
            break;
        }
        let flaws = crate::verify::report_check::judge(repository, name, &seen);
        found.flaws.extend(flaws.into_iter().map(|flaw| (name.clone(), flaw)));
    }
    let stopped = context.stop.asked();
    scan.sums(&mut found);
    let (damaged, exchanged) = scan.judged();
    found.flaws.extend(exchanged);
    let prefixes: BTreeSet<&Prefix> = snapshots.iter().map(|name| &name.prefix).collect();
    let mut others = Vec::new();
    for prefix in &prefixes {
        others.extend(repository.history(prefix)?.complete);
    }
    found.damaged = crate::verify::inode_names::of_all(repository, &others, damaged);
    if found.snapshots < snapshots.len() {
        found.damaged.retain(|damage| !damage.names.is_empty());
    }
    let whole: &[SnapshotName] = if portion.is_all() && !stopped { snapshots } else { &[] };
    note(repository, &others, whole, &mut found, &rfc3339((context.now)()));
    if record && !whole.is_empty() {
        let hashes = scan.unbearable();
        crate::verify::recording::record(repository, whole, &others, hashes, &mut found, context);
    }
    if !stopped {
        store_result(repository, &prefixes, portion, &mut found, context);
    }
    Ok((!stopped).then_some(found))
}

/// Stores what the check found, for the status. A user who may only read the backups stores nothing.
fn store_result(
    repository: &Repository,
    prefixes: &BTreeSet<&Prefix>,
    portion: Portion,
    found: &mut Verified,
    context: &Context,
) {
    let damaged = found.flaws.iter().filter(|(_, flaw)| flaw.is_damage()).count();
    let check = LastCheck {
        whole: portion.is_all(),
        snapshots: found.snapshots,
        good: found.good,
        unproved: found.unproved,
        damaged: found.damaged.len() + damaged,
        ..LastCheck::new(rfc3339((context.now)()))
    };
    for prefix in prefixes {
        let stored = last_check::store(repository, prefix, &check);
        if let Err(error) = stored
            && !matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            )
        {
            let what = format!("cannot store for the status that {prefix} was checked: {error}");
            found.aside.push(what);
        }
    }
}

/// Whether a snapshot no longer exists.
fn is_gone(repository: &Repository, name: &SnapshotName) -> bool {
    let dir = &repository.dir;
    folder_name(name).and_then(|name| dir.find(&name)).is_ok_and(|found| found.is_none())
}

/// Stores the damage marks for later runs. For snapshots in `whole`, which were checked completely,
/// old marks are dropped.
fn note(
    repository: &Repository,
    all: &[SnapshotName],
    whole: &[SnapshotName],
    found: &mut Verified,
    now: &str,
) {
    let mut marks: BTreeMap<String, DamageMarks> = BTreeMap::new();
    for damage in &found.damaged {
        for (name, path) in &damage.names {
            marks.entry(name.to_string()).or_default().insert(path.clone(), damage.what.clone());
        }
    }
    for (name, flaw) in found.flaws.iter().filter(|(_, flaw)| flaw.is_damage()) {
        let path = flaw.path().map_or_else(Vec::new, <[u8]>::to_vec);
        marks.entry(name.to_string()).or_default().insert(path, flaw.to_string());
    }
    for name in all {
        let before = damage::load(repository, name);
        let mut now_found = marks.remove(&name.to_string()).unwrap_or_default();
        for (path, what) in &before {
            // The check does not see every file that a copy lacks.
            let is_lacked = match path.is_empty() {
                true => what.starts_with(damage::LACKED) && !now_found.is_empty(),
                false => damage::is_lacked(repository, name, path, what),
            };
            if !whole.contains(name) || is_lacked {
                now_found.entry(path.clone()).or_insert_with(|| what.clone());
            }
        }
        if now_found != before
            && let Err(error) = damage::store(repository, name, &now_found, now)
        {
            let what = format!("cannot store the damage marks of {name} for the next run: {error}");
            found.aside.push(what);
        }
    }
}

/// The portion that a rolling check must read now to read all of `prefix` once per `period`, and
/// the state to store afterwards.
#[must_use]
pub fn rolling(
    repository: &Repository,
    prefix: &Prefix,
    period: TimeDelta,
    context: &Context,
) -> (Portion, Rolling) {
    let state: Option<Rolling> = repository.record(Store::Checks, &file_of(prefix));
    roll(state.as_ref(), (context.now)(), period)
}

/// Stores the progress of a rolling check after the check is done.
///
/// # Errors
/// The file cannot be written.
pub fn rolled(repository: &Repository, prefix: &Prefix, state: &Rolling) -> Result<(), LookError> {
    let store = || -> io::Result<()> {
        let content = serde_json::to_vec_pretty(state)?;
        write_whole(&repository.make_store(Store::Checks)?, &file_of(prefix), &content)
    };
    store().map_err(|error| LookError {
        action: "cannot store the progress of the check in",
        path: repository.path().to_owned(),
        error,
    })
}
