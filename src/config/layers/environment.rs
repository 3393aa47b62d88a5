//! Reads settings from environment variables, and from the files that `NAME_FILE` variables name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use engine::entry::escape::shown;

use crate::config::bounded;
use crate::config::checks::value::Raw;
use crate::config::exposed::complaints;
use crate::config::mistake::{Mistake, SettingOrigin, shown_path};
use crate::config::names::{CONFIG_DIR, CONFIG_FILE, nearest};
use crate::config::resolve::mistyped::{quoted_path, unquoted};
use crate::config::setting::{Layer, SETTINGS, Setting};

/// Maximum length in bytes of a value read from a file: /dev/zero has no end.
const LONGEST: u64 = 1 << 20;

/// The environment variables of a process, in any order.
pub(crate) type Variables = [(OsString, OsString)];

/// The value of a variable; an empty one counts as unset.
pub(crate) fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a OsStr> {
    variables
        .iter()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.as_os_str())
}

/// Reads all settings from the environment.
pub(crate) fn read(variables: &Variables, mistakes: &mut Vec<Mistake>) -> Layer {
    let mut layer = Layer::default();
    for setting in SETTINGS {
        let file_variable = setting.file_variable();
        let file = value(variables, &file_variable);
        if let Some(value) = value(variables, setting.name) {
            let origin = SettingOrigin::variable(setting.name);
            if file.is_some() {
                mistakes
                    .push(origin.mistake(format!("{file_variable} is set too; unset one of them")));
            }
            let value = without_quotes(setting, value, &origin, mistakes);
            layer.set(setting.key, &Raw::Text(value.to_owned()), origin, mistakes);
        } else if let Some(path) = file {
            let origin = SettingOrigin::variable(&file_variable);
            if let Some(what) = quoted_path(path, Path::new(".")) {
                mistakes.push(origin.mistake(what));
                continue;
            }
            match read_value(Path::new(path)) {
                Ok(value) if value.is_empty() => {
                    let path = shown_path(Path::new(path));
                    mistakes.push(origin.mistake(format!(
                        "{path} is empty; write the value into it or unset {file_variable}"
                    )));
                }
                Ok(value) => {
                    let (shown, before) = (value.to_string_lossy().into_owned(), mistakes.len());
                    layer.set(setting.key, &Raw::Text(value), origin, mistakes);
                    mistakes[before..].iter_mut().for_each(|mistake| mistake.hide(&shown));
                }
                Err(error) => mistakes.push(origin.mistake(format!(
                    "cannot read {}: {error}; write the path of a readable file that holds the value",
                    shown_path(Path::new(path))
                ))),
            }
        }
    }
    layer
}

/// The value without quotes around all of it, which are a mistake: a shell takes them off, an env file and a list
/// in docker-compose.yml do not. Secrets may begin and end with anything.
pub(crate) fn without_quotes<'a>(
    setting: &Setting,
    value: &'a OsStr,
    origin: &SettingOrigin,
    mistakes: &mut Vec<Mistake>,
) -> &'a OsStr {
    if setting.quotes || setting.secret {
        return value;
    }
    let Some(inner) = unquoted(value.as_bytes()) else { return value };
    mistakes.push(origin.mistake(format!(
        "write {} without quotes: in an env file and in a list of docker-compose.yml they belong to the value",
        shown(value.as_bytes())
    )));
    OsStr::from_bytes(inner)
}

/// A warning for each variable that looks misspelt. It is not a mistake, because other programs use the
/// environment too.
pub(crate) fn warnings(variables: &Variables) -> Vec<Mistake> {
    let mut known: Vec<String> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    known.extend(SETTINGS.iter().map(Setting::file_variable));
    known.extend([CONFIG_FILE.to_owned(), CONFIG_DIR.to_owned()]);
    let mut named: Vec<&str> = variables.iter().filter_map(|(name, _)| name.to_str()).collect();
    named.sort_unstable();
    named.retain(|name| !known.iter().any(|known| known == name));
    let misspelt = |name: &&str| {
        let meant = nearest(name, known.iter().map(String::as_str), 2)?;
        let origin = SettingOrigin::variable(name);
        Some(origin.mistake(format!("it is not known; did you mean {meant}?")))
    };
    named.iter().filter_map(misspelt).collect()
}

/// What other users can do with the files that `NAME_FILE` variables name, although they should not.
pub(crate) fn exposed(variables: &Variables) -> Vec<String> {
    let named = SETTINGS.iter().filter_map(|setting| {
        let path = Path::new(value(variables, &setting.file_variable())?);
        Some((path, setting.secret && !is_engines(path)))
    });
    named.flat_map(|(path, secret)| complaints(path, secret)).collect()
}

/// Whether a container engine provided the file, so that its mode does not matter: below `/run/secrets`
/// (Docker, Podman), or in memory (Kubernetes). Only the container's user can enter the container.
fn is_engines(path: &Path) -> bool {
    let regular = || std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
    path.starts_with("/run/secrets")
        || regular() && File::open(path).is_ok_and(|file| is_in_memory(&file))
}

/// Whether a file is on a tmpfs (statfs(2)).
fn is_in_memory(file: &File) -> bool {
    engine::fs::file_system(file).is_some_and(|name| name.starts_with("1021994:"))
}

fn read_value(path: &Path) -> io::Result<OsString> {
    let mut bytes = Vec::new();
    bounded::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it holds more than 1 MiB"));
    }
    while bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_variable_or_the_file_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("count");
        fs::write(&file, "7\r\n\n").unwrap();
        let mut mistakes = Vec::new();
        let layer = read(
            &variables(&[
                ("MAX_BACKUPS_FILE", file.to_str().unwrap()),
                ("BACKUPS_DIR", "/b"),
                ("LOG_FORMAT", ""),
            ]),
            &mut mistakes,
        );
        assert_eq!(mistakes, []);
        assert_eq!(layer.max_backups.unwrap().value.unwrap().get(), 7);
        assert_eq!(layer.backups_dir.unwrap().value.unwrap(), Path::new("/b"));
        assert!(layer.log_format.is_none());
    }

    #[test]
    fn mistakes_around_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::write(&empty, "\n").unwrap();
        for (pairs, expected) in [
            (&[("MAX_BACKUPS", "1"), ("MAX_BACKUPS_FILE", "/x")][..], "unset one of them"),
            (&[("MAX_BACKUPS_FILE", "/nowhere/x")], "cannot read /nowhere/x"),
            (&[("MAX_BACKUPS_FILE", "/")], "cannot read /"),
            (&[("MAX_BACKUPS_FILE", "/dev/zero")], "more than 1 MiB"),
            (&[("MAX_BACKUPS_FILE", empty.to_str().unwrap())], "is empty"),
        ] {
            let mut mistakes = Vec::new();
            read(&variables(pairs), &mut mistakes);
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].to_string().contains(expected), "{mistakes:?}");
        }
    }

    #[test]
    fn near_misses_in_the_environment_are_found() {
        for (name, meant) in [
            ("MAX_BACKUP", Some("MAX_BACKUPS")),
            ("max_backups", Some("MAX_BACKUPS")),
            ("SRC_TO_BACKUP", Some("SRCS_TO_BACKUP")),
            ("BACKUP_DIR", Some("BACKUPS_DIR")),
            ("MAX_BACKUP_FILE", Some("MAX_BACKUPS_FILE")),
            ("MAX_BACKUPS", None),
            ("MAX_BACKUPS_FILE", None),
            ("CONFIG_FILE", None),
            ("CONFIG_DIR", None),
            ("PATH", None),
            ("HOME", None),
            ("LOG_LEVEL", None),
        ] {
            let warnings = warnings(&variables(&[(name, "3")]));
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            let meant = meant.map(|meant| {
                format!("environment: {name}: it is not known; did you mean {meant}?")
            });
            assert_eq!(warnings, Vec::from_iter(meant));
        }
    }
}
