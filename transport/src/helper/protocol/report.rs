//! What the end that gets the snapshots reports while it copies, and the settings of a copy. They travel as JSON: the
//! values of the engine are stored in this form, too.

use std::num::NonZeroUsize;

use engine::copy::{CopiedSnapshot, CopyOutcome, CopyStep};
use engine::monitor::Phase;
use engine::repository::Counts;
use engine::snapshot::Periods;
use engine::{Event, Prefix, Progress, Retention};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::helper::protocol::copy::{snapshot_name, stamp};
use crate::helper::protocol::error::said;

/// The longest text in a report that is shown, bytes.
const TEXT_MAX: usize = 4096;

/// How a copy is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SentSettings {
    pub(crate) max: Option<NonZeroUsize>,
    /// The newest ones, hours, days, weeks, months, years.
    pub(crate) keep: [u32; 6],
    pub(crate) newest: Option<NonZeroUsize>,
    pub(crate) rename_from: Option<u64>,
    pub(crate) fake_super: bool,
    pub(crate) backups_mode: Option<u32>,
    /// The backups folder that the snapshots come from, for messages.
    pub(crate) from: String,
    /// The bytes per second that may be read at first.
    pub(crate) rate: Option<u64>,
    /// Nothing is written: the result says what would be copied.
    pub(crate) dry_run: bool,
}

impl SentSettings {
    pub(crate) fn of_retention(retention: &Retention) -> Self {
        let Periods { last, hourly, daily, weekly, monthly, yearly } = retention.keep;
        let keep = [last, hourly, daily, weekly, monthly, yearly];
        Self { max: retention.max, keep, ..Self::default() }
    }

    pub(crate) fn retention(&self) -> Retention {
        let [last, hourly, daily, weekly, monthly, yearly] = self.keep;
        let keep = Periods { last, hourly, daily, weekly, monthly, yearly };
        Retention { max: self.max, keep }
    }
}

/// What happened since the last report.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SentReport {
    pub(crate) events: Vec<Value>,
    pub(crate) progress: SentProgress,
    /// In the last report: the result.
    pub(crate) result: Option<SentResult>,
}

/// The counters of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SentProgress {
    phase: u8,
    entries: u64,
    bytes: u64,
    linked: u64,
    copied: u64,
    bytes_copied: u64,
    removed: u64,
    entries_expected: u64,
    bytes_expected: u64,
}

/// The phases; the position of a phase is its number.
const PHASES: [Phase; 5] =
    [Phase::Preparing, Phase::Copying, Phase::Retrying, Phase::Sealing, Phase::Removing];

impl SentProgress {
    pub(crate) fn of(progress: &Progress) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let phase = PHASES.iter().position(|phase| *phase == progress.phase()).unwrap_or_default();
        Self {
            phase: u8::try_from(phase).unwrap_or_default(),
            entries: progress.entries.load(Relaxed),
            bytes: progress.bytes.load(Relaxed),
            linked: progress.linked.load(Relaxed),
            copied: progress.copied.load(Relaxed),
            bytes_copied: progress.bytes_copied.load(Relaxed),
            removed: progress.removed.load(Relaxed),
            entries_expected: progress.entries_expected.load(Relaxed),
            bytes_expected: progress.bytes_expected.load(Relaxed),
        }
    }

    /// Shows these counters. They never decrease.
    pub(crate) fn show(self, progress: &Progress) {
        use std::sync::atomic::Ordering::Relaxed;
        if let Some(phase) = PHASES.get(usize::from(self.phase)) {
            progress.enter(*phase);
        }
        for (counter, value) in [
            (&progress.entries, self.entries),
            (&progress.bytes, self.bytes),
            (&progress.linked, self.linked),
            (&progress.copied, self.copied),
            (&progress.bytes_copied, self.bytes_copied),
            (&progress.removed, self.removed),
            (&progress.entries_expected, self.entries_expected),
            (&progress.bytes_expected, self.bytes_expected),
        ] {
            counter.fetch_max(value, Relaxed);
        }
    }
}

/// The result of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SentResult {
    Busy,
    /// The copied snapshots, each with what its copy took and the number of problems, and the newest one of the copy.
    Done {
        copied: Vec<(i64, Counts, u64)>,
        newest: Option<i64>,
    },
    Stopped,
    /// The connection was lost.
    Lost,
    Failed(String),
    /// The folder is no place for these copies.
    NotForCopies(String),
    /// After a dry run: the snapshots, each with the one that both ends have then, and whether a copy of it is continued.
    WouldCopy(Vec<(i64, Option<i64>, bool)>),
}

impl SentResult {
    pub(crate) fn of(outcome: &CopyOutcome) -> Self {
        match outcome {
            CopyOutcome::Busy => Self::Busy,
            CopyOutcome::Done { copied, newest } => Self::Done {
                copied: copied
                    .iter()
                    .map(|CopiedSnapshot { name, counts, problems }| {
                        (stamp(name), *counts, *problems)
                    })
                    .collect(),
                newest: newest.as_ref().map(stamp),
            },
        }
    }

    /// The outcome of a copy of snapshots with this prefix; the text of an error otherwise.
    pub(crate) fn outcome(self, prefix: &Prefix) -> Result<CopyOutcome, String> {
        let (copied, newest) = match self {
            Self::Busy => return Ok(CopyOutcome::Busy),
            Self::Done { copied, newest } => (copied, newest),
            Self::Stopped => return Err("it was stopped".to_owned()),
            Self::Lost => return Err("the connection was lost".to_owned()),
            Self::Failed(why) | Self::NotForCopies(why) => return Err(harmless(&why)),
            Self::WouldCopy(_) => return Err("it looked, and copied nothing".to_owned()),
        };
        let copied = copied.into_iter().filter_map(|(stamp, counts, problems)| {
            Some(CopiedSnapshot { name: snapshot_name(prefix, stamp)?, counts, problems })
        });
        let newest = newest.and_then(|stamp| snapshot_name(prefix, stamp));
        Ok(CopyOutcome::Done { copied: copied.collect(), newest })
    }
}

impl SentResult {
    /// What a dry run found.
    pub(crate) fn of_steps(steps: &[CopyStep]) -> Self {
        let sent =
            |step: &CopyStep| (stamp(&step.name), step.common.as_ref().map(stamp), step.resumes);
        Self::WouldCopy(steps.iter().map(sent).collect())
    }

    /// What a dry run found about snapshots with this prefix; the text of an error otherwise.
    pub(crate) fn steps(self, prefix: &Prefix) -> Result<Vec<CopyStep>, String> {
        let Self::WouldCopy(steps) = self else {
            return Err(self.outcome(prefix).err().unwrap_or_else(|| "it copied".to_owned()));
        };
        let name = |stamp| snapshot_name(prefix, stamp);
        let step = |(stamp, common, resumes): (i64, Option<i64>, bool)| {
            Some(CopyStep { name: name(stamp)?, common: common.and_then(name), resumes })
        };
        Ok(steps.into_iter().filter_map(step).collect())
    }
}

/// An event of the other end. `None` if this program does not know it.
pub(crate) fn event(mut value: Value) -> Option<Event> {
    make_harmless(&mut value);
    serde_json::from_value(value).ok()
}

/// Escapes control characters in all texts, and cuts long ones: the other end chose them.
fn make_harmless(value: &mut Value) {
    match value {
        Value::String(text) => *text = harmless(text),
        Value::Array(values) => values.iter_mut().for_each(make_harmless),
        Value::Object(fields) => fields.values_mut().for_each(make_harmless),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Escapes control characters, and cuts a long text.
pub(crate) fn harmless(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // What is harmless stays as it is: the texts of events are escaped already.
    match text[..end].chars().any(char::is_control) {
        false => text[..end].to_owned(),
        true => said(&text[..end]),
    }
}
