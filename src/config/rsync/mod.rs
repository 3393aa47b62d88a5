//! Parses rsync options into the options of a job.

pub(crate) mod docs_page;
pub(crate) mod ids;
pub(crate) mod object;
pub(crate) mod parsed;
pub(crate) mod preserve_options;
pub(crate) mod rate;
pub(crate) mod remote_program;
pub(crate) mod row;
pub(crate) mod selection_options;
pub(crate) mod shell;
pub(crate) mod size;
#[cfg(test)]
mod tests;
pub(crate) mod transfer_options;

use engine::entry::escape::shown;
use serde_json::Value;

use crate::config::names::meant;
use crate::config::rsync::object::Dict;
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::rsync::row::{Handling, OptionRow, OptionSide};

/// One known option that was given.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    row: &'static OptionRow,
    on: bool,
    value: Option<Vec<u8>>,
    /// The option as it was written, for messages.
    text: String,
}

/// Why options are refused; one line each.
pub(crate) type Refusals = Vec<String>;

/// All rows of the table, in display order.
pub(crate) fn rows() -> impl Iterator<Item = &'static OptionRow> {
    [
        crate::config::rsync::preserve_options::ROWS,
        crate::config::rsync::selection_options::ROWS,
        crate::config::rsync::transfer_options::ROWS,
        crate::config::rsync::selection_options::OURS,
    ]
    .into_iter()
    .flatten()
}

/// Applies the options in order, on top of rsync's `--archive`. Each option comes with its origin.
///
/// # Errors
/// If two options contradict each other.
pub(crate) fn wanted<'a>(
    params: impl IntoIterator<Item = (&'a Param, &'a str)>,
) -> Result<RsyncOptions, Refusals> {
    let mut wanted = RsyncOptions::default();
    let mut apply = |(param, place): (&Param, &str)| {
        place.clone_into(&mut wanted.place);
        param.apply(&mut wanted).err()
    };
    let wrong: Refusals = params.into_iter().filter_map(&mut apply).collect();
    if wrong.is_empty() { Ok(wanted) } else { Err(wrong) }
}

/// The options that have no effect, each with the reason.
pub(crate) fn without_effect<'a>(
    params: impl IntoIterator<Item = &'a Param>,
    remote: bool,
) -> Vec<String> {
    with_reason(params, |param| match (param.row.handling, param.row.side) {
        (Handling::NoEffect, _) => Some(param.row.about),
        (Handling::Refused, _) => Some("it is not so anyway"),
        (_, OptionSide::Remote(reason)) if !remote && param.on => Some(reason),
        _ => None,
    })
}

/// The options that have an effect for local sources and none over SFTP, each with the reason.
pub(crate) fn only_local<'a>(params: impl IntoIterator<Item = &'a Param>) -> Vec<String> {
    with_reason(params, |param| match (param.row.handling, param.row.side) {
        (Handling::NoEffect | Handling::Refused, _) => None,
        (_, OptionSide::Local(reason)) if param.on => Some(reason),
        _ => None,
    })
}

fn with_reason<'a>(
    params: impl IntoIterator<Item = &'a Param>,
    reason: impl Fn(&Param) -> Option<&'static str>,
) -> Vec<String> {
    let reasoned = |param: &Param| Some(format!("{} ({})", param.text, reason(param)?));
    params.into_iter().filter_map(reasoned).collect()
}

/// Parses options from a command line.
pub(crate) fn read_args(args: &[Vec<u8>]) -> Result<Vec<Param>, Refusals> {
    let mut params = Vec::new();
    let mut refusals = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        // The value may be in the next argument.
        let mut next = || rest.next().cloned();
        let read = match &arg[..] {
            [b'-', b'-', long @ ..] if !long.is_empty() => {
                long_argument(long, &mut next).map(|param| vec![param])
            }
            [b'-', cluster @ ..] if !cluster.is_empty() && cluster[0] != b'-' => {
                short_options(cluster, &mut next)
            }
            [] => Err("there is an empty option; remove the extra comma".to_owned()),
            other => Err(format!("'{}' is not an option; options begin with '-'", shown(other))),
        };
        match read {
            Ok(read) => params.extend(read),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(params) } else { Err(refusals) }
}

/// Parses options from names and values. A list as a value repeats the option.
pub(crate) fn read_dict(dict: &Dict) -> Result<Vec<Param>, Refusals> {
    let mut params = Vec::new();
    let mut refusals = Vec::new();
    for (name, value) in &dict.0 {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            match dict_option(name, value) {
                Ok(read) => params.extend(read),
                Err(refusal) => refusals.push(refusal),
            }
        }
    }
    if refusals.is_empty() { Ok(params) } else { Err(refusals) }
}

fn dict_option(name: &str, value: &Value) -> Result<Vec<Param>, String> {
    let value = match value {
        Value::Null | Value::Bool(true) => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Number(number) => {
            return Err(format!(
                "the value of '{name}' is a number; write it in quotes: \"{number}\""
            ));
        }
        Value::Bool(false) => {
            return Err(format!(
                "the value of '{name}' is false; remove it, or write its --no- form"
            ));
        }
        _ => return Err(format!("the value of '{name}' is neither a text nor a list of texts")),
    };
    if let Some(long) = name.strip_prefix("--").filter(|long| !long.is_empty()) {
        let (row, on) = long_option(long)?;
        return param(row, on, value, name).map(|param| vec![param]);
    }
    match name.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
        Some(cluster) => {
            let given = value.is_some();
            let mut value = value;
            let params = short_options(cluster.as_bytes(), &mut || value.take())?;
            let used = params.iter().any(|param| param.value.is_some());
            if given && !used { Err(format!("'{name}' takes no value")) } else { Ok(params) }
        }
        None => Err(format!("'{name}' is not an option; write it as '--name' or '-n'")),
    }
}

/// Parses `--name`, `--name=value`, or `--name` with its value in `next`.
fn long_argument(long: &[u8], next: &mut dyn FnMut() -> Option<Vec<u8>>) -> Result<Param, String> {
    let equals = long.iter().position(|byte| *byte == b'=');
    let (name, value) = match equals {
        Some(at) => (&long[..at], Some(long[at + 1..].to_vec())),
        None => (long, None),
    };
    let text = format!("--{}", shown(long));
    let name = std::str::from_utf8(name).map_err(|_| format!("rsync has no option '{text}'"))?;
    let (row, on) = long_option(name)?;
    let value = if row.value.is_some() && on { value.or_else(next) } else { value };
    let text = if row.value.is_some() { format!("--{name}") } else { text };
    param(row, on, value, &text)
}

/// The row of `--name`, and whether the option is switched on.
pub(crate) fn long_option(name: &str) -> Result<(&'static OptionRow, bool), String> {
    if let Some(row) = rows().find(|row| row.is_called(name)) {
        return Ok((row, true));
    }
    let negated = name.strip_prefix("no-").and_then(|name| {
        let mut letters = name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        let is_letter = |row: &OptionRow| letter.is_some() && row.short == letter;
        rows().find(|row| row.negatable && (row.is_called(name) || is_letter(row)))
    });
    if let Some(row) = negated {
        return Ok((row, false));
    }
    if let Some((option, value)) = name.split_once(char::is_whitespace)
        && rows().any(|row| row.is_called(option))
    {
        return Err(format!(
            "'--{name}' has a space in it; write '--{option}={}', or two items separated by a comma",
            value.trim()
        ));
    }
    Err(match meant(name, known_names().iter().map(String::as_str)) {
        Some(near) => format!("rsync has no option '--{name}'; did you mean '--{near}'?"),
        None => format!("rsync has no option '--{name}'; remove it"),
    })
}

fn known_names() -> Vec<String> {
    let negated = rows().filter(|row| row.negatable).flat_map(OptionRow::names);
    let long = rows().flat_map(OptionRow::names).map(str::to_owned);
    long.chain(negated.map(|name| format!("no-{name}"))).collect()
}

pub(crate) fn short_option(letter: char) -> Result<&'static OptionRow, String> {
    rows().find(|row| row.short == Some(letter)).ok_or_else(|| match letter {
        letter if letter.is_whitespace() => {
            "options are separated by commas, not by spaces".to_owned()
        }
        letter => format!("rsync has no option '-{letter}'; remove it"),
    })
}

/// Parses `-aHX`. The first letter that takes a value takes the rest of the cluster, or `next`.
fn short_options(
    cluster: &[u8],
    next: &mut dyn FnMut() -> Option<Vec<u8>>,
) -> Result<Vec<Param>, String> {
    let mut params = Vec::new();
    for (at, byte) in cluster.iter().enumerate() {
        let letter = char::from(*byte);
        let row = short_option(letter).map_err(|error| {
            if byte.is_ascii() { error } else { format!("'-{}': {error}", shown(cluster)) }
        })?;
        let text = format!("-{letter}");
        if row.value.is_some() {
            let rest = &cluster[at + 1..];
            // popt also accepts `-e=ssh`.
            let rest = rest.strip_prefix(b"=").unwrap_or(rest);
            let value = if rest.is_empty() { next() } else { Some(rest.to_vec()) };
            params.push(param(row, true, value, &text)?);
            break;
        }
        params.push(param(row, true, None, &text)?);
    }
    Ok(params)
}

/// Checks one option against its row, and checks its value alone.
pub(crate) fn param(
    row: &'static OptionRow,
    on: bool,
    value: Option<Vec<u8>>,
    text: &str,
) -> Result<Param, String> {
    match (row.handling, on) {
        (Handling::Refused, true) => return Err(format!("'{text}': {}", row.about)),
        (Handling::Always, false) => {
            return Err(format!("'{text}' is not possible: {}; remove it", row.about));
        }
        _ => {}
    }
    let takes = row.value.is_some() && on;
    match &value {
        Some(_) if !takes => return Err(format!("'{text}' takes no value")),
        None if takes => {
            return Err(format!(
                "'{text}' needs a value; write {text}={}",
                row.value.unwrap_or("...")
            ));
        }
        _ => {}
    }
    let param = Param { row, on, value, text: text.to_owned() };
    param.apply(&mut RsyncOptions::default())?;
    Ok(param)
}

impl Param {
    fn apply(&self, wanted: &mut RsyncOptions) -> Result<(), String> {
        let value = self.value.as_deref();
        let taken = match self.row.handling {
            Handling::Switch(set) => {
                set(wanted, self.on);
                Ok(())
            }
            Handling::Value(set) => set(wanted, value.unwrap_or_default()),
            Handling::Setting(set) => set(wanted, value),
            Handling::Always | Handling::NoEffect | Handling::Refused => {
                // Recursion is always on, but `-r` decides what `--files-from` means.
                wanted.recursive |= self.row.short == Some('r');
                Ok(())
            }
        };
        taken.map_err(|wrong| format!("'{}': {wrong}", self.text))
    }
}
