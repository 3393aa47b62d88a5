//! A checked value of one layer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use engine::entry::escape::shown;

use crate::config::mistake::{Mistake, SettingOrigin};
use crate::config::rsync::object::Dict;

/// A value as it was written.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    /// A flag, a variable, a TOML string.
    Text(OsString),
    /// A TOML list of strings.
    List(Vec<String>),
    /// A TOML table.
    Table(Dict),
}

/// A given value. `None` if it was a mistake, which is already reported.
#[derive(Debug, Clone)]
pub(crate) struct GivenValue<T> {
    pub(crate) value: Option<T>,
    pub(crate) origin: SettingOrigin,
}

/// A checked value, or what is wrong with it, one line each.
pub(crate) type Checked<T> = Result<T, Vec<String>>;

pub(crate) fn give<T>(
    slot: &mut Option<GivenValue<T>>,
    checked: Checked<T>,
    origin: SettingOrigin,
    mistakes: &mut Vec<Mistake>,
) {
    let value = match checked {
        Ok(value) => Some(value),
        Err(wrong) => {
            mistakes.extend(wrong.iter().map(|what| origin.mistake(what)));
            None
        }
    };
    *slot = Some(GivenValue { value, origin });
}

pub(crate) fn wrong<T>(what: impl Into<String>) -> Checked<T> {
    Err(vec![what.into()])
}

pub(crate) fn bytes(raw: &Raw) -> Checked<&[u8]> {
    match raw {
        Raw::Text(text) => Ok(text.as_bytes()),
        Raw::List(_) => wrong("it is a list; write one value"),
        Raw::Table(_) => wrong("it is a table; write one value"),
    }
}

pub(crate) fn text(raw: &Raw) -> Checked<String> {
    let bytes = bytes(raw)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => wrong(format!("'{}' is not valid UTF-8; write it again", shown(bytes))),
    }
}

/// Reads a decimal number; rejects NaN and infinity.
pub(crate) fn decimal(raw: &Raw, example: &str) -> Checked<f64> {
    let text = text(raw)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ if text.contains(',') => {
            wrong(format!("'{text}' is not a number; write a dot for the decimals"))
        }
        _ => wrong(format!("'{text}' is not a number; write for example {example}")),
    }
}
