//! Generates an example config file from the settings.

use std::fmt::Write;

use crate::config::setting::{SETTINGS, Setting};

/// All settings as an example config file: the help as a comment, then the key with a value, which is
/// commented out.
pub(crate) fn settings() -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let _ = writeln!(text, "# {}\n#{} = {}", setting.help, setting.name, value(setting));
    }
    text
}

/// An example value in TOML.
fn value(setting: &Setting) -> String {
    match setting.default {
        _ if !setting.example.is_empty() => setting.example.to_owned(),
        Some(number) if number.parse::<f64>().is_ok() => number.to_owned(),
        Some(text) => format!("\"{text}\""),
        None => "\"\"".to_owned(),
    }
}
