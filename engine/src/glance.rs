//! Looks at source roots before anything is made: whether they are there and can be listed.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::entry::{Batch, Kind};
use crate::source::{ListSink, Source, SourceError};

/// Whether the source root `path` is there, and begins to list if it is a folder. A source may tell what
/// a folder is and not what is in it.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn glance<S: Source>(source: &Arc<S>, path: &Path) -> Result<(), SourceError> {
    let root = source.root(path)?;
    if root.entry.meta.kind != Kind::Folder {
        return Ok(());
    }
    let (told, result) = sync_channel(1);
    source.list(&root.folder, Box::new(Glance { any: false, told }));
    // A sink that is dropped without an end has nothing against the root.
    result.recv().unwrap_or(Ok(()))
}

/// Takes no more of a listing than its first entries.
struct Glance {
    any: bool,
    told: SyncSender<Result<(), SourceError>>,
}

impl ListSink for Glance {
    fn batch(&mut self, _: Batch) -> ControlFlow<()> {
        self.any = true;
        ControlFlow::Break(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {
        self.any = true;
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        // Nobody waits any more only where the run has ended.
        let _ = self.told.send(if self.any { Ok(()) } else { result });
    }
}
