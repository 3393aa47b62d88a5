//! The jobs and states that the page shows.

use std::path::PathBuf;
use std::sync::Arc;

use engine::LookError;
use engine::entry::escape::shown;
use web::Job;

use crate::args::load::configured;
use crate::config::load_for_reading;
use crate::config::mistake::shown_path;
use crate::config::types::{Inputs, NamedJob, SnapshotPlace, WebSettings};
use crate::snapshots::open::{Series, of_place};
use crate::state::Subjects;
use crate::term::shell::word;

/// The program, as the page sees it. The configuration is read once, before the process gives up its rights.
pub(crate) struct Page {
    places: Vec<(SnapshotPlace, Option<Arc<NamedJob>>)>,
    pub(crate) subjects: Subjects,
    pub(crate) names: Vec<String>,
    /// The flags of a command that finds the same snapshots.
    pub(crate) given: String,
}

impl Page {
    /// Reads the configuration, and prints the mistakes in it. `given` are the flags of a command that finds the same snapshots.
    pub(crate) fn load(inputs: &Inputs, given: String) -> Option<(Self, WebSettings)> {
        let subjects = Subjects::load(inputs)?;
        let reading = configured(inputs, load_for_reading)?;
        let apart = |mut place: SnapshotPlace| {
            let job = place.job.take().map(Arc::new);
            (place, job)
        };
        let places = reading.places.into_iter().map(apart).collect();
        Some((Self { places, subjects, names: inputs.names.clone(), given }, reading.web))
    }

    /// The backups folders.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.places.iter().map(|(place, _)| place.backups_dir.clone()).collect()
    }

    /// The snapshots of each job. A folder that does not exist yet has none.
    pub(crate) fn series(&self) -> Result<Vec<Series>, LookError> {
        let mut all = Vec::new();
        for (place, job) in &self.places {
            match of_place(place, job.as_ref(), &self.names, &mut all) {
                Err(LookError { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
                opened => opened?,
            }
        }
        Ok(all)
    }

    /// The flags that lead to the snapshots of a job.
    pub(crate) fn flags(&self, job: &Job) -> String {
        let folder = format!(
            " --backups-dir {}",
            word(job.repository.path().as_os_str().as_encoded_bytes())
        );
        if self.given.is_empty() { folder } else { self.given.clone() }
    }
}

/// Where a job that does not exist was looked for.
pub(crate) fn no_job(page: &Page, name: &str) -> String {
    let folders: Vec<String> = page.folders().iter().map(|folder| shown_path(folder)).collect();
    format!("there is no job {} in {}", shown(name.as_bytes()), folders.join(", "))
}
