//! Parses the config file: TOML with the names of the variables as keys, and `[[job]]` entries.

use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::checks::value::{GivenValue, Raw};
use crate::config::mistake::{Mistake, SettingOrigin};
use crate::config::names::meant;
use crate::config::rsync::object::Dict;
use crate::config::setting::find::find;
use crate::config::setting::{Key, Layer, SETTINGS, Setting, ValueTypes};

/// Keys that are not settings.
const NAME: &str = "NAME";
const JOB: &str = "job";

/// The content of a config file.
#[derive(Debug, Default)]
pub(crate) struct FileSettings {
    /// The values for all jobs that set no other value.
    pub(crate) top: Layer,
    /// The `[[job]]` entries.
    pub(crate) jobs: Vec<FileJob>,
    /// What other users can do with the file although they should not.
    pub(crate) exposed: Vec<String>,
    /// Whether a key contains a secret.
    pub(crate) secret: bool,
}

impl FileSettings {
    /// The settings of a file that cannot be read completely. It may set the sources, so a missing source is
    /// no further mistake.
    pub(crate) fn unknown(origin: SettingOrigin) -> Self {
        let mut settings = Self::default();
        settings.top.sources = Some(GivenValue { value: None, origin });
        settings
    }
}

/// One `[[job]]`.
#[derive(Debug)]
pub(crate) struct FileJob {
    /// The position at which it begins.
    pub(crate) origin: SettingOrigin,
    /// Its `NAME`, if it has one.
    pub(crate) name: Option<String>,
    pub(crate) layer: Layer,
}

/// Reads the `text` of the config file at `path`.
pub(crate) fn read(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> FileSettings {
    let mut reader = TableReader { path, text, mistakes, secret: false };
    let mut settings = FileSettings::default();
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let origin = reader.origin(error.span().map(|span| span.start), "");
            reader
                .mistakes
                .push(origin.mistake(format!("not valid TOML: {}", error.message().trim())));
            return FileSettings::unknown(origin);
        }
    };
    let mut keys = Vec::new();
    for (key, value) in in_order(&table) {
        if key.get_ref().eq_ignore_ascii_case(JOB) {
            let before = reader.mistakes.len();
            settings.jobs.extend(reader.jobs(key, value));
            if settings.jobs.is_empty() && reader.mistakes.len() > before {
                let origin = reader.origin(Some(key.span().start), JOB);
                settings.top.sources = Some(GivenValue { value: None, origin });
            }
        } else {
            reader.key(&mut settings.top, key, value, Section::Top, &mut keys);
        }
    }
    settings.secret = reader.secret;
    settings
}

/// The section of a key.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Top,
    Job,
}

type DeKey<'a> = Spanned<DeString<'a>>;

struct TableReader<'a> {
    path: &'a Path,
    text: &'a str,
    mistakes: &'a mut Vec<Mistake>,
    /// Whether a key that was read contains a secret.
    secret: bool,
}

impl TableReader<'_> {
    fn origin(&self, offset: Option<usize>, key: &str) -> SettingOrigin {
        let line = offset
            .and_then(|offset| self.text.as_bytes().get(..offset))
            .map(|before| before.iter().filter(|byte| **byte == b'\n').count() + 1);
        SettingOrigin::file(self.path, line, key)
    }

    fn jobs(&mut self, key: &DeKey<'_>, value: &Spanned<DeValue<'_>>) -> Vec<FileJob> {
        let origin = self.origin(Some(key.span().start), JOB);
        let Some(entries) = value.get_ref().as_array() else {
            self.mistakes.push(origin.mistake("it is not a list of jobs; write [[job]]"));
            return Vec::new();
        };
        entries
            .iter()
            .filter_map(|entry| match entry.get_ref().as_table() {
                Some(table) => Some(self.job(entry.span().start, table)),
                None => {
                    self.mistakes.push(origin.mistake("an entry is not a table; write [[job]]"));
                    None
                }
            })
            .collect()
    }

    fn job(&mut self, offset: usize, table: &DeTable<'_>) -> FileJob {
        let origin = self.origin(Some(offset), "[[job]]");
        let mut job = FileJob { origin, name: None, layer: Layer::default() };
        let mut keys = Vec::new();
        for (key, value) in in_order(table) {
            if key.get_ref().eq_ignore_ascii_case(NAME) {
                job.name = self.name(key, value);
            } else {
                self.key(&mut job.layer, key, value, Section::Job, &mut keys);
            }
        }
        job
    }

    fn name(&mut self, key: &DeKey<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref().as_str() {
            Some(name) if !name.trim().is_empty() && !name.chars().any(char::is_control) => {
                Some(name.trim().to_owned())
            }
            _ => {
                let origin = self.origin(Some(key.span().start), NAME);
                self.mistakes
                    .push(origin.mistake("it is not a name; write a short text in quotes"));
                None
            }
        }
    }

    fn key(
        &mut self,
        layer: &mut Layer,
        key: &DeKey<'_>,
        value: &Spanned<DeValue<'_>>,
        place: Section,
        seen: &mut Vec<Key>,
    ) {
        let origin = self.origin(Some(key.span().start), key.get_ref());
        let setting = match known(key.get_ref(), place) {
            Ok(setting) => setting,
            Err(wrong) => {
                self.mistakes.push(origin.mistake(wrong));
                let meant = meant_key(key.get_ref(), place).and_then(find);
                if meant.is_some_and(|meant| meant.key == Key::SrcsToBackup) {
                    layer.sources.get_or_insert(GivenValue { value: None, origin });
                }
                return;
            }
        };
        if seen.contains(&setting.key) {
            return self.mistakes.push(origin.mistake("it is given twice; remove one of them"));
        }
        seen.push(setting.key);
        self.secret |= setting.secret;
        match raw(setting.takes, value.get_ref()) {
            Ok(raw) => layer.set(setting.key, &raw, origin, self.mistakes),
            Err(wrong) => {
                self.mistakes.push(origin.mistake(wrong));
                if setting.key == Key::SrcsToBackup {
                    layer.sources = Some(GivenValue { value: None, origin });
                }
            }
        }
    }
}

/// The entries of a table in the order of the file, so that mistakes are reported in that order.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The setting of this name, if it is allowed at `place`.
fn known(name: &str, place: Section) -> Result<&'static Setting, String> {
    match find(name) {
        Some(setting) if setting.per_job || place == Section::Top => Ok(setting),
        Some(_) => Err("it holds for all jobs; move it above the first [[job]]".to_owned()),
        None if name.eq_ignore_ascii_case(NAME) => {
            Err("a NAME belongs into a [[job]]; write BACKUP_NAME_PREFIX to name snapshots"
                .to_owned())
        }
        None => Err(match meant_key(name, place) {
            Some(near) => format!("unknown key; did you mean {near}?"),
            None => "unknown key; remove it (backup_manager run --help lists all)".to_owned(),
        }),
    }
}

/// The key that `name` may be a misspelling of.
fn meant_key(name: &str, place: Section) -> Option<&'static str> {
    let extra = if place == Section::Top { JOB } else { NAME };
    let names = SETTINGS.iter().map(|setting| setting.name).chain([extra]);
    meant(name, names)
}

/// The value of a key as it was written, if the key accepts its type.
fn raw(takes: ValueTypes, value: &DeValue<'_>) -> Result<Raw, String> {
    match value {
        DeValue::String(text) => Ok(Raw::Text(text.as_ref().into())),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(Raw::Text(number.to_string().into())),
            Err(_) => Err(format!("{number} is out of range; write a smaller number")),
        },
        DeValue::Float(number) => Ok(Raw::Text(number.as_str().into())),
        DeValue::Array(items) if takes == ValueTypes::List => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Raw::List)
            .ok_or_else(|| "an item of the list is not a text; write each in quotes".to_owned()),
        DeValue::Table(table) if takes == ValueTypes::Table => {
            let entries = in_order(table).into_iter();
            let entries =
                entries.map(|(key, value)| Ok((key.get_ref().to_string(), json(value.get_ref())?)));
            entries.collect::<Result<Vec<_>, String>>().map(|entries| Raw::Table(Dict(entries)))
        }
        value => Err(format!("it is of the type {}; write a text or a number", value.type_str())),
    }
}

fn json(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(|item| json(item.get_ref()))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        value => match raw(ValueTypes::Text, value)? {
            Raw::Text(text) => Ok(Value::String(text.to_string_lossy().into_owned())),
            _ => Err("its values are texts, numbers or lists of them".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (FileSettings, Vec<String>) {
        let mut mistakes = Vec::new();
        let settings = read(Path::new("/c.toml"), text, &mut mistakes);
        (settings, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_are_the_variables_names_in_any_case() {
        let (settings, mistakes) = parse(
            r#"
            srcs_to_backup = ["/a,b", "/c"]
            Max_Backups = 3
            MINIMUM_TIME_GUARD_H = 0.5
            rsync_single_params = ["-a", "-x"]
            LOG_FORMAT = "json"
            [RSYNC_DICT_PARAMS]
            "--hard-links" = ""
            [[job]]
            NAME = "home"
            BACKUPS_DIR = "/b"
            [[job]]
            "#,
        );
        assert_eq!(mistakes, Vec::<String>::new());
        let top = settings.top;
        assert_eq!(top.sources.unwrap().value.unwrap(), [Path::new("/a,b"), Path::new("/c")]);
        assert_eq!(top.max_backups.unwrap().value.unwrap().get(), 3);
        assert_eq!(top.dict_params.unwrap().value.unwrap().len(), 1);
        assert_eq!(settings.jobs.len(), 2);
        assert_eq!(settings.jobs[0].name.as_deref(), Some("home"));
        assert_eq!(settings.jobs[0].layer.backups_dir.as_ref().unwrap().value, Some("/b".into()));
        assert_eq!(settings.jobs[1].name, None);
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let (_, mistakes) = parse(
            "MAX_BACKUP = 3\nmax_backups = 0\nMAX_BACKUPS = 2\nBACKUPS_DIR = true\nfrobnicate = 1\n\
             MAX_SHRINK_PERCENT = [1]\nNAME = 'x'\n[[job]]\nLOG_FILE = 'x'\nNAME = ''\nSRCS_TO_BACKUP = [1]\n",
        );
        assert_eq!(
            mistakes,
            [
                "/c.toml, line 1: MAX_BACKUP: unknown key; did you mean MAX_BACKUPS?",
                "/c.toml, line 2: max_backups: 0 would keep no snapshot at all; write 1 or more",
                "/c.toml, line 3: MAX_BACKUPS: it is given twice; remove one of them",
                "/c.toml, line 4: BACKUPS_DIR: it is of the type boolean; write a text or a number",
                "/c.toml, line 5: frobnicate: unknown key; remove it (backup_manager run --help lists all)",
                "/c.toml, line 6: MAX_SHRINK_PERCENT: it is of the type array; write a text or a number",
                "/c.toml, line 7: NAME: a NAME belongs into a [[job]]; write BACKUP_NAME_PREFIX to name snapshots",
                "/c.toml, line 9: LOG_FILE: it holds for all jobs; move it above the first [[job]]",
                "/c.toml, line 10: NAME: it is not a name; write a short text in quotes",
                "/c.toml, line 11: SRCS_TO_BACKUP: an item of the list is not a text; write each in quotes",
            ]
        );
    }

    #[test]
    fn an_error_of_syntax_is_reported_with_its_line() {
        let (_, mistakes) = parse("MAX_BACKUPS = 3\nBACKUPS_DIR = /b\n");
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].starts_with("/c.toml, line 2: not valid TOML: "), "{mistakes:?}");
    }

    #[test]
    fn a_single_job_table_is_refused_with_the_right_form() {
        for text in ["[job]\nMAX_BACKUPS = 1\n", "job = 1\n", "job = [1]\n"] {
            let (_, mistakes) = parse(text);
            assert!(mistakes[0].contains("write [[job]]"), "{mistakes:?}");
        }
    }
}
