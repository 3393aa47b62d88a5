//! A job: what to back up, where to, under which name and limits. Checked by whoever builds it.

use std::path::PathBuf;

use chrono::TimeDelta;

use crate::layout::Layout;
use crate::name::Prefix;
use crate::retention::Retention;

/// One backup job, checked and complete.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names its snapshots.
    pub prefix: Prefix,
    /// The source roots and where each lies inside a snapshot.
    pub layout: Layout,
    /// The folder that holds the snapshots.
    pub backups_dir: PathBuf,
    /// What a snapshot keeps of its source.
    pub keep: Keep,
    /// How much of the history stays (`MAX_BACKUPS`, `KEEP_…`).
    pub retention: Retention,
    /// The least time between two snapshots (`MINIMUM_TIME_GUARD_H`).
    pub minimum_time_guard: TimeDelta,
    /// From which loss of files on a source root counts as collapsed, in percent (`MAX_SHRINK_PERCENT`).
    pub max_shrink_percent: f64,
}

/// Which properties of entries are read, compared and kept. The defaults are rsync's
/// `-a -x -H --numeric-ids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of rsync's")]
pub struct Keep {
    /// `-l`: symlinks.
    pub symlinks: bool,
    /// `-p`: mode bits.
    pub mode: bool,
    /// `-t`: modification times.
    pub times: bool,
    /// `-o`: numeric owner.
    pub owner: bool,
    /// `-g`: numeric group.
    pub group: bool,
    /// `--devices`: device nodes.
    pub devices: bool,
    /// `--specials`: fifos and sockets.
    pub specials: bool,
    /// `-H`: hard links within the source.
    pub hard_links: bool,
    /// `-A`: POSIX ACLs.
    pub acls: bool,
    /// `-X`: extended attributes.
    pub xattrs: bool,
    /// `-x`: stay on the file system of each source root.
    pub one_file_system: bool,
    /// `-c`: compare content, not size and time.
    pub checksum: bool,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            symlinks: true,
            mode: true,
            times: true,
            owner: true,
            group: true,
            devices: true,
            specials: true,
            hard_links: true,
            acls: false,
            xattrs: false,
            one_file_system: true,
            checksum: false,
        }
    }
}
