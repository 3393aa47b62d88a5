//! The typed values that one place (flags, environment, file) gives, each checked on its own.

pub(crate) mod alert_settings;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod list;
pub(crate) mod value;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use engine::entry::escape::shown;
use engine::snapshot::name::Prefix;

use crate::config::layers::alert_settings::Around;
use crate::config::layers::value::{Checked, Given, Raw, bytes, decimal, give, text, wrong};
use crate::config::mistake::{Mistake, Origin};
use crate::config::rsync;
use crate::config::rsync::Param;
use crate::config::rsync::object::Dict;
use crate::config::setting::{Key, SETTINGS};
use crate::config::types::Format;

/// What one place gives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) sources: Option<Given<Vec<PathBuf>>>,
    pub(crate) backups_dir: Option<Given<PathBuf>>,
    pub(crate) backups_mode: Option<Given<u32>>,
    pub(crate) prefix: Option<Given<Prefix>>,
    pub(crate) remote: Option<Given<String>>,
    pub(crate) answer_timeout: Option<Given<Duration>>,
    pub(crate) sftp_channels: Option<Given<NonZeroUsize>>,
    pub(crate) single_params: Option<Given<Vec<Param>>>,
    pub(crate) dict_params: Option<Given<Vec<Param>>>,
    pub(crate) max_backups: Option<Given<NonZeroUsize>>,
    /// Last, hourly, daily, weekly, monthly, yearly.
    pub(crate) keep: [Option<Given<u32>>; 6],
    pub(crate) minimum_time_guard: Option<Given<TimeDelta>>,
    pub(crate) log_file: Option<Given<PathBuf>>,
    pub(crate) log_format: Option<Given<Format>>,
    pub(crate) max_shrink_percent: Option<Given<f64>>,
    /// Whether change times count.
    pub(crate) trust_ctime: Option<Given<bool>>,
    pub(crate) max_age: Option<Given<TimeDelta>>,
    pub(crate) failures_before_alert: Option<Given<NonZeroUsize>>,
    pub(crate) around: Around,
}

/// Longest guard that is taken: 100 years.
const MAX_HOURS: f64 = 876_600.0;

/// Longest wait for an answer that is taken: a line that is silent for an hour is dead.
const MAX_SECONDS: f64 = 3600.0;

/// Most channels that are taken: sshd bears 10 unless its `MaxSessions` says another number.
const MAX_CHANNELS: usize = 16;

impl Layer {
    /// The defaults of the table of settings.
    pub(crate) fn defaults(mistakes: &mut Vec<Mistake>) -> Self {
        let mut layer = Self::default();
        for setting in &SETTINGS {
            if let Some(default) = setting.default {
                layer.set(
                    setting.key,
                    &Raw::Text(default.into()),
                    Origin::default(setting),
                    mistakes,
                );
            }
        }
        layer
    }

    /// Takes in one value; what is wrong with it goes to `mistakes`.
    pub(crate) fn set(&mut self, key: Key, raw: &Raw, origin: Origin, mistakes: &mut Vec<Mistake>) {
        match key {
            Key::SrcsToBackup => give(&mut self.sources, sources(raw), origin, mistakes),
            Key::BackupsDir => give(&mut self.backups_dir, folder(raw), origin, mistakes),
            Key::BackupsMode => give(&mut self.backups_mode, mode(raw), origin, mistakes),
            Key::BackupNamePrefix => give(&mut self.prefix, prefix(raw), origin, mistakes),
            Key::RemoteSrcHost => give(&mut self.remote, text(raw), origin, mistakes),
            Key::AnswerTimeoutS => give(&mut self.answer_timeout, seconds(raw), origin, mistakes),
            Key::SftpChannels => give(&mut self.sftp_channels, channels(raw), origin, mistakes),
            Key::RsyncSingleParams => give(&mut self.single_params, single(raw), origin, mistakes),
            Key::RsyncDictParams => give(&mut self.dict_params, dict(raw), origin, mistakes),
            Key::MaxBackups => {
                let count = count(raw, "0 would keep no snapshot at all", "30");
                give(&mut self.max_backups, count, origin, mistakes);
            }
            Key::KeepLast => give(&mut self.keep[0], periods(raw), origin, mistakes),
            Key::KeepHourly => give(&mut self.keep[1], periods(raw), origin, mistakes),
            Key::KeepDaily => give(&mut self.keep[2], periods(raw), origin, mistakes),
            Key::KeepWeekly => give(&mut self.keep[3], periods(raw), origin, mistakes),
            Key::KeepMonthly => give(&mut self.keep[4], periods(raw), origin, mistakes),
            Key::KeepYearly => give(&mut self.keep[5], periods(raw), origin, mistakes),
            Key::MinimumTimeGuardH => {
                give(&mut self.minimum_time_guard, hours(raw), origin, mistakes);
            }
            Key::LogFile => give(&mut self.log_file, path(raw), origin, mistakes),
            Key::LogFormat => give(&mut self.log_format, format(raw), origin, mistakes),
            Key::MaxShrinkPercent => {
                give(&mut self.max_shrink_percent, percent(raw), origin, mistakes);
            }
            Key::Trust => give(&mut self.trust_ctime, trust(raw), origin, mistakes),
            Key::MaxAgeH => give(&mut self.max_age, hours(raw), origin, mistakes),
            Key::FailuresBeforeAlert => {
                let count = count(raw, "0 failures are no reason for an alert", "3");
                give(&mut self.failures_before_alert, count, origin, mistakes);
            }
            key => self.around.set(key, raw, origin, mistakes),
        }
    }
}

fn sources(raw: &Raw) -> Checked<Vec<PathBuf>> {
    let items = match raw {
        Raw::List(items) => items.iter().map(|item| item.as_bytes().to_vec()).collect(),
        raw => list::split(bytes(raw)?),
    };
    let home: Vec<String> = items
        .iter()
        .filter(|item| item.starts_with(b"~"))
        .map(|item| {
            format!(
                "{}: only a shell knows '~'; write the full path (or ./~ for that name)",
                shown(item)
            )
        })
        .collect();
    if home.is_empty() {
        Ok(items.into_iter().map(|item| OsString::from_vec(item).into()).collect())
    } else {
        Err(home)
    }
}

fn path(raw: &Raw) -> Checked<PathBuf> {
    let bytes = bytes(raw)?;
    if bytes.contains(&0) {
        return wrong("it contains a NUL byte; write a path");
    }
    Ok(PathBuf::from(OsString::from_vec(bytes.to_vec())))
}

fn folder(raw: &Raw) -> Checked<PathBuf> {
    let path = path(raw)?;
    if path.as_os_str().is_empty() {
        return wrong("it is empty; write the path of a folder");
    }
    Ok(path)
}

/// Reads permission bits; the owner keeps all of them, and not everybody may write.
fn mode(raw: &Raw) -> Checked<u32> {
    const EXAMPLE: &str = "write for example 0700, 0750 or 0755";
    let text = text(raw)?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if text.len() <= 4 && !text.starts_with('+') => match mode {
            0o1000.. => wrong(format!("'{text}' is more than permissions; {EXAMPLE}")),
            mode if mode & 0o700 != 0o700 => {
                wrong(format!("'{text}' would lock the owner out; {EXAMPLE}"))
            }
            mode if mode & 0o002 != 0 => {
                wrong(format!("'{text}' would let everybody change the backups; {EXAMPLE}"))
            }
            mode => Ok(mode),
        },
        _ => wrong(format!("'{text}' is no mode of octal digits; {EXAMPLE}")),
    }
}

fn prefix(raw: &Raw) -> Checked<Prefix> {
    // White space belongs to the name, unless a variable brought it in at the end of its line.
    let text = std::str::from_utf8(bytes(raw)?)
        .map_err(|error| vec![format!("it is not valid UTF-8 ({error}); write it anew")])?;
    Prefix::new(text).map_err(|error| {
        vec![format!("'{text}' cannot begin a folder's name: {error}; write a short name, for example my_backup")]
    })
}

fn single(raw: &Raw) -> Checked<Vec<Param>> {
    let args = match raw {
        Raw::List(items) => items.iter().map(|item| item.as_bytes().to_vec()).collect(),
        raw => list::split(bytes(raw)?),
    };
    rsync::read_args(&args)
}

fn dict(raw: &Raw) -> Checked<Vec<Param>> {
    const EXAMPLE: &str = r#"write a JSON object, for example {"--exclude": "*.tmp"}"#;
    if let Raw::Table(table) = raw {
        return rsync::read_dict(table);
    }
    let text = text(raw)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    match Dict::read(&text) {
        Ok(dict) => rsync::read_dict(&dict),
        Err(error) if error.is_data() => wrong(format!("it is JSON, but no object; {EXAMPLE}")),
        Err(error) => wrong(format!("it is not valid JSON ({error}); {EXAMPLE}")),
    }
}

/// Reads a whole number from 1; `zero` says why it is not 0.
fn count(raw: &Raw, zero: &str, example: &str) -> Checked<NonZeroUsize> {
    let text = text(raw)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<usize>() {
        Ok(count) if digits => {
            NonZeroUsize::new(count).ok_or_else(|| vec![format!("{zero}; write 1 or more")])
        }
        Err(_) if digits => wrong(format!("'{text}' is too large; write a smaller whole number")),
        _ => wrong(format!("'{text}' is not a whole number from 1; write for example {example}")),
    }
}

fn periods(raw: &Raw) -> Checked<u32> {
    let text = text(raw)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(count) if digits => Ok(count),
        Err(_) if digits => wrong(format!("'{text}' is too large; write a smaller whole number")),
        _ => wrong(format!("'{text}' is not a whole number; write for example 7, or 0 for none")),
    }
}

fn hours(raw: &Raw) -> Checked<TimeDelta> {
    let hours = decimal(raw, "20 or 0.5")?;
    if !(0.0..=MAX_HOURS).contains(&hours) {
        return wrong(format!("{hours} hours is out of range; write 0 to {MAX_HOURS}"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked above")]
    let milliseconds = (hours * 3_600_000.0).round() as i64;
    Ok(TimeDelta::milliseconds(milliseconds))
}

fn seconds(raw: &Raw) -> Checked<Duration> {
    let seconds = decimal(raw, "60")?;
    if (1.0..=MAX_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        wrong(format!("{seconds} seconds is out of range; write 1 to {MAX_SECONDS}"))
    }
}

fn channels(raw: &Raw) -> Checked<NonZeroUsize> {
    match count(raw, "a connection without a channel carries nothing", "1")? {
        many if many.get() > MAX_CHANNELS => {
            wrong(format!("{many} channels are too many; write 1 to {MAX_CHANNELS}"))
        }
        channels => Ok(channels),
    }
}

fn percent(raw: &Raw) -> Checked<f64> {
    let percent = decimal(raw, "90")?;
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        wrong(format!("{percent} is out of range; write 0 to 100"))
    }
}

/// Whether change times count.
fn trust(raw: &Raw) -> Checked<bool> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "ctime" => Ok(true),
        "mtime" => Ok(false),
        other => wrong(format!("'{other}' is no time to trust; write ctime or mtime")),
    }
}

fn format(raw: &Raw) -> Checked<Format> {
    let text = text(raw)?;
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => wrong(format!("'{text}' is no log format; write text or json")),
    }
}

/// What the first layer that gives it gives.
pub(crate) fn first<'a, T>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Layer) -> Option<&'a Given<T>>,
) -> Option<&'a Given<T>> {
    layers.iter().find_map(|layer| field(layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with `value` for `key`.
    fn wrong_with(key: Key, value: &str) -> String {
        let (mut layer, mut mistakes) = (Layer::default(), Vec::new());
        layer.set(key, &Raw::Text(value.into()), Origin::variable("V"), &mut mistakes);
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_defaults_hold_no_mistake() {
        let mut mistakes = Vec::new();
        Layer::defaults(&mut mistakes);
        assert_eq!(mistakes, []);
    }

    #[test]
    fn good_values_are_taken() {
        for (key, values) in [
            (Key::MaxBackups, &["1", "30", " 7 ", "007"][..]),
            (Key::KeepLast, &["0", "7", " 365"]),
            (Key::MinimumTimeGuardH, &["0", "0.5", "20", " 1e2\n", "0.0"]),
            (Key::MaxShrinkPercent, &["0", "100", "99.5"]),
            (Key::AnswerTimeoutS, &["1", "2.5", " 3600 "]),
            (Key::SftpChannels, &["1", " 16 "]),
            (Key::LogFormat, &["text", "JSON"]),
            (Key::BackupsMode, &["0700", "755", " 0750\n", "770"]),
            (Key::Trust, &["ctime", " mtime"]),
            (Key::LogFile, &["", "/x"]),
            (Key::BackupNamePrefix, &["my_backup", "a b", "ä.b"]),
            (Key::RsyncDictParams, &["", "{}", r#"{"-H":""}"#]),
            (Key::RsyncSingleParams, &["", "-a, -x"]),
        ] {
            for value in values {
                assert_eq!(wrong_with(key, value), "", "{key:?} {value:?}");
            }
        }
    }

    #[test]
    fn bad_values_are_named_with_what_to_write() {
        for (key, value, expected) in [
            (Key::MaxBackups, "0", "write 1 or more"),
            (Key::MaxBackups, "-1", "not a whole number"),
            (Key::MaxBackups, "+1", "not a whole number"),
            (Key::MaxBackups, "1.0", "not a whole number"),
            (Key::MaxBackups, "", "not a whole number"),
            (Key::MaxBackups, "many", "V: 'many' is not"),
            (Key::MaxBackups, "99999999999999999999999", "too large"),
            (Key::KeepDaily, "-1", "not a whole number"),
            (Key::KeepDaily, "4294967296", "too large"),
            (Key::KeepYearly, "all", "write for example 7"),
            (Key::MinimumTimeGuardH, "-1", "out of range"),
            (Key::MinimumTimeGuardH, "nan", "not a number"),
            (Key::MinimumTimeGuardH, "inf", "not a number"),
            (Key::MinimumTimeGuardH, "0,5", "write a dot"),
            (Key::MinimumTimeGuardH, "1e300", "out of range"),
            (Key::FailuresBeforeAlert, "0", "write 1 or more"),
            (Key::FailuresBeforeAlert, "x", "for example 3"),
            (Key::MaxAgeH, "-1", "out of range"),
            (Key::MaxShrinkPercent, "100.1", "write 0 to 100"),
            (Key::MaxShrinkPercent, "-0.1", "write 0 to 100"),
            (Key::MaxShrinkPercent, "90%", "not a number"),
            (Key::SftpChannels, "0", "write 1 or more"),
            (Key::SftpChannels, "17", "write 1 to 16"),
            (Key::SftpChannels, "auto", "write for example 1"),
            (Key::AnswerTimeoutS, "0.9", "write 1 to 3600"),
            (Key::AnswerTimeoutS, "3601", "write 1 to 3600"),
            (Key::AnswerTimeoutS, "60s", "not a number"),
            (Key::AnswerTimeoutS, "", "not a number"),
            (Key::LogFormat, "xml", "write text or json"),
            (Key::Trust, "atime", "write ctime or mtime"),
            (Key::BackupsDir, "", "it is empty"),
            (Key::BackupsMode, "0600", "lock the owner out"),
            (Key::BackupsMode, "0777", "let everybody change"),
            (Key::BackupsMode, "2755", "more than permissions"),
            (Key::BackupsMode, "0o755", "no mode of octal"),
            (Key::BackupsMode, "488", "no mode of octal"),
            (Key::BackupsMode, "", "no mode of octal"),
            (Key::BackupNamePrefix, "a/b", "contains a '/'"),
            (Key::BackupNamePrefix, "-x", "starts with"),
            (Key::BackupNamePrefix, "a\nb", "control character"),
            (Key::RsyncDictParams, "[]", "no object"),
            (Key::RsyncDictParams, "{", "not valid JSON"),
            (Key::SrcsToBackup, "~/docs", "only a shell"),
        ] {
            let wrong = wrong_with(key, value);
            assert!(wrong.contains(expected), "{key:?} {value:?}: {wrong:?}");
            assert!(!wrong.contains('\n'), "{wrong:?}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_a_mistake_except_in_paths() {
        let raw = Raw::Text(OsString::from_vec(b"/a\xff".to_vec()));
        for (key, mistakes_expected) in [
            (Key::SrcsToBackup, 0),
            (Key::BackupsDir, 0),
            (Key::LogFile, 0),
            (Key::MaxBackups, 1),
            (Key::BackupNamePrefix, 1),
        ] {
            let mut mistakes = Vec::new();
            Layer::default().set(key, &raw, Origin::variable("V"), &mut mistakes);
            assert_eq!(mistakes.len(), mistakes_expected, "{key:?} {mistakes:?}");
        }
    }
}
