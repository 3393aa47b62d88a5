//! Writes and reads the report files: one report for each snapshot, with every problem of its run.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::entry::c_name;
use crate::fs::dir::Dir;
use crate::fs::small_file::create_state;
use crate::monitor::Monitor;
use crate::monitor::event::{Event, Instead, Problem};
use crate::repository::backups_folder::Repository;
use crate::repository::records::progress::Tracker;
use crate::repository::records::report::Report;
use crate::repository::store::Store;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::threads::lock::lock;

/// Passes events on, and writes the problems among them to a file, because their number is unbounded.
pub(crate) struct Recorder {
    next: Arc<dyn Monitor>,
    tracker: Tracker,
    problems: Mutex<Option<BufWriter<File>>>,
    carried: Mutex<CarriedSince>,
    not_entered: Mutex<Vec<String>>,
}

/// The times since which entries are carried forward.
#[derive(Debug, Default)]
struct CarriedSince {
    /// The times recorded in the base, by the path of the entry.
    base: HashMap<String, String>,
    /// When this run began.
    began: String,
    /// The oldest time so far.
    oldest: Option<String>,
}

impl CarriedSince {
    /// The time since which the entry at `path` is carried forward, by its own record or by that of a folder
    /// above it.
    fn since(&mut self, path: &str) -> String {
        let slashes = path.char_indices().filter(|(_, letter)| *letter == '/').map(|(at, _)| at);
        let ends = slashes.chain([path.len()]).map(|end| &path[..end]);
        let since = ends.filter_map(|part| self.base.get(part)).min();
        let since = since.unwrap_or(&self.began).clone();
        if self.oldest.as_ref().is_none_or(|oldest| since < *oldest) {
            self.oldest = Some(since.clone());
        }
        since
    }
}

impl Monitor for Recorder {
    fn event(&self, event: &Event) {
        match event {
            Event::Problem(problem) if problem.instead == Instead::CarriedForward => {
                let since = Some(lock(&self.carried).since(&problem.path));
                let problem = Problem { since, ..problem.clone() };
                self.write(&problem);
                return self.next.event(&Event::Problem(problem));
            }
            Event::Problem(problem) => self.write(problem),
            Event::Started { snapshot, .. } => self.tracker.begun(snapshot),
            Event::Checkpoint => self.tracker.note(),
            Event::MountPoint { path } | Event::BackupsInsideSource { path } => {
                lock(&self.not_entered).push(path.clone());
            }
            _ => {}
        }
        self.next.event(event);
    }
}

/// The name of the file that collects problems until the report is written.
fn problems_file(prefix: &Prefix) -> String {
    format!(".{prefix}.problems")
}

impl Recorder {
    /// Creates a recorder. Without `reports` it only passes problems on.
    pub(crate) fn new(
        next: Arc<dyn Monitor>,
        tracker: Tracker,
        reports: Option<&Dir>,
        prefix: &Prefix,
    ) -> Self {
        let create = |reports: &Dir| -> io::Result<File> {
            let name = c_name(problems_file(prefix))?;
            let _ = reports.unlink(&name);
            create_state(reports, &name)
        };
        let file = reports.and_then(|reports| create(reports).ok()).map(BufWriter::new);
        let problems = Mutex::new(file);
        let (carried, not_entered) = (Mutex::default(), Mutex::default());
        Self { next, tracker, problems, carried, not_entered }
    }

    /// Sets the times since which entries of the base are carried forward, for a run that began at `began`.
    pub(crate) fn go_on(&self, base: HashMap<String, String>, began: String) {
        *lock(&self.carried) = CarriedSince { base, began, oldest: None };
    }

    /// The oldest time since which an entry is carried forward.
    pub(crate) fn carried_since(&self) -> Option<String> {
        lock(&self.carried).oldest.clone()
    }

    /// The folders of the source that the walk did not enter, by their paths, escaped.
    pub(crate) fn not_entered(&self) -> Vec<String> {
        let mut paths = lock(&self.not_entered).clone();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Records the snapshot that is being made.
    pub(crate) fn begun(&self, snapshot: &str) {
        self.tracker.begun(snapshot);
    }

    /// Records that the run has ended.
    pub(crate) fn ended(&self) {
        self.tracker.ended();
    }

    fn write(&self, problem: &Problem) {
        let mut file = lock(&self.problems);
        let written = match &mut *file {
            Some(file) => serde_json::to_writer(&mut *file, problem)
                .map_err(io::Error::from)
                .and_then(|()| file.write_all(b"\n")),
            None => Ok(()),
        };
        self.kept(&mut file, written);
    }

    /// Discards the problems so far, because the walk that found them is repeated.
    pub(crate) fn forget(&self) {
        lock(&self.carried).oldest = None;
        lock(&self.not_entered).clear();
        let mut file = lock(&self.problems);
        let emptied = match &mut *file {
            Some(file) => file.rewind().and_then(|()| file.get_ref().set_len(0)),
            None => Ok(()),
        };
        self.kept(&mut file, emptied);
    }

    fn kept(&self, file: &mut Option<BufWriter<File>>, result: io::Result<()>) {
        if let Err(error) = result {
            *file = None;
            let what = format!(
                "problems are only in this log, because the report cannot hold them: {error}"
            );
            self.next.event(&Event::Aside { what });
        }
    }

    /// Stores `report` with all problems as the report of `snapshot`.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn store(
        &self,
        reports: &Dir,
        prefix: &Prefix,
        snapshot: &str,
        report: &Report,
    ) -> io::Result<()> {
        use std::io::BufRead;
        use std::io::BufReader;
        let mut spool = lock(&self.problems);
        if let Some(file) = &mut *spool {
            file.flush()?;
        }
        let head = serde_json::to_string(report)?;
        let spooled = c_name(problems_file(prefix))?;
        let (temporary, name) =
            (c_name(format!(".{snapshot}.tmp"))?, c_name(report_file(snapshot))?);
        let _ = reports.unlink(&temporary);
        let mut out = BufWriter::new(create_state(reports, &temporary)?);
        out.write_all(head.trim_end_matches('}').as_bytes())?;
        // `trim_end_matches` also removed the closing brace of `counts`. Write that one again.
        out.write_all(b"},\"problems\":[")?;
        if spool.is_some() {
            for (number, line) in BufReader::new(reports.open_file(&spooled)?).lines().enumerate() {
                out.write_all(if number == 0 { b"\n" } else { b",\n" })?;
                out.write_all(line?.as_bytes())?;
            }
        }
        out.write_all(b"]}\n")?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        reports.rename_over(&temporary, &name)?;
        *spool = None;
        let _ = reports.unlink(&spooled);
        reports.sync()
    }
}

/// The name of a snapshot's report.
pub(crate) fn report_file(snapshot: &str) -> String {
    format!("{snapshot}.json")
}

/// Reads the report of a snapshot. `None` when it does not exist or cannot be read.
pub(crate) fn report(repository: &Repository, snapshot: &SnapshotName) -> Option<Report> {
    repository.record(Store::Reports, &report_file(&snapshot.to_string()))
}

/// The entries carried forward in the snapshot `base`, by path, each with the time since which it is carried
/// forward.
pub(crate) fn carried(repository: &Repository, base: &SnapshotName) -> HashMap<String, String> {
    #[derive(Deserialize)]
    struct Listed {
        path: String,
        instead: Instead,
        since: Option<String>,
    }
    #[derive(Deserialize)]
    struct WithProblems {
        started: String,
        #[serde(default)]
        problems: Vec<Listed>,
    }
    let read = repository.record(Store::Reports, &report_file(&base.to_string()));
    let Some(WithProblems { started, problems }) = read else { return HashMap::new() };
    let carried = problems.into_iter().filter(|listed| listed.instead == Instead::CarriedForward);
    // Old reports did not record this time. The start of that run is the latest possible one.
    carried.map(|listed| (listed.path, listed.since.unwrap_or_else(|| started.clone()))).collect()
}
