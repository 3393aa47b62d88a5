//! What the web page asks of the program.

use chrono::{DateTime, NaiveDateTime, Utc};
use engine::SnapshotName;
use engine::repository::SourceRoots;
use web::{Job, Program, Question, State};

use crate::health::growth::Forecast;
use crate::page::api;
use crate::page::jobs::Page;
use crate::snapshots::open::Series;
use crate::state::NoStates;
use crate::term::local_time;
use crate::term::shell::word;
use crate::ui::job_state::JobState;

impl Program for Page {
    fn jobs(&self) -> Result<Vec<Job>, String> {
        let job = |series: Series| Job {
            name: series.name,
            prefix: series.prefix,
            repository: series.catalog,
            roots: series
                .job
                .map(|job| SourceRoots::of_layout(&job.job.layout))
                .unwrap_or_default(),
        };
        let all = self.series().map_err(|error| error.to_string())?;
        Ok(all.into_iter().map(job).collect())
    }

    fn states(&self) -> Result<Vec<State>, String> {
        match self.subjects.states(&self.names, Utc::now()) {
            Ok(states) => Ok(states.into_iter().map(state).collect()),
            Err(NoStates::NoSnapshot(..)) => Ok(Vec::new()),
            Err(NoStates::Unreadable(error)) => Err(error.to_string()),
        }
    }

    fn local(&self, time: DateTime<Utc>) -> NaiveDateTime {
        local_time::clock(time)
    }

    fn restore_command(&self, job: &Job, snapshot: &SnapshotName, path: &[u8]) -> String {
        format!(
            "backup_manager restore {snapshot} {} --to ./restored{}",
            word(path),
            self.flags(job)
        )
    }

    fn compare_command(&self, job: &Job, snapshot: &SnapshotName) -> String {
        format!("backup_manager diff {snapshot}{}", self.flags(job))
    }

    fn answer(&self, question: &Question) -> Result<String, String> {
        api::answer(self, question)
    }
}

fn state(state: JobState) -> State {
    let (disk_full, bytes_per_day) = match state.forecast {
        Forecast::Unknown => (None, None),
        Forecast::NotInSight { bytes_per_day } => (None, Some(bytes_per_day)),
        Forecast::Full { when, bytes_per_day } => (Some(when), Some(bytes_per_day)),
    };
    State {
        job: state.name,
        look: state.look,
        complaints: state.complaints,
        contains: state.contains,
        max_backups: state.max_backups,
        due: state.due,
        starts: state.crontab,
        disk_full,
        bytes_per_day,
    }
}
