//! The program, as the page sees it.

use engine::LookError;
use engine::entry::escape::shown;
use web::Job;

use crate::args::load::configured;
use crate::config::mistake::shown_path;
use crate::config::types::{Inputs, WebSettings};
use crate::page::settings::Settings;
use crate::snapshots::open::Series;
use crate::term::shell::word;

/// The program, as the page sees it.
pub(crate) struct Page {
    pub(crate) settings: Settings,
    pub(crate) names: Vec<String>,
    /// The flags of a command that finds the same snapshots.
    pub(crate) given: String,
}

impl Page {
    /// Reads the configuration, and prints the mistakes in it. `given` are the flags of a command that finds the same snapshots.
    pub(crate) fn load(inputs: &Inputs, given: String) -> Option<(Self, WebSettings)> {
        let (settings, web) = configured(inputs, Settings::load)?;
        Some((Self { settings, names: inputs.names.clone(), given }, web))
    }

    /// The snapshots of each job.
    pub(crate) fn series(&self) -> Result<Vec<Series>, LookError> {
        self.settings.known().series()
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
    let folders = page.settings.known().folders();
    let folders: Vec<String> = folders.iter().map(|folder| shown_path(folder)).collect();
    format!("there is no job {} in {}", shown(name.as_bytes()), folders.join(", "))
}
