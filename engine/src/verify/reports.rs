//! What is wrong with a snapshot as a whole: entries against its report, folders against the clock.

use std::fmt;

use chrono::DateTime;

use super::scan::Seen;
use crate::backups::read_small;
use crate::bytes::shown;
use crate::catalog::Catalog;
use crate::entry::{Meta, Time};
use crate::name::SnapshotName;
use crate::record::report_file;
use crate::report::Report;

/// Something that is wrong with a snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Entries are gone that its run had stored.
    Missing {
        /// How many at least.
        missing: u64,
        /// How many its report tells.
        expected: u64,
    },
    /// Entries were added, removed or renamed in a folder after the snapshot was complete.
    Changed(Vec<u8>),
    /// An entry of another name than all that the manifest records.
    Added(Vec<u8>),
    /// Entries of a folder that the manifest records, and that are gone or have other names.
    Gone {
        /// The folder.
        folder: Vec<u8>,
        /// How many.
        count: usize,
    },
    /// An entry that is not what the manifest records under its name.
    Altered(Vec<u8>, &'static str),
    /// The manifest, or a part of it, cannot be read.
    ManifestUnreadable,
    /// A folder cannot be read.
    Unread(Vec<u8>, String),
    /// A file or folder cannot be read by the user who asks.
    Forbidden(Vec<u8>),
    /// Its report cannot be read.
    ReportUnreadable,
    /// Its report is that of another one.
    ReportOfAnother(String),
    /// Its report is gone; older ones have theirs.
    ReportGone,
}

impl Flaw {
    /// Whether something is certainly damaged, not only unproved.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::ReportGone | Self::Forbidden(_) | Self::ManifestUnreadable)
    }

    /// The path inside the snapshot that it concerns; none for all of it.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Changed(path)
            | Self::Unread(path, _)
            | Self::Forbidden(path)
            | Self::Added(path)
            | Self::Altered(path, _)
            | Self::Gone { folder: path, .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { missing, expected } => {
                write!(f, "{missing} of its {expected} entries are missing")
            }
            Self::Changed(path) => write!(
                f,
                "entries were added, removed or renamed in {} after it was complete",
                folder_of(path)
            ),
            Self::Added(path) => {
                write!(f, "{} was not backed up: it was added or renamed later", shown(path))
            }
            Self::Gone { folder, count: 1 } => {
                write!(f, "1 entry of {} is gone or was renamed", folder_of(folder))
            }
            Self::Gone { folder, count } => {
                write!(f, "{count} entries of {} are gone or were renamed", folder_of(folder))
            }
            Self::Altered(path, what) => write!(f, "{}: {what}", folder_of(path)),
            Self::ManifestUnreadable => f.write_str(
                "its manifest cannot be read: files are proved by the hashes that they bear, which their owners can write",
            ),
            Self::Unread(path, why) => write!(f, "{} cannot be read: {why}", shown(path)),
            Self::Forbidden(path) => {
                write!(f, "{} may not be read by this user, and was not checked", shown(path))
            }
            Self::ReportUnreadable => f.write_str("its report cannot be read"),
            Self::ReportOfAnother(name) => write!(f, "its report is that of {name}"),
            Self::ReportGone => {
                f.write_str("its report is gone: nothing tells how many entries it should hold")
            }
        }
    }
}

fn folder_of(path: &[u8]) -> String {
    if path.is_empty() { "its top".to_owned() } else { shown(path) }
}

/// What stands where a snapshot's report should be.
enum Kept {
    Report(Box<Report>),
    Nothing,
    Garbage,
}

fn kept(catalog: &Catalog, name: &SnapshotName) -> Kept {
    let reports = catalog.backups.own(c"reports");
    let Some(content) = reports.and_then(|dir| read_small(&dir, &report_file(&name.to_string())))
    else {
        return Kept::Nothing;
    };
    serde_json::from_slice(&content).map_or(Kept::Garbage, |report| Kept::Report(Box::new(report)))
}

/// What is wrong with the snapshot `name`, of which `seen` was seen.
pub(super) fn judge(catalog: &Catalog, name: &SnapshotName, seen: &Seen) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> =
        seen.unread.iter().map(|(path, why)| Flaw::Unread(path.clone(), why.clone())).collect();
    flaws.extend(seen.forbidden.iter().cloned().map(Flaw::Forbidden));
    flaws.extend(seen.differing.iter().cloned());
    let report = match kept(catalog, name) {
        Kept::Report(report) => report,
        Kept::Garbage => {
            flaws.push(Flaw::ReportUnreadable);
            return flaws;
        }
        Kept::Nothing => {
            // Those that rsync made have none, and come before ours.
            let older = catalog.history(&name.prefix).is_ok_and(|history| {
                let mut older = history.complete.iter().filter(|other| other.stamp < name.stamp);
                older.any(|other| matches!(kept(catalog, other), Kept::Report(_)))
            });
            flaws.extend(older.then_some(Flaw::ReportGone));
            return flaws;
        }
    };
    if report.snapshot != name.to_string() {
        flaws.push(Flaw::ReportOfAnother(report.snapshot));
        return flaws;
    }
    let counts = &report.counts;
    // What vanished while it was read, or was told as missing, was counted and is not there.
    let expected = counts.entries.saturating_sub(counts.vanished + counts.problems);
    // What lies in a folder that may not be read was not counted.
    let told = seen.differing.iter().any(|flaw| matches!(flaw, Flaw::Gone { .. }));
    if seen.entries < expected && seen.forbidden.is_empty() && !told {
        let missing = expected - seen.entries;
        flaws.push(Flaw::Missing { missing, expected: counts.entries });
    }
    if let Ok(finished) = DateTime::parse_from_rfc3339(&report.finished) {
        // The report tells whole seconds.
        let changed = seen.late.iter().filter(|(_, mtime)| mtime.secs > finished.timestamp());
        flaws.extend(changed.map(|(path, _)| Flaw::Changed(path.clone())));
    }
    flaws
}

/// The time at which entries of a folder changed, if that was after it got the time of its source: then
/// both its times are that of the change.
pub(super) fn changed_at(meta: &Meta) -> Option<Time> {
    (meta.mtime == meta.ctime).then_some(meta.mtime)
}
