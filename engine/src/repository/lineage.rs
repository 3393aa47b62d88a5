//! Decides whether a history belongs to the sources of a job: compares the job's host and source roots with
//! those in the newest report of the history.

use chrono::{DateTime, Utc};

use crate::entry::c_name;
use crate::entry::escape::shown_path;
use crate::error::RunError;
use crate::fs::container::without_prefix;
use crate::fs::dir::Dir;
use crate::job::Job;
use crate::repository::backups_folder::Repository;
use crate::repository::records::journal::Journal;
use crate::repository::records::report::{Report, RootDropped};
use crate::repository::records::report_file::report;
use crate::repository::store::Store;
use crate::repository::store::file_of;
use crate::snapshot::history::History;
use crate::snapshot::host::Host;
use crate::snapshot::layout::Layout;
use crate::snapshot::name::{Prefix, SnapshotName};

/// The sources of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The snapshot.
    pub snapshot: String,
    /// The machine; `None` when it was not recorded.
    pub host: Option<Host>,
    /// The paths of the source roots, escaped.
    pub roots: Vec<String>,
}

impl Sources {
    /// The sources that `report` recorded.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self {
            snapshot: report.snapshot.clone(),
            host: report.host.clone(),
            roots: report.roots.iter().map(|root| root.path.clone()).collect(),
        }
    }

    /// Whether a history with these newest sources may continue one with `earlier` ones.
    #[must_use]
    pub(crate) fn may_continue(&self, earlier: &Self) -> bool {
        let other_host = match (&self.host, &earlier.host) {
            (Some(ours), Some(theirs)) => !same_host(ours, theirs),
            _ => false,
        };
        let in_common = |theirs: &String| self.roots.iter().any(|ours| overlap(theirs, ours));
        let known = !self.roots.is_empty() && !earlier.roots.is_empty();
        !other_host && (!known || earlier.roots.iter().any(in_common))
    }

    /// The error for a job with the roots `layout` on `host` when it must not continue the history of these
    /// sources.
    #[must_use]
    pub fn refuse(&self, host: &Host, layout: &Layout, prefix: &Prefix) -> Option<RunError> {
        let ours = root_paths(layout);
        let other_host = self.host.as_ref().is_some_and(|theirs| !same_host(theirs, host));
        let in_common = |theirs: &String| ours.iter().any(|ours| overlap(theirs, ours));
        let other_roots = !self.roots.is_empty() && !self.roots.iter().any(in_common);
        (other_host || other_roots).then(|| RunError::OtherSources {
            prefix: prefix.to_string(),
            snapshot: self.snapshot.clone(),
            theirs: describe(self.host.as_ref(), host, &self.roots),
            ours: describe(Some(host), self.host.as_ref().unwrap_or(host), &ours),
        })
    }
}

fn root_paths(layout: &Layout) -> Vec<String> {
    layout.roots().iter().map(|(path, _)| shown_path(path)).collect()
}

/// `/home, /etc on nas`. Names the machine only where the two machines differ or have a host name.
fn describe(host: Option<&Host>, other: &Host, roots: &[String]) -> String {
    let roots = roots.join(", ");
    match host {
        Some(Host { name: Some(name), port, .. }) => match port {
            Some(port) => format!("{roots} on {name}:{port}"),
            None => format!("{roots} on {name}"),
        },
        Some(host) if other.name.is_some() => format!("{roots} on {}", this(host)),
        Some(host) if !same_host(host, other) => format!("{roots} on {}", this(host)),
        _ => roots,
    }
}

fn this(host: &Host) -> String {
    match &host.machine {
        Some(machine) => format!("the machine {machine} that runs the job"),
        None => "the machine that runs the job".to_owned(),
    }
}

/// Whether both describe the same machine, as far as the records show. User names do not count. When only one
/// side has a port, the other side may get its port from the configuration of ssh, so the ports do not count.
fn same_host(one: &Host, other: &Host) -> bool {
    let differ = |one: Option<&str>, other: Option<&str>| matches!((one, other), (Some(one), Some(other)) if one != other);
    match (&one.name, &other.name) {
        (Some(one_name), Some(other_name)) => {
            let ports = matches!((one.port, other.port), (Some(one), Some(other)) if one != other);
            one_name.eq_ignore_ascii_case(other_name) && !ports
        }
        (None, None) => !differ(one.machine.as_deref(), other.machine.as_deref()),
        _ => false,
    }
}

/// Whether `path` is `root` or is below it.
pub(crate) fn lies_in(path: &str, root: &str) -> bool {
    let (path, root) = (on_the_machine(path), on_the_machine(root));
    root == "/"
        || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn overlap(one: &str, other: &str) -> bool {
    lies_in(one, other) || lies_in(other, one)
}

/// Maps a path of the container, such as `/host_fs/home`, to the path on the machine itself.
fn on_the_machine(path: &str) -> &str {
    without_prefix(path.as_bytes()).and_then(|rest| std::str::from_utf8(rest).ok()).unwrap_or(path)
}

/// The sources of the incomplete snapshot, or else of the newest snapshot with a report. `None` when no
/// snapshot recorded its sources: snapshots of the rsync script have no reports.
pub(crate) fn newest(repository: &Repository, history: &History) -> Option<Sources> {
    let begun = history
        .incomplete
        .last()
        .and_then(|name| crate::repository::lineage::begun_with(repository, name));
    begun.or_else(|| newest_report(repository, history).map(|report| Sources::of(&report)))
}

/// The newest report of a complete snapshot.
pub(crate) fn newest_report(repository: &Repository, history: &History) -> Option<Report> {
    history.complete.iter().rev().find_map(|name| report(repository, name))
}

/// Refuses to continue a history that belongs to other sources.
///
/// # Errors
/// [`RunError::OtherSources`].
pub(crate) fn check(job: &Job, repository: &Repository, history: &History) -> Result<(), RunError> {
    let known = newest(repository, history);
    known.and_then(|known| known.refuse(&job.host, &job.layout, &job.prefix)).map_or(Ok(()), Err)
}

/// The first source root of `job` that no complete snapshot contains.
pub(crate) fn new_root(job: &Job, repository: &Repository, history: &History) -> Option<String> {
    let mut missing: Vec<(String, Vec<u8>)> =
        job.layout.roots().into_iter().map(|(path, inside)| (shown_path(&path), inside)).collect();
    for name in history.complete.iter().rev() {
        if missing.is_empty() {
            break;
        }
        match report(repository, name) {
            Some(report) => missing
                .retain(|(path, _)| !report.roots.iter().any(|root| lies_in(path, &root.path))),
            None => missing.retain(|(_, inside)| !holds(repository, name, inside)),
        }
    }
    missing.into_iter().next().map(|(path, _)| path)
}

/// Whether a snapshot has an entry at `inside`. Returns true when the snapshot cannot be read.
fn holds(repository: &Repository, name: &SnapshotName, inside: &[u8]) -> bool {
    let Ok(mut dir) = repository.open_top(name) else { return true };
    let mut names = inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    while let Some(part) = names.next() {
        let found = c_name(part).and_then(|part| Ok((dir.find(&part)?, part)));
        match found {
            Ok((None, _)) => return false,
            Ok((Some(_), _)) if names.peek().is_none() => return true,
            Ok((Some(_), part)) => match dir.child(&part) {
                Ok(child) => dir = child,
                Err(_) => return !is_other(&dir, &part),
            },
            Err(_) => return true,
        }
    }
    true
}

/// Whether `name` exists and is not a folder.
fn is_other(dir: &Dir, name: &std::ffi::CStr) -> bool {
    dir.find(name)
        .is_ok_and(|found| found.is_some_and(|meta| meta.kind != crate::entry::Kind::Folder))
}

/// The source roots that the job no longer lists while at least one snapshot still contains them.
pub(crate) fn dropped(job: &Job, repository: &Repository, history: &History) -> Vec<RootDropped> {
    let Some(newest) = newest_report(repository, history) else { return Vec::new() };
    let now = root_paths(&job.layout);
    let last = newest.snapshot.clone();
    let of_newest = newest.roots.into_iter().map(|root| RootDropped {
        path: root.path,
        inside: root.inside,
        last: last.clone(),
    });
    let gone = |root: &RootDropped| !now.iter().any(|now| lies_in(&root.path, now));
    let mut dropped: Vec<RootDropped> = of_newest.filter(gone).collect();
    let before: Vec<_> = newest
        .dropped
        .into_iter()
        .filter(|root| gone(root) && dropped.iter().all(|known| known.path != root.path))
        .collect();
    dropped.extend(before);
    dropped.retain(|root| {
        let inside = crate::entry::escape::unshown(&root.inside).unwrap_or_default();
        not_after(history, root).any(|name| holds(repository, name, &inside))
    });
    dropped
}

/// The complete snapshots that can contain a dropped root.
pub fn not_after<'a>(
    history: &'a History,
    root: &RootDropped,
) -> impl Iterator<Item = &'a SnapshotName> {
    let last: Option<DateTime<Utc>> =
        SnapshotName::parse_any(root.last.as_bytes()).map(|name| name.stamp.time());
    let named = move |name: &&SnapshotName| last.is_some_and(|last| name.stamp.time() <= last);
    history.complete.iter().rev().filter(named)
}

/// The sources with which the incomplete snapshot `name` was begun. `None` when the journal does not record
/// them.
pub(crate) fn begun_with(repository: &Repository, name: &SnapshotName) -> Option<Sources> {
    let journal: Journal = repository.record(Store::Journal, &file_of(&name.prefix))?;
    let snapshot = name.to_string();
    let known = journal.snapshot == snapshot && !journal.roots.is_empty();
    known.then(|| Sources {
        snapshot,
        host: journal.host,
        roots: journal.roots.into_keys().collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::path::PathBuf;

    use super::*;

    fn host(name: &str, port: Option<u16>) -> Host {
        Host { name: Some(name.to_owned()), port, machine: None }
    }

    fn machine(id: Option<&str>) -> Host {
        Host { machine: id.map(str::to_owned), ..Host::default() }
    }

    #[test]
    fn a_history_is_refused_when_no_root_is_in_common() {
        for (theirs, ours, refused) in [
            (&["/one"][..], &["/one"][..], false),
            (&["/one"], &["/one/"], false),
            (&["/one"], &["/two"], true),
            (&["/one"], &["/one2"], true),
            (&["/one", "/two"], &["/two", "/three"], false),
            (&["/home"], &["/home/u"], false),
            (&["/home/u"], &["/home"], false),
            (&["/"], &["/home"], false),
            (&["/home"], &["/host_fs/home"], false),
            (&["/host_fs/./home"], &["/home"], false),
            (&["/host_fs/home"], &["/host_fs/etc"], true),
            (&["/host_fs2"], &["/"], false),
            // Old reports, which did not record the roots.
            (&[], &["/one"], false),
        ] {
            let paths: Vec<PathBuf> = ours.iter().map(PathBuf::from).collect();
            let layout = Layout::new(&paths, true, Path::new("/")).unwrap();
            let theirs: Vec<PathBuf> = theirs.iter().map(PathBuf::from).collect();
            let roots = match theirs.is_empty() {
                true => Vec::new(),
                false => root_paths(&Layout::new(&theirs, true, Path::new("/")).unwrap()),
            };
            let known = Sources { snapshot: "p.x".to_owned(), host: None, roots };
            let prefix = Prefix::new("p").unwrap();
            let refusal = known.refuse(&machine(None), &layout, &prefix);
            assert_eq!(refusal.is_some(), refused, "{known:?} {ours:?}");
        }
    }

    #[test]
    fn hosts_are_identified_by_name_and_port_and_machines_by_their_identity() {
        let (here, there) = (machine(None), host("nas", None));
        for (one, other, same) in [
            (&here, &here, true),
            (&here, &there, false),
            (&there, &host("NAS", Some(22)), true),
            (&host("nas", Some(22)), &host("nas", Some(2222)), false),
            (&there, &host("nas2", None), false),
            (&machine(Some("a")), &machine(Some("a")), true),
            (&machine(Some("a")), &machine(Some("b")), false),
            (&machine(Some("a")), &here, true),
        ] {
            assert_eq!(
                (same_host(one, other), same_host(other, one)),
                (same, same),
                "{one:?} {other:?}"
            );
        }
    }
}
