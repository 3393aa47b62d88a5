//! Loads the configuration with the precedence flags > environment > config file > default, and checks all of
//! it.

#[cfg(test)]
mod any_tests;
pub(crate) mod bounded;
pub(crate) mod checks;
pub(crate) mod exposed;
pub(crate) mod host_dir;
pub(crate) mod layers;
pub(crate) mod mistake;
pub(crate) mod names;
pub(crate) mod resolve;
pub(crate) mod rsync;
pub(crate) mod setting;
#[cfg(test)]
mod tests;
pub(crate) mod types;
pub(crate) mod values;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use transport::ssh::connect::user_entry::ssh_folder;

use crate::config::checks::value::{GivenValue, Raw};
use crate::config::layers::Layers;
use crate::config::layers::file::FileSettings;
use crate::config::mistake::{Mistake, SettingOrigin, shown_path};
use crate::config::names::{
    CONFIG_DIR, CONFIG_DIR_DEFAULT, CONFIG_FILE, CONFIG_FILE_NAME, KNOWN_HOSTS,
};
use crate::config::resolve::mistyped::quoted_path;
use crate::config::setting::Layer;
use crate::config::types::{BrokenConfig, Config, Inputs, SnapshotConfig};
use crate::schedule::zone::of_environment;

/// The number of jobs in a config file, and its mistakes.
#[cfg(test)]
pub(crate) fn read_file_settings(text: &str) -> (usize, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let settings = crate::config::layers::file::read(Path::new("x"), text, &mut mistakes);
    (settings.jobs.len(), mistakes)
}

/// The folder of the config file, the crontab and pinned host keys.
pub(crate) fn config_dir(variables: &[(OsString, OsString)], current_dir: &Path) -> PathBuf {
    let dir = crate::config::layers::environment::value(variables, CONFIG_DIR);
    current_dir.join(dir.unwrap_or(CONFIG_DIR_DEFAULT.as_ref()))
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn load(inputs: &Inputs) -> Result<Config, Vec<Mistake>> {
    checked(inputs, |layers, mistakes| {
        let mut jobs =
            crate::config::resolve::jobs(layers, &inputs.names, &inputs.current_dir, mistakes);
        let (log_file, log_format) = crate::config::resolve::log(layers, &inputs.current_dir);
        let jobs_at_once = crate::config::resolve::jobs_at_once(layers);
        let known_hosts = known_hosts(inputs);
        for remote in jobs.iter_mut().filter_map(|job| job.remote.as_mut()) {
            remote.known_hosts.clone_from(&known_hosts);
        }
        let web = crate::config::resolve::web(layers, &inputs.current_dir);
        jobs.iter_mut().for_each(|job| job.copies.reach.known_hosts.clone_from(&known_hosts));
        move |warnings, notes| Config {
            jobs,
            jobs_at_once,
            log_file,
            log_format,
            web,
            known_hosts,
            warnings,
            notes,
        }
    })
}

/// Like [`load`], for commands that only look at snapshots: the sources need not be set.
///
/// # Errors
/// Every mistake in it.
pub(crate) fn load_for_reading(inputs: &Inputs) -> Result<SnapshotConfig, Vec<Mistake>> {
    checked(inputs, |layers, mistakes| {
        let mut places = crate::config::resolve::snapshot_places::places(
            layers,
            &inputs.names,
            &inputs.current_dir,
            mistakes,
        );
        let known_hosts = known_hosts(inputs);
        for place in &mut places {
            place.known_hosts.clone_from(&known_hosts);
            place.copies.reach.known_hosts.clone_from(&known_hosts);
            if let Some(remote) = place.job.as_mut().and_then(|job| job.remote.as_mut()) {
                remote.known_hosts.clone_from(&known_hosts);
            }
        }
        let web = crate::config::resolve::web(layers, &inputs.current_dir);
        move |warnings, _| SnapshotConfig { places, web, warnings }
    })
}

/// What a configuration with mistakes can report them with.
pub(crate) fn load_broken(inputs: &Inputs) -> BrokenConfig {
    // `load` reports the mistakes.
    let mut mistakes = Vec::new();
    let (layers, dir) = (layers(inputs, &mut mistakes), &inputs.current_dir);
    let jobs =
        crate::config::resolve::broken::broken_jobs(&layers, &inputs.names, dir, &mut mistakes);
    let (log_file, log_format) = crate::config::resolve::log(&layers, dir);
    BrokenConfig { jobs, log_file, log_format }
}

/// The file with host keys in addition to the user's own, if it exists. Keys are added to it. So it is also given
/// where the user has no `~/.ssh` that can be written, as in a container: ssh reads no file that is missing.
fn known_hosts(inputs: &Inputs) -> Option<PathBuf> {
    let folder = config_dir(&inputs.variables, &inputs.current_dir);
    let file = folder.join(KNOWN_HOSTS);
    let writable = |folder: &Path| folder.is_dir() && access(folder, Access::WRITE_OK).is_ok();
    (file.is_file() || writable(&folder) && !writable(&ssh_folder())).then_some(file)
}

/// Reads all layers and resolves them. The function that `resolve` returns receives the warnings and the notes
/// at the end.
fn checked<T, F: FnOnce(Vec<String>, Vec<String>) -> T>(
    inputs: &Inputs,
    resolve: impl FnOnce(&Layers, &mut Vec<Mistake>) -> F,
) -> Result<T, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let layers = layers(inputs, &mut mistakes);
    let resolved = resolve(&layers, &mut mistakes);
    let warnings = crate::config::layers::environment::warnings(&inputs.variables);
    if mistakes.is_empty() {
        let exposed = crate::config::layers::environment::exposed(&inputs.variables);
        let exposed = layers.file.exposed.iter().cloned().chain(exposed);
        let warnings = warnings.iter().map(ToString::to_string).chain(exposed).collect();
        return Ok(resolved(warnings, crate::config::layers::disagreements(&layers)));
    }
    // A missing setting may be present under a misspelt name.
    mistakes.extend(warnings);
    // Jobs share layers, so the same mistake may occur several times.
    let mut seen = Vec::new();
    mistakes.retain(|mistake| {
        let new = !seen.contains(mistake);
        seen.push(mistake.clone());
        new
    });
    Err(mistakes)
}

/// Reads all layers.
fn layers(inputs: &Inputs, mistakes: &mut Vec<Mistake>) -> Layers {
    let flags = flags(inputs, mistakes);
    let rsync_args = rsync_args(inputs, mistakes);
    let environment = crate::config::layers::environment::read(&inputs.variables, mistakes);
    let file = config_file(inputs, mistakes);
    let defaults = Layer::defaults(mistakes);
    let no_args = GivenValue { value: None, origin: rsync_args.origin.clone() };
    // A TZ that is no name of a zone means what the system makes of it.
    let tz = crate::config::layers::environment::value(&inputs.variables, "TZ");
    let (zone, _) = of_environment(None, tz.and_then(OsStr::to_str));
    Layers { flags, rsync_args, no_args, environment, file, defaults, zone }
}

pub(crate) fn flags(inputs: &Inputs, mistakes: &mut Vec<Mistake>) -> Layer {
    let mut layer = Layer::default();
    for (key, value) in &inputs.flags {
        let setting = crate::config::setting::find::get(*key);
        let origin = SettingOrigin::flag(&setting.flag());
        let value =
            crate::config::layers::environment::without_quotes(setting, value, &origin, mistakes);
        layer.set(*key, &Raw::Text(value.to_owned()), origin, mistakes);
    }
    layer
}

pub(crate) fn rsync_args(
    inputs: &Inputs,
    mistakes: &mut Vec<Mistake>,
) -> GivenValue<Vec<crate::config::rsync::Param>> {
    let origin = SettingOrigin::command_line("after --");
    let args: Vec<Vec<u8>> = inputs.rsync_args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    let value = match crate::config::rsync::read_args(&args) {
        Ok(params) => Some(params),
        Err(refusals) => {
            mistakes.extend(refusals.iter().map(|refusal| origin.mistake(refusal)));
            None
        }
    };
    GivenValue { value, origin }
}

/// The path of the config file.
pub(crate) fn config_path(inputs: &Inputs) -> PathBuf {
    inputs.current_dir.join(named_file(inputs).0)
}

/// The path of the config file, and what names it; the default has no origin.
fn named_file(inputs: &Inputs) -> (PathBuf, Option<SettingOrigin>) {
    let variable = crate::config::layers::environment::value(&inputs.variables, CONFIG_FILE);
    match (&inputs.config_file, variable) {
        (Some(path), _) => (path.clone(), Some(SettingOrigin::command_line("--config"))),
        (None, Some(path)) => (path.into(), Some(SettingOrigin::variable(CONFIG_FILE))),
        (None, None) => {
            (config_dir(&inputs.variables, &inputs.current_dir).join(CONFIG_FILE_NAME), None)
        }
    }
}

fn config_file(inputs: &Inputs, mistakes: &mut Vec<Mistake>) -> FileSettings {
    let (path, origin) = named_file(inputs);
    let folder = crate::config::layers::environment::value(&inputs.variables, CONFIG_DIR);
    if let Some(what) = folder.and_then(|folder| quoted_path(folder, &inputs.current_dir)) {
        mistakes.push(SettingOrigin::variable(CONFIG_DIR).mistake(what));
    }
    if let Some(origin) = &origin
        && let Some(what) = quoted_path(path.as_os_str(), &inputs.current_dir)
    {
        mistakes.push(origin.mistake(what));
        return FileSettings::unknown(origin.clone());
    }
    match read_text(&inputs.current_dir.join(&path)) {
        Ok(text) => {
            let mut settings = crate::config::layers::file::read(&path, &text, mistakes);
            settings.exposed = crate::config::exposed::complaints(
                &inputs.current_dir.join(&path),
                settings.secret,
            );
            settings
        }
        Err(error) if origin.is_none() && error.kind() == io::ErrorKind::NotFound => {
            FileSettings::default()
        }
        Err(error) => {
            let origin = origin.unwrap_or_else(|| SettingOrigin::file(&path, None, ""));
            let path = shown_path(&path);
            mistakes.push(origin.mistake(format!(
                "cannot read {path}: {error}; write the path of a readable TOML file"
            )));
            FileSettings::unknown(origin)
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(crate::config::bounded::read(path, crate::config::bounded::TEXT)?).map_err(
        |error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            io::Error::other(format!("line {line} is not valid UTF-8"))
        },
    )
}
