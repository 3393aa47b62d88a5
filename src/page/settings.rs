//! The settings that the page uses, read again when their files change.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::LookError;
use web::Reread;

use crate::args::load::print;
use crate::config::mistake::{Mistake, SettingOrigin, shown_path};
use crate::config::types::{Inputs, NamedJob, SnapshotPlace, WebSettings};
use crate::config::{config_path, load_for_reading};
use crate::snapshots::open::{Series, of_place};
use crate::snapshots::recorded_sources::{NoSources, recorded_job};
use crate::state::{Subjects, crontab_path};

/// A job whose source can be read, or why there is none.
type SourceJob = Result<Arc<NamedJob>, NoSources>;

/// What the settings say.
pub(crate) struct Known {
    places: Vec<(SnapshotPlace, Option<Arc<NamedJob>>)>,
    names: Vec<String>,
    pub(crate) subjects: Subjects,
    /// The sources of the snapshots that no settings name, by the name of their series, from the newest report.
    recorded: HashMap<String, SourceJob>,
}

impl Known {
    /// Reads the settings.
    ///
    /// # Errors
    /// The mistakes in them.
    pub(crate) fn read(inputs: &Inputs) -> Result<(Self, WebSettings), Vec<Mistake>> {
        let subjects = Subjects::read(inputs)?;
        let reading = load_for_reading(inputs)?;
        let apart = |mut place: SnapshotPlace| {
            let job = place.job.take().map(Arc::new);
            (place, job)
        };
        let places = reading.places.into_iter().map(apart).collect();
        let names = inputs.names.clone();
        let mut known = Self { places, names, subjects, recorded: HashMap::new() };
        for series in known.series().unwrap_or_default() {
            if let (None, Some(newest)) = (&series.job, series.history.complete.last()) {
                let job = recorded_job(&series, newest, inputs);
                known.recorded.insert(series.name, job);
            }
        }
        Ok((known, reading.web))
    }

    /// The backups folders.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.places.iter().map(|(place, _)| place.backups_dir.clone()).collect()
    }

    /// The roots of all sources on this machine.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        let configured = self.places.iter().filter_map(|(_, job)| job.as_ref());
        let recorded = self.recorded.values().filter_map(|job| job.as_ref().ok());
        let local = configured.chain(recorded).filter(|job| job.remote.is_none());
        local.flat_map(|job| job.job.layout.roots()).map(|(path, _)| path).collect()
    }

    /// The snapshots of each job. A folder that does not exist yet has none.
    ///
    /// # Errors
    /// A backups folder cannot be read.
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

    /// The job that reads the source of the series `name`.
    pub(crate) fn source_of(&self, name: &str) -> SourceJob {
        let named = |(place, _): &&(SnapshotPlace, _)| place.name == name;
        let configured = self.places.iter().find(named).and_then(|(_, job)| job.as_ref());
        match (configured, self.recorded.get(name)) {
            (Some(job), _) => Ok(Arc::clone(job)),
            (None, Some(job)) => job.clone(),
            (None, None) => Err(NoSources::Unknown),
        }
    }
}

/// The settings as they are now.
pub(crate) struct Settings {
    inner: Mutex<Current>,
    /// The folders that the process can open.
    folders: Vec<PathBuf>,
    /// The settings of the page itself, which it cannot change any more.
    web: WebSettings,
}

struct Current {
    known: Arc<Known>,
    mistakes: Vec<String>,
    files: Reread<Result<(Known, WebSettings), Vec<Mistake>>>,
}

impl Settings {
    /// Reads the settings for the first time.
    ///
    /// # Errors
    /// The mistakes in them.
    pub(crate) fn load(inputs: &Inputs) -> Result<(Self, WebSettings), Vec<Mistake>> {
        let (files, of) = (vec![config_path(inputs), crontab_path(inputs)], inputs.clone());
        let files = Reread::new(files, move || Known::read(&of)).map_err(|error| {
            let origin = SettingOrigin::command_line("web");
            vec![origin.mistake(format!("the system starts no thread: {error}; try again"))]
        })?;
        let (known, web) = Known::read(inputs)?;
        let folders = known.folders();
        let inner = Mutex::new(Current { known: Arc::new(known), mistakes: Vec::new(), files });
        Ok((Self { inner, folders, web: web.clone() }, web))
    }

    /// The settings as they are now. With a mistake in them, as they were before.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.current().known)
    }

    /// The mistakes since the settings were last used.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        self.current().mistakes.clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        let mut current = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match current.files.changed() {
            Some(Some(Ok((known, web)))) => self.replace(&mut current, known, &web),
            Some(Some(Err(mistakes))) => {
                print(&mistakes);
                current.mistakes = mistakes.iter().map(ToString::to_string).collect();
            }
            Some(None) | None => {}
        }
        current
    }

    fn replace(&self, current: &mut Current, known: Known, web: &WebSettings) {
        let folders = known.folders();
        match folders.iter().find(|folder| !self.folders.contains(folder)) {
            Some(new) => {
                let new = shown_path(new);
                current.mistakes =
                    vec![format!("{new} is another backups folder; start the page again")];
            }
            None => {
                current.known = Arc::new(known);
                let changed = changed(&self.web, web).into_iter();
                let again = |name| format!("{name} was changed; start the page again");
                current.mistakes = changed.map(again).collect();
            }
        }
    }
}

/// The settings of the page that differ.
fn changed(before: &WebSettings, now: &WebSettings) -> Vec<&'static str> {
    let differs = [
        ("WEB_LISTEN", before.listen != now.listen),
        ("WEB_USERS_FILE", before.users_file != now.users_file),
        ("WEB_BASE_PATH", before.base_path != now.base_path),
        ("WEB_HOST", before.hosts != now.hosts),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
