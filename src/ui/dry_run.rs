//! The output of a dry run: the differences, and what a run would do.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, SecondsFormat, Utc};
use engine::SnapshotName;
use engine::Stop;
use engine::backup::DryRunReport;
use engine::backup::{Change, ChangeKind, ChangeSink};
use engine::entry::escape::shown;
use engine::repository::SourceRoots;
use serde_json::{Value, json};

use crate::term::local_time;
use crate::term::shell;
use crate::term::terminal;
use crate::term::units::{bytes, count, counted};
use crate::term::wrap;
use crate::ui::mass_change;
use crate::ui::summary::table;

/// The format of a dry run's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DryRunFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Writes the changes of one job as they are found. When the output is closed, it stops the comparison.
pub(crate) struct DryRunChanges {
    form: DryRunFormat,
    job: String,
    /// The source roots of the job.
    roots: SourceRoots,
    stop: Arc<Stop>,
    out: Mutex<DryRunOutput>,
    /// The changes themselves go to another sink.
    totals_only: bool,
}

struct DryRunOutput {
    stdout: BufWriter<Stdout>,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl DryRunOutput {
    fn write(&mut self, text: &str, stop: &Stop) {
        if self.error.is_none()
            && let Err(error) = self.stdout.write_all(text.as_bytes())
        {
            stop.ask();
            self.error = Some(error);
        }
    }
}

/// The result of writing a dry run.
#[derive(Debug)]
pub(crate) enum DryRunEnd {
    Whole,
    /// The reader closed the pipe, as `head` does.
    Closed,
    Failed(io::Error),
}

impl DryRunChanges {
    /// Creates a writer to stdout for the job called `job`.
    pub(crate) fn to_stdout(
        form: DryRunFormat,
        job: &str,
        roots: SourceRoots,
        stop: Arc<Stop>,
    ) -> Self {
        let out =
            DryRunOutput { stdout: BufWriter::with_capacity(1 << 16, io::stdout()), error: None };
        Self { form, job: job.to_owned(), roots, stop, out: Mutex::new(out), totals_only: false }
    }

    /// Writes only the totals; another sink reports the changes.
    pub(crate) fn totals_only(self) -> Self {
        Self { totals_only: true, ..self }
    }

    /// Writes a line before the changes.
    pub(crate) fn heading(&self, text: &str) {
        if let (DryRunFormat::Text, Ok(mut out)) = (self.form, self.out.lock()) {
            out.write(&format!("{text}\n"), &self.stop);
        }
    }

    /// Writes what the run would do, and flushes the buffer.
    pub(crate) fn finish(&self, forecast: Option<&DryRunReport>, accept_shrink: bool) -> DryRunEnd {
        let Ok(mut out) = self.out.lock() else { return DryRunEnd::Closed };
        if let Some(forecast) = forecast {
            let text = match self.form {
                DryRunFormat::Text => {
                    wrap::prose(&totals(forecast, accept_shrink), terminal::columns_of_stdout())
                }
                DryRunFormat::Json => format!("{}\n", summary(&self.job, forecast, accept_shrink)),
            };
            out.write(&text, &self.stop);
        }
        if out.error.is_none() {
            out.error = out.stdout.flush().err();
        }
        match out.error.take() {
            None => DryRunEnd::Whole,
            Some(error) if error.kind() == ErrorKind::BrokenPipe => DryRunEnd::Closed,
            Some(error) => DryRunEnd::Failed(error),
        }
    }
}

impl ChangeSink for DryRunChanges {
    fn changes(&self, changes: &[Change]) {
        if self.totals_only {
            return;
        }
        let lines: String = match self.form {
            DryRunFormat::Text => changes.iter().map(|change| line(&self.roots, change)).collect(),
            DryRunFormat::Json => {
                changes.iter().map(|change| object(&self.job, &self.roots, change)).collect()
            }
        };
        if let Ok(mut out) = self.out.lock() {
            out.write(&lines, &self.stop);
        }
    }
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::New => "new",
        ChangeKind::Changed => "changed",
        ChangeKind::Metadata => "metadata",
        ChangeKind::Renamed => "renamed",
        ChangeKind::Deleted => "deleted",
        ChangeKind::LeftOut => "left out",
    }
}

/// Formats a change as `new       1.5 KiB  /home/u/file`.
fn line(roots: &SourceRoots, change: &Change) -> String {
    let (path, folder) = roots.of_shown(&change.path);
    let path = shell::path(&path, folder);
    let from = change
        .from
        .as_ref()
        .map(|from| format!("  from {}", shell::path(&roots.of_shown(from).0, false)));
    let from = from.unwrap_or_default();
    format!("{:<8} {:>9}  {path}{from}\n", word(change.change), bytes(change.bytes))
}

fn object(job: &str, roots: &SourceRoots, change: &Change) -> String {
    let Change { change: kind, bytes, .. } = change;
    let (path, folder) = roots.of_shown(&change.path);
    let path = shown(&path) + if folder { "/" } else { "" };
    let mut object =
        json!({"type": "change", "job": job, "change": word(*kind), "bytes": bytes, "path": path});
    if let Some(from) = &change.from {
        object["from"] = shown(&roots.of_shown(from).0).into();
    }
    crate::term::harmless::json(&object, false) + "\n"
}

/// What a run would do, as text.
fn totals(forecast: &DryRunReport, accept_shrink: bool) -> String {
    let DryRunReport { base, resumes, held_until, busy, prunes, counts, free, refused, .. } =
        forecast;
    let entries = |number: u64| counted(number, "entry", "entries");
    let name = |name: &Option<SnapshotName>| name.as_ref().map(ToString::to_string);
    let mut rows = vec![
        ("new", count(counts.new)),
        ("changed", count(counts.changed)),
        ("metadata", count(counts.metadata)),
        ("deleted", count(counts.deleted)),
        ("unchanged", count(counts.unchanged)),
        ("in all", format!("{}, {}", entries(counts.entries), bytes(counts.bytes))),
        (
            "to copy",
            format!("{}, {}", counted(counts.copied, "file", "files"), bytes(counts.bytes_copied)),
        ),
        (
            "compared with",
            name(base).unwrap_or_else(|| "nothing: it would be the first snapshot".to_owned()),
        ),
    ];
    if counts.renamed > 0 {
        let files = counted(counts.renamed, "file", "files");
        rows.push(("renamed", format!("{files}, linked if the content is the same")));
    }
    if counts.compared > 0 {
        let (files, read) = (counted(counts.compared, "file", "files"), counts.bytes_compared);
        rows.push(("to read", format!("{files}, {}, copied if it differs", bytes(read))));
    }
    if let Some(resumes) = name(resumes) {
        rows.push(("would resume", resumes));
    }
    rows.push((
        "free space",
        match free {
            Some(free) if *free < counts.bytes_copied => format!("{}, not enough", bytes(*free)),
            Some(free) => bytes(*free),
            None => "not known, the backups folder does not exist yet".to_owned(),
        },
    ));
    if !prunes.is_empty() {
        let names: Vec<String> = prunes.iter().map(ToString::to_string).collect();
        rows.push(("would delete", names.join(", ")));
    }
    rows.extend(mass_change::rows(forecast));
    if counts.problems > 0 {
        rows.push(("not readable", entries(counts.problems)));
    }
    if *busy {
        rows.push(("right now", "nothing: another run of this job is at work".to_owned()));
    } else if let Some(until) = held_until {
        let until = local_time::second(*until);
        let what =
            format!("nothing: held until {until} (MINIMUM_TIME_GUARD_H); --now does not wait");
        rows.push(("right now", what));
    }
    match refused {
        Some(reason) if accept_shrink => {
            rows.push(("accepted", format!("{reason} (--accept-shrink)")));
        }
        Some(reason) => rows.push(("would fail", reason.clone())),
        None => {}
    }
    table(&rows)
}

/// What a run would do, as JSON.
fn summary(job: &str, forecast: &DryRunReport, accept_shrink: bool) -> Value {
    let DryRunReport { base, resumes, held_until, busy, prunes, roots, counts, free, .. } =
        forecast;
    let DryRunReport { suspicions, frozen, refused, .. } = forecast;
    let name = |name: &SnapshotName| name.to_string();
    let time = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    json!({
        "type": "summary",
        "job": job,
        "base": base.as_ref().map(name),
        "resumes": resumes.as_ref().map(name),
        "held_until": held_until.as_ref().map(time),
        "busy": busy,
        "would_delete": prunes.iter().map(name).collect::<Vec<_>>(),
        "roots": roots,
        "counts": counts,
        "entries_to_copy": counts.copied,
        "bytes_to_copy": counts.bytes_copied,
        "free_bytes": free,
        "suspicions": suspicions,
        "frozen": frozen,
        "refused": refused.as_ref().filter(|_| !accept_shrink),
    })
}

#[cfg(test)]
mod tests {
    use engine::repository::Counts;

    use super::*;

    fn forecast() -> DryRunReport {
        DryRunReport {
            base: None,
            resumes: None,
            held_until: None,
            busy: false,
            prunes: Vec::new(),
            roots: Vec::new(),
            counts: Counts { new: 2, copied: 1, bytes_copied: 4096, ..Counts::default() },
            free: Some(1024),
            suspicions: Vec::new(),
            frozen: None,
            refused: Some("the source is empty".to_owned()),
        }
    }

    #[test]
    fn a_change_is_a_line_of_fixed_columns() {
        let change = |change, path: &str, bytes| {
            let path = path.to_owned();
            Change { change, path, from: None, bytes, file: None }
        };
        let lines: String = [
            change(ChangeKind::New, "home/", 0),
            change(ChangeKind::Metadata, "home/a b", 1_500_000),
        ]
        .iter()
        .map(|change| line(&SourceRoots::default(), change))
        .collect();
        assert_eq!(lines, "new            0 B  /home/\nmetadata   1.4 MiB  '/home/a b'\n");
        let object = object("j", &SourceRoots::default(), &change(ChangeKind::Deleted, "x", 0));
        assert_eq!(object.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&object).unwrap();
        let expected = serde_json::json!({"type": "change", "job": "j", "change": "deleted", "path": "/x", "bytes": 0});
        assert_eq!(value, expected);
    }

    #[test]
    fn totals_say_what_would_go_wrong() {
        let text = totals(&forecast(), false);
        assert!(text.contains("free space     1.0 KiB, not enough\n"), "{text}");
        assert!(text.contains("would fail     the source is empty\n"), "{text}");
        assert!(totals(&forecast(), true).contains("accepted       the source is empty"));
        assert_eq!(summary("j", &forecast(), true)["refused"], Value::Null);
        assert_eq!(summary("j", &forecast(), false)["bytes_to_copy"], 4096);
    }
}
