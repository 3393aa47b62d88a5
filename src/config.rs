//! The configuration of a run: flags > environment > config file > default, checked whole.

mod around;
pub(crate) mod bounded;
mod environment;
pub(crate) mod exposed;
mod file;
mod filters;
mod folders;
mod layer;
mod list;
mod mistake;
mod resolve;
pub(crate) mod rsync;
pub(crate) mod setting;
mod shelf;

use std::ffi::OsString;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use engine::job::Job;
use transport::sftp::Address;

pub(crate) use self::mistake::{Mistake, shown_path};
pub(crate) use self::shelf::Shelf;

use self::file::FileSettings;
use self::layer::{Given, Layer, Raw};
use self::mistake::Origin;
use self::resolve::Layers;
use self::rsync::Wanted;
use self::setting::{
    CONFIG_DIR, CONFIG_DIR_DEFAULT, CONFIG_FILE, CONFIG_FILE_NAME, KNOWN_HOSTS, Key,
};
use crate::hooks::Hooks;
use crate::log::Format;
use crate::notify::settings::{Channels, Level};

/// How many jobs a config file has, and what is wrong with it.
#[cfg(test)]
pub(crate) fn read_file_settings(text: &str) -> (usize, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let settings = file::read(Path::new("x"), text, &mut mistakes);
    (settings.jobs.len(), mistakes)
}

#[cfg(test)]
mod any_tests;
#[cfg(test)]
mod tests;

/// Everything that a configuration is read from.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// Settings on the command line.
    pub(crate) flags: Vec<(Key, OsString)>,
    /// rsync options on the command line.
    pub(crate) rsync_args: Vec<OsString>,
    /// `--config`.
    pub(crate) config_file: Option<PathBuf>,
    /// The jobs that were asked for; none for all.
    pub(crate) names: Vec<String>,
    /// The environment variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The folder that relative paths start from.
    pub(crate) current_dir: PathBuf,
}

/// A configuration without mistakes.
#[derive(Debug)]
pub(crate) struct Config {
    /// The jobs to do, in their order.
    pub(crate) jobs: Vec<NamedJob>,
    /// `LOG_FILE`.
    pub(crate) log_file: Option<PathBuf>,
    /// `LOG_FORMAT`.
    pub(crate) log_format: Format,
    /// `known_hosts` in the configuration's folder, if it is there: host keys beside the user's own.
    pub(crate) known_hosts: Option<PathBuf>,
    /// What looks wrong and may be right.
    pub(crate) warnings: Vec<String>,
}

/// A job and what is not the engine's business about it.
#[derive(Debug)]
pub(crate) struct NamedJob {
    /// What `run NAME` and the log call it.
    pub(crate) name: String,
    pub(crate) job: Job,
    /// The machine that the sources are on, when it is not this one.
    pub(crate) remote: Option<Remote>,
    pub(crate) alert: Alert,
    /// What its rsync options come to, beyond what is in `job`.
    pub(crate) wanted: Wanted,
    /// Of what somebody is told, and how.
    pub(crate) notify: (Level, Channels),
    pub(crate) hooks: Hooks,
    /// rsync options that were given and change nothing, with the reason.
    pub(crate) without_effect: Vec<String>,
}

/// Another machine.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) address: Address,
    /// How long an answer may take.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// Host keys beside the user's own, if there are any.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// From when on a job is called unhealthy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alert {
    /// `MAX_AGE_H`.
    pub(crate) max_age: TimeDelta,
    /// `FAILURES_BEFORE_ALERT`.
    pub(crate) failures: NonZeroUsize,
}

/// The folder of the config file, the crontab and pinned host keys.
pub(crate) fn config_dir(variables: &[(OsString, OsString)], current_dir: &Path) -> PathBuf {
    let dir = environment::value(variables, CONFIG_DIR);
    current_dir.join(dir.unwrap_or(CONFIG_DIR_DEFAULT.as_ref()))
}

/// A configuration without mistakes, for the verbs that look at snapshots.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Where snapshots lie, in the order of the jobs.
    pub(crate) shelves: Vec<Shelf>,
    /// What looks wrong and may be right.
    pub(crate) warnings: Vec<String>,
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn load(inputs: &Inputs) -> Result<Config, Vec<Mistake>> {
    checked(inputs, |layers, mistakes| {
        let mut jobs = resolve::jobs(layers, &inputs.names, &inputs.current_dir, mistakes);
        let (log_file, log_format) = resolve::log(layers, &inputs.current_dir);
        let known_hosts = known_hosts(inputs);
        for remote in jobs.iter_mut().filter_map(|job| job.remote.as_mut()) {
            remote.known_hosts.clone_from(&known_hosts);
        }
        move |warnings| Config { jobs, log_file, log_format, known_hosts, warnings }
    })
}

/// As [`load`], for verbs that look at snapshots: what is backed up need not be said.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn load_for_reading(inputs: &Inputs) -> Result<Reading, Vec<Mistake>> {
    checked(inputs, |layers, mistakes| {
        let mut shelves = shelf::shelves(layers, &inputs.names, &inputs.current_dir, mistakes);
        let known_hosts = known_hosts(inputs);
        for shelf in &mut shelves {
            shelf.known_hosts.clone_from(&known_hosts);
            if let Some(remote) = shelf.job.as_mut().and_then(|job| job.remote.as_mut()) {
                remote.known_hosts.clone_from(&known_hosts);
            }
        }
        move |warnings| Reading { shelves, warnings }
    })
}

/// Host keys beside the user's own, if there are any.
fn known_hosts(inputs: &Inputs) -> Option<PathBuf> {
    let file = config_dir(&inputs.variables, &inputs.current_dir).join(KNOWN_HOSTS);
    file.is_file().then_some(file)
}

/// Reads all layers; what `resolve` makes of them gets the warnings at last.
fn checked<T, F: FnOnce(Vec<String>) -> T>(
    inputs: &Inputs,
    resolve: impl FnOnce(&Layers, &mut Vec<Mistake>) -> F,
) -> Result<T, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let flags = flags(inputs, &mut mistakes);
    let rsync_args = rsync_args(inputs, &mut mistakes);
    let environment = environment::read(&inputs.variables, &mut mistakes);
    let file = config_file(inputs, &mut mistakes);
    let defaults = Layer::defaults(&mut mistakes);
    let no_args = Given { value: None, origin: rsync_args.origin.clone() };
    let layers = Layers { flags, rsync_args, no_args, environment, file, defaults };
    let resolved = resolve(&layers, &mut mistakes);
    let warnings = environment::warnings(&inputs.variables);
    if mistakes.is_empty() {
        let exposed = environment::exposed(&inputs.variables);
        let exposed = layers.file.exposed.iter().cloned().chain(exposed);
        return Ok(resolved(warnings.iter().map(ToString::to_string).chain(exposed).collect()));
    }
    // What is missing may stand there under a misspelt name.
    mistakes.extend(warnings);
    // Jobs share layers, so that one mistake may have been met several times.
    let mut seen = Vec::new();
    mistakes.retain(|mistake| {
        let new = !seen.contains(mistake);
        seen.push(mistake.clone());
        new
    });
    Err(mistakes)
}

fn flags(inputs: &Inputs, mistakes: &mut Vec<Mistake>) -> Layer {
    let mut layer = Layer::default();
    for (key, value) in &inputs.flags {
        layer.set(*key, &Raw::Text(value.clone()), Origin::flag(setting::get(*key)), mistakes);
    }
    layer
}

fn rsync_args(inputs: &Inputs, mistakes: &mut Vec<Mistake>) -> Given<Vec<rsync::Param>> {
    let origin = Origin::command_line("after --");
    let args: Vec<Vec<u8>> = inputs.rsync_args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    let value = match rsync::read_args(&args) {
        Ok(params) => Some(params),
        Err(refusals) => {
            mistakes.extend(refusals.iter().map(|refusal| origin.mistake(refusal)));
            None
        }
    };
    Given { value, origin }
}

fn config_file(inputs: &Inputs, mistakes: &mut Vec<Mistake>) -> FileSettings {
    let variable = environment::value(&inputs.variables, CONFIG_FILE);
    let (path, origin) = match (&inputs.config_file, variable) {
        (Some(path), _) => (path.clone(), Some(Origin::command_line("--config"))),
        (None, Some(path)) => (path.into(), Some(Origin::variable(CONFIG_FILE))),
        (None, None) => {
            (config_dir(&inputs.variables, &inputs.current_dir).join(CONFIG_FILE_NAME), None)
        }
    };
    match read_text(&inputs.current_dir.join(&path)) {
        Ok(text) => {
            let mut settings = file::read(&path, &text, mistakes);
            settings.exposed =
                exposed::complaints(&inputs.current_dir.join(&path), settings.secret);
            settings
        }
        Err(error) if origin.is_none() && error.kind() == io::ErrorKind::NotFound => {
            FileSettings::default()
        }
        Err(error) => {
            let origin = origin.unwrap_or_else(|| Origin::file(&path, None, ""));
            let path = shown_path(&path);
            mistakes.push(origin.mistake(format!(
                "cannot read {path}: {error}; write the path of a readable TOML file"
            )));
            FileSettings::unknown(origin)
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(bounded::read(path, bounded::TEXT)?).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not valid UTF-8"))
    })
}
