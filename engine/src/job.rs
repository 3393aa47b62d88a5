//! A job: what to back up, where to, under which name and with which limits. The code that builds a
//! `Job` checks the values.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::entry::preserve::Preserve;
use crate::filter::filters::Filters;
use crate::snapshot::changes::ChangeBrake;
use crate::snapshot::host::Host;
use crate::snapshot::layout::Layout;
use crate::snapshot::links::SnapshotLinks;
use crate::snapshot::name::Prefix;
use crate::snapshot::retention::Retention;
use crate::source::Source;
use crate::source::files_from::Selection;

/// One backup job, checked and complete.
#[derive(Debug, Clone)]
pub struct Job {
    /// The prefix of its snapshot names.
    pub prefix: Prefix,
    /// The machine that the source roots are on.
    pub host: Host,
    /// The source roots and where each lies inside a snapshot.
    pub layout: Layout,
    /// The folder that holds the snapshots.
    pub backups_dir: PathBuf,
    /// The permission bits of that folder (`BACKUPS_MODE`). `None`: mode 0700 when root creates it,
    /// otherwise unchanged.
    pub backups_mode: Option<u32>,
    /// What a snapshot keeps of its source.
    pub keep: Preserve,
    /// The filter rules that exclude entries.
    pub filters: Arc<Filters>,
    /// The retention rules (`MAX_BACKUPS`, `KEEP_…`).
    pub retention: Retention,
    /// The minimum time between two snapshots (`MINIMUM_TIME_GUARD_H`).
    pub minimum_time_guard: TimeDelta,
    /// The share of lost files, in percent, above which a source root counts as collapsed
    /// (`MAX_SHRINK_PERCENT`).
    pub max_shrink_percent: f64,
    /// If set, only these entries are backed up (`--files-from`).
    pub selection: Option<Arc<Selection>>,
    /// The highest number of base entries that a snapshot may lose (`--max-delete`).
    pub max_delete: Option<u64>,
    /// How many signs of a mass change freeze the pruning (`CHANGE_BRAKE`).
    pub change_brake: ChangeBrake,
    /// The symlinks to snapshots that other programs use.
    pub links: SnapshotLinks,
    /// The smallest file, in bytes, that a run looks for under another path of the base when it is new
    /// (`RENAME_DETECTION`); `None`: not at all.
    pub rename_from: Option<u64>,
    /// `-m`: folders that contain only folders are excluded.
    pub prune_empty: bool,
}

impl Job {
    /// The job as far as `source` can report what it keeps.
    pub(crate) fn with<S: Source>(&self, source: &S) -> Self {
        Self { keep: source.reports(self.keep), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use crate::entry::preserve::leads_out;

    #[test]
    fn a_symlink_leads_out_when_it_is_absolute_or_climbs_too_far() {
        for (target, depth, out) in [
            ("a", 0, false),
            ("/a", 5, true),
            ("", 5, true),
            ("..", 0, true),
            ("..", 1, false),
            ("../../x", 1, true),
            ("../../x", 2, false),
            ("./../x", 1, true),
            ("../..", 2, true),
            ("x/./y", 0, false),
            ("a/../b", 3, true),
            ("a/..", 3, true),
            ("../a/b", 1, false),
            ("..a", 0, false),
        ] {
            assert_eq!(leads_out(Some(target.as_bytes()), depth), out, "{target} {depth}");
        }
        assert!(leads_out(None, 9));
    }
}
