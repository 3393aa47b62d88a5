//! Why a plan leaves an entry as it is, or cannot be carried out.

use std::ffi::CString;

use crate::adopt::name::Program;
use crate::entry::escape::shown;

/// What a user should know about a folder that becomes a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// The clocks showed the local time of the name twice.
    #[error("the clocks showed this time twice; the second one is meant")]
    RepeatedHour,
    /// The other program recorded that it could not read or store everything.
    #[error("Back In Time recorded errors while it made it")]
    Errors,
}

/// Why an entry stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftAlone {
    /// Not a snapshot.
    #[error("a file of {0}, not a snapshot")]
    Companion(Program),
    /// Not a snapshot, and of no known program.
    #[error("the name is not that of a snapshot")]
    Unknown,
    /// Such a folder without a newest one.
    #[error("there is no {0}.0, so it is not taken for a snapshot of rsnapshot")]
    NoNewest(String),
    /// Only real folders are snapshots.
    #[error("it is a symlink, not a folder")]
    Symlink,
    /// Only real folders are snapshots.
    #[error("it is not a folder")]
    NotAFolder,
    /// An earlier adoption took the folder, or there never was one.
    #[error("it contains no folder {}", shown(.0.to_bytes()))]
    NoTree(CString),
    /// Only real folders are snapshots.
    #[error("{} in it is not a folder", shown(.0.to_bytes()))]
    NoRealTree(CString),
    /// rsync-time-backup did not complete it.
    #[error("backup.inprogress says that rsync-time-backup has not completed it")]
    Unfinished,
    /// rsync-time-backup did not complete it.
    #[error("it is newer than the one that the symlink latest names, so it was not completed")]
    AfterLatest,
}

/// What prevents an adoption.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The name has the form of a snapshot's name.
    #[error("it is named like a snapshot of {0}, but there is no such date or time")]
    NoSuchTime(Program),
    /// The clocks of the zone never showed the time.
    #[error("the clocks of this time zone never showed this time")]
    SkippedHour,
    /// A snapshot's name has four digits for the year.
    #[error("its modification time has no year of four digits")]
    NoYear,
    /// The history would mix snapshots of two programs.
    #[error("it is a snapshot of {0}, others here are of {1}: these are two histories")]
    SecondProgram(Program, Program),
    /// Two folders would get one name.
    #[error("it and {other} would both become {name}", other = shown(other.to_bytes()))]
    SameName {
        /// The other folder.
        other: CString,
        /// The name of both.
        name: String,
    },
    /// The times of the folders are not those of the snapshots.
    #[error("its modification time is earlier than that of {}, which is older", shown(.0.to_bytes()))]
    OutOfOrder(CString),
    /// The new name is in use.
    #[error("{0} exists in the backups folder")]
    Exists(String),
    /// `.backup_manager` would describe the new snapshot by the records of another one.
    #[error("there are records of an earlier {0}")]
    Recorded(String),
    /// A rename works only within one file system.
    #[error("it is on another file system than the backups folder")]
    OtherFileSystem,
    /// A rename works only within one mount.
    #[error("it and the backups folder are reached through different mounts")]
    OtherMount,
    /// A mount point cannot be renamed.
    #[error("something is mounted there")]
    Mounted,
    /// A rename changes the folders that contain the names.
    #[error("this user may not write to it")]
    Unwritable,
    /// Another user's folder in a folder with the sticky bit.
    #[error(
        "it belongs to another user, and the sticky bit of the folder above lets only that user rename it"
    )]
    Sticky,
    /// It cannot be checked.
    #[error("it cannot be opened: {0}")]
    Unreadable(String),
}
