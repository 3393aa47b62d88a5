//! Things a run has to say to people, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::escape::shown;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Part of a good run.
    Info,
    /// The run goes on, but its user should know.
    Warning,
}

/// Something that happened. `Display` gives one line for people, paths escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Work on a snapshot begins.
    Started {
        /// The incomplete folder's name.
        snapshot: String,
        /// The snapshot that unchanged files are linked from.
        base: Option<String>,
        /// Whether an interrupted run is resumed.
        resumed: bool,
    },
    /// What the destination is, in one line (file system, what it can hold, free space).
    Destination {
        /// The line.
        about: String,
    },
    /// Users other than its owner and its group may enter the backups folder.
    OpenToOthers {
        /// The folder's path.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The destination cannot keep something as it is.
    Limited {
        /// What cannot be kept and what is done instead.
        what: String,
    },
    /// A mount point inside a source root was left out (`-x`).
    MountPoint {
        /// Its path.
        path: String,
    },
    /// A subvolume inside a source root was left out, as it is no part of it.
    SubvolumeLeftOut {
        /// Its path.
        path: String,
        /// What it is.
        why: String,
    },
    /// A subvolume inside a source root belongs to it.
    Subvolume {
        /// Its path.
        path: String,
    },
    /// Another file system inside a source root is backed up with it.
    MountIncluded {
        /// Its path.
        path: String,
    },
    /// The backups folder lies inside a source root and was left out.
    BackupsInsideSource {
        /// Its path in the source.
        path: String,
    },
    /// A source root is a symlink; the folder or file that it leads to is backed up.
    RootIsLink {
        /// The root's path.
        path: String,
    },
    /// A source root is in no snapshot of this history yet: it does not wait for the minimum time.
    NewRoot {
        /// The root's path.
        path: String,
    },
    /// The history of other sources is gone on with, as that was asked for.
    SourcesAccepted {
        /// What differs.
        what: String,
    },
    /// A source root is no longer named, while snapshots still hold it.
    RootDropped {
        /// The root's path.
        path: String,
        /// The newest snapshot that holds it.
        last: String,
    },
    /// The filters leave a whole source root out.
    RootLeftOut {
        /// The root's path.
        path: String,
        /// The rule that decided.
        rule: String,
    },
    /// The clock disagrees with the snapshots that are there.
    Clock {
        /// What was seen and what is done.
        what: String,
    },
    /// A snapshot has to go and cannot be removed.
    Stuck {
        /// Which one, what of it, and why.
        stuck: crate::monitor::event::Stuck,
    },
    /// A file that an interrupted run had copied a part of is copied from there on.
    GoesOn {
        /// Its path on the source.
        path: String,
        /// Where it goes on, bytes.
        at: u64,
        /// All of it, bytes.
        size: u64,
    },
    /// A file that a check found damaged in the snapshot before is copied anew.
    Heals {
        /// Its path on the source.
        path: String,
    },
    /// An entry that was not read well.
    Problem(Problem),
    /// Everything so far is durable; a later run will not check it again.
    Checkpoint,
    /// A snapshot was removed from the history.
    Pruned {
        /// Its name.
        snapshot: String,
        /// Why.
        reason: String,
    },
    /// A snapshot that would go stays for now.
    InUse {
        /// Its name.
        snapshot: String,
    },
    /// The removal of a snapshot that an earlier run had begun was finished.
    LeftoverRemoved {
        /// Its name.
        snapshot: String,
    },
    /// Something beside the snapshot itself failed (report, status).
    Aside {
        /// What failed and why.
        what: String,
    },
}

impl Event {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Limited { .. }
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
            Self::Destination { about } => write!(f, "destination: {about}"),
            Self::Limited { what } | Self::Clock { what } | Self::Aside { what } => {
                f.write_str(what)
            }
            Self::OpenToOthers { path, mode } => {
                write!(
                    f,
                    "all users of this machine may enter {path} (mode {mode:04o}): they read there what its files' own modes allow, old setuid programs run, and who owns a file can change it in all snapshots that share it; chmod 700 {path} closes it, BACKUPS_MODE={:04o} keeps it open without this warning",
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
                    "the source {path} is no longer named in SRCS_TO_BACKUP and no longer backed up; its newest copy is in {last}, and goes with that snapshot"
                )
            }
            Self::RootLeftOut { path, rule } => {
                write!(f, "the filters leave out the whole source {path}: {rule}")
            }
            Self::MountPoint { path } => {
                write!(f, "left out, another file system is mounted there (-x): {path}")
            }
            Self::SubvolumeLeftOut { path, why } => write!(f, "left out, it is {why}: {path}"),
            Self::Subvolume { path } => {
                write!(f, "backed up with the source, a subvolume of the same file system: {path}")
            }
            Self::MountIncluded { path } => {
                write!(f, "backed up with the source, another file system is mounted there: {path}")
            }
            Self::BackupsInsideSource { path } => {
                write!(f, "left out, it is the backups folder itself: {path}")
            }
            Self::RootIsLink { path } => {
                write!(f, "the source {path} is a symlink; what it leads to is backed up")
            }
            Self::GoesOn { path, at, size } => {
                let percent = u128::from(*at) * 100 / u128::from(*size).max(1);
                write!(f, "{path}: {percent} % of it were copied before, it goes on from there")
            }
            Self::Heals { path } => {
                write!(f, "{path}: it is damaged in the snapshot before, and copied anew")
            }
            Self::Problem(problem) => problem.fmt(f),
            Self::Checkpoint => f.write_str("checkpoint: everything so far is on disk"),
            Self::Pruned { snapshot, reason } => write!(f, "removed {snapshot}: {reason}"),
            Self::InUse { snapshot } => {
                write!(
                    f,
                    "{snapshot} would go and stays for now: it is being read (restore, verify, diff)"
                )
            }
            Self::Stuck { stuck } => stuck.fmt(f),
            Self::LeftoverRemoved { snapshot } => {
                write!(f, "finished the removal of {snapshot} that an earlier run had begun")
            }
        }
    }
}

/// An entry of the source that was not read well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path on the source, escaped as [`crate::entry::escape::Shown`] does.
    pub path: String,
    /// What went wrong, with the system's reason.
    pub what: String,
    /// What the snapshot holds there now.
    pub instead: Instead,
    /// RFC 3339, UTC: since when it is carried forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What a snapshot holds in the place of an entry that was not read well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// The entry of the base, linked.
    CarriedForward,
    /// What was read last, though it changed while it was read.
    LastRead,
    /// The entry, but without some of its properties (they are kept beside it, if anywhere).
    Partly,
    /// The entry, or a part of it, beside the snapshot: `restore` brings it back.
    Beside,
    /// Nothing.
    Nothing,
    /// All that its rules would leave out.
    AllOfIt,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; ", self.path, self.what)?;
        f.write_str(match self.instead {
            Instead::CarriedForward => "the version of the snapshot before is carried forward",
            Instead::LastRead => "kept as it was last read",
            Instead::Partly => "kept without it",
            Instead::Beside => {
                "kept beside the snapshot, in .backup_manager/kept; restore brings it back"
            }
            Instead::Nothing => "it is missing from this snapshot",
            Instead::AllOfIt => "what it would leave out is kept",
        })?;
        match &self.since {
            Some(since) => write!(f, " (since {since})"),
            None => Ok(()),
        }
    }
}

impl Problem {
    /// A problem with the entry at `path` (bytes of the source's path).
    #[must_use]
    pub fn new(path: &[u8], what: impl fmt::Display, instead: Instead) -> Self {
        Self { path: shown(path), what: what.to_string(), instead, since: None }
    }
}

/// A snapshot that has to go and cannot be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Its folder name.
    pub snapshot: String,
    /// What cannot be removed or renamed: the folder, or what lies in it.
    pub path: String,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { snapshot, path, why } = self;
        write!(f, "{snapshot} has to go and cannot be removed: {path}: {why}")
    }
}
