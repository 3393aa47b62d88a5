//! Colours, if the output is a terminal that supports them.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// The meaning of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    /// The header of a table.
    Head,
    /// Less important text.
    Dim,
    /// Something new or good.
    Good,
    /// Something that needs attention.
    Warn,
    /// Something removed or bad.
    Bad,
}

/// Whether colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette {
    on: bool,
}

impl Palette {
    /// The palette for stdout.
    pub(crate) fn of_stdout() -> Self {
        Self::of_stream(io::stdout().is_terminal())
    }

    /// The palette for stderr.
    pub(crate) fn of_stderr() -> Self {
        Self::of_stream(io::stderr().is_terminal())
    }

    fn of_stream(terminal: bool) -> Self {
        let variable = |name| std::env::var_os(name);
        Self::of(terminal, variable("NO_COLOR"), variable("TERM"))
    }

    /// Without colours.
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    /// With colours.
    #[cfg(test)]
    pub(crate) fn coloured() -> Self {
        Self { on: true }
    }

    /// Follows <https://no-color.org>: any value except an empty one switches colours off.
    fn of(
        terminal: bool,
        no_color: Option<impl AsRef<OsStr>>,
        term: Option<impl AsRef<OsStr>>,
    ) -> Self {
        let unwanted = no_color.is_some_and(|value| !value.as_ref().is_empty());
        let dumb = term.is_none_or(|term| term.as_ref() == "dumb");
        Self { on: terminal && !unwanted && !dumb }
    }

    /// Colours `text` according to `style`.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.on || text.is_empty() => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Head => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_does_not_mind() {
        for (terminal, no_color, term, on) in [
            (true, None, Some("xterm"), true),
            (true, Some(""), Some("xterm"), true),
            (true, Some("1"), Some("xterm"), false),
            (true, None, Some("dumb"), false),
            (true, None, None, false),
            (false, None, Some("xterm"), false),
        ] {
            assert_eq!(Palette::of(terminal, no_color, term).on, on, "{no_color:?} {term:?}");
        }
        assert_eq!(Palette::coloured().paint(Style::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Palette::plain().paint(Style::Bad, "x"), "x");
    }
}
