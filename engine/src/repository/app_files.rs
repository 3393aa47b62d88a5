//! Reads and writes the small files that the program around the engine keeps in `.backup_manager/`, next to the
//! engine's own files.

use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::entry::c_name;
use crate::entry::human::rfc3339;
use crate::error::{LookError, look};
use crate::fs::dir::Dir;
use crate::fs::small_file::{make_if_missing, read_small, write_whole};
use crate::repository::backups_folder::{Repository, check_mounted};
use crate::repository::records::status::JobStatus;
use crate::repository::store::{Store, file_of};
use crate::snapshot::name::Prefix;

/// The `.backup_manager/` of a backups folder, held open.
pub struct AppFiles {
    repository: Repository,
    dir: Dir,
}

impl AppFiles {
    /// Opens `.backup_manager/` in the backups folder at `path`. Creates nothing.
    ///
    /// # Errors
    /// The file system of the folder is not mounted, the folder does not exist, or it has no
    /// `.backup_manager/`.
    pub fn open(path: &Path) -> Result<Self, LookError> {
        check_mounted(path).map_err(|error| look(path, error))?;
        let mut repository = Repository::open(path)?;
        match repository.own.take() {
            Some(dir) => Ok(Self { repository, dir }),
            None => Err(LookError {
                action: "cannot open .backup_manager in",
                path: path.to_owned(),
                error: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Reads the file `name` in `folder`. `None` when the file does not exist or cannot be read.
    #[must_use]
    pub fn read(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        read_small(&self.folder(folder).ok()?, name)
    }

    /// Writes the file `name` in `folder` atomically: after a crash the file is complete or absent. Creates
    /// `folder` when it is missing. An empty `folder` means `.backup_manager` itself.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn write(&self, folder: &str, name: &str, content: &[u8]) -> io::Result<()> {
        if folder.is_empty() {
            return write_whole(&self.dir, name, content);
        }
        make_if_missing(&self.dir, &c_name(folder)?)?;
        write_whole(&self.folder(folder)?, name, content)
    }

    /// The sorted names of the files in `folder`, without those that begin with a dot: these are still being
    /// written.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        if let Ok(dir) = self.folder(folder) {
            let _ = dir.names(|entry| {
                names.extend(entry.name.to_str().ok().map(str::to_owned));
                std::ops::ControlFlow::Continue(())
            });
        }
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// How the last run of `prefix` ended. `None` when there is no readable record.
    #[must_use]
    pub fn status(&self, prefix: &Prefix) -> Option<JobStatus> {
        serde_json::from_slice(
            &self.read(&Store::Status.folder().to_string_lossy(), &file_of(prefix))?,
        )
        .ok()
    }

    /// Records that a run of `prefix` failed before it began, at `now`.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn note_failure(
        &self,
        prefix: &Prefix,
        now: DateTime<Utc>,
        reason: &str,
    ) -> io::Result<()> {
        let before = self.status(prefix);
        let status = JobStatus {
            version: 1,
            started: rfc3339(now),
            finished: rfc3339(now),
            outcome: "failed".to_owned(),
            reason: Some(reason.to_owned()),
            snapshot: None,
            failures_in_a_row: before.as_ref().map_or(0, |before| before.failures_in_a_row) + 1,
            stuck: before.map(|before| before.stuck).unwrap_or_default(),
        };
        let folder = Store::Status.folder().to_string_lossy();
        self.write(&folder, &file_of(prefix), &serde_json::to_vec_pretty(&status)?)
    }

    /// The free bytes and the total bytes of the file system of the backups folder.
    #[must_use]
    pub fn space(&self) -> Option<(u64, u64)> {
        let space = self.repository.dir.space().ok()?;
        Some((space.free_bytes, space.total_bytes))
    }

    fn folder(&self, name: &str) -> io::Result<Dir> {
        self.dir.child(&c_name(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_and_nothing_is_made_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AppFiles::open(folder.path()).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        Repository::open_or_make(folder.path(), None).unwrap();
        let own = AppFiles::open(folder.path()).unwrap();
        assert_eq!((own.read("new", "b"), own.names("new")), (None, Vec::new()));
        own.write("new", "b", b"1").unwrap();
        own.write("new", "a", b"2").unwrap();
        own.write("", "top", b"3").unwrap();
        assert_eq!(own.read("new", "b").as_deref(), Some(&b"1"[..]));
        assert_eq!(own.names("new"), ["a", "b"]);
        assert_eq!(std::fs::read(folder.path().join(".backup_manager/top")).unwrap(), b"3");
        assert!(own.space().is_some_and(|(free, all)| free <= all));
    }
}
