//! Reads whole files that a user names: a device without an end, or a file of another kind, gets an error, not all memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest text of settings, crontab or keys that is read, bytes.
pub(crate) const TEXT: u64 = 4 << 20;

/// Longest list of files that is read (`--files-from`), bytes.
pub(crate) const LIST: u64 = 256 << 20;

/// The content of the file at `path`.
///
/// # Errors
/// The system's, and when it holds more than `longest` bytes.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!("it holds more than {} MiB", longest >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_an_error() {
        let error = read(Path::new("/dev/zero"), TEXT).expect_err("it has no end");
        assert_eq!(error.to_string(), "it holds more than 4 MiB");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "1234").expect("written");
        assert_eq!(read(file.path(), 4).expect("short enough"), b"1234");
        assert!(read(file.path(), 3).is_err());
    }
}
