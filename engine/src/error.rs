//! Why a run did not complete. The hints ("what to do next") belong to the program around the engine.

use std::io;
use std::path::{Path, PathBuf};

use crate::entry::human::{bytes, counted};
use crate::fs::dir::Dir;
use crate::fs::refusal::{is_full, says_full};
use crate::source::SourceError;
use crate::threads::cancel::Stop;

/// Why a source cannot be reached, in its own words.
pub type NoConnection = Box<dyn std::error::Error + Send + Sync>;

/// A run that did not complete its snapshot. What was done stays in the incomplete folder.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source root does not exist or cannot be opened.
    #[error("source root {path}: {error}", path = crate::entry::escape::shown_path(path))]
    Root {
        /// The root.
        path: PathBuf,
        /// What the source answered.
        error: SourceError,
    },
    /// A source root is empty and on another file system than last time.
    #[error("source root {path} is empty and on another file system than last time; it looks unmounted", path = crate::entry::escape::shown_path(path))]
    Unmounted {
        /// The root.
        path: PathBuf,
    },
    /// A source root or a mount point below one is on another file system than last time and lost most of what it had.
    #[error("{path} is on another file system than last time, with {}; it looks unmounted", left(*.files_before, *.files, *.bytes_before, *.bytes), path = crate::entry::escape::shown_path(path))]
    Lost {
        /// Its path on the source.
        path: PathBuf,
        /// Files in the base.
        files_before: u64,
        /// Files now.
        files: u64,
        /// Bytes in the base.
        bytes_before: u64,
        /// Bytes now.
        bytes: u64,
    },
    /// The history is one of other sources.
    #[error(
        "the snapshots of {prefix} are of other sources: {snapshot} has {theirs}, this job has {ours}"
    )]
    OtherSources {
        /// The prefix of both.
        prefix: String,
        /// The newest snapshot that recorded its sources.
        snapshot: String,
        /// What it is of.
        theirs: String,
        /// What the job backs up.
        ours: String,
    },
    /// A source root lies where another file system should be mounted.
    #[error("{mount_point} is not mounted, but /etc/fstab has it: the source root {path} would be read from the wrong disk", mount_point = crate::entry::escape::shown_path(mount_point), path = crate::entry::escape::shown_path(path))]
    SourceNotMounted {
        /// The root.
        path: PathBuf,
        /// The mount point at or above it.
        mount_point: PathBuf,
    },
    /// A source root lies inside the backups folder.
    #[error("source root {path} lies inside the backups folder {backups}", path = crate::entry::escape::shown_path(path), backups = crate::entry::escape::shown_path(backups))]
    InsideBackups {
        /// The root.
        path: PathBuf,
        /// The backups folder.
        backups: PathBuf,
    },
    /// A source root lost so many files that the history must not shrink for it.
    #[error("source root {path} has {now}, the snapshot before has {before}: more than {percent} % are gone", now = counted(*.now, "file", "files"), path = crate::entry::escape::shown_path(path))]
    Collapse {
        /// The root.
        path: PathBuf,
        /// Files in the base.
        before: u64,
        /// Files now.
        now: u64,
        /// The limit.
        percent: f64,
    },
    /// More of the snapshot before is gone than may be.
    #[error("{gone}, more than --max-delete={most}", gone = counted(*.deleted, "entry of the snapshot before is gone", "entries of the snapshot before are gone"))]
    Deletions {
        /// Entries that are gone.
        deleted: u64,
        /// How many may be.
        most: u64,
    },
    /// The destination is full.
    #[error("no space left in {path}: {}", room(.needed.as_ref(), *.free, *.free_inodes), path = crate::entry::escape::shown_path(path))]
    NoSpace {
        /// The backups folder.
        path: PathBuf,
        /// What is still to be stored, if it could be counted.
        needed: Option<Missing>,
        /// Bytes that are free.
        free: u64,
        /// Inodes that are free; `None` where the file system has no fixed number.
        free_inodes: Option<u64>,
    },
    /// The backups folder lies where another file system should be mounted.
    #[error("{mount_point} is not mounted, but /etc/fstab has it: the backups folder {path} would land on the wrong disk", mount_point = crate::entry::escape::shown_path(mount_point), path = crate::entry::escape::shown_path(path))]
    NotMounted {
        /// The backups folder.
        path: PathBuf,
        /// The mount point above it.
        mount_point: PathBuf,
    },
    /// The backups folder or something in it could not be read or written.
    #[error("{action} {path}: {error}", path = crate::entry::escape::shown_path(path))]
    Destination {
        /// What was tried ("cannot create").
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The system could not make the snapshot durable.
    #[error("the system could not write everything to the disk of {path}: {error}", path = crate::entry::escape::shown_path(path))]
    Sync {
        /// The incomplete snapshot.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The source cannot be reached.
    #[error("no connection to the source: {0}")]
    NoConnection(NoConnection),
    /// The source cannot be reached any more.
    #[error("the source is lost: {0}")]
    SourceLost(SourceError),
    /// What was to be done before the run failed; nothing was touched.
    #[error("{said}")]
    Preparation {
        /// What failed, and how.
        said: String,
    },
    /// What was to be done before the run says that this is not the time; nothing was touched.
    #[error("put off: {said}")]
    PutOff {
        /// Who says so.
        said: String,
    },
    /// A source tells of more folders than any tree has.
    #[error("{waiting} folders that the source told of wait to be listed: it seems to have no end")]
    Endless {
        /// How many.
        waiting: usize,
    },
    /// Another run has what this one was to work on, though it did not have the lock, or has taken it over.
    #[error("another run is at work on {path}", path = crate::entry::escape::shown_path(path))]
    Taken {
        /// The incomplete snapshot.
        path: PathBuf,
    },
    /// A signal asked for the end.
    #[error("stopped")]
    Stopped,
}

impl RunError {
    /// [`RunError::Stopped`] when the source was lost after `stop` was asked for: the run let it go.
    #[must_use]
    pub fn or_stopped(self, stop: &Stop) -> Self {
        let lost = match &self {
            Self::NoConnection(_) | Self::SourceLost(_) => true,
            Self::Root { error, .. } => matches!(error, SourceError::Lost(_)),
            _ => false,
        };
        if lost && stop.asked() { Self::Stopped } else { self }
    }
}

/// Something in the backups folder could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {error}", path = crate::entry::escape::shown_path(path))]
pub struct LookError {
    /// What was tried ("cannot open").
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// The system's reason.
    pub error: io::Error,
}

/// What a snapshot still lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Entries that need an inode of their own.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
}

fn left(files_before: u64, files: u64, bytes_before: u64, now: u64) -> String {
    let before = counted(files_before, "file", "files");
    format!("{files} of {before} and {} of {} left", bytes(now), bytes(bytes_before))
}

fn room(needed: Option<&Missing>, free: u64, free_inodes: Option<u64>) -> String {
    let needed = needed.map_or_else(String::new, |missing| {
        let entries = counted(missing.entries, "new entry", "new entries");
        format!("about {} in {entries} still to be stored, ", bytes(missing.bytes))
    });
    let inodes = free_inodes.map(|inodes| format!(" and {}", counted(inodes, "inode", "inodes")));
    format!("{needed}{}{} free", bytes(free), inodes.unwrap_or_default())
}

/// What an error of the destination at `path` means for the run: full, or broken. An error that says "full" of a disk
/// that has room says what room it has.
pub(crate) fn destination(
    action: &'static str,
    backups_dir: &Path,
    path: PathBuf,
    error: io::Error,
) -> RunError {
    if !says_full(&error) {
        return RunError::Destination { action, path, error };
    }
    let own = || Dir::at(&backups_dir.join(crate::snapshot::name::OWN));
    match own().or_else(|_| Dir::at(backups_dir)) {
        Ok(dir) if !is_full(&error, &dir) => {
            let (free, free_inodes) = free_in(backups_dir);
            let what = format!("{error}, though the disk has {}", room(None, free, free_inodes));
            RunError::Destination { action, path, error: io::Error::other(what) }
        }
        _ => no_space(backups_dir),
    }
}

/// The destination is full: that was looked at twice.
pub(crate) fn no_space(backups_dir: &Path) -> RunError {
    let (free, free_inodes) = free_in(backups_dir);
    RunError::NoSpace { path: backups_dir.to_owned(), needed: None, free, free_inodes }
}

/// Bytes and inodes that are free; no number of inodes where the file system has no fixed one.
fn free_in(backups_dir: &Path) -> (u64, Option<u64>) {
    let space = rustix::fs::statvfs(backups_dir).ok();
    let free = space.as_ref().map_or(0, |space| space.f_bavail * space.f_frsize);
    (free, space.filter(|space| space.f_files > 0).map(|space| space.f_favail))
}

/// What a failure of the backups folder at `path` is for somebody who looks at it.
pub(crate) fn look(path: &Path, error: RunError) -> LookError {
    match error {
        RunError::Destination { action, path, error } => LookError { action, path, error },
        other => {
            let error = std::io::Error::other(other.to_string());
            LookError { action: "cannot look at", path: path.to_owned(), error }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_in_fitting_units() {
        let missing = Missing { entries: 1, bytes: 3 << 30 };
        assert_eq!(
            room(Some(&missing), 5 << 20, Some(1200)),
            "about 3.0 GiB in 1 new entry still to be stored, 5.0 MiB and 1,200 inodes free"
        );
        assert_eq!(room(None, 0, None), "0 B free");
    }

    #[test]
    fn one_is_told_as_one() {
        let path = PathBuf::from("/src");
        let collapse = RunError::Collapse { path, before: 25, now: 1, percent: 90.0 };
        assert!(collapse.to_string().starts_with("source root /src has 1 file, the snapshot"));
        let gone = RunError::Deletions { deleted: 1, most: 0 };
        assert!(gone.to_string().starts_with("1 entry of the snapshot before is gone,"), "{gone}");
    }
}
