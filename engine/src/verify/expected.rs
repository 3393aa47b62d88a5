//! Estimates how much a check reads, from the reports of the snapshots.

use std::collections::BTreeSet;

use crate::repository::Repository;
use crate::repository::records::report::Counts;
use crate::repository::records::report_file::report;
use crate::snapshot::name::SnapshotName;
use crate::verify::sample::Portion;

/// The files that a check reads, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// The estimate for a check of `portion` of `checked`; `None` when a report is missing.
pub(crate) fn of(
    repository: &Repository,
    checked: &[SnapshotName],
    portion: Portion,
) -> Option<Total> {
    let mut total = Total::default();
    let prefixes: BTreeSet<_> = checked.iter().map(|name| &name.prefix).collect();
    for prefix in prefixes {
        let history = repository.history(prefix).ok()?.complete;
        let own: Vec<_> = checked.iter().filter(|name| &name.prefix == prefix).cloned().collect();
        let more = to_read(&history, &own, |name| Some(report(repository, name)?.counts))?;
        total.files += portion.of(more.files);
        total.bytes += portion.of(more.bytes);
    }
    Some(total)
}

/// What a check of `checked` reads: everything in the oldest of them, and from each later one only the files that are
/// not in an older one. `history` has the complete snapshots, oldest first, and `counts` those of their reports.
fn to_read(
    history: &[SnapshotName],
    checked: &[SnapshotName],
    counts: impl Fn(&SnapshotName) -> Option<Counts>,
) -> Option<Total> {
    let (mut total, mut before) = (Total::default(), Vec::new());
    // The files that were copied since the last checked snapshot.
    let mut copied = Total::default();
    for name in history {
        let is_checked = checked.contains(name);
        if before.is_empty() && !is_checked {
            continue;
        }
        let own = counts(name)?;
        copied.files += own.copied;
        copied.bytes += own.bytes_copied;
        if !is_checked {
            continue;
        }
        let whole = before.is_empty();
        total.files += if whole { own.files } else { copied.files.min(own.files) };
        total.bytes += if whole { own.bytes } else { copied.bytes.min(own.bytes) };
        copied = Total::default();
        before.push(name);
    }
    (before.len() == checked.len()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::name::Prefix;

    #[test]
    fn a_shared_file_is_read_once() {
        let prefix = Prefix::new("p").unwrap();
        let name = |day: u32| {
            let name = format!("p.{day:02}-12-2023_00-00-00");
            SnapshotName::parse(&prefix, name.as_bytes()).unwrap()
        };
        let history: Vec<SnapshotName> = (1..=4).map(name).collect();
        let counts = |name: &SnapshotName| {
            let day = history.iter().position(|one| one == name)? as u64 + 1;
            Some(Counts {
                files: 100,
                bytes: 1000,
                copied: day,
                bytes_copied: 10 * day,
                ..Counts::default()
            })
        };
        let read = |days: &[usize]| {
            let checked: Vec<_> = days.iter().map(|day| history[day - 1].clone()).collect();
            to_read(&history, &checked, counts).map(|total| (total.files, total.bytes))
        };
        assert_eq!(read(&[4]), Some((100, 1000)));
        assert_eq!(read(&[1, 2, 3, 4]), Some((109, 1090)));
        // The third one's files may come from the second, which is not checked.
        assert_eq!(read(&[1, 3]), Some((105, 1050)));
        assert_eq!(to_read(&history, &history, |_| None), None);
    }
}
