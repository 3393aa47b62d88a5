//! Converts names and paths, which are bytes, to text for people and back.

use std::fmt;
use std::path::PathBuf;

/// Displays a name or path. Control characters, including C1, backslashes and bytes that are not
/// UTF-8 are escaped.
///
/// Different names never look the same: a backslash is doubled, and every other escaped byte
/// becomes `\xNN`.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' {
                    f.write_str("\\\\")?;
                } else if c.is_control() || is_invisible(c) {
                    let mut utf8 = [0; 4];
                    for byte in c.encode_utf8(&mut utf8).bytes() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Characters that change the direction of text or break lines in a terminal or editor (Unicode:
/// Bidi_Control, line and paragraph separator).
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// Formats like [`Shown`].
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    Shown(bytes).to_string()
}

/// Reverses [`Shown`]. Returns `None` when `text` contains an escape that [`Shown`] never writes.
#[must_use]
pub fn unshown(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match tail {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [b'x', high, low, after @ ..] => {
                let digit = |d: u8| char::from(d).to_digit(16);
                let value = digit(*high)? * 16 + digit(*low)?;
                bytes.push(u8::try_from(value).ok()?);
                rest = after;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

/// Formats a path like [`Shown`].
pub(crate) fn shown_path(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let path: PathBuf = path.to_owned();
    shown(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_do_not_print_are_escaped() {
        for (bytes, text) in [
            (&b"plain \xc3\xa4"[..], "plain ä"),
            (b"a\nb\x1b[31m", "a\\x0ab\\x1b[31m"),
            (b"bad \xff\xfe", "bad \\xff\\xfe"),
            (b"c1 \xc2\x9b", "c1 \\xc2\\x9b"),
            (b"back\\slash", "back\\\\slash"),
            ("rtl \u{202e}".as_bytes(), "rtl \\xe2\\x80\\xae"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn every_name_can_be_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(unshown(&shown(&bytes)), Some(bytes));
        }
    }
}
