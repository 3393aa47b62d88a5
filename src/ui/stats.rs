//! `--stats`: the counts of a run in rsync's format.

use engine::repository::Counts;
use engine::source::ConnectionReport;

use crate::term::units::count;

/// The block that rsync prints, with the numbers that apply here. Only a run that read a remote host has a connection.
pub(crate) fn stats(counts: &Counts, connection: Option<&ConnectionReport>) -> String {
    let Counts { entries, files, folders, bytes, new, deleted, copied, bytes_copied, .. } = counts;
    let literal = bytes_copied.saturating_sub(counts.bytes_from_base);
    let others = entries.saturating_sub(files + folders);
    let rows = [
        (
            "Number of files",
            format!(
                "{} (reg: {}, dir: {}, other: {})",
                count(*entries),
                count(*files),
                count(*folders),
                count(others)
            ),
        ),
        ("Number of created files", count(*new)),
        ("Number of deleted files", count(*deleted)),
        ("Number of regular files transferred", count(*copied)),
        ("Total file size", format!("{} bytes", count(*bytes))),
        ("Total transferred file size", format!("{} bytes", count(*bytes_copied))),
        ("Literal data", format!("{} bytes", count(literal))),
        ("Matched data", format!("{} bytes", count(counts.bytes_saved + counts.bytes_from_base))),
    ];
    let total = connection.map(|ConnectionReport { sent, received, .. }| {
        [("Total bytes sent", count(*sent)), ("Total bytes received", count(*received))]
    });
    let rows = rows.into_iter().chain(total.into_iter().flatten());
    rows.map(|(label, text)| format!("{label}: {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use engine::source::Transport;

    use super::*;

    #[test]
    fn counts_are_printed_as_rsync_prints_them() {
        let counts = Counts { entries: 1200, files: 1000, folders: 150, ..Counts::default() };
        let text = stats(&counts, None);
        assert!(text.starts_with("Number of files: 1,200 (reg: 1,000, dir: 150, other: 50)\n"));
        assert!(text.contains("Total file size: 0 bytes\n"));
        assert!(!text.contains("Total bytes"));
        let connection =
            ConnectionReport { transport: Transport::Sftp, sent: 2000, received: 34_567 };
        let text = stats(&counts, Some(&connection));
        assert!(text.ends_with("Total bytes sent: 2,000\nTotal bytes received: 34,567\n"));
    }
}
