//! What to do next, and whether it has a command to copy.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

/// What a user can do next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    text: Cow<'static, str>,
    has_command: bool,
}

impl Step {
    /// A step with a command to copy, which a terminal must not get in pieces.
    pub(crate) fn command(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), has_command: true }
    }

    pub(crate) fn has_command(&self) -> bool {
        self.has_command
    }
}

/// A step without a command.
impl<T: Into<Cow<'static, str>>> From<T> for Step {
    fn from(text: T) -> Self {
        Self { text: text.into(), has_command: false }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
