//! Quotes words for commands that the user may copy into a shell.

use std::fmt::Write;

/// Quotes `bytes` as one word for any POSIX shell (dash, bash, ksh, zsh), and only if necessary. The word is
/// on one line and contains no character that controls a terminal. The shell expands and runs nothing in it
/// except our own `printf`.
///
/// A command substitution removes trailing line feeds (POSIX, 2.6.3). So `/.` is appended to them, which
/// names the same file.
pub(crate) fn word(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if engine::entry::escape::shown(bytes).replace("\\\\", "\\") == text => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => {
            let mut word = "\"$(printf '".to_owned();
            for (at, byte) in bytes.iter().enumerate() {
                match byte {
                    // printf would take a leading hyphen for an option.
                    b'-' if at == 0 => word.push_str("\\055"),
                    b'%' => word.push_str("%%"),
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' => word.push(char::from(*byte)),
                    b'/' | b'.' | b'_' | b'-' | b'+' | b',' | b':' | b'@' | b'=' => {
                        word.push(char::from(*byte));
                    }
                    // Every printf supports octal escapes. Interactive bash expands '!' inside double quotes.
                    byte => {
                        let _ = write!(word, "\\{byte:03o}");
                    }
                }
            }
            if bytes.ends_with(b"\n") {
                word.push_str("/.");
            }
            word.push_str("')\"");
            word
        }
    }
}

/// Quotes a path of the source as commands print and accept it: with a slash at the end of a folder.
pub(crate) fn path(bytes: &[u8], folder: bool) -> String {
    match folder && !bytes.ends_with(b"/") {
        true => word(&[bytes, b"/"].concat()),
        false => word(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_read_back_each_word_and_run_nothing_of_it() {
        for bytes in [
            &b"/home/u/file.txt"[..],
            b"",
            b"two words",
            b"it's $HOME `x` \"y\" !",
            b"back\\slash",
            b"*",
            "ä ö".as_bytes(),
            b"bad \xff\xfe'\\ name",
            b"line\nfeed \x1b[31m",
            "rtl \u{202e}".as_bytes(),
            b"~",
            b"$(touch ran) `touch ran` ${HOME} \xff",
            b"\n$(touch ran)",
            b"'; touch ran; '\x9b %s %n \\ !!",
            b"-rf \x01",
        ] {
            let script = format!("printf %s {}", word(bytes));
            assert!(!script.contains(['\n', '\x1b']), "{script:?}");
            for shell in ["bash", "sh"] {
                let dir = tempfile::tempdir().unwrap();
                let mut command = std::process::Command::new(shell);
                let output =
                    command.args(["-c", &script]).current_dir(dir.path()).output().unwrap();
                assert_eq!(output.stdout, bytes, "{shell}: {script}");
                assert!(!dir.path().join("ran").exists(), "{shell}: {script}");
            }
        }
        assert_eq!(word(b"/home/u"), "/home/u");
        assert_eq!(word(b"/x\n"), r#""$(printf '/x\012/.')""#);
    }
}
