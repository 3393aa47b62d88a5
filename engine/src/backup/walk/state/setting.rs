//! The setting of a walk: what it has to know before it starts.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;

use crate::backup::plan::{CompareRules, TimeRule};
use crate::backup::withheld::Empty;
use crate::entry::escape::unshown;
use crate::entry::racy::{ReadTimes, before};
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::place_of;
use crate::entry::{FileId, Time};
use crate::error::{RunError, destination};
use crate::filter::filters::Filters;
use crate::fs::dir::Dir;
use crate::fs::file_system::workers_in;
use crate::fs::traverse::{most_open_folders, open_if_here};
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

/// The base or the incomplete snapshot, with its top folder open and its sidecar.
pub(crate) struct ComparedSnapshot {
    pub(crate) top: Option<Dir>,
    pub(crate) kept: Sidecar,
}

/// Which files of the incomplete snapshot are certainly on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DurableFiles {
    /// Files with an earlier ctime than this were written before a successful checkpoint.
    pub(crate) before: Option<Time>,
    /// Whether the hash of any other file proves that it is on disk. It does not after a failed sync.
    pub(crate) checkable: bool,
}

impl DurableFiles {
    pub(crate) fn covers(self, here: &StoredEntry, base: Option<&StoredEntry>) -> bool {
        let of_base = base.is_some_and(|base| base.meta.id == here.meta.id);
        let ctime = here.meta.ctime;
        of_base || here.meta.size == 0 || self.before.is_some_and(|before| ctime < before)
    }
}

/// What is known about a source root, now and in the base.
#[derive(Debug, Clone)]
pub(crate) struct RootSeen {
    pub(crate) path: PathBuf,
    pub(crate) inside: Vec<u8>,
    pub(crate) file_system: Option<String>,
    pub(crate) inode: Option<u64>,
    /// Its file system in the base's report.
    pub(crate) file_system_before: Option<String>,
    /// Its number of files in the base's report, and its bytes if the report records them.
    pub(crate) held_before: Option<(u64, Option<u64>)>,
}

/// The setting of a walk.
pub(crate) struct WalkSetting {
    pub(crate) rules: CompareRules,
    pub(crate) trust: DurableFiles,
    pub(crate) base: ComparedSnapshot,
    /// Paths inside the base that a check found damaged. The run neither links nor copies from them.
    pub(crate) damaged: HashSet<Vec<u8>>,
    /// The inodes of these files.
    pub(crate) damaged_inodes: HashSet<FileId>,
    pub(crate) here: ComparedSnapshot,
    /// Whether the walk may write to the destination.
    pub(crate) writes: bool,
    /// The earliest timestamp of a change to a file of the source that the base's copy may lack.
    pub(crate) base_since: Option<Time>,
    /// The same for the copies in the incomplete snapshot.
    pub(crate) begins: ReadTimes,
    pub(crate) backups: FileId,
    pub(crate) backups_dir: PathBuf,
    /// The path of the incomplete snapshot; of the backups folder when there is none.
    pub(crate) snapshot_dir: PathBuf,
    pub(crate) roots: Vec<RootSeen>,
    /// The mount points below the roots from which the base has files, by their paths inside the base.
    pub(crate) mounts_before: HashMap<Vec<u8>, MountFound>,
    /// The mount points of fstab(5) below the roots that are not mounted.
    pub(crate) unmounted: HashSet<Vec<u8>>,
    /// The paths of `--files-from` below the only root; `None` to back up all entries.
    pub(crate) selection: Option<Arc<Selection>>,
    /// The folders that may be empty; `None` when the job keeps empty folders.
    pub(crate) empty: Option<Empty>,
    /// The filters of the job.
    pub(crate) filters: Arc<Filters>,
    /// The smallest file, in bytes, that is matched with the files that are gone; `None` without rename detection.
    pub(crate) rename_from: Option<u64>,
    /// The values that the destination could hold when the base was stored.
    pub(crate) base_holds: Holds,
    /// Whether the destination does not distinguish upper and lower case in names.
    pub(crate) folds_case: bool,
    /// Whether the run accepts an empty root on another file system than in the base (`--accept-shrink`).
    pub(crate) accept_empty: bool,
    pub(crate) threads: usize,
    /// The highest number of folders that may be open at a time.
    pub(crate) most_open: usize,
    /// The highest number of folders that a source which answers later lists at a time for this walk.
    pub(crate) most_listings: usize,
    pub(crate) context: Context,
}

/// Gathers the setting of a walk from the job and the backups folder.
#[expect(clippy::too_many_arguments, reason = "the one place where both kinds of walk are set up")]
pub(crate) fn gather(
    job: &Job,
    repository: &Repository,
    incomplete: Option<&SnapshotName>,
    base: Option<&SnapshotName>,
    granularity_ns: u32,
    trust: DurableFiles,
    accept_empty: bool,
    context: &Context,
) -> Result<WalkSetting, RunError> {
    let broken =
        |error| destination("cannot open", &repository.path, repository.path.clone(), error);
    let kept = repository.store(Store::Sidecars);
    let beside = |name: Option<&SnapshotName>| -> std::io::Result<ComparedSnapshot> {
        let folder = name.map(folder_name).transpose()?.unwrap_or_else(CString::default);
        let top = name.map(|name| repository.open_top(name)).transpose()?;
        Ok(ComparedSnapshot {
            top,
            kept: Sidecar::open(kept.as_ref().filter(|_| name.is_some()), &folder)?,
        })
    };
    let damage = base.map(|base| damage(repository, base)).unwrap_or_default();
    let mut keep = job.keep;
    // Without times, files of equal size are all that could be matched.
    let rename_from = job.rename_from.filter(|_| base.is_some() && keep.times);
    if let (Some(why), Some(base)) = (&damage.unknown, base) {
        // The run must compare each file with the source before it links it to the base.
        keep.checksum = true;
        let what = format!(
            "the mark of damage in {base} cannot be read ({why}): all files are read from the source and compared; verify {base} writes it anew"
        );
        context.monitor.event(&Event::Aside { what });
    }
    let report = base.and_then(|base| report(repository, base));
    if let Some(Report { counts, .. }) = &report {
        context.progress.expect(counts.entries, counts.bytes);
    }
    // If the report does not say, the run tries once to put the values of the base's sidecar on disk.
    let base_holds = report.as_ref().and_then(|report| report.holds).unwrap_or_default();
    // The report of a copy is that of the run that took the snapshot, so it does not describe this walk's source.
    let report = report.filter(|_| !keep.of_snapshot);
    let base_grain = match keep.of_snapshot {
        true => Some(1),
        false => report.as_ref().map(|report| report.time_granularity_ns),
    };
    let time = TimeRule::new(granularity_ns, base_grain);
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
    let base_snapshot = beside(base).map_err(broken)?;
    // With `-x` the content of a mount point is not backed up anyway.
    let expected = job.host.name.is_none() && !job.keep.one_file_system;
    Ok(WalkSetting {
        rules: CompareRules { keep, time },
        trust,
        base_since: base
            .filter(|_| !keep.of_snapshot)
            .map(|base| read_since(base, report.as_ref())),
        begins: ReadTimes::new(incomplete.map(named_after), Vec::new()),
        mounts_before: mounts_before(report.as_ref()),
        unmounted: if expected { unmounted_below(&roots) } else { HashSet::new() },
        roots,
        damaged_inodes: inodes_of(&base_snapshot, &damage.paths),
        damaged: damage.paths,
        base: base_snapshot,
        here: beside(incomplete).map_err(broken)?,
        writes: false,
        backups: repository.id,
        backups_dir: repository.path.clone(),
        snapshot_dir: incomplete
            .map_or_else(|| repository.path.clone(), |name| repository.path.join(name.to_string())),
        accept_empty,
        selection: job.selection.clone(),
        empty: job.prune_empty.then(Empty::default),
        filters: Arc::clone(&job.filters),
        rename_from,
        base_holds,
        folds_case: false,
        threads: workers_in(&repository.dir),
        most_open: most_open_folders(),
        most_listings: usize::MAX,
        context: context.clone(),
    })
}

/// The inodes of the files at `paths` in a snapshot. One that is not found is left out.
fn inodes_of(snapshot: &ComparedSnapshot, paths: &HashSet<Vec<u8>>) -> HashSet<FileId> {
    let inode = |path: &Vec<u8>| {
        let file = place_of(path);
        let dir = open_if_here(snapshot.top.as_ref()?, file.parent()?).ok()?;
        dir.find(file.name()).ok()??.id
    };
    paths.iter().filter_map(inode).collect()
}

/// The earliest timestamp of a change to a file of the source that the copy in `snapshot` may lack. Reports of older
/// versions give the start of the run, to the second. Without a report, the name of the snapshot gives it.
fn read_since(snapshot: &SnapshotName, report: Option<&Report>) -> Time {
    let recorded = |report: &Report| {
        let began = || DateTime::parse_from_rfc3339(&report.started).ok().map(|t| t.timestamp());
        report.read_since.or_else(|| began().map(|secs| Time { secs, nanos: 0 }))
    };
    report.and_then(recorded).unwrap_or_else(|| named_after(snapshot))
}

/// The second in the name of a snapshot, minus the 2 seconds by which the name may be late.
pub(crate) fn named_after(snapshot: &SnapshotName) -> Time {
    const LATE_NS: u64 = 2_000_000_000;
    before(Time { secs: snapshot.stamp.time().timestamp(), nanos: 0 }, LATE_NS)
}

/// The trust of a dry run: it takes all files of an interrupted run as complete.
pub(crate) fn everything() -> DurableFiles {
    DurableFiles { before: Some(Time { secs: i64::MAX, nanos: 0 }), checkable: true }
}

/// A mount point or a subvolume below a source root.
#[derive(Debug, Clone)]
pub(crate) struct MountSeen {
    /// The number of the source root.
    pub(crate) root: usize,
    /// The path on the source.
    pub(crate) path: Vec<u8>,
    /// The path inside the snapshot.
    pub(crate) inside: Vec<u8>,
    pub(crate) file_system: Option<String>,
    pub(crate) inode: Option<u64>,
    pub(crate) left_out: bool,
}

/// The area that counts the files of a folder, and whether they are left out because another file system is mounted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CountedArea {
    pub(crate) area: Option<usize>,
    pub(crate) left_out: bool,
}

/// The mount points from which the base has files, by their paths inside the base.
pub(crate) fn mounts_before(report: Option<&Report>) -> HashMap<Vec<u8>, MountFound> {
    let mounts = report.into_iter().flat_map(|report| &report.roots).flat_map(|root| &root.mounts);
    let held = mounts.filter(|mount| !mount.left_out && (mount.files > 0 || mount.bytes > 0));
    held.filter_map(|mount| Some((unshown(&mount.inside)?, mount.clone()))).collect()
}

/// The mount points of this machine's fstab(5) below `roots` that are not mounted, by their paths on the source.
pub(crate) fn unmounted_below(
    roots: &[crate::backup::walk::state::setting::RootSeen],
) -> HashSet<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let roots = roots.iter().map(|root| root.path.as_path());
    let missing = roots.flat_map(crate::fs::mount::missing_mounts_below);
    missing.map(|path| path.as_os_str().as_bytes().to_vec()).collect()
}
