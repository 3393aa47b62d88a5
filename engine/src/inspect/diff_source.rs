//! Compares a snapshot with the current source: the walk of a dry run, plus the search for renamed
//! files. Writes nothing.

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::backup::change::{Change, ChangeKind, ChangeSink};
use crate::backup::plan::WHOLE_SECONDS;
use crate::backup::preview::Preview;
use crate::backup::walk::Walk;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::{everything, gather};
use crate::entry::escape::unshown;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Meta, c_name};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::traverse::{Visitor, explore};
use crate::inspect::difference::{Difference, DifferenceKind, Differences};
use crate::inspect::renames::{MOST, TimedEntry, by_time};
use crate::job::Job;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::lock::read_lock::read;
use crate::snapshot::name::SnapshotName;
use crate::source::Source;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// Receives the differences, from every worker thread.
pub trait DifferenceSink: Send + Sync {
    /// Receives one difference.
    fn difference(&self, difference: &Difference);
}

/// Compares the source with the snapshot `base` of `job`, which need not be the newest. Changed
/// entries are reported first; then renamed, added and removed ones, sorted by path.
///
/// # Errors
/// As for [`crate::backup::dry_run::dry_run`].
pub fn against<S: Source>(
    job: &Job,
    source: Arc<S>,
    base: &SnapshotName,
    sink: Arc<dyn DifferenceSink>,
    context: &Context,
) -> Result<Differences, RunError> {
    let repository = Repository::open(&job.backups_dir)?;
    let _stays = read(&repository, base)?;
    let grain = source.time_granularity_ns();
    let mut set = gather(job, &repository, None, Some(base), grain, everything(), true, context)?;
    // The renames are found below, without the content.
    set.rename_from = None;
    let found = Arc::new(Found { sink, loose: Mutex::default() });
    let walk = WalkState::new(source, set);
    let changes = Arc::clone(&found) as Arc<dyn ChangeSink>;
    let preview = Arc::new(Preview::new(&walk, changes));
    context.progress.enter(Phase::Copying);
    Walk::new(Arc::clone(&walk), preview).walk(job)?;
    let counts = walk.tally.counts();
    let mut total = Differences {
        added: counts.new,
        removed: counts.deleted,
        changed: counts.changed,
        metadata: counts.metadata,
        unchanged: counts.unchanged,
        bytes_added: counts.bytes_copied,
        unread_entries: counts.problems,
        ..Differences::default()
    };
    let top = repository.open_top(base).ok();
    found.finish(top.as_ref(), grain >= WHOLE_SECONDS, &mut total);
    Ok(total)
}

/// Entries that exist on one side only.
#[derive(Default)]
struct UnmatchedEntries {
    /// Files only in the source.
    come: Vec<(TimedEntry, u64)>,
    /// Other entries only in the source.
    others: Vec<Difference>,
    gone: Vec<(Vec<u8>, bool)>,
    too_many: bool,
}

/// Passes changed entries on, and collects the entries that exist on one side only.
struct Found {
    sink: Arc<dyn DifferenceSink>,
    loose: Mutex<UnmatchedEntries>,
}

impl ChangeSink for Found {
    fn changes(&self, changes: &[Change]) {
        for Change { change, path, bytes, file, .. } in changes {
            // The path is escaped. A path that cannot be unescaped does not exist in the snapshot.
            let folder = path.ends_with('/');
            let path = unshown(path.trim_end_matches('/')).unwrap_or_default();
            let difference_of =
                |kind, path| Difference { kind, path, from: None, folder, bytes: *bytes };
            let mut loose = lock(&self.loose);
            let full = loose.come.len() + loose.others.len() >= MOST || loose.gone.len() >= MOST;
            let kind = match change {
                ChangeKind::LeftOut => continue,
                ChangeKind::Changed => DifferenceKind::Changed,
                ChangeKind::Metadata => DifferenceKind::Metadata,
                // The walk looks for no renames.
                ChangeKind::New | ChangeKind::Renamed => DifferenceKind::Added,
                ChangeKind::Deleted => DifferenceKind::Removed,
            };
            match (change, file) {
                (ChangeKind::New | ChangeKind::Deleted, _) if full => loose.too_many = true,
                (ChangeKind::New, Some((size, mtime))) => {
                    let timed = TimedEntry { path, bytes: *size, mtime: *mtime };
                    loose.come.push((timed, *bytes));
                    continue;
                }
                (ChangeKind::New, None) => {
                    loose.others.push(difference_of(kind, path));
                    continue;
                }
                (ChangeKind::Deleted, _) => {
                    loose.gone.push((path, folder));
                    continue;
                }
                _ => {}
            }
            drop(loose);
            self.sink.difference(&difference_of(kind, path));
        }
    }
}

impl Found {
    /// Reports the entries on one side only, and corrects the counts for renamed files.
    fn finish(&self, base: Option<&Dir>, whole_seconds: bool, total: &mut Differences) {
        let mut loose = lock(&self.loose);
        let UnmatchedEntries { come, others, gone, too_many } = std::mem::take(&mut *loose);
        let (files, mut unsure) = base.map(|top| Files::of(top, &gone)).unwrap_or_default();
        let come_files: Vec<TimedEntry> = come.iter().map(|(timed, _)| timed.clone()).collect();
        let renamed = by_time(&files, &come_files, whole_seconds);
        unsure |= too_many;
        total.renames_unsure = unsure;
        let one = |kind, path: &[u8], from: Option<&[u8]>, folder, bytes| Difference {
            kind,
            path: path.to_vec(),
            from: from.map(<[u8]>::to_vec),
            folder,
            bytes,
        };
        for (from, to) in &renamed {
            self.sink.difference(&one(
                DifferenceKind::Renamed,
                &to.path,
                Some(&from.path),
                false,
                to.bytes,
            ));
        }
        let arrived =
            |path: &[u8]| renamed.binary_search_by(|(_, to)| to.path.as_slice().cmp(path)).is_ok();
        let mut added = others;
        for (timed, bytes) in &come {
            match arrived(&timed.path) {
                true => total.bytes_added = total.bytes_added.saturating_sub(*bytes),
                false => added.push(one(DifferenceKind::Added, &timed.path, None, false, *bytes)),
            }
        }
        added.sort_by(|one, other| one.path.cmp(&other.path));
        let mut left: Vec<&[u8]> = renamed.iter().map(|(from, _)| from.path.as_slice()).collect();
        left.sort_unstable();
        let mut removed = Vec::new();
        for (path, folder) in &gone {
            if left.binary_search(&path.as_slice()).is_ok() {
                continue;
            }
            let file = files.binary_search_by(|file| file.path.cmp(path)).ok();
            let bytes = file.map_or(0, |index| files[index].bytes);
            removed.push(one(DifferenceKind::Removed, path, None, *folder, bytes));
        }
        removed.sort_by(|one, other| one.path.cmp(&other.path));
        total.renamed = renamed.len() as u64;
        total.added = total.added.saturating_sub(total.renamed);
        total.removed = total.removed.saturating_sub(total.renamed);
        let stayed = |file: &&TimedEntry| left.binary_search(&file.path.as_slice()).is_err();
        total.bytes_removed = files.iter().filter(stayed).map(|file| file.bytes).sum();
        added.iter().chain(&removed).for_each(|one| self.sink.difference(one));
    }
}

/// Finds the files of a snapshot at and below removed paths.
#[derive(Default)]
struct Files {
    found: Mutex<Vec<TimedEntry>>,
}

impl Files {
    /// Returns the files sorted by path, and whether the search stopped at the limit.
    fn of(top: &Dir, gone: &[(Vec<u8>, bool)]) -> (Vec<TimedEntry>, bool) {
        let files = Self::default();
        for (path, folder) in gone {
            let _ = files.look(top, path, *folder);
        }
        let mut found = unpoisoned(files.found.into_inner());
        found.sort_by(|one, other| one.path.cmp(&other.path));
        let unsure = found.len() >= MOST;
        (found, unsure)
    }

    fn look(&self, top: &Dir, path: &[u8], folder: bool) -> io::Result<()> {
        let mut place = TreePath::top(None);
        let mut dir = top.try_clone()?;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            let name = c_name(name)?;
            if names.peek().is_none() && !folder {
                self.add(&place, &name, &dir.stat(&name)?);
                return Ok(());
            }
            place = place.child(&name, None);
            dir = dir.child(&name)?;
        }
        explore(&dir, &place, workers(), self);
        Ok(())
    }

    fn add(&self, place: &Arc<TreePath>, name: &CStr, meta: &Meta) {
        if meta.kind == Kind::File {
            let path = place.inside_of(name);
            let file = TimedEntry { path, bytes: meta.size, mtime: meta.mtime };
            lock(&self.found).push(file);
        }
    }
}

impl Visitor for Files {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        dir.names(|entry| {
            match dir.stat(entry.name) {
                Ok(meta) if meta.kind == Kind::Folder => enter(entry.name),
                Ok(meta) => self.add(place, entry.name, &meta),
                Err(_) => {}
            }
            ControlFlow::Continue(())
        })
    }

    // An unreadable folder contributes no renamed files.
    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}

    fn enough(&self) -> bool {
        lock(&self.found).len() >= MOST
    }
}
