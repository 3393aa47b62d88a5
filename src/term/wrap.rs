//! Wraps lines at spaces, so that a terminal does not break words. Pure.

use unicode_width::UnicodeWidthChar;

/// A line whose second column begins further right than this gets the indentation of its start.
const FARTHEST_COLUMN: usize = 40;

/// Wraps each line of `text` that is wider than `width`. The rest of a line stands below its second column, or a bit
/// further right than its start. Quoted words and words that are wider than a line stay whole, so that they can be
/// copied. Without a width nothing is wrapped.
pub(crate) fn prose(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    text.split_inclusive('\n').map(|line| wrapped(line, width)).collect()
}

/// The lines of `text`, each at most `room` wide unless a single word is wider.
pub(crate) fn lines(text: &str, room: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for (blanks, word) in words(text) {
        if !line.is_empty() && width_of(&line) + blanks.len() + width_of(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push_str(blanks);
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The columns that a text takes on a terminal. Colours take none.
pub(crate) fn width_of(text: &str) -> usize {
    let (mut width, mut rest) = (0, text.chars());
    while let Some(next) = rest.next() {
        if next == '\x1b' {
            // A colour: CSI, parameters, m (ECMA-48).
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            width += next.width().unwrap_or(0);
        }
    }
    width
}

fn wrapped(line: &str, width: usize) -> String {
    let text = line.trim_end_matches('\n');
    if width_of(text) <= width {
        return line.to_owned();
    }
    let indent = indentation(text).min(width / 2);
    let (mut done, mut column, mut fresh) = (String::new(), 0, true);
    for (blanks, word) in words(text) {
        let needed = blanks.len() + width_of(word);
        if !fresh && column + needed > width {
            done.push('\n');
            done.push_str(&" ".repeat(indent));
            done.push_str(word);
            column = indent + width_of(word);
        } else {
            done.push_str(blanks);
            done.push_str(word);
            column += needed;
        }
        fresh = column <= indent;
    }
    done.push_str(&line[text.len()..]);
    done
}

/// The column below which the rest of a line stands: that of the text after the last gap of two or more spaces.
fn indentation(text: &str) -> usize {
    let start = text.len() - text.trim_start_matches(' ').len();
    let (mut column, mut second) = (0, None);
    for (blanks, word) in words(text) {
        column += blanks.len();
        if column > FARTHEST_COLUMN {
            break;
        }
        if blanks.len() >= 2 && column > start {
            second = Some(column);
        }
        column += width_of(word);
    }
    second.unwrap_or(start + 2)
}

/// The words of a line, each with the spaces before it. A part in single quotes belongs to one word.
fn words(text: &str) -> Vec<(&str, &str)> {
    let (mut words, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        let word = &rest[blanks..];
        let end = word_end(word);
        words.push((&rest[..blanks], &word[..end]));
        rest = &word[end..];
    }
    words
}

/// The length of the first word. A quote opens at its start or after `(` or `=`, and closes before a space or the end.
fn word_end(text: &str) -> usize {
    let mut from = 0;
    while let Some(space) = text[from..].find(' ').map(|at| from + at) {
        let opened = text[from..space].char_indices().find(|(at, letter)| {
            let before = text[..from + at].chars().next_back();
            *letter == '\'' && matches!(before, None | Some('(' | '=' | ' '))
        });
        let closed = |at: usize| {
            let inside = &text[from + at + 1..];
            let ends = inside.match_indices('\'').find(|(end, _)| {
                !matches!(inside[end + 1..].chars().next(), Some(next) if next.is_alphanumeric() || next == '\\' || next == '\'')
            });
            ends.map(|(end, _)| from + at + 1 + end + 1)
        };
        match opened.and_then(|(at, _)| closed(at)) {
            Some(end) if end > space => from = end,
            _ => return space,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rest_of_a_line_stands_below_its_second_column() {
        for (text, expected) in [
            ("short\n", "short\n"),
            ("  newest    one two three four\n", "  newest    one two\n          three four\n"),
            ("ok    source  one two three\n", "ok    source  one\n          two three\n"),
            ("one two three four five six", "one two three four\n  five six"),
            ("see '/a long path/with spaces' now", "see\n  '/a long path/with spaces'\n  now"),
            ("the system's own words are long", "the system's own\n  words are long"),
            (
                "\x1b[31mbad\x1b[0m   one two three four",
                "\x1b[31mbad\x1b[0m   one two three\n      four",
            ),
            ("/a/path/that/is/wider/than/it", "/a/path/that/is/wider/than/it"),
        ] {
            assert_eq!(prose(text, Some(20)), expected);
            assert_eq!(prose(text, None), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_wide(text in "([a-z']{1,9} {1,3}){0,9}", room in 12..30_usize) {
            let bare = |text: &str| text.replace([' ', '\n'], "");
            let wrapped = prose(&text, Some(room));
            prop_assert_eq!(bare(&wrapped), bare(&text));
            let lines = lines(&text, room);
            prop_assert_eq!(bare(&lines.concat()), bare(&text));
            for line in lines {
                prop_assert!(width_of(&line) <= room || words(&line).len() <= 2, "{:?}", line);
            }
        }
    }
}
