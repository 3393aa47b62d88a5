//! The configuration of a run: flags > environment > config file > default, checked whole.

mod environment;
mod file;
mod folders;
mod layer;
mod list;
mod mistake;
mod resolve;
mod rsync;
mod rsync_table;
pub(crate) mod setting;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::job::Job;
use transport::sftp::Address;

pub(crate) use self::mistake::{Mistake, shown_path};

use self::file::FileSettings;
use self::layer::{Given, Layer, Raw};
use self::mistake::Origin;
use self::resolve::Layers;
use self::setting::{CONFIG_FILE, CONFIG_FILE_DEFAULT, Key};
use crate::log::Format;

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
    /// rsync options that were given and change nothing, with the reason.
    pub(crate) without_effect: Vec<String>,
}

/// Another machine.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) address: Address,
    /// How long an answer may take.
    pub(crate) answer_timeout: Duration,
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn load(inputs: &Inputs) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let flags = flags(inputs, &mut mistakes);
    let rsync_args = rsync_args(inputs, &mut mistakes);
    let environment = environment::read(&inputs.variables, &mut mistakes);
    let file = config_file(inputs, &mut mistakes);
    let defaults = Layer::defaults(&mut mistakes);
    let layers = Layers { flags, rsync_args, environment, file, defaults };
    let jobs = resolve::jobs(&layers, &inputs.names, &inputs.current_dir, &mut mistakes);
    let (log_file, log_format) = resolve::log(&layers, &inputs.current_dir);
    let warnings = environment::warnings(&inputs.variables);
    if mistakes.is_empty() {
        let warnings = warnings.iter().map(ToString::to_string).collect();
        return Ok(Config { jobs, log_file, log_format, warnings });
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
        (None, None) => (CONFIG_FILE_DEFAULT.into(), None),
    };
    match read_text(&inputs.current_dir.join(&path)) {
        Ok(text) => file::read(&path, &text, mistakes),
        Err(error) if origin.is_none() && error.kind() == io::ErrorKind::NotFound => {
            FileSettings::default()
        }
        Err(error) => {
            let origin = origin.unwrap_or_else(|| Origin::file(&path, None, ""));
            let path = shown_path(&path);
            mistakes.push(origin.mistake(format!(
                "cannot read {path}: {error}; write the path of a readable TOML file"
            )));
            FileSettings::default()
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(fs::read(path)?).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not valid UTF-8"))
    })
}
