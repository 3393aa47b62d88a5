//! Other file systems below a source root: which of them the backup includes, which it leaves out, and which are gone.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backup::walk::Walk;
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::{CountedArea, MountSeen};
use crate::entry::ListedEntry;
use crate::entry::escape::shown;
use crate::error::RunError;
use crate::monitor::event::{Event, Instead};
use crate::source::{Crossing, Source};
use crate::threads::lock::lock;

/// The report about a mount point whose former content is carried forward.
const COVERED: &str = "another file system is mounted there now and -x leaves it out, but the snapshot before has files there; name the path in SRCS_TO_BACKUP to back it up, or let the old files go with --accept-shrink";

/// The report about a mount point of fstab(5) below a source root that is not mounted.
const NOT_MOUNTED: &str =
    "/etc/fstab has a mount point there and it is not mounted: only the folder below is backed up";

impl<S: Source> WalkState<S> {
    /// The mount points that the walk has met, each with the number of its area.
    pub(crate) fn mounts(&self) -> Vec<(usize, MountSeen)> {
        let first = self.set.roots.len();
        let mounts = lock(&self.mounts).clone();
        mounts.into_iter().enumerate().map(|(number, mount)| (first + number, mount)).collect()
    }

    /// The mount points of the base whose folder the source no longer has.
    pub(crate) fn gone_mounts(&self) -> BTreeSet<Vec<u8>> {
        lock(&self.gone_mounts).clone()
    }

    /// The area of a folder of the source, and whether it is left out. Records and reports a folder that is on another file
    /// system than its parent, now or in the base. For most folders this costs one comparison.
    pub(crate) fn beyond(
        &self,
        folder: &WalkFolder<S::Folder>,
        source: &S::Folder,
        entry: ListedEntry<'_>,
    ) -> CountedArea {
        let here = CountedArea { area: folder.area, left_out: false };
        let crosses = folder.crosses(entry.meta);
        if !crosses && self.set.mounts_before.is_empty() {
            return here;
        }
        let inside = folder.place.inside_of(entry.name);
        if !crosses && !self.set.mounts_before.contains_key(&inside) {
            return here;
        }
        let Some(root) = folder.area.and_then(|area| self.root_of(area)) else { return here };
        if let Some(known) = self.known_mount(&inside) {
            return known;
        }
        let Crossing { file_system, subvolume } = self.source.crossing(source, entry.name);
        let part = subvolume.is_some_and(|subvolume| subvolume.is_part());
        let left_out = crosses && self.keep().one_file_system && !part;
        let path = folder.place.source_of(entry.name);
        if left_out {
            self.tally.count(|counts| counts.mounts_left_out += 1);
            let path = shown(&path);
            self.event(&match subvolume {
                Some(subvolume) => {
                    Event::SubvolumeLeftOut { path, why: subvolume.why().to_owned() }
                }
                None => Event::MountPoint { path },
            });
        } else if crosses && self.keep().one_file_system {
            self.event(&Event::Subvolume { path: shown(&path) });
        } else if crosses {
            self.event(&Event::MountIncluded { path: shown(&path) });
        }
        let inode = entry.meta.id.map(|id| id.ino);
        // The areas have the order of this list, so the list stays locked until both have a new element.
        let mut mounts = lock(&self.mounts);
        mounts.push(MountSeen { root, path, inside, file_system, inode, left_out });
        CountedArea { area: Some(self.tally.add_area()), left_out }
    }

    fn known_mount(&self, inside: &[u8]) -> Option<CountedArea> {
        let mounts = lock(&self.mounts);
        let number = mounts.iter().position(|mount| mount.inside == inside)?;
        let area = Some(self.set.roots.len() + number);
        Some(CountedArea { area, left_out: mounts[number].left_out })
    }

    /// The source root that an area belongs to.
    fn root_of(&self, area: usize) -> Option<usize> {
        match area.checked_sub(self.set.roots.len()) {
            None => Some(area),
            Some(number) => lock(&self.mounts).get(number).map(|mount| mount.root),
        }
    }

    /// Reports `name` if fstab(5) has a mount point there that is not mounted.
    pub(crate) fn report_unmounted(&self, folder: &WalkFolder<S::Folder>, name: &CStr) {
        if self.set.unmounted.is_empty() {
            return;
        }
        let path = folder.place.source_of(name);
        if self.set.unmounted.contains(&path) {
            self.problem(&path, NOT_MOUNTED, Instead::Nothing);
        }
    }

    /// Records the mount points of the base at and below `name`, a folder that the source no longer has.
    pub(crate) fn note_gone(&self, folder: &WalkFolder<S::Folder>, name: &CStr) {
        if self.set.mounts_before.is_empty() {
            return;
        }
        let gone = folder.place.inside_of(name);
        let below = |inside: &&Vec<u8>| {
            inside
                .strip_prefix(&gone[..])
                .is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
        };
        lock(&self.gone_mounts).extend(self.set.mounts_before.keys().filter(below).cloned());
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Carries forward the base's entries in a folder on which another file system is mounted now. Returns whether the base
    /// has any.
    pub(crate) fn keep_covered(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &FolderHandles<S::Folder>,
    ) -> Result<bool, RunError> {
        let Some(base) = handles.base.as_ref().filter(|_| !self.state.set.accept_empty) else {
            return Ok(false);
        };
        let mut held = false;
        let _ = base.names(|entry| {
            held = !folder.saw(entry.name) && !folder.leaves_out(entry.name, entry.folder);
            if held { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if held {
            let instead = self.sink.carry_forward(folder, c"")?;
            self.state.problem(&folder.place.source_of(c""), COVERED, instead);
        }
        Ok(held)
    }

    /// As [`Walk::keep_covered`], for a mount point that is left out together with its folder (`-xx`).
    pub(crate) fn keep_covered_whole(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &FolderHandles<S::Folder>,
        name: &CStr,
    ) -> Result<(), RunError> {
        let child = handles.base.as_ref().and_then(|base| base.child_if_here(name).ok());
        let mut held = false;
        if let Some(child) = child.filter(|_| !self.state.set.accept_empty) {
            let _ = child.names(|_| {
                held = true;
                ControlFlow::Break(())
            });
        }
        if held && folder.see(name) {
            let instead = self.sink.carry_forward(folder, name)?;
            self.state.problem(&folder.place.source_of(name), COVERED, instead);
        }
        Ok(())
    }
}
