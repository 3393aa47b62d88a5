//! The log file: opened for appending, and reopened after a rotation.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use engine::fs::append_to;

use crate::config::mistake::shown_path;

/// A file that receives a copy of the log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    /// `None` if it could not be reopened.
    file: Option<File>,
    /// Whether a write error was reported.
    complained: bool,
}

impl LogFile {
    /// The file at `path`, and why it cannot be opened now, if so. The next lines try again.
    pub(crate) fn at(path: &Path) -> (Self, Option<io::Error>) {
        let (file, error) = match append_to(path) {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error)),
        };
        (Self { path: path.to_owned(), file, complained: error.is_some() }, error)
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// The message for the first failure; `None` for repeated ones.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), Option<String>> {
        self.try_write(lines).map_err(|error| {
            let first = !std::mem::replace(&mut self.complained, true);
            first.then(|| format!("cannot write LOG_FILE {}: {error}", shown_path(&self.path)))
        })
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) if same(&file, &self.path) => file,
            _ => append_to(&self.path)?,
        };
        // A single write in append mode: lines of two processes do not mix.
        (&file).write_all(lines)?;
        self.file = Some(file);
        self.complained = false;
        Ok(())
    }
}

/// Whether `path` still refers to the open `file`.
fn same(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        fs::write(&path, "before\n").unwrap();
        let mut log = LogFile::at(&path).0;
        assert_eq!(log.write(b"one\n"), Ok(()));
        fs::rename(&path, &rotated).unwrap();
        assert_eq!(log.write(b"two\n"), Ok(()));
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "before\none\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_file_that_is_copied_and_truncated_goes_on_at_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::at(&path).0;
        assert_eq!(log.write(b"a long line before\n"), Ok(()));
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        assert_eq!(log.write(b"after\n"), Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
    }

    #[test]
    fn a_log_file_that_cannot_be_written_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/log");
        fs::create_dir(dir.path().join("logs")).unwrap();
        let mut log = LogFile::at(&path).0;
        fs::remove_dir_all(dir.path().join("logs")).unwrap();
        let complaint = log.write(b"one\n").unwrap_err().unwrap();
        assert!(complaint.contains("cannot write LOG_FILE"), "{complaint}");
        assert_eq!(log.write(b"two\n"), Err(None));
        fs::create_dir(dir.path().join("logs")).unwrap();
        assert_eq!(log.write(b"three\n"), Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_file_whose_folder_comes_back_is_written_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/log");
        let (mut log, error) = LogFile::at(&path);
        assert!(error.is_some());
        assert_eq!(log.write(b"one\n"), Err(None), "it was reported");
        fs::create_dir(dir.path().join("logs")).unwrap();
        assert_eq!(log.write(b"two\n"), Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }
}
