//! What the web page asks of the program.

use std::io::Write;
use std::sync::Arc;

use chrono::Utc;
use engine::SnapshotName;
use engine::inspect::{DifferenceSink, Differences};
use engine::repository::SourceRoots;
use web::{Clock, Job, NoSource, Program, Question, State};

use crate::page::api;
use crate::page::jobs::Page;
use crate::page::source::compare;
use crate::page::states::state;
use crate::snapshots::open::Series;
use crate::state::NoStates;
use crate::term::local_time;
use crate::term::print::fail;
use crate::term::shell::word;

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
        match self.settings.known().subjects.states(&self.names, Utc::now()) {
            Ok(states) => Ok(states.into_iter().map(state).collect()),
            Err(NoStates::NoSnapshot(..)) => Ok(Vec::new()),
            Err(NoStates::Unreadable(error)) => Err(error.to_string()),
        }
    }

    fn clock(&self) -> Clock {
        Arc::new(local_time::clock())
    }

    fn restore_command(&self, job: &Job, snapshot: &SnapshotName, path: &[u8]) -> String {
        format!(
            "backup_manager restore {snapshot} {} --to ./restored{}",
            word(path),
            self.flags(job)
        )
    }

    fn compare_with_source(
        &self,
        job: &Job,
        snapshot: &SnapshotName,
        sink: Arc<dyn DifferenceSink>,
    ) -> Result<Differences, NoSource> {
        compare(self.settings.known().source_of(&job.name), snapshot, sink)
    }

    fn complain(&self, complaint: &str) {
        fail(complaint);
    }

    fn mistakes(&self) -> Vec<String> {
        self.settings.mistakes()
    }

    fn compare_command(&self, job: &Job, snapshot: &SnapshotName) -> String {
        format!("backup_manager diff {snapshot}{}", self.flags(job))
    }

    fn answer(&self, question: &Question, out: &mut dyn Write) -> Result<(), String> {
        api::answer(self, question, out)
    }
}
