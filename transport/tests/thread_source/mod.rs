//! A source that answers on its own threads.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::entry::{Entry, Meta};
use engine::source::{Answers, ContentSink, Crossing, ListSink, Root, Wanted};
use engine::{Source, SourceError};
use transport::local::LocalSource;

type Folder = <LocalSource as Source>::Folder;

/// Local folders, with a new thread for each answer.
pub(crate) struct Later {
    pub(crate) source: Arc<LocalSource>,
    /// The most files that are requested at a time.
    pub(crate) files: usize,
    /// The first request for content finds no file.
    pub(crate) fails_once: AtomicBool,
}

impl Later {
    pub(crate) fn new(source: LocalSource) -> Self {
        Self { source: Arc::new(source), files: 5, fails_once: AtomicBool::new(false) }
    }
}

impl Source for Later {
    type Folder = Folder;

    fn answers(&self) -> Answers {
        Answers::Later { folders: 3, files: self.files }
    }

    fn hashes(&self) -> bool {
        self.source.hashes()
    }

    fn connection(&self) -> Option<engine::source::ConnectionReport> {
        self.source.connection()
    }

    fn reports(&self, keep: engine::Preserve) -> engine::Preserve {
        keep
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn root(&self, path: &Path) -> Result<Root<Folder>, SourceError> {
        self.source.root(path)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<Folder>, SourceError>> {
        self.source.roots(paths)
    }

    fn folder(&self, parent: &Folder, name: &CStr, listed: &Meta) -> Result<Folder, SourceError> {
        self.source.folder(parent, name, listed)
    }

    fn crossing(&self, parent: &Folder, name: &CStr) -> Crossing {
        self.source.crossing(parent, name)
    }

    fn look(&self, folder: &Folder, name: &CStr) -> Result<Entry, SourceError> {
        self.source.look(folder, name)
    }

    fn list(&self, folder: &Arc<Folder>, sink: Box<dyn ListSink>) {
        let (source, folder) = (Arc::clone(&self.source), Arc::clone(folder));
        std::thread::spawn(move || source.list(&folder, sink));
    }

    fn fetch(&self, folder: &Arc<Folder>, files: Vec<Wanted>, mut sink: Box<dyn ContentSink>) {
        let (source, folder) = (Arc::clone(&self.source), Arc::clone(folder));
        let fails = self.fails_once.swap(false, Ordering::Relaxed);
        std::thread::spawn(move || {
            if !fails {
                return source.fetch(&folder, files, sink);
            }
            for index in 0..files.len() {
                sink.file_end(index, Err(SourceError::Vanished));
            }
            sink.end();
        });
    }
}
