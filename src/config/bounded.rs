//! Reads whole files that a user names. An endless device, or a file of another kind, leads to an error
//! instead of using all memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use engine::fs::exchangeable;
use rustix::fs::OFlags;
use rustix::process::geteuid;

/// Maximum length in bytes of settings, a crontab or keys.
pub(crate) const TEXT: u64 = 4 << 20;

/// Maximum length in bytes of a list of files (`--files-from`).
pub(crate) const LIST: u64 = 256 << 20;

/// Opens the file at `path` for reading. A fifo or a device is accepted only if root or the caller created
/// it: a fifo of another user could block for as long as that user wants.
///
/// # Errors
/// The system's error.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() {
        return Ok(file);
    }
    let ours = [0, geteuid().as_raw()].contains(&meta.uid());
    if !ours || exchangeable(path).is_ok_and(|others| others.is_some()) {
        return Err(io::Error::other(
            "it is not a regular file, and another user can have put it there",
        ));
    }
    File::open(path)
}

/// The content of the file at `path`.
///
/// # Errors
/// The system's error, or an error if the file has more than `longest` bytes.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!("it holds more than {} MiB", longest >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_file_is_an_error() {
        let error = read(Path::new("/dev/zero"), TEXT).expect_err("it has no end");
        assert_eq!(error.to_string(), "it holds more than 4 MiB");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "1234").expect("written");
        assert_eq!(read(file.path(), 4).expect("short enough"), b"1234");
        assert!(read(file.path(), 3).is_err());
    }
}
