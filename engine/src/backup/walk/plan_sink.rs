//! The interface of the sink that receives the plan of a walk.

use std::ffi::CStr;
use std::sync::Arc;

use crate::backup::change::Change;
use crate::backup::plan::planned::Planned;
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::entry::{Entry, FileId, Meta};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::monitor::event::Instead;
use crate::source::Source;

/// The result of entering a folder of the incomplete snapshot.
pub(crate) enum EnteredFolder {
    /// The open folder (a dry run may have none), and whether the sink created it just now.
    Opened(Option<Dir>, bool),
    /// The destination refuses the folder, and the sink has reported it. Nothing below it is stored.
    Refused,
}

/// Receives the plan of a walk, folder by folder, from every worker thread: it stores the entries, or reports them.
pub(crate) trait PlanSink<S: Source>: Send + Sync + 'static {
    /// Opens the incomplete snapshot's folder for `entry` in `parent`.
    fn enter(
        &self,
        parent: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: &Entry,
    ) -> Result<EnteredFolder, RunError>;

    /// Carries out the steps of some entries of one folder. The walk enters the folders among them afterwards.
    fn apply(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    );

    /// Whether the sink has already handled a name of the hard-linked inode `id` with the metadata `meta`.
    fn knows(&self, id: FileId, meta: &Meta) -> bool;

    /// The change to report for a folder, which the walk withholds until it finds something in the folder.
    fn change(&self, _: &WalkFolder<S::Folder>, _: &Planned<'_>) -> Option<Change> {
        None
    }

    /// Reports a change that was withheld.
    fn report(&self, _: Change) {}

    /// Receives `name`, which the base has and the source no longer has.
    fn deleted(&self, folder: &WalkFolder<S::Folder>, name: &CStr, is_folder: bool);

    /// Receives `name`, which the base has and the filters now leave out.
    fn left_out(&self, folder: &WalkFolder<S::Folder>, name: &CStr, is_folder: bool);

    /// Receives `name`, which the incomplete snapshot has and the source no longer has.
    fn superfluous(
        &self,
        folder: &WalkFolder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError>;

    /// Receives `name` in `folder`, which could not be read and which the walk does not try again. An empty name stands for
    /// every entry of `folder` that was not listed. Returns what the snapshot holds instead.
    fn carry_forward(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError>;

    /// Finishes a folder after all work on its direct entries is done.
    fn finish(&self, folder: &WalkFolder<S::Folder>) -> Result<(), RunError>;
}
