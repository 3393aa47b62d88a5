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
        !matches!(self, Self::ReportGone | Self::Forbidden(_))
    }

    /// The path inside the snapshot that it concerns; none for all of it.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Changed(path) | Self::Unread(path, _) | Self::Forbidden(path) => Some(path),
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
                if path.is_empty() { "its top".to_owned() } else { shown(path) }
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
    if seen.entries < expected && seen.forbidden.is_empty() {
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
