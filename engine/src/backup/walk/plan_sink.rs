//! The interface of what receives the plan of a walk.

use std::ffi::CStr;
use std::sync::Arc;

use crate::backup::change::Change;
use crate::backup::plan::Planned;
use crate::backup::walk::folder::{Folder, Handles};
use crate::entry::{Entry, FileId, Meta};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::monitor::event::Instead;
use crate::source::Source;

/// How entering a folder of the incomplete snapshot ended.
pub(crate) enum EnteredFolder {
    /// It is open (a dry run may have none); whether it was made just now.
    Opened(Option<Dir>, bool),
    /// The destination refuses it, which was reported: nothing below it is stored.
    Refused,
}

/// Receives the plan of a walk, folder by folder, from every worker thread: it stores the entries, or reports them.
pub(crate) trait PlanSink<S: Source>: Send + Sync + 'static {
    /// Opens the incomplete snapshot's folder for `entry` in `parent`.
    fn enter(
        &self,
        parent: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: &Entry,
    ) -> Result<EnteredFolder, RunError>;

    /// Carries out the steps of some entries of one folder. The walk enters the folders among them afterwards.
    fn apply(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    );

    /// Whether a name of the hard-linked inode `id`, which is as `meta` says, was dealt with already.
    fn knows(&self, id: FileId, meta: &Meta) -> bool;

    /// The change that a folder makes which the walk withholds until something is found in it.
    fn change(&self, _: &Folder<S::Folder>, _: &Planned<'_>) -> Option<Change> {
        None
    }

    /// Reports a change that was withheld.
    fn report(&self, _: Change) {}

    /// `name` is in the base and no longer in the source.
    fn deleted(&self, folder: &Folder<S::Folder>, name: &CStr, is_folder: bool);

    /// `name` is in the base, and the filters leave it out now.
    fn left_out(&self, folder: &Folder<S::Folder>, name: &CStr, is_folder: bool);

    /// `name` is in the incomplete snapshot and no longer in the source.
    fn superfluous(
        &self,
        folder: &Folder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError>;

    /// `name` in `folder` could not be read, and the walk does not try it again. With an empty name this holds for every entry
    /// of `folder` that was not listed. Returns what the snapshot holds instead.
    fn carry_forward(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError>;

    /// Everything directly in the folder has happened.
    fn finish(&self, folder: &Folder<S::Folder>) -> Result<(), RunError>;
}
