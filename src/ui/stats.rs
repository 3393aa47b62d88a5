//! `--stats`: the counts of a run in rsync's format.

use engine::repository::Counts;

use crate::term::units::count;

/// The block that rsync prints, with the numbers that apply here.
pub(crate) fn stats(counts: &Counts) -> String {
    let Counts { entries, files, folders, bytes, new, deleted, copied, bytes_copied, .. } = counts;
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
        ("Literal data", format!("{} bytes", count(*bytes_copied))),
        ("Matched data", format!("{} bytes", count(counts.bytes_saved))),
    ];
    rows.iter().map(|(label, text)| format!("{label}: {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_printed_as_rsync_prints_them() {
        let counts = Counts { entries: 1200, files: 1000, folders: 150, ..Counts::default() };
        let text = stats(&counts);
        assert!(text.starts_with("Number of files: 1,200 (reg: 1,000, dir: 150, other: 50)\n"));
        assert!(text.contains("Total file size: 0 bytes\n"));
    }
}
