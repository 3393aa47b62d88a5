//! The origin of a value, and the mistakes in it.

use std::fmt;
use std::path::Path;

use engine::entry::escape::{is_invisible, shown};

/// The place where a value was given, as text for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingOrigin(String);

impl SettingOrigin {
    /// A flag on the command line, named without its dashes.
    pub(crate) fn flag(flag: &str) -> Self {
        Self(format!("command line: --{flag}"))
    }

    /// Another part of the command line.
    pub(crate) fn command_line(what: &str) -> Self {
        Self(format!("command line: {what}"))
    }

    /// A value that may be given in several places.
    pub(crate) fn other(what: &str) -> Self {
        Self(what.to_owned())
    }

    /// An environment variable.
    pub(crate) fn variable(name: &str) -> Self {
        Self(format!("environment: {name}"))
    }

    /// A key in the config file.
    pub(crate) fn file(path: &Path, line: Option<usize>, key: &str) -> Self {
        let path = shown_path(path);
        Self(match (line, key) {
            (Some(line), "") => format!("{path}, line {line}"),
            (Some(line), key) => format!("{path}, line {line}: {key}"),
            (None, "") => path,
            (None, key) => format!("{path}: {key}"),
        })
    }

    /// The default of a setting.
    pub(crate) fn default(name: &str) -> Self {
        Self(format!("default of {name}"))
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// A mistake in the value that was given there.
    pub(crate) fn mistake(&self, what: impl fmt::Display) -> Mistake {
        Mistake { origin: self.clone(), what: what.to_string() }
    }
}

impl Mistake {
    /// Hides `value` in the message: if a setting names a secret's file by mistake, the secret must not
    /// appear in a log.
    pub(crate) fn hide(&mut self, value: &str) {
        let parts = self.what.split('\'');
        let hidden = parts.map(|part| match !part.is_empty() && value.contains(part) {
            true => "[hidden]",
            false => part,
        });
        self.what = hidden.collect::<Vec<_>>().join("'");
    }
}

/// Something in the configuration that the user must correct. `Display` writes one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    origin: SettingOrigin,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!("{}: {}", self.origin.0, self.what);
        // A value may contain any character, but the message must stay on one line.
        for c in line.chars() {
            if c.is_control() || is_invisible(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// A path, escaped for display.
pub(crate) fn shown_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    shown(path.as_os_str().as_bytes())
}
