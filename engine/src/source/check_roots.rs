//! Checks source roots before a run creates anything: whether they exist and can be listed.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::entry::{Batch, Kind};
use crate::source::{ListSink, Root, Source, SourceError};

/// The opened folders of a layout, by their paths.
pub(crate) type OpenedRoots<F> = Vec<(PathBuf, Root<F>)>;

/// Checks that the source roots `paths` exist and, if they are folders, that their listing starts.
/// Returns one result per path, in the order of `paths`. Opening a folder is not enough: a source
/// may describe a folder that it cannot list.
pub fn check_roots<S: Source>(source: &Arc<S>, paths: &[PathBuf]) -> Vec<Result<(), SourceError>> {
    open_roots(source, paths, |_| true).into_iter().map(|root| root.map(drop)).collect()
}

/// Opens the folders `paths`, and checks those that `are_listed` like [`check_roots`].
pub(crate) fn open_roots<S: Source>(
    source: &Arc<S>,
    paths: &[PathBuf],
    are_listed: impl Fn(&Path) -> bool,
) -> Vec<Result<Root<S::Folder>, SourceError>> {
    let begin = |root: Root<S::Folder>, path: &Path| {
        let (report, result) = sync_channel(1);
        if root.entry.meta.kind == Kind::Folder && are_listed(path) {
            source.list(&root.folder, Box::new(FirstEntry { any: false, report }));
        }
        (root, result)
    };
    // Request all listings before waiting for the first.
    let found = source.roots(paths).into_iter().zip(paths);
    let begun: Vec<_> = found.map(|(found, path)| found.map(|root| begin(root, path))).collect();
    // A sink that is dropped without `end` reported no error.
    let ended = begun.into_iter().map(|begun| {
        let (root, listed) = begun?;
        listed.recv().unwrap_or(Ok(())).map(|()| root)
    });
    ended.collect()
}

/// Stops the listing at the first entry.
struct FirstEntry {
    any: bool,
    report: SyncSender<Result<(), SourceError>>,
}

impl FirstEntry {
    /// The folder can be listed. The end of the listing, which may take long, does not matter.
    fn readable(&mut self) {
        if !std::mem::replace(&mut self.any, true) {
            let _ = self.report.try_send(Ok(()));
        }
    }
}

impl ListSink for FirstEntry {
    fn batch(&mut self, _: Batch) -> ControlFlow<()> {
        self.readable();
        ControlFlow::Break(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {
        self.readable();
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        if !self.any {
            // The receiver exists unless the run has ended.
            let _ = self.report.send(result);
        }
    }
}
