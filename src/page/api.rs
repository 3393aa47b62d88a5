//! `/api/`: the verbs' JSON, from the functions that the verbs print it with.

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

/// The answer to a question, in lines of JSON.
///
/// # Errors
/// Why there is none.
pub(crate) fn answer(page: &Page, question: &Question) -> Result<String, String> {
    if *question == Question::Status {
        return status(page);
    }
    let objects = match question {
        Question::Status => Vec::new(),
        Question::List { job, sizes } => list(&asked(page, job.as_ref())?, *sizes)?,
        Question::History { job, path } => history(page, &asked(page, job.as_ref())?, path)?,
        Question::Find { job, pattern, ignore_case } => {
            let pattern = NamePattern::new(pattern, *ignore_case);
            finds(&asked(page, job.as_ref())?, &pattern)?
        }
        Question::Diff { job, first, second } => {
            differences(&asked(page, job.as_ref())?, first, second)?
        }
    };
    Ok(objects.iter().map(|object| harmless::json(object, false) + "\n").collect())
}

fn status(page: &Page) -> Result<String, String> {
    let states = match page.subjects.states(&page.names, Utc::now()) {
        Ok(states) => states,
        Err(NoStates::NoSnapshot(..)) => Vec::new(),
        Err(NoStates::Unreadable(error)) => return Err(error.to_string()),
    };
    let healthy = states.iter().all(|state| state.complaints.is_empty());
    let jobs: Vec<_> = states.iter().map(JobState::json).collect();
    Ok(harmless::json(&json!({"healthy": healthy, "jobs": jobs}), true) + "\n")
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

fn list(all: &[Series], measure: bool) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
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
                objects.push(objects::snapshot(
                    series,
                    &name,
                    usages.next(),
                    report.as_ref(),
                    &standing,
                ));
            }
        }
    }
    Ok(objects)
}

fn history(page: &Page, all: &[Series], path: &[u8]) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for series in all {
        let snapshots = series.located();
        let path = snapshots.last().map_or(path.to_vec(), |(_, roots)| roots.meant(path));
        let found = path_versions(series, &snapshots, &path).map_err(|error| error.to_string())?;
        let version = |number| objects::version(series, &snapshots, &found, number, &page.given);
        objects.extend((0..found.spans.len()).map(version));
    }
    Ok(objects)
}

fn finds(all: &[Series], pattern: &NamePattern) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for series in all {
        let snapshots = series.located();
        let finds =
            find(&series.catalog, &snapshots, pattern).map_err(|error| error.to_string())?;
        let names: Vec<&SnapshotName> = snapshots.iter().map(|(name, _)| name).collect();
        let object = |(path, found): (&Vec<u8>, _)| objects::found(series, path, found, &names);
        objects.extend(finds.found.iter().map(object));
    }
    Ok(objects)
}

fn differences(all: &[Series], first: &str, second: &str) -> Result<Vec<Value>, String> {
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
    let mut objects = Vec::new();
    let sides = ((&*of_first.catalog, &first), (&*of_second.catalog, &second));
    let found = diff(sides.0, sides.1, b"", &mut |difference| {
        objects.push(objects::difference(difference, &from, &to));
        ControlFlow::Continue(())
    });
    let found = found.map_err(|error| error.to_string())?;
    objects.push(objects::totals(&first, Some(&second), &found));
    Ok(objects)
}
