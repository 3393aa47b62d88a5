//! Checks a snapshot as a whole: its entries against its report, its folders against the time of
//! the report.

use chrono::DateTime;

use crate::repository::Repository;
use crate::repository::records::report::Report;
use crate::repository::records::report_file::report_file;
use crate::repository::store::Store;
use crate::snapshot::name::SnapshotName;
use crate::verify::outcome::{Flaw, SnapshotFindings};

/// The state of the report file of a snapshot.
enum StoredReport {
    Report(Box<Report>),
    Nothing,
    Garbage,
}

fn kept(repository: &Repository, name: &SnapshotName) -> StoredReport {
    let Some(content) = repository.read(Store::Reports, &report_file(&name.to_string())) else {
        return StoredReport::Nothing;
    };
    serde_json::from_slice(&content)
        .map_or(StoredReport::Garbage, |report| StoredReport::Report(Box::new(report)))
}

/// The flaws of the snapshot `name`, given what was `seen` in it.
pub(crate) fn judge(
    repository: &Repository,
    name: &SnapshotName,
    seen: &SnapshotFindings,
) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> =
        seen.unread.iter().map(|(path, why)| Flaw::Unread(path.clone(), why.clone())).collect();
    flaws.extend(seen.forbidden.iter().cloned().map(Flaw::Forbidden));
    flaws.extend(seen.differing.iter().cloned());
    let report = match kept(repository, name) {
        StoredReport::Report(report) => report,
        StoredReport::Garbage => {
            flaws.push(Flaw::ReportUnreadable);
            return flaws;
        }
        StoredReport::Nothing => {
            // Snapshots made by rsync have no report and are older than all of ours.
            let older = repository.history(&name.prefix).is_ok_and(|history| {
                let mut older = history.complete.iter().filter(|other| other.stamp < name.stamp);
                older.any(|other| matches!(kept(repository, other), StoredReport::Report(_)))
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
    // Entries that vanished or that are reported as missing were counted but do not exist.
    let expected = counts.entries.saturating_sub(counts.vanished + counts.problems);
    // The content of a forbidden folder is not counted, and the manifest already reports missing
    // names.
    let told = seen.differing.iter().any(|flaw| matches!(flaw, Flaw::Gone { .. }));
    if seen.entries < expected && seen.forbidden.is_empty() && !told {
        let missing = expected - seen.entries;
        flaws.push(Flaw::Missing { missing, expected: counts.entries });
    }
    if let Ok(finished) = DateTime::parse_from_rfc3339(&report.finished) {
        // The report has whole seconds.
        let changed = seen.late.iter().filter(|(_, mtime)| mtime.secs > finished.timestamp());
        flaws.extend(changed.map(|(path, _)| Flaw::Changed(path.clone())));
    }
    flaws
}
