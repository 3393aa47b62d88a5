//! Words for commands that are shown to be copied into a shell.

use std::fmt::Write;

/// `bytes` as one word of any shell that keeps to POSIX (dash, bash, ksh, zsh), quoted only when it has to be, on one
/// line and without a character that steers a terminal. Nothing in it is expanded or run but a `printf` of ours.
///
/// A command substitution loses line feeds at its end (POSIX, 2.6.3): behind them `/.` is added, which names the same
/// file.
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
                    // At its start printf would take it for an option.
                    b'-' if at == 0 => word.push_str("\\055"),
                    b'%' => word.push_str("%%"),
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' => word.push(char::from(*byte)),
                    b'/' | b'.' | b'_' | b'-' | b'+' | b',' | b':' | b'@' | b'=' => {
                        word.push(char::from(*byte));
                    }
                    // Octal is what every printf knows. Interactive bash expands '!' between double quotes.
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
