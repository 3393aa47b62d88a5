//! Property tests: for any configuration text, loading either succeeds or names the mistakes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use crate::config::types::Inputs;
use crate::config::{load, *};

/// Parts of values and files, including unusual ones.
const PIECES: [&str; 40] = [
    "SRCS_TO_BACKUP",
    "MAX_BACKUPS",
    "[[job]]",
    "[job]",
    "NAME",
    "=",
    "\"",
    "'",
    "\n",
    ",",
    "\\,",
    "\\",
    "/",
    "/a/src",
    "..",
    "./",
    "~",
    "{",
    "}",
    "[",
    "]",
    "{\"-X\": \"\"}",
    "{\"--exclude\": [\"*.tmp\"]}",
    "-a",
    "-x,-z",
    "--no-relative",
    "--exclude=",
    "0",
    "-1",
    "1e999",
    "NaN",
    "18446744073709551616",
    "2026-11-23T04:00:00Z",
    "true",
    "user@host:22",
    "[::1]:0",
    "\u{1b}[2J",
    "\u{9b}",
    "\u{202e}",
    "\0",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Usually a line `KEY = value` of a file.
fn line() -> impl Strategy<Value = String> {
    let key = (0..setting::SETTINGS.len()).prop_map(|number| setting::SETTINGS[number].name);
    let quoted = text().prop_map(|bytes| format!("{:?}", String::from_utf8_lossy(&bytes)));
    let value =
        prop_oneof![quoted, text().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())];
    prop_oneof![
        6 => (key, value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        1 => Just("[[job]]\n".to_owned()),
        1 => text().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

fn check(inputs: &Inputs) -> Result<(), TestCaseError> {
    match load(inputs) {
        Ok(config) => {
            prop_assert!(!config.jobs.is_empty());
            for job in &config.jobs {
                prop_assert!(!job.job.layout.roots().is_empty());
                prop_assert!(job.job.backups_dir.is_absolute());
            }
        }
        Err(mistakes) => {
            prop_assert!(!mistakes.is_empty());
            for mistake in mistakes {
                let said = mistake.to_string();
                prop_assert!(!said.contains(char::is_control), "{said:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_file_is_taken_or_its_mistakes_are_named(lines in prop::collection::vec(line(), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, lines.concat()).unwrap();
        check(&Inputs {
            flags: Vec::new(),
            rsync_args: Vec::new(),
            config_file: Some(path),
            names: Vec::new(),
            variables: Vec::new(),
            current_dir: dir.path().to_owned(),
        })?;
    }

    #[test]
    fn every_environment_and_command_line_is_taken_or_its_mistakes_are_named(
        values in prop::collection::vec((0_usize..12, text(), 0_u8..3), 1..5),
        args in prop::collection::vec(text(), 0..4),
    ) {
        let mut inputs = Inputs {
            flags: Vec::new(),
            rsync_args: args.into_iter().map(OsString::from_vec).collect(),
            config_file: None,
            names: Vec::new(),
            variables: vec![("SRCS_TO_BACKUP".into(), "/a/src".into())],
            current_dir: "/".into(),
        };
        for (number, value, place) in values {
            let (setting, value) = (&setting::SETTINGS[number], OsString::from_vec(value));
            match place {
                0 => inputs.flags.push((setting.key, value)),
                1 => inputs.variables.push((setting.name.into(), value)),
                _ => inputs.variables.push((setting.file_variable().into(), value)),
            }
        }
        check(&inputs)?;
    }
}
