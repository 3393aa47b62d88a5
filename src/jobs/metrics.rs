//! Writes metrics for Prometheus: `.backup_manager/metrics.prom` describes all jobs of the backups folder.
//!
//! Jobs may run in separate processes that do not communicate. So each job stores its numbers in
//! `.backup_manager/metrics/PREFIX.json`, and each process writes the text for all jobs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use chrono::{DateTime, Utc};
use engine::Repository;
use engine::repository::AppFiles;
use serde::{Deserialize, Serialize};

use crate::config::types::NamedJob;
use crate::health::copies::CopyStates;
use crate::health::overdue;

/// The folder of the numbers, and the file with the text, in `.backup_manager/`.
const FOLDER: &str = "metrics";
const TEXT: &str = "metrics.prom";

/// How often the text is written while other jobs store their numbers.
const TRIES: usize = 10;

/// The last run that did work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LastRun {
    /// Seconds since 1970.
    pub(crate) finished: i64,
    pub(crate) seconds: f64,
    pub(crate) exit_code: u8,
}

/// The numbers of a job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Numbers {
    job: String,
    prefix: String,
    last_run: Option<LastRun>,
    failures_in_a_row: u32,
    /// Seconds since 1970.
    newest_snapshot: Option<i64>,
    snapshots: usize,
    damaged: usize,
    /// Whether pruning is frozen after a mass change.
    frozen: bool,
    max_age_seconds: i64,
    /// When the last restore drill ended, seconds since 1970, and whether everything came back.
    last_drill: Option<(i64, bool)>,
    /// From the report of the newest snapshot: entries, bytes, bytes copied, problems.
    report: Option<[u64; 4]>,
    /// Free and total bytes.
    space: Option<(u64, u64)>,
    /// When the newest snapshot of each copy was taken, by its folder. Seconds since 1970.
    copies: BTreeMap<String, i64>,
}

/// Writes the numbers of `job` at the time `now`, and the text for all jobs. If `last` is `None`, the stored
/// last run is kept.
///
/// # Errors
/// The system's error.
pub(crate) fn write(
    own: &AppFiles,
    job: &NamedJob,
    last: Option<LastRun>,
    now: DateTime<Utc>,
) -> io::Result<()> {
    let file = format!("{}.json", job.job.prefix);
    let read = |file: &str| {
        serde_json::from_slice::<Numbers>(&own.read(FOLDER, file).unwrap_or_default()).ok()
    };
    let last = last.or_else(|| read(&file)?.last_run);
    let numbers = numbers(own, job, last, now)?;
    own.write(FOLDER, &file, &serde_json::to_vec(&numbers)?)?;
    let of_all =
        || -> Vec<Numbers> { own.names(FOLDER).iter().filter_map(|file| read(file)).collect() };
    let mut written = text(&of_all());
    for _ in 0..TRIES {
        own.write("", TEXT, written.as_bytes())?;
        // Another job may have stored its numbers meanwhile, and this process overwrote its text.
        let now = text(&of_all());
        if now == written {
            break;
        }
        written = now;
    }
    Ok(())
}

fn numbers(
    own: &AppFiles,
    job: &NamedJob,
    last_run: Option<LastRun>,
    now: DateTime<Utc>,
) -> io::Result<Numbers> {
    let prefix = &job.job.prefix;
    let catalog = Repository::open(&job.job.backups_dir).map_err(io::Error::other)?;
    let history = catalog.history(prefix).map_err(io::Error::other)?;
    let newest = history.base(now);
    let report = newest.and_then(|newest| catalog.report(newest)).map(|report| report.counts);
    Ok(Numbers {
        job: job.name.clone(),
        prefix: prefix.to_string(),
        last_run,
        failures_in_a_row: own.status(prefix).map_or(0, |status| status.failures_in_a_row),
        newest_snapshot: newest.map(|newest| newest.stamp.time().timestamp()),
        snapshots: history.complete.len(),
        damaged: history.complete.iter().filter(|name| catalog.standing(name).damaged).count(),
        frozen: catalog.freeze(&history).is_some(),
        max_age_seconds: newest
            .map_or(job.alert.max_age, |newest| {
                let time = newest.stamp.time();
                overdue(time, &job.alert) - time
            })
            .num_seconds(),
        last_drill: catalog.last_drill(prefix).and_then(|drill| {
            let end = DateTime::parse_from_rfc3339(&drill.finished).ok()?;
            Some((end.timestamp(), drill.is_passed()))
        }),
        report: report
            .map(|counts| [counts.entries, counts.bytes, counts.bytes_copied, counts.problems]),
        space: own.space(),
        copies: CopyStates::load(own, prefix)
            .0
            .into_iter()
            .filter(|(_, copy)| copy.newest.is_some())
            .map(|(to, copy)| (to, copy.newest_time().timestamp()))
            .collect(),
    })
}

/// One metric: its name without the common prefix, its help text, and a function for its value.
type Metric = (&'static str, &'static str, fn(&Numbers) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floating point numbers only")]
const METRICS: [Metric; 19] = [
    ("last_run_timestamp_seconds", "When the last run that was at work ended", |of| {
        of.last_run.map(|run| run.finished as f64)
    }),
    ("last_run_duration_seconds", "How long it took", |of| of.last_run.map(|run| run.seconds)),
    (
        "last_run_exit_code",
        "How it ended: 0 completed, 3 completed with problems, else failed",
        |of| of.last_run.map(|run| f64::from(run.exit_code)),
    ),
    ("last_run_success", "Whether it completed a snapshot", |of| {
        of.last_run.map(|run| f64::from(u8::from(matches!(run.exit_code, 0 | 3))))
    }),
    ("failures_in_a_row", "Runs that failed since the last one that did not", |of| {
        Some(f64::from(of.failures_in_a_row))
    }),
    ("newest_snapshot_timestamp_seconds", "When the newest complete snapshot was taken", |of| {
        of.newest_snapshot.map(|time| time as f64)
    }),
    ("max_age_seconds", "How old the newest snapshot may be (MAX_AGE_H, WINDOW)", |of| {
        Some(of.max_age_seconds as f64)
    }),
    ("snapshots", "Complete snapshots", |of| Some(of.snapshots as f64)),
    ("damaged_snapshots", "Complete snapshots in which a check found damage", |of| {
        Some(of.damaged as f64)
    }),
    ("pruning_frozen", "1 while no snapshot is removed after a mass change (CHANGE_BRAKE)", |of| {
        Some(f64::from(u8::from(of.frozen)))
    }),
    ("last_drill_timestamp_seconds", "When the last restore drill ended", |of| {
        of.last_drill.map(|(time, _)| time as f64)
    }),
    ("last_drill_success", "Whether everything that it restored was as backed up", |of| {
        of.last_drill.map(|(_, passed)| f64::from(u8::from(passed)))
    }),
    ("snapshot_entries", "Entries of the newest snapshot", |of| of.report.map(|of| of[0] as f64)),
    ("snapshot_bytes", "Bytes of its files", |of| of.report.map(|of| of[1] as f64)),
    ("snapshot_copied_bytes", "Bytes that were copied for it", |of| {
        of.report.map(|of| of[2] as f64)
    }),
    ("snapshot_problems", "Entries of it that were not read well", |of| {
        of.report.map(|of| of[3] as f64)
    }),
    ("destination_free_bytes", "Free bytes on the file system of the backups folder", |of| {
        of.space.map(|(free, _)| free as f64)
    }),
    ("destination_size_bytes", "All its bytes", |of| of.space.map(|(_, all)| all as f64)),
    ("info", "1; its labels have the version that wrote this", |_| Some(1.0)),
];

/// Writes the text exposition format, version 0.0.4.
fn text(all: &[Numbers]) -> String {
    let mut text = String::new();
    for (name, help, value) in METRICS {
        let of_jobs: Vec<_> = all.iter().filter_map(|of| Some((of, value(of)?))).collect();
        if of_jobs.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# HELP backup_manager_{name} {help}.");
        let _ = writeln!(text, "# TYPE backup_manager_{name} gauge");
        for (of, value) in of_jobs {
            let (job, prefix) = (label(&of.job), label(&of.prefix));
            let version = match name {
                "info" => concat!(",version=\"", env!("CARGO_PKG_VERSION"), "\""),
                _ => "",
            };
            let _ = writeln!(
                text,
                "backup_manager_{name}{{job=\"{job}\",prefix=\"{prefix}\"{version}}} {value}"
            );
        }
    }
    let copies = || all.iter().flat_map(|of| of.copies.iter().map(move |copy| (of, copy)));
    if copies().next().is_some() {
        let name = "backup_manager_copy_newest_snapshot_timestamp_seconds";
        let _ = writeln!(text, "# HELP {name} When the newest snapshot of a copy was taken.");
        let _ = writeln!(text, "# TYPE {name} gauge");
        for (of, (to, time)) in copies() {
            let [job, prefix, to] = [&of.job, &of.prefix, to].map(|value| label(value));
            let _ =
                writeln!(text, "{name}{{job=\"{job}\",prefix=\"{prefix}\",copy=\"{to}\"}} {time}");
        }
    }
    text
}

fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_its_help_and_type_once_and_a_line_for_each_job() {
        let home = Numbers {
            job: "ho\"me".to_owned(),
            prefix: "home".to_owned(),
            last_run: Some(LastRun { finished: 1_700_000_000, seconds: 1.5, exit_code: 3 }),
            snapshots: 30,
            report: Some([1, 1 << 40, 3, 4]),
            space: Some((5, 6)),
            copies: [("/mnt/b".to_owned(), 7)].into(),
            ..Numbers::default()
        };
        let new = Numbers { job: "new".to_owned(), prefix: "new".to_owned(), ..Numbers::default() };
        let text = text(&[home, new]);
        for line in [
            "# TYPE backup_manager_snapshots gauge",
            "backup_manager_snapshots{job=\"ho\\\"me\",prefix=\"home\"} 30",
            "backup_manager_snapshots{job=\"new\",prefix=\"new\"} 0",
            "backup_manager_last_run_duration_seconds{job=\"ho\\\"me\",prefix=\"home\"} 1.5",
            "backup_manager_last_run_timestamp_seconds{job=\"ho\\\"me\",prefix=\"home\"} 1700000000",
            "backup_manager_last_run_success{job=\"ho\\\"me\",prefix=\"home\"} 1",
            "backup_manager_copy_newest_snapshot_timestamp_seconds{job=\"ho\\\"me\",prefix=\"home\",copy=\"/mnt/b\"} 7",
            "backup_manager_snapshot_bytes{job=\"ho\\\"me\",prefix=\"home\"} 1099511627776",
        ] {
            assert_eq!(text.lines().filter(|of| *of == line).count(), 1, "{line} in:\n{text}");
        }
        assert!(!text.contains("backup_manager_newest_snapshot") && text.ends_with('\n'));
    }
}
