//! The summary of a run, as text.

use std::num::NonZeroUsize;

use engine::Report;
use engine::monitor::Instead;
use engine::source::ConnectionReport;

use crate::term::units::{bytes, count, counted, duration};

/// The number of entries that were not read well, by what the snapshot contains instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    pub(crate) carried_forward: u64,
    pub(crate) last_read: u64,
    pub(crate) partly: u64,
    pub(crate) beside: u64,
    pub(crate) other_name: u64,
    pub(crate) nothing: u64,
    pub(crate) all_of_it: u64,
}

impl Problems {
    /// Counts one more problem.
    pub(crate) fn add(&mut self, instead: Instead) {
        match instead {
            Instead::CarriedForward => self.carried_forward += 1,
            Instead::LastRead => self.last_read += 1,
            Instead::Partly => self.partly += 1,
            Instead::Beside => self.beside += 1,
            Instead::OtherName => self.other_name += 1,
            Instead::Nothing | Instead::NotCopied => self.nothing += 1,
            Instead::AllOfIt => self.all_of_it += 1,
        }
    }

    pub(crate) fn total(self) -> u64 {
        let known = self.carried_forward + self.last_read + self.partly + self.beside;
        known + self.other_name + self.nothing + self.all_of_it
    }

    /// Formats the counts as `3 carried forward, 1 missing`.
    fn line(self) -> String {
        let kinds = [
            (self.carried_forward, "carried forward from the snapshot before"),
            (self.last_read, "changed while they were read"),
            (self.partly, "kept in part"),
            (self.beside, "kept beside the snapshot"),
            (self.other_name, "stored under another name"),
            (self.nothing, "missing"),
            (self.all_of_it, "not used as rules"),
        ];
        let kinds = kinds.iter().filter(|(number, _)| *number > 0);
        kinds
            .map(|(number, what)| format!("{} {what}", count(*number)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The number of complete snapshots of a prefix, and the most that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotCount {
    pub(crate) complete: usize,
    pub(crate) most: Option<NonZeroUsize>,
}

impl SnapshotCount {
    /// Formats the count as `4 of at most 30`.
    pub(crate) fn text(self) -> String {
        let most = self.most.map(|most| format!(" of at most {most}"));
        format!("{}{}", self.complete, most.unwrap_or_default())
    }
}

/// The summary of a completed run, as aligned lines with line feeds. `count_after` is known if the backups
/// folder can be listed after the run.
pub(crate) fn summary(
    report: &Report,
    problems: Problems,
    count_after: Option<SnapshotCount>,
) -> String {
    let counts = &report.counts;
    let entries = |number: u64| counted(number, "entry", "entries");
    let mut rows = vec![
        ("snapshot", report.path.clone()),
        ("source", format!("{}, {}", entries(counts.entries), bytes(counts.bytes))),
        ("new", count(counts.new)),
        ("changed", count(counts.changed)),
        ("metadata only", count(counts.metadata)),
        ("unchanged", format!("{}, {} linked", count(counts.unchanged), count(counts.linked))),
        ("deleted", count(counts.deleted)),
    ];
    if counts.renamed > 0 {
        let files = counted(counts.renamed, "file", "files");
        rows.push(("renamed", format!("{files} of the new and changed ones, not copied")));
    }
    if report.resumed {
        rows.push(("kept", format!("{} from the interrupted run", entries(counts.kept))));
    }
    if counts.left_out > 0 {
        rows.push(("left out", format!("{} by filters", entries(counts.left_out))));
    }
    if counts.mounts_left_out > 0 {
        let points = counted(counts.mounts_left_out, "mount point", "mount points");
        rows.push(("not entered", format!("{points} or subvolumes of other file systems (-x)")));
    }
    rows.push((
        "copied",
        format!("{}, {}", counted(counts.copied, "file", "files"), bytes(counts.bytes_copied)),
    ));
    if counts.bytes_from_base > 0 {
        let saved = bytes(counts.bytes_from_base);
        rows.push(("not sent", format!("{saved} of them, which the previous snapshot has")));
    }
    if counts.compared > 0 {
        let (files, read) = (counted(counts.compared, "file", "files"), counts.bytes_compared);
        rows.push(("compared", format!("{files}, {}, not changed", bytes(read))));
    }
    rows.extend(report.connection.as_ref().map(|connection| ("line", line(connection))));
    rows.push(("saved", bytes(counts.bytes_saved)));
    rows.push(("new on disk", bytes(counts.bytes_stored)));
    if counts.link_fallbacks > 0 {
        rows.push(("not linkable", format!("{}, copied instead", count(counts.link_fallbacks))));
    }
    if counts.vanished > 0 {
        rows.push(("vanished", format!("{} while they were read", count(counts.vanished))));
    }
    if counts.healed > 0 {
        rows.push(("healed", format!("{}, damaged before, copied again", count(counts.healed))));
    }
    if problems.total() > 0 {
        rows.push(("problems", problems.line()));
    }
    for root in &report.dropped {
        let what = format!("{}, no longer named; newest copy in {}", root.path, root.last);
        rows.push(("not backed up", what));
    }
    if !report.pruned.is_empty() {
        rows.push(("removed", report.pruned.join(", ")));
    }
    if let Some(after) = count_after {
        rows.push(("snapshots", after.text()));
    }
    rows.push(("duration", duration(report.seconds)));
    table(&rows)
}

/// Formats a connection as `helper, 3.0 MiB received, 1000 B sent`.
pub(crate) fn line(connection: &ConnectionReport) -> String {
    let ConnectionReport { transport, sent, received } = connection;
    format!("{}, {} received, {} sent", transport.name(), bytes(*received), bytes(*sent))
}

/// Formats rows of a label and a text, with the texts aligned.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    rows.iter().map(|(label, text)| format!("  {label:<width$}  {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use engine::repository::Counts;
    use engine::source::Transport;

    use super::*;

    #[test]
    fn a_summary_is_an_aligned_block() {
        let counts = Counts {
            entries: 1200,
            bytes: 5 << 20,
            new: 1,
            unchanged: 1199,
            linked: 1100,
            copied: 1,
            bytes_copied: 2048,
            bytes_stored: 4096,
            bytes_saved: 5 << 20,
            problems: 3,
            ..Counts::default()
        };
        let report = Report {
            version: 1,
            snapshot: "my_backup.09-12-2023_21-07-01".to_owned(),
            path: "/backups/my_backup.09-12-2023_21-07-01".to_owned(),
            base: None,
            resumed: false,
            started: String::new(),
            boot: None,
            finished: String::new(),
            seconds: 200.0,
            time_granularity_ns: 1,
            host: None,
            connection: Some(ConnectionReport {
                transport: Transport::Helper,
                sent: 1000,
                received: 3 << 20,
            }),
            read_since: None,
            roots: Vec::new(),
            dropped: Vec::new(),
            carried_since: None,
            pruned: vec!["my_backup.01-11-2023_02-00-00".to_owned()],
            renamed: Vec::new(),
            suspicions: Vec::new(),
            frozen: None,
            holds: None,
            coverage: None,
            stuck: Vec::new(),
            in_use: std::collections::BTreeMap::new(),
            counts,
        };
        let problems = Problems { carried_forward: 2, nothing: 1, ..Problems::default() };
        let expected = "  snapshot       /backups/my_backup.09-12-2023_21-07-01
  source         1,200 entries, 5.0 MiB
  new            1
  changed        0
  metadata only  0
  unchanged      1,199, 1,100 linked
  deleted        0
  copied         1 file, 2.0 KiB
  line           helper, 3.0 MiB received, 1000 B sent
  saved          5.0 MiB
  new on disk    4.0 KiB
  problems       2 carried forward from the snapshot before, 1 missing
  removed        my_backup.01-11-2023_02-00-00
  snapshots      30 of at most 30
  duration       3 min 20 s
";
        let after = SnapshotCount { complete: 30, most: NonZeroUsize::new(30) };
        assert_eq!(summary(&report, problems, Some(after)), expected);
        let resumed = Report { resumed: true, ..report };
        assert!(summary(&resumed, problems, None).contains("  kept           0 entries from"));
    }
}
