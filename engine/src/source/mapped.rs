//! A wrapper around a source that changes modes and owners and limits the read rate.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::folder_digest::DigestKey;
use crate::entry::preserve::Preserve;
use crate::entry::{Batch, Entry, Meta, Time};
use crate::source::metadata_map::MetadataMap;
use crate::source::rate_limit::RateLimit;
use crate::source::{
    Answers, ConnectionReport, ContentProof, ContentSink, Crossing, Expected, ListSink, Reply,
    Root, Source, SourceError, Wanted,
};

/// A source whose metadata passes through a [`MetadataMap`] and whose content passes through a
/// [`RateLimit`].
pub struct MappedSource<S> {
    source: Arc<S>,
    map: Option<Arc<MetadataMap>>,
    limit: Option<Arc<RateLimit>>,
}

impl<S: Source> MappedSource<S> {
    /// Wraps `source`. Without a map or a limit, calls are passed on unchanged.
    #[must_use]
    pub fn new(source: Arc<S>, map: MetadataMap, limit: Option<RateLimit>) -> Self {
        let map = (!map.is_plain()).then(|| Arc::new(map));
        Self { source, map, limit: limit.map(Arc::new) }
    }

    fn mapped(&self, mut entry: Entry) -> Entry {
        if let Some(map) = &self.map {
            map.apply(&mut entry.meta);
        }
        entry
    }
}

impl<S: Source> Source for MappedSource<S> {
    type Folder = S::Folder;

    fn answers(&self) -> Answers {
        self.source.answers()
    }

    fn time_granularity_ns(&self) -> u32 {
        self.source.time_granularity_ns()
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        self.source.reports(keep)
    }

    fn clock(&self) -> Option<Time> {
        self.source.clock()
    }

    fn connection(&self) -> Option<ConnectionReport> {
        self.source.connection()
    }

    fn hashes(&self) -> bool {
        self.source.hashes()
    }

    fn root(&self, path: &Path) -> Result<Root<S::Folder>, SourceError> {
        let root = self.source.root(path)?;
        Ok(Root { entry: self.mapped(root.entry), ..root })
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<S::Folder>, SourceError>> {
        let mapped = |root: Root<S::Folder>| Root { entry: self.mapped(root.entry), ..root };
        self.source.roots(paths).into_iter().map(|root| root.map(mapped)).collect()
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
        self.source.look(folder, name).map(|entry| self.mapped(entry))
    }

    fn crossing(&self, parent: &S::Folder, name: &CStr) -> Crossing {
        self.source.crossing(parent, name)
    }

    fn list(&self, folder: &Arc<S::Folder>, sink: Box<dyn ListSink>) {
        let sink = match &self.map {
            Some(map) => Box::new(MappedListing { map: Arc::clone(map), sink }),
            None => sink,
        };
        self.source.list(folder, sink);
    }

    /// A digest is of entries as the source describes them, so changed ones cannot be confirmed.
    fn confirms(&self) -> Option<DigestKey> {
        if self.map.is_none() { self.source.confirms() } else { None }
    }

    fn confirm(
        &self,
        folder: &Arc<S::Folder>,
        expected: Expected,
        reply: Arc<Reply>,
        sink: Box<dyn ListSink>,
    ) {
        if self.map.is_none() {
            self.source.confirm(folder, expected, reply, sink);
        } else {
            self.list(folder, sink);
        }
    }

    fn fetch(&self, folder: &Arc<S::Folder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let sink = match (&self.map, &self.limit) {
            (None, None) => sink,
            (map, limit) => {
                Box::new(MappedContent { map: map.clone(), limit: limit.clone(), sink })
            }
        };
        self.source.fetch(folder, files, sink);
    }
}

impl RateLimit {
    /// Delays the content that goes to `sink`.
    #[must_use]
    pub fn before(limit: Option<&Arc<Self>>, sink: Box<dyn ContentSink>) -> Box<dyn ContentSink> {
        match limit {
            Some(limit) => {
                Box::new(MappedContent { map: None, limit: Some(Arc::clone(limit)), sink })
            }
            None => sink,
        }
    }
}

/// Maps the metadata of listed entries.
struct MappedListing {
    map: Arc<MetadataMap>,
    sink: Box<dyn ListSink>,
}

impl ListSink for MappedListing {
    fn batch(&mut self, mut batch: Batch) -> ControlFlow<()> {
        batch.metas().for_each(|meta| self.map.apply(meta));
        self.sink.batch(batch)
    }

    fn unreadable(&mut self, name: &CStr, error: SourceError) {
        self.sink.unreadable(name, error);
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        self.sink.end(result);
    }
}

/// Delays content according to the limit, and maps the metadata at the end of a file.
struct MappedContent {
    map: Option<Arc<MetadataMap>>,
    limit: Option<Arc<RateLimit>>,
    sink: Box<dyn ContentSink>,
}

impl ContentSink for MappedContent {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        if let Some(limit) = &self.limit {
            limit.pass(bytes.len());
        }
        self.sink.data(index, bytes)
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        self.sink.hole(index, length)
    }

    /// Bytes of the base are not read from the source, so the limit does not apply.
    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.sink.of_base(index, bytes)
    }

    fn compared(&mut self, index: usize, bytes: usize) {
        if let Some(limit) = &self.limit {
            limit.pass(bytes);
        }
        self.sink.compared(index, bytes);
    }

    fn hashed(&mut self, index: usize, hash: [u8; 32]) {
        self.sink.hashed(index, hash);
    }

    fn same(&mut self, index: usize, proof: ContentProof) {
        self.sink.same(index, proof);
    }

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        let after = after.map(|mut meta| {
            if let Some(map) = &self.map {
                map.apply(&mut meta);
            }
            meta
        });
        self.sink.file_end(index, after);
    }

    fn end(self: Box<Self>) {
        self.sink.end();
    }
}
