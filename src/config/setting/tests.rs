//! Unit tests of the table of settings and its checks.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::config::checks::value::Raw;
use crate::config::layers;
use crate::config::mistake::SettingOrigin;
use crate::config::setting::example;
use crate::config::setting::find::get;
use crate::config::setting::{Key, Layer, SETTINGS};

#[test]
fn the_table_is_in_the_order_of_the_keys() {
    for setting in SETTINGS {
        assert_eq!(get(setting.key).name, setting.name);
    }
    assert!(SETTINGS.windows(2).all(|pair| pair[0].key < pair[1].key));
}

#[test]
fn the_readme_has_the_whole_table() {
    let rows: String = SETTINGS
        .iter()
        .map(|setting| {
            let default = setting.default.map(|default| format!("`{default}`"));
            let default = default.unwrap_or_default();
            format!("| `{}` | {default} | {} |\n", setting.name, setting.help)
        })
        .collect();
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(&rows), "the table of README.md has to hold:\n{rows}");
}

#[test]
fn the_example_lists_each_setting_and_is_without_mistakes() {
    let example = include_str!("../../../backup_manager.example.toml");
    // A line of the example, whether it is commented out or not.
    let setting_lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.strip_prefix('#').unwrap_or(line).to_owned());
        lines.collect()
    };
    let (listed, expected) = (setting_lines(example), example::settings());
    let missing: Vec<String> =
        setting_lines(&expected).into_iter().filter(|line| !listed.contains(line)).collect();
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "backup_manager.example.toml has to hold:\n{expected}"
    );
    let everything: String = example
        .lines()
        .map(|line| {
            format!("{}\n", if line.starts_with("# ") { "" } else { line.trim_start_matches('#') })
        })
        .collect();
    for text in [example, &everything] {
        let mut mistakes = Vec::new();
        layers::file::read(Path::new("x"), text, &mut mistakes);
        assert_eq!(mistakes, []);
    }
}

#[test]
fn a_flag_is_the_variable_in_kebab_case() {
    assert_eq!(get(Key::MinimumTimeGuardH).flag(), "minimum-time-guard-h");
}

/// The mistakes in `value` for `key`.
fn wrong_with(key: Key, value: &str) -> String {
    let (mut layer, mut mistakes) = (Layer::default(), Vec::new());
    layer.set(key, &Raw::Text(value.into()), SettingOrigin::variable("V"), &mut mistakes);
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
        (Key::ChangeBrake, &["on", "Strict", " off\n"]),
        (Key::RenameDetection, &["off", "64K", " 1M ", "0", "500"]),
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
        (Key::ChangeBrake, "yes", "write on, strict or off"),
        (Key::RenameDetection, "on", "write for example 500, 1.5m or 2GB, or off"),
        (Key::RenameDetection, "-1", "not a size"),
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
        (Key::BackupsMode, "0o755", "not a mode in octal"),
        (Key::BackupsMode, "488", "not a mode in octal"),
        (Key::BackupsMode, "", "not a mode in octal"),
        (Key::BackupNamePrefix, "a/b", "contains a '/'"),
        (Key::BackupNamePrefix, "-x", "starts with"),
        (Key::BackupNamePrefix, "a\nb", "control character"),
        (Key::RsyncDictParams, "[]", "not an object"),
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
        Layer::default().set(key, &raw, SettingOrigin::variable("V"), &mut mistakes);
        assert_eq!(mistakes.len(), mistakes_expected, "{key:?} {mistakes:?}");
    }
}
