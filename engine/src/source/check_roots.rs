//! Looks at source roots before anything is made: whether they are there and can be listed.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::entry::{Batch, Kind};
use crate::source::{ListSink, Root, Source, SourceError};

/// Whether the source roots `paths` are there, and begin to list if they are folders: for each, in this
/// order, why it cannot be read. A source may tell what a folder is and not what is in it.
pub fn glance<S: Source>(source: &Arc<S>, paths: &[PathBuf]) -> Vec<Result<(), SourceError>> {
    let begin = |root: Root<S::Folder>| {
        let (told, result) = sync_channel(1);
        if root.entry.meta.kind == Kind::Folder {
            source.list(&root.folder, Box::new(Glance { any: false, told }));
        }
        result
    };
    // All are asked for before one is waited for.
    let found = source.roots(paths).into_iter();
    let begun: Vec<_> = found.map(|found| found.map(begin)).collect();
    // A sink that is dropped without an end has nothing against the root.
    begun.into_iter().map(|result| result?.recv().unwrap_or(Ok(()))).collect()
}

/// Waits for no more of a listing than its first sign.
struct Glance {
    any: bool,
    told: SyncSender<Result<(), SourceError>>,
}

impl Glance {
    /// Something is there: nobody waits for the end, which may be far.
    fn tell(&mut self) {
        if !std::mem::replace(&mut self.any, true) {
            let _ = self.told.try_send(Ok(()));
        }
    }
}

impl ListSink for Glance {
    fn batch(&mut self, _: Batch) -> ControlFlow<()> {
        self.tell();
        ControlFlow::Break(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {
        self.tell();
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        if !self.any {
            // Nobody waits any more only where the run has ended.
            let _ = self.told.send(result);
        }
    }
}
