//! The events of a run, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::escape::shown;
use crate::snapshot::changes::{Freeze, Suspicion};

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// The run continues, but the user should know.
    Warning,
}

/// Something that happened during a run. `Display` gives one line for people, with paths escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Work on a snapshot starts.
    Started {
        /// The incomplete folder's name.
        snapshot: String,
        /// The snapshot that unchanged files are linked from.
        base: Option<String>,
        /// Whether the run resumes an interrupted one.
        resumed: bool,
    },
    /// The copy of a snapshot to another backups folder starts.
    Copying {
        /// The snapshot.
        snapshot: String,
        /// The snapshot of the copy that shared files are linked from.
        base: Option<String>,
        /// Whether an interrupted copy is continued.
        resumed: bool,
    },
    /// A description of the destination in one line: file system, abilities, free space.
    Destination {
        /// The line.
        about: String,
    },
    /// Users other than the owner and the group may enter the backups folder.
    OpenToOthers {
        /// The folder's path.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The destination cannot store something as it is.
    Limited {
        /// What it cannot store, and what the run does instead.
        what: String,
    },
    /// A mount point inside a source root is excluded (`-x`).
    MountPoint {
        /// Its path.
        path: String,
    },
    /// A subvolume inside a source root is excluded, because it is not part of the source.
    SubvolumeLeftOut {
        /// Its path.
        path: String,
        /// Why it is not part of the source.
        why: String,
    },
    /// A subvolume inside a source root is included.
    Subvolume {
        /// Its path.
        path: String,
    },
    /// Another file system inside a source root is included.
    MountIncluded {
        /// Its path.
        path: String,
    },
    /// The backups folder lies inside a source root and is excluded.
    BackupsInsideSource {
        /// Its path in the source.
        path: String,
    },
    /// A source root is a symlink. The folder or file that it points to is backed up.
    RootIsLink {
        /// The root's path.
        path: String,
    },
    /// No snapshot of this history holds this source root yet, so the minimum time does not delay
    /// it.
    NewRoot {
        /// The root's path.
        path: String,
    },
    /// A history of other sources continues, because the user accepted that.
    SourcesAccepted {
        /// What differs.
        what: String,
    },
    /// A source root was removed from the job, but snapshots still hold it.
    RootDropped {
        /// The root's path.
        path: String,
        /// The newest snapshot that holds it.
        last: String,
    },
    /// The filter rules exclude a whole source root.
    RootLeftOut {
        /// The root's path.
        path: String,
        /// The rule that decided.
        rule: String,
    },
    /// The clock contradicts the existing snapshots.
    Clock {
        /// The time that the clock shows (RFC 3339, UTC).
        says: String,
        /// What contradicts it, and what the run does.
        what: String,
    },
    /// A snapshot is due for removal but cannot be removed.
    Stuck {
        /// Which snapshot, which path in it, and why.
        stuck: crate::monitor::event::Stuck,
    },
    /// An interrupted run copied a part of this file; this run continues the copy.
    GoesOn {
        /// Its path on the source.
        path: String,
        /// The offset at which it continues, bytes.
        at: u64,
        /// The size of the file, bytes.
        size: u64,
    },
    /// The base has files under another path. They are linked or copied from there.
    Renamed {
        /// The path on the source before, escaped; that of a folder ends in `/`.
        from: String,
        /// The path on the source now, in the same form.
        to: String,
        /// The number of files.
        files: u64,
    },
    /// The changes of this run are suspicious.
    Suspicious {
        /// Which, and why.
        suspicion: Suspicion,
    },
    /// No snapshot is removed because of a mass change.
    Frozen {
        /// Why, and until when.
        freeze: Freeze,
    },
    /// A check found this file damaged in the base, so it is copied again.
    Heals {
        /// Its path on the source.
        path: String,
    },
    /// An entry that could not be read or stored as it is.
    Problem(Problem),
    /// All files so far are synced. A later run does not check them again.
    Checkpoint,
    /// A snapshot was removed from the history.
    Pruned {
        /// Its name.
        snapshot: String,
        /// The retention rule, or the full disk.
        reason: String,
    },
    /// A snapshot that is due for removal stays, because another process reads it.
    InUse {
        /// Its name.
        snapshot: String,
    },
    /// The run finished the removal of a snapshot that an earlier run started.
    LeftoverRemoved {
        /// Its name.
        snapshot: String,
    },
    /// A hold that changed in the backups folder that is copied was changed in the copy, too.
    HoldCopied {
        /// The snapshot.
        snapshot: String,
        /// Whether the copy holds it now.
        held: bool,
    },
    /// Something other than the snapshot failed (report, status).
    Aside {
        /// What failed and why.
        what: String,
    },
}

impl Event {
    /// How important the event is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Limited { .. }
            | Self::Suspicious { .. }
            | Self::Frozen { .. }
            | Self::OpenToOthers { .. }
            | Self::RootLeftOut { .. }
            | Self::RootDropped { .. }
            | Self::SourcesAccepted { .. }
            | Self::Clock { .. }
            | Self::Heals { .. }
            | Self::InUse { .. }
            | Self::Stuck { .. }
            | Self::Problem(_)
            | Self::Aside { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { snapshot, base, resumed } => {
                f.write_str(if *resumed { "resuming " } else { "starting " })?;
                f.write_str(snapshot)?;
                match base {
                    Some(base) => write!(f, ", unchanged files are linked from {base}"),
                    None => f.write_str(", the first snapshot: everything is copied"),
                }
            }
            Self::Copying { snapshot, base, resumed } => {
                let verb = if *resumed { "continuing the copy of" } else { "copying" };
                write!(f, "{verb} {snapshot}")?;
                match base {
                    Some(base) => write!(f, ", shared files are linked from the copy of {base}"),
                    None => f.write_str(", the first one of the copy"),
                }
            }
            Self::Destination { about } => write!(f, "destination: {about}"),
            Self::Limited { what } | Self::Aside { what } => f.write_str(what),
            Self::Clock { says, what } => write!(f, "the clock says {says}, {what}"),
            Self::OpenToOthers { path, mode } => {
                write!(
                    f,
                    "all users of this machine may enter {path} (mode {mode:04o}): they can read every file whose own mode allows it and run old setuid programs, and the owner of a file can change it in all snapshots that share it; 'chmod 700 {path}' closes the folder, BACKUPS_MODE={:04o} keeps it open without this warning",
                    mode & 0o777
                )
            }
            Self::NewRoot { path } => {
                write!(
                    f,
                    "the source {path} is in no snapshot yet and does not wait for MINIMUM_TIME_GUARD_H"
                )
            }
            Self::SourcesAccepted { what } => write!(f, "accepted (--accept-sources): {what}"),
            Self::RootDropped { path, last } => {
                write!(
                    f,
                    "the source {path} is no longer named in SRCS_TO_BACKUP and no longer backed up; its newest copy is in {last} and is removed with that snapshot"
                )
            }
            Self::RootLeftOut { path, rule } => {
                write!(f, "the filter rules exclude the whole source {path}: {rule}")
            }
            Self::MountPoint { path } => {
                write!(f, "excluded, another file system is mounted there (-x): {path}")
            }
            Self::SubvolumeLeftOut { path, why } => write!(f, "excluded, it is {why}: {path}"),
            Self::Subvolume { path } => {
                write!(f, "backed up with the source, a subvolume of the same file system: {path}")
            }
            Self::MountIncluded { path } => {
                write!(f, "backed up with the source, another file system is mounted there: {path}")
            }
            Self::BackupsInsideSource { path } => {
                write!(f, "excluded, it is the backups folder itself: {path}")
            }
            Self::RootIsLink { path } => {
                write!(
                    f,
                    "the source {path} is a symlink; the folder or file that it points to is backed up"
                )
            }
            Self::GoesOn { path, at, size } => {
                let percent = u128::from(*at) * 100 / u128::from(*size).max(1);
                write!(
                    f,
                    "{path}: {percent} % of it was copied earlier, the copy continues from there"
                )
            }
            Self::Renamed { from, to, files: 1 } if !to.ends_with('/') => {
                write!(f, "renamed: {from} is now {to}")
            }
            Self::Renamed { from, to, files } => {
                write!(f, "renamed: {files} files of {from} are now in {to}")
            }
            Self::Suspicious { suspicion } => {
                write!(f, "a mass change that may be unwanted, in {suspicion}")
            }
            Self::Frozen { freeze: Freeze { held, .. } } => write!(
                f,
                "no snapshot is removed because of a mass change, until the hold of {held} is released"
            ),
            Self::Heals { path } => {
                write!(f, "{path}: it is damaged in the previous snapshot and is copied again")
            }
            Self::Problem(problem) => problem.fmt(f),
            Self::Checkpoint => f.write_str("checkpoint: everything so far is on disk"),
            Self::Pruned { snapshot, reason } => write!(f, "removed {snapshot}: {reason}"),
            Self::InUse { snapshot } => {
                write!(
                    f,
                    "{snapshot} is due for removal but stays for now: another process is reading it (restore, verify, diff)"
                )
            }
            Self::Stuck { stuck } => stuck.fmt(f),
            Self::HoldCopied { snapshot, held: true } => {
                write!(f, "the copy of {snapshot} is held, as the original is")
            }
            Self::HoldCopied { snapshot, held: false } => {
                write!(
                    f,
                    "the hold of the copy of {snapshot} is released, as that of the original is"
                )
            }
            Self::LeftoverRemoved { snapshot } => {
                write!(f, "finished the removal of {snapshot} that an earlier run had started")
            }
        }
    }
}

/// An entry of the source that could not be read or stored as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path on the source, escaped as [`crate::entry::escape::Shown`] does.
    pub path: String,
    /// What went wrong, with the error of the system.
    pub what: String,
    /// What the snapshot holds instead.
    pub instead: Instead,
    /// Since when it is carried forward (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What a snapshot holds instead of an entry that could not be read or stored as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// The entry of the base, linked.
    CarriedForward,
    /// The content that was read last, although it changed during the read.
    LastRead,
    /// The entry, but without some of its attributes. The sidecar may hold them.
    Partly,
    /// The entry, or a part of it, in the sidecar; `restore` brings it back.
    Beside,
    /// All of the entry, under another name, because the destination cannot have its own.
    OtherName,
    /// Nothing.
    Nothing,
    /// Nothing: the copy of a snapshot lacks the entry.
    NotCopied,
    /// All entries that the faulty rules would exclude.
    AllOfIt,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; ", self.path, self.what)?;
        f.write_str(match self.instead {
            Instead::CarriedForward => "the version of the previous snapshot is carried forward",
            Instead::LastRead => "stored as it was last read",
            Instead::Partly => "stored without it",
            Instead::Beside => {
                "stored beside the snapshot, in .backup_manager/kept; restore brings it back"
            }
            Instead::OtherName => "restore brings it back under its own name",
            Instead::Nothing => "it is missing from this snapshot",
            Instead::NotCopied => "it is missing from the copy",
            Instead::AllOfIt => "what it would exclude is kept",
        })?;
        match &self.since {
            Some(since) => write!(f, " (since {since})"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// A problem with the entry at `path`, a path on the source as bytes.
    #[must_use]
    pub fn new(path: &[u8], what: impl fmt::Display, instead: Instead) -> Self {
        Self { path: shown(path), what: what.to_string(), instead, since: None }
    }
}

/// A snapshot that is due for removal but cannot be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Its folder name.
    pub snapshot: String,
    /// The path that cannot be removed or renamed: the folder, or something in it.
    pub path: String,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { snapshot, path, why } = self;
        write!(f, "{snapshot} is due for removal but cannot be removed: {path}: {why}")
    }
}
