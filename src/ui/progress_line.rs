//! The progress of a task as numbers and as text.

use std::sync::atomic::Ordering::Relaxed;

use engine::Progress;
use engine::monitor::{Phase, WalkProgress};
use serde_json::{Map, Value, json};

use crate::term::units::{bytes, count, counted, duration};
use crate::ui::estimate;

/// The task whose progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Backup,
    /// Writes nothing.
    DryRun,
    Restore,
    Verify,
}

/// The counters of a task at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProgressLine {
    task: Task,
    phase: Phase,
    walk: WalkProgress,
    linked: u64,
    copied: u64,
    bytes_copied: u64,
    removed: u64,
    /// Current bytes per second.
    rate: u64,
    /// Seconds since the task began.
    elapsed: f64,
}

impl ProgressLine {
    /// Reads the counters, `elapsed` seconds after the task began.
    pub(crate) fn of(progress: &Progress, rate: &mut Rate, elapsed: f64, task: Task) -> Self {
        let bytes_copied = progress.bytes_copied.load(Relaxed);
        Self {
            task,
            phase: progress.phase(),
            walk: progress.walk(),
            linked: progress.linked.load(Relaxed),
            copied: progress.copied.load(Relaxed),
            bytes_copied,
            removed: progress.removed.load(Relaxed),
            rate: rate.at(elapsed, bytes_copied),
            elapsed,
        }
    }

    /// Whether the task works through entries, so that a share of them is done.
    fn counts_entries(&self) -> bool {
        matches!(self.phase, Phase::Copying | Phase::Retrying | Phase::Verifying)
    }

    /// How much is done, from 0 to 1, if the total is known.
    fn share(&self) -> Option<f64> {
        estimate::share(&self.walk).filter(|_| self.counts_entries())
    }

    /// The estimated seconds until the end.
    fn remaining(&self) -> Option<f64> {
        estimate::remaining(self.share()?, self.walk.elapsed.as_secs_f64())
    }

    /// How far the task is, as text.
    pub(crate) fn reached(&self) -> String {
        let what = match (self.phase, self.task) {
            (Phase::Preparing, _) => return "preparing".to_owned(),
            (Phase::Sealing, _) => {
                return "sealing: waiting until everything is on the disk".to_owned();
            }
            (Phase::Removing, _) => {
                let removed = counted(self.removed, "entry", "entries");
                return format!("removing old snapshots, {removed} so far");
            }
            (Phase::Verifying, _) => "verifying",
            (Phase::Retrying, _) => "retrying",
            (Phase::Copying, Task::DryRun) => "comparing",
            (Phase::Copying, Task::Restore) => "restoring",
            (Phase::Copying, _) => "copying",
        };
        let WalkProgress { entries, bytes: done, entries_expected, bytes_expected, .. } = self.walk;
        let (one, several) =
            if self.task == Task::Verify { ("file", "files") } else { ("entry", "entries") };
        match self.share() {
            None => format!("{what}: {}, {}", counted(entries, one, several), bytes(done)),
            Some(share) => format!(
                "{what}: {} %, {} of {}, {} of about {} {several}",
                estimate::percent(share),
                bytes(done),
                bytes(bytes_expected.max(done)),
                count(entries),
                count(entries_expected.max(entries)),
            ),
        }
    }

    /// How long it has taken and may still take, as text.
    pub(crate) fn times(&self) -> String {
        let elapsed = format!("{} elapsed", rough(self.elapsed));
        match self.remaining() {
            Some(remaining) => format!("{elapsed}, about {} left", rough(remaining)),
            None => elapsed,
        }
    }

    /// What was linked and copied, as text; empty if there is nothing.
    pub(crate) fn moved(&self) -> String {
        let read = format!("{} at {}/s", bytes(self.bytes_copied), bytes(self.rate));
        match (self.task, self.counts_entries()) {
            (Task::DryRun, _) | (_, false) => String::new(),
            (Task::Verify, _) => format!("{read} read"),
            (Task::Restore, _) => format!("{} copied, {read}", count(self.copied)),
            (Task::Backup, _) => {
                format!("{} linked, {} copied, {read}", count(self.linked), count(self.copied))
            }
        }
    }

    /// The progress on one line, for a log.
    pub(crate) fn line(&self) -> String {
        let left = self.remaining().map(|left| format!("about {} left", rough(left)));
        let parts = [self.reached(), left.unwrap_or_default(), self.moved()];
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
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
            "percent": self.share().map(estimate::percent),
            "entries": self.walk.entries,
            "entries_expected": self.walk.entries_expected,
            "bytes": self.walk.bytes,
            "bytes_expected": self.walk.bytes_expected,
            "linked": self.linked,
            "copied": self.copied,
            "bytes_copied": self.bytes_copied,
            "bytes_per_second": self.rate,
            "removed": self.removed,
            "seconds_elapsed": self.elapsed,
            "seconds_left": self.remaining(),
            "folder": folder,
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

/// A duration in whole seconds, rounded up, so that a display does not flicker.
fn rough(seconds: f64) -> String {
    let whole = seconds.max(0.0).ceil();
    if whole < 10.0 { format!("{whole:.0} s") } else { duration(whole) }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn status() -> ProgressLine {
        ProgressLine {
            task: Task::Backup,
            phase: Phase::Copying,
            walk: WalkProgress {
                entries: 250,
                bytes: 2048,
                entries_expected: 1000,
                bytes_expected: 4096,
                elapsed: Duration::from_secs(10),
            },
            linked: 200,
            copied: 50,
            bytes_copied: 4096,
            removed: 0,
            rate: 1024,
            elapsed: 12.0,
        }
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        let unknown = WalkProgress { entries_expected: 0, ..status().walk };
        let more = WalkProgress { entries: 2000, bytes: 9000, ..status().walk };
        for (status, line) in [
            (
                status(),
                "copying: 25 %, 2.0 KiB of 4.0 KiB, 250 of about 1,000 entries, about 30 s left, 200 linked, 50 copied, 4.0 KiB at 1.0 KiB/s",
            ),
            (
                ProgressLine { walk: unknown, ..status() },
                "copying: 250 entries, 2.0 KiB, 200 linked, 50 copied, 4.0 KiB at 1.0 KiB/s",
            ),
            (
                ProgressLine { walk: more, task: Task::DryRun, ..status() },
                "comparing: 99 %, 8.7 KiB of 8.7 KiB, 2,000 of about 2,000 entries",
            ),
            (
                ProgressLine { task: Task::Verify, phase: Phase::Verifying, ..status() },
                "verifying: 25 %, 2.0 KiB of 4.0 KiB, 250 of about 1,000 files, about 30 s left, 4.0 KiB at 1.0 KiB/s read",
            ),
            (
                ProgressLine { task: Task::Restore, walk: unknown, ..status() },
                "restoring: 250 entries, 2.0 KiB, 50 copied, 4.0 KiB at 1.0 KiB/s",
            ),
            (ProgressLine { phase: Phase::Preparing, ..status() }, "preparing"),
            (
                ProgressLine { phase: Phase::Removing, removed: 1, ..status() },
                "removing old snapshots, 1 entry so far",
            ),
        ] {
            assert_eq!(status.line(), line);
        }
        assert_eq!(status().times(), "12 s elapsed, about 30 s left");
        assert_eq!(ProgressLine { walk: unknown, ..status() }.times(), "12 s elapsed");
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
}
