//! The symlinks to snapshots that a job keeps for other programs.

/// Which symlinks a job keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotLinks {
    /// `PREFIX.latest` leads to the newest complete snapshot (`LATEST_LINK`).
    pub latest: bool,
    /// `.backup_manager/previous/PREFIX/@GMT-…` lead to all complete snapshots (`PREVIOUS_VERSIONS`).
    pub previous_versions: bool,
}
