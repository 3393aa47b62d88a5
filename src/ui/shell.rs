//! Words for commands that are shown to be copied into a shell.

use std::fmt::Write;

/// `bytes` as one word of bash, zsh or ksh, quoted only when it has to be.
pub(crate) fn word(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if engine::bytes::shown(bytes).replace("\\\\", "\\") == text => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => {
            let mut word = "$'".to_owned();
            for byte in bytes {
                match byte {
                    b'\'' | b'\\' => word.extend(['\\', char::from(*byte)]),
                    b' '..=b'~' => word.push(char::from(*byte)),
                    byte => {
                        let _ = write!(word, "\\x{byte:02x}");
                    }
                }
            }
            word.push('\'');
            word
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_reads_back_each_word() {
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
        ] {
            let script = format!("printf %s {}", word(bytes));
            assert!(!script.contains(['\n', '\x1b']), "{script:?}");
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(output.stdout, bytes, "{script}");
        }
        assert_eq!(word(b"/home/u"), "/home/u");
    }
}
