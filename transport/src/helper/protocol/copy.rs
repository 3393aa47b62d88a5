//! The messages of a copy: what the end that has the snapshots answers, and what the end that gets them reports. The
//! position of a variant is its number in the encoding: new ones go to the end.
//!
//! A snapshot is named by the second in its name, so a message cannot name anything else in a backups folder.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::DateTime;
use engine::snapshot::Stamp;
use engine::{Prefix, SnapshotName, SourceError};
use serde::{Deserialize, Serialize};

use crate::helper::protocol::entry::SentId;
use crate::helper::protocol::error::said;

/// The most bytes of one message that are a part of a record.
pub(crate) const RECORD_PART: usize = 256 * 1024;

/// The longest record of a snapshot that an end accepts, bytes.
pub(crate) const RECORD_MAX: usize = 64 << 20;

/// The longest event that is sent, bytes.
pub(crate) const EVENT_MAX: usize = 64 * 1024;

/// The most snapshots of one history. With six bytes each they fit into a message, and the other parts of [`SentSnapshots`] too.
pub(crate) const SNAPSHOTS_MAX: usize = 30_000;

/// The newest snapshots whose times of the run are sent with all snapshots.
pub(crate) const RUNS: usize = 16;

/// The longest times of a run that are sent so, bytes.
pub(crate) const RUN_MAX: usize = 512;

/// The most bytes of the holds that are sent with all snapshots.
pub(crate) const HOLDS_PART: usize = 32 * 1024;

/// The longest holds of one history that an end accepts, bytes.
pub(crate) const HOLDS_MAX: usize = 16 << 20;

/// A request of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CopyRequest<'a> {
    /// The near end has snapshots for the far end. When it accepts them, the ends exchange their roles.
    Receive(#[serde(borrow)] SentCopyJob<'a>),
    /// The complete snapshots of the backups folder `dir` with this prefix.
    Snapshots { dir: &'a [u8], prefix: &'a str },
    /// Opens a snapshot and calls its folder `folder`. With an `id` it was opened before, and must be the same.
    Open { folder: u64, snapshot: SentSnapshot<'a>, id: Option<SentId> },
    /// The records beside a snapshot, from this byte on.
    Beside { snapshot: SentSnapshot<'a>, from: u64 },
    /// What the end that gets the snapshots reports: a [`Said`] as JSON. Only after the roles were exchanged.
    Tell { what: &'a [u8] },
    /// The holds of the complete snapshots of the backups folder `dir` with this prefix, from this byte on.
    Holds { dir: &'a [u8], prefix: &'a str, from: u64 },
}

/// What is to be copied to a far end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentCopyJob<'a> {
    /// The backups folder of the far end.
    pub(crate) dir: &'a [u8],
    pub(crate) prefix: &'a str,
    /// The settings of the copy, as JSON.
    pub(crate) settings: &'a [u8],
    /// The level by which the ends compress after they exchanged their roles.
    pub(crate) compression: Option<u8>,
    /// The snapshots that the near end has.
    pub(crate) offered: SentSnapshots,
}

/// A complete snapshot, and the one before it if that is known to both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentSnapshot<'a> {
    /// Its backups folder. The near end of a push has only one, and uses that.
    pub(crate) dir: &'a [u8],
    pub(crate) prefix: &'a str,
    /// Seconds since 1970.
    pub(crate) stamp: i64,
    pub(crate) previous: Option<i64>,
}

/// An answer to a request of a copy. That to [`CopyRequest::Open`] is the one to a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CopyAnswer {
    Receiving(Result<(), SentRefusal>),
    Snapshots(Result<SentSnapshots, SentRefusal>),
    /// The length of the records, and their bytes from the requested one on.
    Beside(Result<(u64, Vec<u8>), SentRefusal>),
    /// Whether the copy goes on, and the bytes per second that it may read from now on.
    Told(bool, Option<u64>),
    /// A request takes long, and is being worked on.
    Working,
    /// As for [`CopyAnswer::Beside`].
    Holds(Result<(u64, Vec<u8>), SentRefusal>),
}

/// The complete snapshots of a backups folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentSnapshots {
    /// Seconds since 1970, oldest first.
    pub(crate) stamps: Vec<i64>,
    /// Where the folder is.
    pub(crate) place: Option<SentPlace>,
    /// Of the newest snapshots: [`engine::copy::RunTimes`] as JSON, or `null`.
    pub(crate) runs: Vec<(i64, Vec<u8>)>,
    /// The length of the holds, and their first bytes: a list of seconds and [`engine::repository::Hold`], as JSON.
    pub(crate) holds: (u64, Vec<u8>),
}

/// Where a folder is. Two ends on the same machine recognize it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentPlace {
    /// A hash of the boot ID of the machine (random(4)).
    machine: [u8; 32],
    /// The folder, and those above it.
    folders: Vec<SentId>,
}

impl SentPlace {
    /// The place of a folder of this machine.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let id = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino()));
        let folders: io::Result<_> = path.canonicalize().ok()?.ancestors().map(id).collect();
        Some(Self { machine: blake3::hash(&boot).into(), folders: folders.ok()? })
    }

    /// Whether the folder at `path` of this machine is this folder, lies in it, or contains it.
    pub(crate) fn overlaps(&self, path: &Path) -> bool {
        // A folder that does not exist yet lies in its parent.
        let Some(ours) = path.ancestors().find_map(Self::of) else { return false };
        let lies_in = |inner: &Self, outer: &Self| {
            outer.folders.first().is_some_and(|top| inner.folders.contains(top))
        };
        ours.machine == self.machine
            && (lies_in(&ours, self) || path.exists() && lies_in(self, &ours))
    }
}

/// Why an end does not do what it was asked for: the errno if there is one, and a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentRefusal {
    pub(crate) errno: Option<i32>,
    pub(crate) text: String,
}

impl SentRefusal {
    pub(crate) fn new(text: impl std::fmt::Display) -> Self {
        Self { errno: None, text: text.to_string() }
    }

    /// For a message.
    pub(crate) fn said(&self) -> String {
        match self.errno {
            Some(errno) => io::Error::from_raw_os_error(errno).to_string(),
            None => said(&self.text),
        }
    }
}

impl From<&io::Error> for SentRefusal {
    fn from(error: &io::Error) -> Self {
        let errno = error.raw_os_error();
        Self { errno, text: if errno.is_none() { error.to_string() } else { String::new() } }
    }
}

impl From<SentRefusal> for SourceError {
    fn from(SentRefusal { errno, text }: SentRefusal) -> Self {
        let error = match errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(said(&text)),
        };
        Self::Unreadable { action: "open", error }
    }
}

/// The name of the complete snapshot with this prefix and second; `None` if there is none.
pub(crate) fn snapshot_name(prefix: &Prefix, stamp: i64) -> Option<SnapshotName> {
    let stamp = Stamp::of(DateTime::from_timestamp(stamp, 0)?)?;
    let state = engine::snapshot::SnapshotState::Complete;
    Some(SnapshotName { prefix: prefix.clone(), stamp, state })
}

/// The second in the name of a snapshot.
pub(crate) fn stamp(name: &SnapshotName) -> i64 {
    name.stamp.time().timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_this_machine_is_recognized() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        std::fs::create_dir_all(one.join("in")).unwrap();
        std::fs::create_dir(&two).unwrap();
        std::os::unix::fs::symlink(&one, scratch.path().join("link")).unwrap();
        let place = SentPlace::of(&one).unwrap();
        for path in [&one, &one.join("in"), &one.join("new"), &scratch.path().join("link")] {
            assert!(place.overlaps(path), "{path:?}");
        }
        assert!(place.overlaps(scratch.path()));
        assert!(!place.overlaps(&two) && !place.overlaps(&scratch.path().join("new")));
        let elsewhere = SentPlace { machine: [0; 32], ..place };
        assert!(!elsewhere.overlaps(&one));
    }
}
