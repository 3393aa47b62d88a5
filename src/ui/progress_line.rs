//! The progress of a run as numbers and as one line.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use engine::Progress;
use engine::monitor::Phase;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use crate::term::units::{bytes, count, counted, duration};

/// The counters of a run at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProgressLine {
    phase: Phase,
    entries: u64,
    entries_expected: u64,
    linked: u64,
    copied: u64,
    bytes_copied: u64,
    removed: u64,
    /// Current bytes per second.
    rate: u64,
    /// Seconds since the run began.
    elapsed: f64,
    /// Whether this is a dry run, which writes nothing.
    dry_run: bool,
}

impl ProgressLine {
    /// Reads the counters, `elapsed` seconds after the run began.
    pub(crate) fn of(progress: &Progress, rate: &mut Rate, elapsed: f64, dry_run: bool) -> Self {
        let bytes_copied = progress.bytes_copied.load(Relaxed);
        Self {
            phase: progress.phase(),
            entries: progress.entries.load(Relaxed),
            entries_expected: progress.entries_expected.load(Relaxed),
            linked: progress.linked.load(Relaxed),
            copied: progress.copied.load(Relaxed),
            bytes_copied,
            removed: progress.removed.load(Relaxed),
            rate: rate.at(elapsed, bytes_copied),
            elapsed,
            dry_run,
        }
    }

    /// Seconds until the end of the listing, estimated from the base.
    fn remaining(&self) -> Option<f64> {
        let known = self.entries_expected > self.entries && self.entries > 0 && self.elapsed >= 2.0;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (left, done) =
            ((self.entries_expected.saturating_sub(self.entries)) as f64, self.entries as f64);
        (known && self.phase == Phase::Copying).then(|| left * self.elapsed / done)
    }

    /// How far the run is, as text.
    pub(crate) fn reached(&self) -> String {
        let mut text = match self.phase {
            Phase::Preparing => return "preparing".to_owned(),
            Phase::Sealing => return "sealing: waiting until everything is on the disk".to_owned(),
            Phase::Removing => {
                let removed = counted(self.removed, "entry", "entries");
                return format!("removing old snapshots, {removed} so far");
            }
            Phase::Verifying => {
                return format!("verifying: {}", counted(self.entries, "file", "files"));
            }
            Phase::Retrying => "retrying what could not be read: ".to_owned(),
            Phase::Copying if self.dry_run => "comparing: ".to_owned(),
            Phase::Copying => "copying: ".to_owned(),
        };
        text.push_str(&count(self.entries));
        if self.entries_expected > 0 {
            let _ = write!(text, " of about {}", count(self.entries_expected.max(self.entries)));
        }
        text.push_str(" entries");
        if let Some(remaining) = self.remaining() {
            let _ = write!(text, ", about {} left", duration(remaining));
        }
        text
    }

    /// What was linked and copied, as text; empty if there is nothing.
    pub(crate) fn moved(&self) -> String {
        if self.phase == Phase::Verifying {
            return format!("{} at {}/s", bytes(self.bytes_copied), bytes(self.rate));
        }
        if self.dry_run || !matches!(self.phase, Phase::Copying | Phase::Retrying) {
            return String::new();
        }
        let (linked, copied) = (count(self.linked), count(self.copied));
        let (size, rate) = (bytes(self.bytes_copied), bytes(self.rate));
        format!("{linked} linked, {copied} copied, {size} at {rate}/s")
    }

    /// The progress on one line.
    pub(crate) fn line(&self) -> String {
        match self.moved() {
            moved if moved.is_empty() => self.reached(),
            moved => format!("{}, {moved}", self.reached()),
        }
    }

    /// The progress as JSON fields.
    pub(crate) fn fields(&self, folder: &str) -> Map<String, Value> {
        let phase = match self.phase {
            Phase::Preparing => "preparing",
            Phase::Copying => "copying",
            Phase::Retrying => "retrying",
            Phase::Sealing => "sealing",
            Phase::Removing => "removing",
            Phase::Verifying => "verifying",
        };
        let fields = json!({
            "event": "progress",
            "phase": phase,
            "entries": self.entries,
            "entries_expected": self.entries_expected,
            "linked": self.linked,
            "copied": self.copied,
            "bytes_copied": self.bytes_copied,
            "bytes_per_second": self.rate,
            "removed": self.removed,
            "seconds_left": self.remaining(),
            "folder": folder,
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

/// How fast a counter grew in the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// Time and value, oldest first.
    samples: std::collections::VecDeque<(f64, u64)>,
}

/// The seconds over which a rate is measured.
const WINDOW: f64 = 10.0;

impl Rate {
    /// Adds the counter's value at `now` (in seconds, never decreasing). Returns its growth per second.
    pub(crate) fn at(&mut self, now: f64, value: u64) -> u64 {
        self.samples.push_back((now, value));
        while self.samples.len() > 2 && self.samples[1].0 <= now - WINDOW {
            self.samples.pop_front();
        }
        let (then, before) = self.samples[0];
        if now <= then {
            return 0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = value.saturating_sub(before) as f64 / (now - then);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, never below 0"
        )]
        let rate = rate as u64;
        rate
    }
}

/// The end of `path`, at most `columns` terminal columns wide.
pub(crate) fn shortened(path: &str, columns: usize) -> String {
    let mut over = path.width().saturating_sub(columns);
    if over == 0 {
        return path.to_owned();
    }
    // The ellipsis takes one column.
    over += 1;
    let kept = path.char_indices().find(|(at, _)| path[..*at].width() >= over);
    format!("…{}", kept.map_or("", |(at, _)| &path[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> ProgressLine {
        ProgressLine {
            phase: Phase::Copying,
            entries: 250,
            entries_expected: 1000,
            linked: 200,
            copied: 50,
            bytes_copied: 4096,
            removed: 0,
            rate: 1024,
            elapsed: 10.0,
            dry_run: false,
        }
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        for (status, line) in [
            (
                status(),
                "copying: 250 of about 1,000 entries, about 30 s left, 200 linked, 50 copied, 4.0 KiB at 1.0 KiB/s",
            ),
            (
                ProgressLine { entries_expected: 0, ..status() },
                "copying: 250 entries, 200 linked, 50 copied, 4.0 KiB at 1.0 KiB/s",
            ),
            (
                ProgressLine { entries: 2000, dry_run: true, ..status() },
                "comparing: 2,000 of about 2,000 entries",
            ),
            (ProgressLine { phase: Phase::Preparing, ..status() }, "preparing"),
            (
                ProgressLine { phase: Phase::Removing, removed: 1, ..status() },
                "removing old snapshots, 1 entry so far",
            ),
        ] {
            assert_eq!(status.line(), line);
        }
    }

    #[test]
    fn a_rate_looks_back_some_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.at(0.0, 0), 0);
        assert_eq!(rate.at(1.0, 100), 100);
        for second in 2..=30 {
            rate.at(f64::from(second), 100);
        }
        assert_eq!(rate.at(31.0, 100), 0);
        assert!(rate.samples.len() < 15);
    }

    #[test]
    fn a_long_path_loses_its_beginning() {
        assert_eq!(shortened("/a/b", 4), "/a/b");
        assert_eq!(shortened("/a/bc", 4), "…/bc");
        assert_eq!(shortened("/ä/öü", 4), "…/öü");
    }
}
