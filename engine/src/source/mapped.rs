//! A source as a job wants it: with other modes and owners, and read no faster than it may be.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{Batch, Entry, Meta, Time};
use crate::source::metadata_map::Shape;
use crate::source::rate_limit::Limit;
use crate::source::{Answers, ContentSink, Crossing, ListSink, Root, Source, SourceError, Wanted};

/// A source whose entries are changed by a [`Shape`] before anybody sees them, and whose content comes
/// no faster than a [`Limit`] lets it.
pub struct Tailored<S> {
    source: Arc<S>,
    shape: Option<Arc<Shape>>,
    limit: Option<Arc<Limit>>,
}

impl<S: Source> Tailored<S> {
    /// Nothing comes between who asks and `source` where nothing is to be changed or limited.
    #[must_use]
    pub fn new(source: Arc<S>, shape: Shape, limit: Option<Limit>) -> Self {
        let shape = (!shape.is_plain()).then(|| Arc::new(shape));
        Self { source, shape, limit: limit.map(Arc::new) }
    }

    fn shaped(&self, mut entry: Entry) -> Entry {
        if let Some(shape) = &self.shape {
            shape.apply(&mut entry.meta);
        }
        entry
    }
}

impl<S: Source> Source for Tailored<S> {
    type Folder = S::Folder;

    fn answers(&self) -> Answers {
        self.source.answers()
    }

    fn time_granularity_ns(&self) -> u32 {
        self.source.time_granularity_ns()
    }

    fn clock(&self) -> Option<Time> {
        self.source.clock()
    }

    fn root(&self, path: &Path) -> Result<Root<S::Folder>, SourceError> {
        let root = self.source.root(path)?;
        Ok(Root { entry: self.shaped(root.entry), ..root })
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<S::Folder>, SourceError>> {
        let shaped = |root: Root<S::Folder>| Root { entry: self.shaped(root.entry), ..root };
        self.source.roots(paths).into_iter().map(|root| root.map(shaped)).collect()
    }

    fn folder(
        &self,
        parent: &S::Folder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<S::Folder, SourceError> {
        self.source.folder(parent, name, listed)
    }

    fn look(&self, folder: &S::Folder, name: &CStr) -> Result<Entry, SourceError> {
        self.source.look(folder, name).map(|entry| self.shaped(entry))
    }

    fn crossing(&self, parent: &S::Folder, name: &CStr) -> Crossing {
        self.source.crossing(parent, name)
    }

    fn list(&self, folder: &Arc<S::Folder>, sink: Box<dyn ListSink>) {
        let sink = match &self.shape {
            Some(shape) => Box::new(Shaping { shape: Arc::clone(shape), sink }),
            None => sink,
        };
        self.source.list(folder, sink);
    }

    fn fetch(&self, folder: &Arc<S::Folder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let sink = match (&self.shape, &self.limit) {
            (None, None) => sink,
            (shape, limit) => {
                Box::new(Passing { shape: shape.clone(), limit: limit.clone(), sink })
            }
        };
        self.source.fetch(folder, files, sink);
    }
}

/// Changes what is listed.
struct Shaping {
    shape: Arc<Shape>,
    sink: Box<dyn ListSink>,
}

impl ListSink for Shaping {
    fn batch(&mut self, mut batch: Batch) -> ControlFlow<()> {
        batch.metas().for_each(|meta| self.shape.apply(meta));
        self.sink.batch(batch)
    }

    fn unreadable(&mut self, name: &CStr, error: SourceError) {
        self.sink.unreadable(name, error);
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        self.sink.end(result);
    }
}

/// Hands content on when its time has come.
struct Passing {
    shape: Option<Arc<Shape>>,
    limit: Option<Arc<Limit>>,
    sink: Box<dyn ContentSink>,
}

impl ContentSink for Passing {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        if let Some(limit) = &self.limit {
            limit.pass(bytes.len());
        }
        self.sink.data(index, bytes)
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        self.sink.hole(index, length)
    }

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        let after = after.map(|mut meta| {
            if let Some(shape) = &self.shape {
                shape.apply(&mut meta);
            }
            meta
        });
        self.sink.file_end(index, after);
    }

    fn end(self: Box<Self>) {
        self.sink.end();
    }
}
