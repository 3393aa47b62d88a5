//! Checks the settings for the sources, the destination and the retention.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use engine::Prefix;
use engine::entry::escape::shown;
use engine::snapshot::ChangeBrake;
use transport::remote::RemoteHelper;

use crate::config::checks::list;
use crate::config::checks::value::{Checked, Raw, bytes, decimal, text, wrong};
use crate::config::names::nearest;
use crate::config::rsync;
use crate::config::rsync::Param;
use crate::config::rsync::object::Dict;
use crate::config::rsync::size::{self, Unit};
use crate::config::values::log_format::Format;

/// Maximum guard in hours: 100 years.
const MAX_HOURS: f64 = 876_600.0;

/// Maximum wait for an answer in seconds: a connection that is silent for an hour is dead.
const MAX_SECONDS: f64 = 3600.0;

/// Maximum number of channels. sshd allows 10 unless its `MaxSessions` sets another number.
const MAX_CHANNELS: usize = 16;

pub(crate) fn sources(raw: &Raw) -> Checked<Vec<PathBuf>> {
    let items = match raw {
        Raw::List(items) => items.iter().map(|item| item.as_bytes().to_vec()).collect(),
        raw => list::split(bytes(raw)?),
    };
    let home: Vec<String> = items
        .iter()
        .filter(|item| item.starts_with(b"~"))
        .map(|item| {
            format!(
                "{}: only a shell knows '~'; write the full path, of a remote host the one that pwd shows there (here ./~ is a folder of that name)",
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

pub(crate) fn path(raw: &Raw) -> Checked<PathBuf> {
    let bytes = bytes(raw)?;
    if bytes.contains(&0) {
        return wrong("it contains a NUL byte; write a path");
    }
    Ok(PathBuf::from(OsString::from_vec(bytes.to_vec())))
}

pub(crate) fn log_file(raw: &Raw) -> Checked<PathBuf> {
    let path = path(raw)?;
    if path.as_os_str().as_encoded_bytes().starts_with(b"~") {
        return wrong("only a shell knows '~'; write the full path (or ./~ for that name)");
    }
    Ok(path)
}

pub(crate) fn folder(raw: &Raw) -> Checked<PathBuf> {
    let path = path(raw)?;
    if path.as_os_str().is_empty() {
        return wrong("it is empty; write the path of a folder");
    }
    Ok(path)
}

/// Reads permission bits. The owner must keep all of them, and the write bit for all users must not be set.
pub(crate) fn mode(raw: &Raw) -> Checked<u32> {
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
        _ => wrong(format!("'{text}' is not a mode in octal digits; {EXAMPLE}")),
    }
}

pub(crate) fn prefix(raw: &Raw) -> Checked<Prefix> {
    // White space is part of the name, except white space that a variable has at the end of its line.
    let text = std::str::from_utf8(bytes(raw)?)
        .map_err(|error| vec![format!("it is not valid UTF-8 ({error}); write it again")])?;
    Prefix::new(text).map_err(|error| {
        vec![format!("'{text}' cannot begin a folder's name: {error}; write a short name, for example my_backup")]
    })
}

pub(crate) fn rsync_switches(raw: &Raw) -> Checked<Vec<Param>> {
    let args = match raw {
        Raw::List(items) => items.iter().map(|item| item.as_bytes().to_vec()).collect(),
        raw => list::split(bytes(raw)?),
    };
    rsync::read_args(&args)
}

pub(crate) fn rsync_options(raw: &Raw) -> Checked<Vec<Param>> {
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
        Err(error) if error.is_data() => wrong(format!("it is JSON, but not an object; {EXAMPLE}")),
        Err(error) => wrong(format!("it is not valid JSON ({error}); {EXAMPLE}")),
    }
}

pub(crate) fn snapshots(raw: &Raw) -> Checked<NonZeroUsize> {
    count(raw, "0 would keep no snapshot at all", "30")
}

/// Reads a whole number from 1. `zero` is the message for 0.
pub(crate) fn count(raw: &Raw, zero: &str, example: &str) -> Checked<NonZeroUsize> {
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

pub(crate) fn periods(raw: &Raw) -> Checked<u32> {
    let text = text(raw)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(count) if digits => Ok(count),
        Err(_) if digits => wrong(format!("'{text}' is too large; write a smaller whole number")),
        _ => wrong(format!("'{text}' is not a whole number; write for example 7, or 0 for none")),
    }
}

pub(crate) fn hours(raw: &Raw) -> Checked<TimeDelta> {
    let hours = decimal(raw, "20 or 0.5")?;
    if !(0.0..=MAX_HOURS).contains(&hours) {
        return wrong(format!("{hours} hours is out of range; write 0 to {MAX_HOURS}"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked above")]
    let milliseconds = (hours * 3_600_000.0).round() as i64;
    Ok(TimeDelta::milliseconds(milliseconds))
}

pub(crate) fn answer_timeout(raw: &Raw) -> Checked<Duration> {
    let seconds = decimal(raw, "60")?;
    if (1.0..=MAX_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        wrong(format!("{seconds} seconds is out of range; write 1 to {MAX_SECONDS}"))
    }
}

pub(crate) fn channels(raw: &Raw) -> Checked<NonZeroUsize> {
    match count(raw, "a connection without a channel carries nothing", "1")? {
        many if many.get() > MAX_CHANNELS => {
            wrong(format!("{many} channels are too many; write 1 to {MAX_CHANNELS}"))
        }
        channels => Ok(channels),
    }
}

/// `auto`, `install`, `off`, or a command line for the shell of the user on the remote host.
pub(crate) fn remote_helper(raw: &Raw) -> Checked<RemoteHelper> {
    let text = text(raw)?;
    match text.trim() {
        "" => wrong("it is empty; write auto, install, off, or a command".to_owned()),
        "auto" => Ok(RemoteHelper::Auto),
        "install" => Ok(RemoteHelper::Install),
        "off" => Ok(RemoteHelper::Off),
        line if line.contains(['\n', '\r']) => wrong("a command is one line".to_owned()),
        line if line.ends_with(" serve") => wrong(format!(
            "the program appends serve itself; write {}",
            shown(line.trim_end_matches(" serve").as_bytes())
        )),
        line => match misspelt_helper(line) {
            Some(word) => wrong(format!(
                "there is no {}; did you mean {word}? Write the path of a command of that name",
                shown(line.as_bytes())
            )),
            None => Ok(RemoteHelper::Command(line.to_owned())),
        },
    }
}

/// The value of `REMOTE_HELPER` that is no command and of which `line` is nearly the word. A longer word may have more wrong
/// letters. A path is a command.
fn misspelt_helper(line: &str) -> Option<&'static str> {
    let mut words = ["auto", "install", "off"].into_iter();
    let word = words.find(|word| nearest(line, [*word], word.len() / 3).is_some())?;
    (!line.contains(['/', ' ', '\t'])).then_some(word)
}

pub(crate) fn percent(raw: &Raw) -> Checked<f64> {
    let percent = decimal(raw, "90")?;
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        wrong(format!("{percent} is out of range; write 0 to 100"))
    }
}

pub(crate) fn switch(raw: &Raw) -> Checked<bool> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" | "1" => Ok(true),
        "off" | "no" | "false" | "0" => Ok(false),
        other => wrong(format!("'{other}' is not a switch; write on or off")),
    }
}

/// How many signs of a mass change freeze the pruning.
pub(crate) fn change_brake(raw: &Raw) -> Checked<ChangeBrake> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "on" => Ok(ChangeBrake::On),
        "strict" => Ok(ChangeBrake::Strict),
        "off" => Ok(ChangeBrake::Off),
        other => wrong(format!("'{other}' is not known; write on, strict or off")),
    }
}

/// The smallest file that a run looks for under another path, bytes; `None` for `off`.
pub(crate) fn rename_detection(raw: &Raw) -> Checked<Option<u64>> {
    let text = text(raw)?;
    match text.trim() {
        "off" => Ok(None),
        size => match size::read(size, Unit::Byte) {
            // An empty file has no content that could be saved.
            Ok(bytes) => Ok(Some(bytes.max(1))),
            Err(mistake) => wrong(format!("{mistake}, or off")),
        },
    }
}

/// Whether change times are compared.
pub(crate) fn trusts_ctime(raw: &Raw) -> Checked<bool> {
    match text(raw)?.to_ascii_lowercase().as_str() {
        "ctime" => Ok(true),
        "mtime" => Ok(false),
        other => wrong(format!("'{other}' is not a time to trust; write ctime or mtime")),
    }
}

pub(crate) fn format(raw: &Raw) -> Checked<Format> {
    let text = text(raw)?;
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => wrong(format!("'{text}' is not a log format; write text or json")),
    }
}
