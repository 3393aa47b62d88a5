//! What `--record` writes into manifests after a check: those that old snapshots lack, and the hashes that files cannot bear.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::error::RunError;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::lock::Locked;
use crate::repository::manifest::of_snapshot::{Hashes, write};
use crate::snapshot::name::SnapshotName;
use crate::verify::outcome::Verified;

/// Writes the manifests of those of `snapshots` in which nothing is wrong. `all` are the complete snapshots of their jobs, `hashes`
/// those of `unbearable` files that cannot bear them: these count as recorded when each of the snapshots has a manifest with them.
pub(crate) fn record(
    repository: &Repository,
    snapshots: &[SnapshotName],
    all: &[SnapshotName],
    (hashes, unbearable): (Hashes, u64),
    found: &mut Verified,
    context: &Context,
) {
    match write_all(repository, snapshots, all, &Arc::new(hashes), found, context) {
        Ok(written) => {
            found.manifests = written;
            found.unproved -= unbearable.min(found.unproved);
            found.recorded += unbearable;
        }
        Err(why) if unbearable > 0 => found.unrecordable = Some(why),
        Err(_) => {}
    }
}

fn write_all(
    repository: &Repository,
    snapshots: &[SnapshotName],
    all: &[SnapshotName],
    hashes: &Arc<Hashes>,
    found: &Verified,
    context: &Context,
) -> Result<u64, String> {
    if repository.own.is_none() && hashes.is_empty() {
        return Ok(0);
    }
    let words = |error: RunError| error.to_string();
    let writable = Repository::open_or_make(repository.path(), None).map_err(words)?;
    let mut locks = Vec::new();
    for prefix in snapshots.iter().map(|name| &name.prefix).collect::<BTreeSet<_>>() {
        match writable.lock(prefix, &context.stop).map_err(words)? {
            Locked::Mine(lock) => locks.push(lock),
            Locked::Busy => {
                return Err(format!("a run of {prefix} is at work; record them after it"));
            }
        }
    }
    let mut written = 0;
    let mut left = None;
    for name in snapshots {
        if context.stop.asked() {
            return Err("it was stopped".to_owned());
        }
        let is_flawed = found.flaws.iter().any(|(flawed, _)| flawed == name);
        let is_damaged = found.damaged.iter().any(|it| it.names.iter().any(|(at, _)| at == name));
        if is_flawed || is_damaged {
            left = Some(format!("{name} is not as it was backed up"));
            continue;
        }
        let earlier =
            |other: &&SnapshotName| other.prefix == name.prefix && other.stamp < name.stamp;
        let before = all.iter().filter(earlier).max_by_key(|other| other.stamp);
        let wrote = repository
            .lock_for_reading(name)
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|_stays| write(&writable, name, before, hashes));
        match wrote {
            Ok(wrote) => written += u64::from(wrote),
            Err(error) => left = Some(format!("the manifest of {name} cannot be written: {error}")),
        }
    }
    left.map_or(Ok(written), Err)
}
