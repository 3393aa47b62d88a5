//! Checks a snapshot as a whole: its entries against its report, its folders against the time of
//! the report.

use chrono::DateTime;

use crate::entry::{Time, c_name};
use crate::repository::Repository;
use crate::repository::records::report::Report;
use crate::repository::records::report_file::report_file;
use crate::repository::store::Store;
use crate::snapshot::name::SnapshotName;
use crate::verify::outcome::{Flaw, SnapshotFindings};

/// The state of the report file of a snapshot.
enum StoredReport {
    /// The report, and when its file was written.
    Report(Box<Report>, Option<Time>),
    Nothing,
    Garbage,
}

fn kept(repository: &Repository, name: &SnapshotName) -> StoredReport {
    let file = report_file(&name.to_string());
    let Some(content) = repository.read(Store::Reports, &file) else {
        return StoredReport::Nothing;
    };
    let written = || {
        let meta = repository.store(Store::Reports)?.find(&c_name(file).ok()?).ok()??;
        Some(meta.mtime)
    };
    match serde_json::from_slice(&content) {
        Ok(report) => StoredReport::Report(Box::new(report), written()),
        Err(_) => StoredReport::Garbage,
    }
}

/// Whether a folder changed after its run, which `finished` in that second. The run wrote the report right after that
/// on the same file system, so the time of the report's file orders the changes within the second. The file of a
/// report that was copied later has another second.
fn is_later(changed: Time, finished: i64, written: Option<Time>) -> bool {
    let in_its_second = |written: Time| written.secs == finished && changed.secs == finished;
    changed.secs > finished
        || written.is_some_and(|written| in_its_second(written) && changed > written)
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
    let (report, written) = match kept(repository, name) {
        StoredReport::Report(report, written) => (report, written),
        StoredReport::Garbage => {
            flaws.push(Flaw::ReportUnreadable);
            return flaws;
        }
        StoredReport::Nothing => {
            // Snapshots made by rsync have no report and are older than all of ours.
            let older = repository.history(&name.prefix).is_ok_and(|history| {
                let mut older = history.complete.iter().filter(|other| other.stamp < name.stamp);
                older.any(|other| matches!(kept(repository, other), StoredReport::Report(..)))
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
    let is_listed = seen.differing.iter().any(|flaw| matches!(flaw, Flaw::Gone { .. }));
    if seen.entries < expected && seen.forbidden.is_empty() && !is_listed {
        let missing = expected - seen.entries;
        flaws.push(Flaw::Missing { missing, expected: counts.entries });
    }
    if let Ok(finished) = DateTime::parse_from_rfc3339(&report.finished) {
        let finished = finished.timestamp();
        let changed = seen.late.iter().filter(|(_, at)| is_later(*at, finished, written));
        flaws.extend(changed.map(|(path, _)| Flaw::Changed(path.clone())));
    }
    flaws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_after_a_run_are_distinguished_from_those_of_the_run() {
        let at = |secs, nanos| Time { secs, nanos };
        let written = Some(at(10, 500));
        for (changed, written, expected) in [
            (at(9, 900), written, false),
            (at(10, 400), written, false),
            (at(10, 500), written, false),
            (at(10, 501), written, true),
            (at(11, 0), written, true),
            // The report's file was copied, or written in the next second, or has no time.
            (at(10, 501), Some(at(99, 0)), false),
            (at(11, 0), Some(at(99, 0)), true),
            (at(10, 900), Some(at(11, 0)), false),
            (at(10, 501), None, false),
            (at(11, 0), None, true),
            // A file system with whole seconds.
            (at(10, 0), Some(at(10, 0)), false),
        ] {
            assert_eq!(is_later(changed, 10, written), expected, "{changed:?} {written:?}");
        }
    }
}
