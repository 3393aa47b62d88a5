//! Errors that end a run. The program around the engine adds the hints ("what to do next").

use std::io;
use std::path::{Path, PathBuf};

use crate::entry::human::{bytes, counted};
use crate::fs::dir::Dir;
use crate::fs::file_system::space::Space;
use crate::fs::refusal::{is_full, says_full};
use crate::source::SourceError;
use crate::threads::cancel::Stop;

/// Why a connection could not be made; the transport supplies the text.
pub type NoConnection = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a run did not complete its snapshot. The incomplete folder keeps what was done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source root does not exist or cannot be opened.
    #[error("source root {path}: {error}", path = crate::entry::escape::shown_path(path))]
    Root {
        /// The root.
        path: PathBuf,
        /// The error of the source.
        error: SourceError,
    },
    /// A source root is empty and on another file system than last time.
    #[error("source root {path} is empty and on another file system than last time; it looks unmounted", path = crate::entry::escape::shown_path(path))]
    Unmounted {
        /// The root.
        path: PathBuf,
    },
    /// A source root, or a mount point below one, is on another file system than last time and lost
    /// most of its content.
    #[error("{path} is on another file system than last time, with {}; it looks unmounted", left(*.files_before, *.files, *.bytes_before, *.bytes), path = crate::entry::escape::shown_path(path))]
    Lost {
        /// The path on the source.
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
    /// The history contains snapshots of other sources.
    #[error(
        "the snapshots of {prefix} hold other sources: {snapshot} holds {theirs}, this job backs up {ours}"
    )]
    OtherSources {
        /// The prefix of the history and of the job.
        prefix: String,
        /// The newest snapshot that recorded its sources.
        snapshot: String,
        /// The sources of that snapshot.
        theirs: String,
        /// The sources of this job.
        ours: String,
    },
    /// A source root lies at or below a mount point of /etc/fstab that is not mounted.
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
    /// A source root lost more than the allowed share of its files.
    #[error("source root {path} has {now}, the previous snapshot has {before}: more than {percent} % are gone", now = counted(*.now, "file", "files"), path = crate::entry::escape::shown_path(path))]
    Collapse {
        /// The root.
        path: PathBuf,
        /// Files in the base.
        before: u64,
        /// Files now.
        now: u64,
        /// The allowed share, percent.
        percent: f64,
    },
    /// More entries disappeared since the previous snapshot than `--max-delete` allows.
    #[error("{gone}, more than --max-delete={most}", gone = counted(*.deleted, "entry of the previous snapshot is gone", "entries of the previous snapshot are gone"))]
    Deletions {
        /// Entries that are gone.
        deleted: u64,
        /// The limit.
        most: u64,
    },
    /// The destination is full.
    #[error("no space left in {path}: {}", room(.needed.as_ref(), *.free, *.free_inodes), path = crate::entry::escape::shown_path(path))]
    NoSpace {
        /// The backups folder.
        path: PathBuf,
        /// What is still to be stored, if known.
        needed: Option<Missing>,
        /// Bytes that are free.
        free: u64,
        /// Free inodes; `None` where the file system has no fixed number of inodes.
        free_inodes: Option<u64>,
    },
    /// The backups folder lies below a mount point of /etc/fstab that is not mounted.
    #[error("{mount_point} is not mounted, but /etc/fstab has it: the backups folder {path} would land on the wrong disk", mount_point = crate::entry::escape::shown_path(mount_point), path = crate::entry::escape::shown_path(path))]
    NotMounted {
        /// The backups folder.
        path: PathBuf,
        /// The mount point above it.
        mount_point: PathBuf,
    },
    /// The backups folder, or a file in it, could not be read or written.
    #[error("{action} {path}: {error}", path = crate::entry::escape::shown_path(path))]
    Destination {
        /// The failed action ("cannot create").
        action: &'static str,
        /// The path concerned.
        path: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// Syncing the snapshot to disk failed.
    #[error("the system could not write everything to the disk of {path}: {error}", path = crate::entry::escape::shown_path(path))]
    Sync {
        /// The incomplete snapshot.
        path: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// The connection to the source could not be made.
    #[error("no connection to the source: {0}")]
    NoConnection(NoConnection),
    /// The connection to the source broke.
    #[error("the source is lost: {0}")]
    SourceLost(SourceError),
    /// The command that runs before the job failed. Nothing was changed.
    #[error("{said}")]
    Preparation {
        /// Which command failed, and how.
        said: String,
    },
    /// The command that runs before the job postponed the run. Nothing was changed.
    #[error("postponed: {said}")]
    PutOff {
        /// The message of the command.
        said: String,
    },
    /// The source reports more folders than a real tree has.
    #[error(
        "the source reported {waiting} folders that are not listed yet: its tree seems to be endless"
    )]
    Endless {
        /// The number of folders that are not listed yet.
        waiting: usize,
    },
    /// Another run works on the same snapshot, although this run holds the lock, or has taken over
    /// the lock.
    #[error("another run is working on {path}", path = crate::entry::escape::shown_path(path))]
    Taken {
        /// The incomplete snapshot.
        path: PathBuf,
    },
    /// A folder that is no copy of the history, and must not become a part of one.
    #[error("{path} is not for copies of these snapshots: {why}", path = crate::entry::escape::shown_path(path))]
    NotForCopies {
        /// The folder.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A signal stopped the run.
    #[error("stopped")]
    Stopped,
}

impl RunError {
    /// Returns [`RunError::Stopped`] when `stop` was requested and `self` says that the source is
    /// lost: the stop itself closes the connection.
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

/// An error while reading the backups folder.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {error}", path = crate::entry::escape::shown_path(path))]
pub struct LookError {
    /// The failed action ("cannot open").
    pub action: &'static str,
    /// The path concerned.
    pub path: PathBuf,
    /// The error of the system call.
    pub error: io::Error,
}

/// What is still to be stored in a snapshot.
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

/// Classifies a write error at `path`: either the disk is full, or the destination is broken. If
/// the error says "full" but statvfs reports free space, the message gives the free space.
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

/// The destination is full, confirmed by a second check.
pub(crate) fn no_space(backups_dir: &Path) -> RunError {
    let (free, free_inodes) = free_in(backups_dir);
    RunError::NoSpace { path: backups_dir.to_owned(), needed: None, free, free_inodes }
}

/// Free bytes and inodes; `None` where the file system has no fixed number of inodes.
fn free_in(backups_dir: &Path) -> (u64, Option<u64>) {
    let space = Space::at(backups_dir).ok();
    (space.map_or(0, |space| space.free_bytes), space.and_then(|space| space.free_inodes))
}

impl From<LookError> for RunError {
    fn from(LookError { action, path, error }: LookError) -> Self {
        Self::Destination { action, path, error }
    }
}

/// Converts an error of the backups folder at `path` for commands that only read.
pub(crate) fn look(path: &Path, error: RunError) -> LookError {
    match error {
        RunError::Destination { action, path, error } => LookError { action, path, error },
        other => {
            let error = std::io::Error::other(other.to_string());
            LookError { action: "cannot inspect", path: path.to_owned(), error }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_space_is_shown_in_suitable_units() {
        let missing = Missing { entries: 1, bytes: 3 << 30 };
        assert_eq!(
            room(Some(&missing), 5 << 20, Some(1200)),
            "about 3.0 GiB in 1 new entry still to be stored, 5.0 MiB and 1,200 inodes free"
        );
        assert_eq!(room(None, 0, None), "0 B free");
    }

    #[test]
    fn a_count_of_one_uses_the_singular() {
        let path = PathBuf::from("/src");
        let collapse = RunError::Collapse { path, before: 25, now: 1, percent: 90.0 };
        assert!(
            collapse.to_string().starts_with("source root /src has 1 file, the previous snapshot")
        );
        let gone = RunError::Deletions { deleted: 1, most: 0 };
        assert!(
            gone.to_string().starts_with("1 entry of the previous snapshot is gone,"),
            "{gone}"
        );
    }
}
