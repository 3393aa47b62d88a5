//! Escapes control characters, so that text from file names or other hosts cannot control a terminal or
//! mislead a reader.

use std::fmt::Write;

use engine::entry::escape::is_invisible;
use serde::Serialize;

/// Whether `c` affects a terminal, an editor or the layout of a line.
fn steers(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Writes `value` as JSON, pretty or on one line. C1 controls, DEL and characters that change the text
/// direction are escaped too: serde escapes only the characters that RFC 8259 requires.
pub(crate) fn json(value: &impl Serialize, pretty: bool) -> String {
    // Text and maps with text keys always have a JSON form.
    let text = match pretty {
        true => serde_json::to_string_pretty(value),
        false => serde_json::to_string(value),
    };
    let text = text.unwrap_or_default();
    if !text.chars().any(|c| steers(c) && c != '\n') {
        return text;
    }
    // Such characters occur only inside strings, where an escape is valid.
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Appends `message` to `text` as a single line.
pub(crate) fn push_on_one_line(text: &mut String, message: &str) {
    for c in message.chars() {
        if steers(c) {
            let _ = write!(text, "{}", c.escape_default());
        } else {
            text.push(c);
        }
    }
}

/// Like [`push_on_one_line`], but keeps several lines.
pub(crate) fn push_lines(text: &mut String, lines: &str) {
    for (number, line) in lines.split('\n').enumerate() {
        if number > 0 {
            text.push('\n');
        }
        push_on_one_line(text, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_is_left_and_json_says_the_same() {
        let text = "a\u{9b}31m\u{7f}\u{202e}\u{2066}\u{85}\n\u{1b}ä";
        for pretty in [false, true] {
            let json = json(&serde_json::json!({ "x": text }), pretty);
            assert!(!json.chars().any(|c| steers(c) && c != '\n'), "{json:?}");
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["x"], text);
        }
        let mut line = String::new();
        push_on_one_line(&mut line, text);
        assert_eq!(line, "a\\u{9b}31m\\u{7f}\\u{202e}\\u{2066}\\u{85}\\n\\u{1b}ä");
        let mut lines = String::new();
        push_lines(&mut lines, "a\n\u{202e}b\n");
        assert_eq!(lines, "a\n\\u{202e}b\n");
    }
}
