//! Reads rsync options into what a job keeps and how it is laid out.

use engine::bytes::shown;
use engine::job::Keep;
use serde_json::{Map, Value};

use super::rsync_table::{Handling, ROWS, Row, Switches};
use super::setting::nearest;

/// One option that was given and is known.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    row: &'static Row,
    on: bool,
    /// As it was written, for messages.
    text: String,
}

/// Why an option cannot be taken; one line each.
pub(crate) type Refusals = Vec<String>;

/// What the options come to, one after the other, on top of the archive base.
pub(crate) fn switches<'a>(params: impl IntoIterator<Item = &'a Param>) -> Switches {
    let keep = Keep { hard_links: false, one_file_system: false, ..Keep::default() };
    let mut switches = Switches { keep, relative: false };
    for param in params {
        if let Handling::Does(set) = param.row.handling {
            set(&mut switches, param.on);
        }
    }
    switches
}

/// The options that change nothing, each with the reason.
pub(crate) fn without_effect<'a>(params: impl IntoIterator<Item = &'a Param>) -> Vec<String> {
    params
        .into_iter()
        .filter_map(|param| match param.row.handling {
            Handling::NoEffect(reason) => Some(format!("{} ({reason})", param.text)),
            _ => None,
        })
        .collect()
}

/// Reads options as they stand on a command line.
pub(crate) fn read_args(args: &[Vec<u8>]) -> Result<Vec<Param>, Refusals> {
    let mut params = Vec::new();
    let mut refusals = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let text = String::from_utf8_lossy(arg);
        let read = if let Some(long) = text.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            // A value may stand in the next argument.
            let mut next = || rest.next().map(|value| shown(value));
            long_option(name).and_then(|(row, on)| {
                let value = if row.value { value.or_else(&mut next) } else { value };
                param(row, on, value, &shown(arg)).map(|param| vec![param])
            })
        } else if let Some(cluster) = text.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
            short_options(cluster, || rest.next().map(|value| shown(value)))
        } else if arg.is_empty() {
            Err("there is an empty option; remove the extra comma".to_owned())
        } else {
            Err(format!("'{}' is not an option; options begin with '-'", shown(arg)))
        };
        match read {
            Ok(read) => params.extend(read),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(params) } else { Err(refusals) }
}

/// Reads options from an object of names and values; a list as value repeats the option.
pub(crate) fn read_dict(dict: &Map<String, Value>) -> Result<Vec<Param>, Refusals> {
    let mut params = Vec::new();
    let mut refusals = Vec::new();
    for (name, value) in dict {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            match dict_option(name, value) {
                Ok(param) => params.push(param),
                Err(refusal) => refusals.push(refusal),
            }
        }
    }
    if refusals.is_empty() { Ok(params) } else { Err(refusals) }
}

fn dict_option(name: &str, value: &Value) -> Result<Param, String> {
    let value = match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => return Err(format!("the value of '{name}' is neither a text nor a number")),
    };
    let mut letters = name.strip_prefix('-').unwrap_or_default().chars();
    let (row, on) = match (name.strip_prefix("--"), letters.next(), letters.next()) {
        (Some(long), ..) => long_option(long)?,
        (None, Some(letter), None) => (short_option(letter)?, true),
        _ => return Err(format!("'{name}' is not an option; write it as '--name' or '-n'")),
    };
    param(row, on, value, name)
}

/// The row of `--name`, and whether it is switched on.
fn long_option(name: &str) -> Result<(&'static Row, bool), String> {
    if let Some(row) = ROWS.iter().find(|row| row.long == name && name.len() > 1) {
        return Ok((row, true));
    }
    let negated = name.strip_prefix("no-").and_then(|name| {
        let mut letters = name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        ROWS.iter().find(|row| {
            row.negatable && (row.long == name || (letter.is_some() && row.short == letter))
        })
    });
    match negated {
        Some(row) => Ok((row, false)),
        None => Err(match nearest(name, known_names().iter().map(String::as_str)) {
            Some((near, distance)) if distance <= 3 && distance < name.len() => {
                format!("rsync has no option '--{name}'; did you mean '--{near}'?")
            }
            _ => format!("rsync has no option '--{name}'; remove it"),
        }),
    }
}

fn known_names() -> Vec<String> {
    let long = ROWS.iter().filter(|row| row.long.len() > 1);
    let negated = ROWS.iter().filter(|row| row.negatable).map(|row| format!("no-{}", row.long));
    long.map(|row| row.long.to_owned()).chain(negated).collect()
}

fn short_option(letter: char) -> Result<&'static Row, String> {
    ROWS.iter().find(|row| row.short == Some(letter)).ok_or_else(|| match letter {
        letter if letter.is_whitespace() => {
            "options are separated by commas, not by spaces".to_owned()
        }
        letter => format!("rsync has no option '-{letter}'; remove it"),
    })
}

/// Reads `-aHX`; the first letter that takes a value takes the rest of the cluster or what is `next`.
fn short_options(
    cluster: &str,
    next: impl FnOnce() -> Option<String>,
) -> Result<Vec<Param>, String> {
    let mut params = Vec::new();
    for (at, letter) in cluster.char_indices() {
        let row = short_option(letter)?;
        let text = format!("-{letter}");
        if row.value {
            let rest = &cluster[at + letter.len_utf8()..];
            let value = if rest.is_empty() { next() } else { Some(rest.to_owned()) };
            params.push(param(row, true, value, &text)?);
            break;
        }
        params.push(param(row, true, None, &text)?);
    }
    Ok(params)
}

/// Checks one option against its row.
fn param(row: &'static Row, on: bool, value: Option<String>, text: &str) -> Result<Param, String> {
    match (row.handling, on) {
        (Handling::Unsupported(reason), _) => return Err(format!("'{text}': {reason}")),
        (Handling::Always(reason), false) => {
            return Err(format!("'{text}' is not possible: {reason}; remove it"));
        }
        _ => {}
    }
    match value {
        Some(_) if !row.value => Err(format!("'{text}' takes no value")),
        None if row.value => Err(format!("'{text}' needs a value")),
        _ => Ok(Param { row, on, text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Switches, Refusals> {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        read_args(&args).map(|params| switches(&params))
    }

    /// The archive base with nothing added.
    fn base() -> Switches {
        switches(&[])
    }

    #[test]
    fn the_default_switches_are_the_engines_defaults() {
        let defaults = super::super::setting::get(super::super::setting::Key::RsyncSingleParams);
        let args: Vec<&str> = defaults.default.unwrap().split(',').collect();
        assert_eq!(read(&args).unwrap(), Switches { keep: Keep::default(), relative: true });
    }

    #[test]
    fn each_option_does_what_it_says() {
        type Set = fn(&mut Switches);
        let cases: &[(&[&str], Set)] = &[
            (&[], |_| {}),
            (&["-a"], |_| {}),
            (&["-rlptgoD"], |_| {}),
            (&["-H"], |s| s.keep.hard_links = true),
            (&["--hard-links", "--no-H"], |_| {}),
            (&["-x"], |s| s.keep.one_file_system = true),
            (&["-aHAX"], |s| {
                s.keep.hard_links = true;
                s.keep.acls = true;
                s.keep.xattrs = true;
            }),
            (&["--relative"], |s| s.relative = true),
            (&["-R", "--no-relative"], |_| {}),
            (&["-R", "--no-R"], |_| {}),
            (&["--no-perms"], |s| s.keep.mode = false),
            (&["--no-p", "-a"], |_| {}),
            (&["--no-o", "--no-g"], |s| {
                s.keep.owner = false;
                s.keep.group = false;
            }),
            (&["--no-D"], |s| {
                s.keep.devices = false;
                s.keep.specials = false;
            }),
            (&["--no-D", "--specials"], |s| s.keep.devices = false),
            (&["--no-times"], |s| s.keep.times = false),
            (&["--no-links"], |s| s.keep.symlinks = false),
            (&["-c"], |s| s.keep.checksum = true),
            (&["-zvhW", "-S", "--no-compress", "--progress", "--partial"], |_| {}),
            (&["--delete", "--delete-excluded", "--numeric-ids"], |_| {}),
        ];
        for (args, set) in cases {
            let mut expected = base();
            set(&mut expected);
            assert_eq!(read(args), Ok(expected), "{args:?}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (args, refusals) in [
            (&["--exclud=x"][..], &["did you mean '--exclude'?"][..]),
            (&["--no-recursive"], &["'--no-recursive' is not possible"]),
            (&["--no-delete"], &["rsync has no option '--no-delete'"]),
            (&["--frobnicate", "-j"], &["'--frobnicate'; remove it", "'-j'; remove it"]),
            (&["--exclude", "*.tmp", "-x"], &["'--exclude': it is not supported yet"]),
            (&["-e", "ssh"], &["'-e': it is not supported yet"]),
            (&["-essh"], &["'-e': it is not supported yet"]),
            (&["-aj"], &["'-j'"]),
            (&["relative"], &["'relative' is not an option"]),
            (&[""], &["empty option"]),
            (&["-"], &["'-' is not an option"]),
            (&["--delete=yes"], &["'--delete=yes' takes no value"]),
            (&["-n"], &["use 'run --dry-run'"]),
            (&["--no-relativ"], &["did you mean '--no-relative'?"]),
            (&["--x"], &["rsync has no option '--x'"]),
        ] {
            let found = read(args).unwrap_err();
            assert_eq!(found.len(), refusals.len(), "{found:?}");
            for (found, expected) in found.iter().zip(refusals) {
                assert!(found.contains(expected), "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn a_dict_gives_options_with_values() {
        let read = |json: &str| match serde_json::from_str(json).unwrap() {
            Value::Object(dict) => read_dict(&dict).map(|params| switches(&params)),
            _ => panic!("{json}"),
        };
        let mut expected = base();
        expected.keep.hard_links = true;
        assert_eq!(read(r#"{"-H": "", "--delete": null}"#), Ok(expected));
        assert!(read(r#"{"--exclude": ["a", "b"]}"#).is_err_and(|refusals| refusals.len() == 2));
        assert!(read(r#"{"-H": "x"}"#).unwrap_err()[0].contains("takes no value"));
        assert!(read(r#"{"H": ""}"#).unwrap_err()[0].contains("is not an option"));
        assert!(read(r#"{"-H": {}}"#).unwrap_err()[0].contains("neither"));
    }

    #[test]
    fn options_without_effect_are_told_with_the_reason() {
        let params = read_args(&[b"-xz".to_vec(), b"--no-W".to_vec()]).unwrap();
        let told = without_effect(&params);
        assert!(told[0].starts_with("-z (") && told[1].starts_with("--no-W ("), "{told:?}");
    }

    #[test]
    fn the_table_names_no_option_twice() {
        for (index, row) in ROWS.iter().enumerate() {
            let rest = &ROWS[index + 1..];
            assert!(
                row.short.is_none() || rest.iter().all(|other| other.short != row.short),
                "{row:?}"
            );
        }
    }
}
