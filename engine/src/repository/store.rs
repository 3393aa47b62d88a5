//! The folders of `.backup_manager/` and the names of the files in them.

use std::ffi::CStr;

use crate::snapshot::name::Prefix;

/// A folder of `.backup_manager/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// The lock or the lease of each prefix.
    Locks,
    /// The checkpoints of each prefix's incomplete snapshot.
    Journal,
    /// The report of each snapshot.
    Reports,
    /// The outcome of the last run of each prefix.
    Status,
    /// The progress of the last run of each prefix.
    Progress,
    /// The metadata of each snapshot that the destination cannot store.
    Sidecars,
    /// The snapshots that a user pinned.
    Holds,
    /// The snapshots in which a check found damage.
    Damaged,
    /// The manifest of each snapshot.
    Manifests,
    /// The progress of the rolling check of each prefix.
    Checks,
    /// The result of the last check of each prefix.
    Checked,
    /// The snapshots that were copied from another backups folder.
    Copied,
    /// The result of the last restore drill of each prefix.
    Drilled,
    /// New inodes while `verify --heal-from` writes them.
    Healing,
    /// Symlinks to the snapshots of each prefix, for Samba.
    Previous,
}

impl Store {
    /// The stores that opening the repository for writing creates. Each other store is created with its first
    /// file.
    pub(crate) const MADE_FIRST: [Self; 6] =
        [Self::Locks, Self::Journal, Self::Reports, Self::Status, Self::Progress, Self::Sidecars];

    /// The stores with one file or folder per snapshot, and the suffix that follows the snapshot's name.
    pub(crate) const OF_SNAPSHOTS: [(Self, &str); 6] = [
        (Self::Reports, ".json"),
        (Self::Sidecars, ""),
        (Self::Holds, ""),
        (Self::Damaged, ""),
        (Self::Manifests, ""),
        (Self::Copied, ""),
    ];

    /// The name of the folder.
    pub(crate) const fn folder(self) -> &'static CStr {
        match self {
            Self::Locks => c"locks",
            Self::Journal => c"journal",
            Self::Reports => c"reports",
            Self::Status => c"status",
            Self::Progress => c"progress",
            Self::Sidecars => c"kept",
            Self::Holds => c"holds",
            Self::Damaged => c"damaged",
            Self::Manifests => c"manifests",
            Self::Checks => c"verify",
            Self::Checked => c"verified",
            Self::Copied => c"copied",
            Self::Drilled => c"drilled",
            Self::Healing => c"healing",
            Self::Previous => c"previous",
        }
    }
}

/// The name of the file of `prefix` in a store.
pub(crate) fn file_of(prefix: &Prefix) -> String {
    format!("{prefix}.json")
}
