//! A job: what to back up, where to, under which name and limits. Checked by whoever builds it.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::entry::preserve::Keep;
use crate::filter::filters::Filters;
use crate::snapshot::host::Host;
use crate::snapshot::layout::Layout;
use crate::snapshot::name::Prefix;
use crate::snapshot::retention::Retention;
use crate::source::files_from::Selection;

/// One backup job, checked and complete.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names its snapshots.
    pub prefix: Prefix,
    /// The machine that the source roots are on.
    pub host: Host,
    /// The source roots and where each lies inside a snapshot.
    pub layout: Layout,
    /// The folder that holds the snapshots.
    pub backups_dir: PathBuf,
    /// The permission bits of that folder (`BACKUPS_MODE`); `None`: closed when it is made, else left as it is.
    pub backups_mode: Option<u32>,
    /// What a snapshot keeps of its source.
    pub keep: Keep,
    /// What of its source is left out.
    pub filters: Arc<Filters>,
    /// How much of the history stays (`MAX_BACKUPS`, `KEEP_…`).
    pub retention: Retention,
    /// The least time between two snapshots (`MINIMUM_TIME_GUARD_H`).
    pub minimum_time_guard: TimeDelta,
    /// From which loss of files on a source root counts as collapsed, in percent (`MAX_SHRINK_PERCENT`).
    pub max_shrink_percent: f64,
    /// The only entries that are taken (`--files-from`).
    pub selection: Option<Arc<Selection>>,
    /// Most entries of the base that a snapshot may be without (`--max-delete`).
    pub max_delete: Option<u64>,
    /// `-m`: folders without anything but folders are left out.
    pub prune_empty: bool,
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
