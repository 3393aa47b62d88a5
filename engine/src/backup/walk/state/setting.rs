//! What a walk has to know before it starts.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::DateTime;

use crate::backup::plan::{CompareRules, TimeRule};
use crate::backup::withheld::Empty;
use crate::entry::escape::unshown;
use crate::entry::racy::{Begins, before};
use crate::entry::stored::StoredEntry;
use crate::entry::{FileId, Time};
use crate::error::{RunError, destination};
use crate::filter::filters::Filters;
use crate::fs::dir::Dir;
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::records::damage::damage;
use crate::repository::records::report::{Holds, MountFound, Report};
use crate::repository::records::report_file::report;
use crate::repository::records::sidecar::Sidecar;
use crate::repository::store::Store;
use crate::repository::{Repository, folder_name};
use crate::snapshot::name::SnapshotName;
use crate::source::files_from::Selection;

/// A snapshot to look into, held open at its top.
pub(crate) struct Beside {
    pub(crate) top: Option<Dir>,
    pub(crate) kept: Sidecar,
}

/// Which files of the incomplete snapshot are certainly on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust {
    /// Written before this change time: before a checkpoint that succeeded.
    pub(crate) before: Option<Time>,
    /// Whether any other may be checked by its hash: not after a sync that failed.
    pub(crate) checkable: bool,
}

impl Trust {
    pub(crate) fn covers(self, here: &StoredEntry, base: Option<&StoredEntry>) -> bool {
        let of_base = base.is_some_and(|base| base.meta.id == here.meta.id);
        let ctime = here.meta.ctime;
        of_base || here.meta.size == 0 || self.before.is_some_and(|before| ctime < before)
    }
}

/// What is found at a source root before the walk.
#[derive(Debug, Clone)]
pub(crate) struct RootSeen {
    pub(crate) path: PathBuf,
    pub(crate) inside: Vec<u8>,
    pub(crate) file_system: Option<String>,
    pub(crate) inode: Option<u64>,
    /// The file system that the base's report tells for it.
    pub(crate) file_system_before: Option<String>,
    /// Files, and bytes where they were recorded, that the base's report tells for it.
    pub(crate) held_before: Option<(u64, Option<u64>)>,
}

/// What a walk is made from.
pub(crate) struct Setting {
    pub(crate) rules: CompareRules,
    pub(crate) trust: Trust,
    pub(crate) base: Beside,
    /// Paths inside the base that a check found damaged: nothing is linked or copied from there.
    pub(crate) damaged: HashSet<Vec<u8>>,
    pub(crate) here: Beside,
    /// From when on a file of the source may have changed that the base holds a copy of.
    pub(crate) base_since: Option<Time>,
    /// The same of what the incomplete snapshot holds.
    pub(crate) begins: Begins,
    pub(crate) backups: FileId,
    pub(crate) backups_dir: PathBuf,
    pub(crate) roots: Vec<RootSeen>,
    /// Mount points below them that the base has files of, by their paths inside it.
    pub(crate) mounts_before: HashMap<Vec<u8>, MountFound>,
    /// Paths of the source that fstab(5) has mount points for which are not mounted.
    pub(crate) unmounted: HashSet<Vec<u8>>,
    /// The only entries that are taken, by their paths below the one root.
    pub(crate) selection: Option<Arc<Selection>>,
    /// Folders that turn out to be empty, when those are to be left out.
    pub(crate) empty: Option<Empty>,
    /// What of the source is left out.
    pub(crate) filters: Arc<Filters>,
    /// What the destination could hold when the base was stored.
    pub(crate) base_holds: Holds,
    /// The destination does not tell upper from lower case.
    pub(crate) folds_case: bool,
    /// An empty root on another file system than last time is taken as it is.
    pub(crate) accept_empty: bool,
    pub(crate) context: Context,
}

/// What a walk needs to know, gathered from the backups folder.
#[expect(clippy::too_many_arguments, reason = "the one place where both kinds of walk are set up")]
pub(crate) fn gather(
    job: &Job,
    repository: &Repository,
    incomplete: Option<&SnapshotName>,
    base: Option<&SnapshotName>,
    granularity_ns: u32,
    trust: Trust,
    accept_empty: bool,
    context: &Context,
) -> Result<Setting, RunError> {
    let broken =
        |error| destination("cannot open", &repository.path, repository.path.clone(), error);
    let kept = repository.store(Store::Sidecars);
    let beside = |name: Option<&SnapshotName>| -> std::io::Result<Beside> {
        let folder = name.map(folder_name).transpose()?.unwrap_or_else(CString::default);
        let top = name.map(|_| repository.dir.child(&folder)).transpose()?;
        Ok(Beside { top, kept: Sidecar::open(kept.as_ref().filter(|_| name.is_some()), &folder)? })
    };
    let damage = base.map(|base| damage(repository, base)).unwrap_or_default();
    let mut keep = job.keep;
    if let (Some(why), Some(base)) = (&damage.unknown, base) {
        // Nothing is linked that was not compared with what the source holds now.
        keep.checksum = true;
        let what = format!(
            "the mark of damage in {base} cannot be read ({why}): all files are read from the source and compared; verify {base} writes it anew"
        );
        context.monitor.event(&Event::Aside { what });
    }
    let report = base.and_then(|base| report(repository, base));
    let time =
        TimeRule::new(granularity_ns, report.as_ref().map(|report| report.time_granularity_ns));
    let expected = report.as_ref().map_or(0, |report| report.counts.entries);
    context.progress.entries_expected.store(expected, Ordering::Relaxed);
    let before = |inside: &[u8]| {
        let mut roots = report.iter().flat_map(|report| &report.roots);
        roots.find(|root| root.inside == crate::entry::escape::shown(inside))
    };
    let roots = job.layout.roots().into_iter().map(|(path, inside)| {
        let before = before(&inside);
        RootSeen {
            file_system: None,
            inode: None,
            file_system_before: before.and_then(|root| root.file_system.clone()),
            held_before: before.map(|root| (root.files, root.bytes)),
            path,
            inside,
        }
    });
    let roots: Vec<_> = roots.collect();
    // With `-x` a mount point is left out when it is mounted.
    let expected = job.host.name.is_none() && !job.keep.one_file_system;
    Ok(Setting {
        rules: CompareRules { keep, time },
        trust,
        base_since: base.map(|base| read_since(base, report.as_ref())),
        begins: Begins::new(incomplete.map(named_after), Vec::new()),
        mounts_before: mounts_before(report.as_ref()),
        unmounted: if expected { unmounted_below(&roots) } else { HashSet::new() },
        roots,
        damaged: damage.paths,
        base: beside(base).map_err(broken)?,
        here: beside(incomplete).map_err(broken)?,
        backups: repository.id,
        backups_dir: repository.path.clone(),
        accept_empty,
        selection: job.selection.clone(),
        empty: job.prune_empty.then(Empty::default),
        filters: Arc::clone(&job.filters),
        // Where it is not known, values beside the base are tried once more.
        base_holds: report.as_ref().and_then(|report| report.holds).unwrap_or_default(),
        folds_case: false,
        context: context.clone(),
    })
}

/// From when on a file of the source may have changed that `snapshot` holds a copy of. Reports of older
/// versions say when the run began, to the second; without a report the name does.
fn read_since(snapshot: &SnapshotName, report: Option<&Report>) -> Time {
    let told = |report: &Report| {
        let began = || DateTime::parse_from_rfc3339(&report.started).ok().map(|t| t.timestamp());
        report.read_since.or_else(|| began().map(|secs| Time { secs, nanos: 0 }))
    };
    report.and_then(told).unwrap_or_else(|| named_after(snapshot))
}

/// The second that a snapshot is named after, with what a name may be late.
fn named_after(snapshot: &SnapshotName) -> Time {
    const LATE_NS: u64 = 2_000_000_000;
    before(Time { secs: snapshot.stamp.time().timestamp(), nanos: 0 }, LATE_NS)
}

/// A forecast takes what an interrupted run left for what it seems to be.
pub(crate) fn everything() -> Trust {
    Trust { before: Some(Time { secs: i64::MAX, nanos: 0 }), checkable: true }
}

/// A mount point or a subvolume below a source root.
#[derive(Debug, Clone)]
pub(crate) struct MountSeen {
    /// The number of the source root.
    pub(crate) root: usize,
    /// Path on the source.
    pub(crate) path: Vec<u8>,
    /// Path inside the snapshot.
    pub(crate) inside: Vec<u8>,
    pub(crate) file_system: Option<String>,
    pub(crate) inode: Option<u64>,
    pub(crate) left_out: bool,
}

/// Where the files of a folder on another file system are counted, and whether they are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beyond {
    pub(crate) area: Option<usize>,
    pub(crate) left_out: bool,
}

/// The mount points that the base has files of, by their paths inside it.
pub(crate) fn mounts_before(report: Option<&Report>) -> HashMap<Vec<u8>, MountFound> {
    let mounts = report.into_iter().flat_map(|report| &report.roots).flat_map(|root| &root.mounts);
    let held = mounts.filter(|mount| !mount.left_out && (mount.files > 0 || mount.bytes > 0));
    held.filter_map(|mount| Some((unshown(&mount.inside)?, mount.clone()))).collect()
}

/// The paths of `roots` below which fstab(5) of this machine has mount points that are not mounted.
pub(crate) fn unmounted_below(
    roots: &[crate::backup::walk::state::setting::RootSeen],
) -> HashSet<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let roots = roots.iter().map(|root| root.path.as_path());
    let missing = roots.flat_map(crate::fs::mount::missing_mounts_below);
    missing.map(|path| path.as_os_str().as_bytes().to_vec()).collect()
}
