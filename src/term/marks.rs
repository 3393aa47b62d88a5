//! The marks that our own text uses beside words: Unicode where the locale has it, otherwise ASCII.

use std::ffi::OsString;

use unicode_width::UnicodeWidthStr;

/// The marks of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Stands for text that is left out.
    pub(crate) ellipsis: &'static str,
    /// The pictures of the spinner; the last one is shown at the end.
    pub(crate) spinner: &'static str,
}

const UNICODE: Marks = Marks {
    ellipsis: "\u{2026}",
    spinner: "\u{2801}\u{2802}\u{2804}\u{2840}\u{2880}\u{2820}\u{2810}\u{2808} ",
};
const ASCII: Marks = Marks { ellipsis: "...", spinner: "-\\|/ " };

impl Marks {
    /// The marks for the locale of this process.
    pub(crate) fn of_locale() -> Self {
        Self::of(["LC_ALL", "LC_CTYPE", "LANG"].map(std::env::var_os))
    }

    /// The marks for the locale that LC_ALL, LC_CTYPE and LANG name. The first of them that is not empty counts
    /// (locale(7)); without any the locale is C, which is ASCII.
    fn of(variables: [Option<OsString>; 3]) -> Self {
        let locale = variables.into_iter().flatten().find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { UNICODE } else { ASCII }
    }

    /// The end of `path`, at most `columns` terminal columns wide.
    pub(crate) fn end_of(self, path: &str, columns: usize) -> String {
        if path.width() <= columns {
            return path.to_owned();
        }
        let room = columns.saturating_sub(self.ellipsis.width());
        let from = path.char_indices().find(|(at, _)| path[*at..].width() <= room);
        format!("{}{}", self.ellipsis, from.map_or("", |(at, _)| &path[at..]))
    }

    /// The start of `text`, at most `columns` terminal columns wide.
    pub(crate) fn start_of(self, text: &str, columns: usize) -> String {
        if text.width() <= columns {
            return text.to_owned();
        }
        let room = columns.saturating_sub(self.ellipsis.width());
        let to = text.char_indices().map(|(at, _)| at).take_while(|at| text[..*at].width() <= room);
        format!("{}{}", &text[..to.last().unwrap_or(0)], self.ellipsis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_ascii_unless_the_locale_is_utf_8() {
        for (variables, marks) in [
            ([None, None, None], ASCII),
            ([None, None, Some("C")], ASCII),
            ([None, None, Some("de_DE.UTF-8")], UNICODE),
            ([None, Some("C.utf8"), Some("C")], UNICODE),
            ([Some("POSIX"), Some("C.utf8"), Some("C.utf8")], ASCII),
            ([Some(""), None, Some("en_US.utf-8")], UNICODE),
            ([None, None, Some("de_DE@euro")], ASCII),
        ] {
            let variables = variables.map(|value| value.map(OsString::from));
            assert_eq!(Marks::of(variables.clone()), marks, "{variables:?}");
        }
        assert!(ASCII.ellipsis.is_ascii() && ASCII.spinner.is_ascii());
    }

    #[test]
    fn a_long_path_loses_its_beginning_and_a_long_text_its_end() {
        for (path, end) in
            [("/a/b", "/a/b"), ("/a/bc", "…/bc"), ("/ä/öü", "…/öü"), ("/日本語", "…語")]
        {
            assert_eq!(UNICODE.end_of(path, 4), end);
        }
        assert_eq!(ASCII.end_of("/home/u", 6), "...e/u");
        for (text, start) in [("abcd", "abcd"), ("abcde", "abc…"), ("日本語", "日…")] {
            assert_eq!(UNICODE.start_of(text, 4), start);
        }
        assert_eq!(ASCII.start_of("abcdefg", 6), "abc...");
        assert_eq!(ASCII.start_of("abc", 0), "...");
    }
}
