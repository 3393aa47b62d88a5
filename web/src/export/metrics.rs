//! `/metrics` for Prometheus (text format 0.0.4).

use std::fmt::Write;

use chrono::{DateTime, Utc};
use engine::inspect::Look;

use crate::program::State;
use crate::site::answer::{self, Failure, Outcome};
use crate::site::request::Asked;

/// A value of a job, if it is known.
type Value = fn(&State, &Look, DateTime<Utc>) -> Option<f64>;

/// Each metric: its name, its help, its value.
const METRICS: &[(&str, &str, Value)] = &[
    (
        "newest_snapshot_timestamp_seconds",
        "When the newest complete snapshot was taken.",
        |_, look, now| look.history.base(now).map(|newest| seconds(newest.stamp.time())),
    ),
    ("snapshots", "Complete snapshots.", |_, look, _| {
        Some(number(look.history.complete.len() as u64))
    }),
    ("damaged_snapshots", "Snapshots in which a check found damage.", |_, look, _| {
        Some(number(look.damaged.len() as u64))
    }),
    ("run_in_progress", "Whether a run is in progress.", |_, look, _| Some(flag(look.at_work))),
    ("failures_in_a_row", "Runs that failed one after the other.", |_, look, _| {
        look.status.as_ref().map(|status| f64::from(status.failures_in_a_row))
    }),
    ("last_run_timestamp_seconds", "When the last run ended.", |_, look, _| {
        let finished = DateTime::parse_from_rfc3339(&look.status.as_ref()?.finished).ok()?;
        Some(seconds(finished.to_utc()))
    }),
    ("entries", "Entries of the newest snapshot.", |_, look, _| {
        look.reports.last().map(|report| number(report.counts.entries))
    }),
    ("bytes", "Bytes of the files of the newest snapshot.", |_, look, _| {
        look.reports.last().map(|report| number(report.counts.bytes))
    }),
    ("copied_bytes", "Bytes that the newest run copied.", |_, look, _| {
        look.reports.last().map(|report| number(report.counts.bytes_copied))
    }),
    ("unread_entries", "Entries that the newest run could not read.", |_, look, _| {
        look.reports.last().map(|report| number(report.counts.problems))
    }),
    (
        "pruning_frozen",
        "Whether suspicious changes froze the removal of snapshots.",
        |_, look, _| Some(flag(look.frozen.is_some())),
    ),
    ("free_bytes", "Free bytes on the file system of the backups folder.", |_, look, _| {
        look.space.map(|space| number(space.free_bytes))
    }),
    ("disk_full_timestamp_seconds", "When the disk will be full.", |state, _, _| {
        state.disk_full.map(seconds)
    }),
    ("last_verify_timestamp_seconds", "When the last check ended.", |_, look, _| {
        let check = look.last_check.as_ref()?;
        Some(seconds(DateTime::parse_from_rfc3339(&check.finished).ok()?.to_utc()))
    }),
];

pub(crate) fn metrics(asked: Asked) -> Outcome {
    let states = asked.site.program.states().map_err(Failure::Unreadable)?;
    Ok(answer::of("text/plain; version=0.0.4; charset=utf-8", text(&states, Utc::now())))
}

fn text(states: &[State], now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, value: &dyn Fn(&State) -> Option<f64>| {
        let _ = writeln!(
            text,
            "# HELP backup_manager_{name} {help}\n# TYPE backup_manager_{name} gauge"
        );
        for state in states {
            if let Some(value) = value(state) {
                let _ = writeln!(
                    text,
                    "backup_manager_{name}{{job=\"{}\"}} {value}",
                    label(&state.job)
                );
            }
        }
    };
    metric("healthy", "Whether the job is healthy.", &|state| Some(flag(state.reasons.is_empty())));
    for (name, help, value) in METRICS {
        metric(name, help, &|state| value(state, state.look.as_ref().ok()?, now));
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds of less than ten thousand years")]
fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// The value of a label: backslash, quote and line feed are escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Reason;

    #[test]
    fn an_unreadable_job_is_not_healthy() {
        let state = State {
            job: "a\"b".to_owned(),
            look: Err("gone".to_owned()),
            reasons: vec![Reason::Unreadable("gone".to_owned())],
            contains: None,
            max_backups: None,
            due: None,
            starts: None,
            disk_full: None,
            bytes_per_day: None,
            copies: Vec::new(),
        };
        let text = text(&[state], Utc::now());
        assert!(text.contains("\nbackup_manager_healthy{job=\"a\\\"b\"} 0\n"), "{text}");
        assert!(!text.contains("backup_manager_snapshots{"), "{text}");
    }
}
