//! `/api/`: the verbs' JSON, from the functions that the verbs print it with.

use std::io::Write;
use std::ops::ControlFlow;

use chrono::{Local, Utc};
use engine::inspect::{NamePattern, diff, find};
use engine::{Selector, SnapshotName};
use serde_json::{Value, json};
use web::Question;

use crate::page::jobs::{Page, no_job};
use crate::snapshots::objects;
use crate::snapshots::open::Series;
use crate::snapshots::path_versions::path_versions;
use crate::snapshots::sizes::{by_folder, names, sizes};
use crate::state::NoStates;
use crate::term::harmless;
use crate::ui::job_state::JobState;

/// Entries that `find` may find. More need more memory than a page should take; the command has no limit.
const FOUND: usize = 50_000;

/// Where the lines of JSON go.
struct Lines<'a>(&'a mut dyn Write);

impl Lines<'_> {
    /// Writes an object as a line.
    fn add(&mut self, object: &Value) -> Result<(), String> {
        let line = harmless::json(object, false) + "\n";
        self.0.write_all(line.as_bytes()).map_err(|error| error.to_string())
    }
}

/// Writes the answer to a question, in lines of JSON.
///
/// # Errors
/// Why there is none, or why it is not complete.
pub(crate) fn answer(page: &Page, question: &Question, out: &mut dyn Write) -> Result<(), String> {
    let mut lines = Lines(out);
    match question {
        Question::Status => status(page, &mut lines),
        Question::List { job, sizes } => list(&asked(page, job.as_ref())?, *sizes, &mut lines),
        Question::History { job, path } => {
            history(page, &asked(page, job.as_ref())?, path, &mut lines)
        }
        Question::Find { job, pattern, ignore_case } => {
            let pattern = NamePattern::new(pattern, *ignore_case);
            finds(&asked(page, job.as_ref())?, &pattern, &mut lines)
        }
        Question::Diff { job, first, second } => {
            differences(&asked(page, job.as_ref())?, first, second, &mut lines)
        }
    }
}

fn status(page: &Page, lines: &mut Lines<'_>) -> Result<(), String> {
    let states = match page.settings.known().subjects.states(&page.names, Utc::now()) {
        Ok(states) => states,
        Err(NoStates::NoSnapshot(..)) => Vec::new(),
        Err(NoStates::Unreadable(error)) => return Err(error.to_string()),
    };
    let healthy = states.iter().all(|state| state.complaints.is_empty());
    let jobs: Vec<_> = states.iter().map(JobState::json).collect();
    let text = harmless::json(&json!({"healthy": healthy, "jobs": jobs}), true) + "\n";
    lines.0.write_all(text.as_bytes()).map_err(|error| error.to_string())
}

/// The snapshots of the job `name`, or of all.
fn asked(page: &Page, name: Option<&String>) -> Result<Vec<Series>, String> {
    let mut all = page.series().map_err(|error| error.to_string())?;
    if let Some(name) = name {
        all.retain(|series| series.name == *name);
        if all.is_empty() {
            return Err(no_job(page, name));
        }
    }
    Ok(all)
}

fn list(all: &[Series], measure: bool, lines: &mut Lines<'_>) -> Result<(), String> {
    for folder in by_folder(all.iter()) {
        let measured = match measure {
            true => Some(sizes(&folder).map_err(|error| error.to_string())?),
            false => None,
        };
        let mut usages = measured.iter().flat_map(|measured| &measured.each);
        for series in folder {
            for name in names(series) {
                let (report, standing) =
                    (series.catalog.report(&name), series.catalog.standing(&name));
                let usage = usages.next();
                lines.add(&objects::snapshot(series, &name, usage, report.as_ref(), &standing))?;
            }
        }
    }
    Ok(())
}

fn history(page: &Page, all: &[Series], path: &[u8], lines: &mut Lines<'_>) -> Result<(), String> {
    for series in all {
        let snapshots = series.located();
        let path = snapshots.last().map_or(path.to_vec(), |(_, roots)| roots.meant(path));
        let found = path_versions(series, &snapshots, &path).map_err(|error| error.to_string())?;
        for number in 0..found.spans.len() {
            lines.add(&objects::version(series, &snapshots, &found, number, &page.given))?;
        }
    }
    Ok(())
}

fn finds(all: &[Series], pattern: &NamePattern, lines: &mut Lines<'_>) -> Result<(), String> {
    for series in all {
        let snapshots = series.located();
        let finds = find(&series.catalog, &snapshots, pattern, FOUND);
        let finds = finds.map_err(|error| error.to_string())?;
        if finds.cut {
            return Err(format!(
                "more than {FOUND} entries match; ask for a longer name, or use the command backup_manager find"
            ));
        }
        let names: Vec<&SnapshotName> = snapshots.iter().map(|(name, _)| name).collect();
        for (path, found) in &finds.found {
            lines.add(&objects::found(series, path, found, &names))?;
        }
    }
    Ok(())
}

fn differences(
    all: &[Series],
    first: &str,
    second: &str,
    lines: &mut Lines<'_>,
) -> Result<(), String> {
    let now = Local::now();
    let pick = |text: &str| -> Result<(&Series, SnapshotName), String> {
        let selector = Selector::parse(text, &now).map_err(|error| error.to_string())?;
        let fits =
            |series: &&Series| selector.prefix().is_none_or(|prefix| *prefix == series.prefix);
        let mut fitting = all.iter().filter(fits);
        let (Some(series), None) = (fitting.next(), fitting.next()) else {
            return Err("say the job, or the full name of a snapshot".to_owned());
        };
        let name = selector.pick(&series.history).map_err(|error| error.to_string())?;
        Ok((series, name.clone()))
    };
    let ((of_first, first), (of_second, second)) = (pick(first)?, pick(second)?);
    let (from, to) = (of_first.roots_of(&first), of_second.roots_of(&second));
    let mut written = Ok(());
    let sides = ((&*of_first.catalog, &first), (&*of_second.catalog, &second));
    let found = diff(sides.0, sides.1, b"", &mut |difference| {
        written = lines.add(&objects::difference(difference, &from, &to));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let found = found.map_err(|error| error.to_string())?;
    written?;
    lines.add(&objects::totals(&first, Some(&second), &found))
}
