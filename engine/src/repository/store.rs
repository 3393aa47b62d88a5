//! The folders of `.backup_manager/`, and the names of the files in them.

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
    /// How the last run of each prefix ended.
    Status,
    /// How far the last run of each prefix came.
    Progress,
    /// The values of each snapshot that the destination cannot hold.
    Sidecars,
    /// The snapshots that a user pinned.
    Holds,
    /// The snapshots in which a check found damage.
    Damaged,
    /// The manifest of each snapshot.
    Manifests,
    /// How far the rolling check of each prefix came.
    Checks,
}

impl Store {
    /// The stores that opening the repository to write makes; the others are made with their first file.
    pub(crate) const MADE_FIRST: [Self; 6] =
        [Self::Locks, Self::Journal, Self::Reports, Self::Status, Self::Progress, Self::Sidecars];

    /// The stores with a file or folder for each snapshot, and what its name ends with behind the snapshot's.
    pub(crate) const OF_SNAPSHOTS: [(Self, &str); 5] = [
        (Self::Reports, ".json"),
        (Self::Sidecars, ""),
        (Self::Holds, ""),
        (Self::Damaged, ""),
        (Self::Manifests, ""),
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
        }
    }
}

/// The name of the file that a store has for `prefix`.
pub(crate) fn file_of(prefix: &Prefix) -> String {
    format!("{prefix}.json")
}
