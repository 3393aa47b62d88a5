//! A source that answers on its own threads.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::entry::{Entry, Meta};
use engine::source::{Answers, ContentSink, Crossing, ListSink, Root, Wanted};
use engine::{Source, SourceError};
use transport::local::LocalSource;

type Folder = <LocalSource as Source>::Folder;

/// Local folders, with a new thread for each answer.
pub(crate) struct Later(pub(crate) Arc<LocalSource>);

impl Source for Later {
    type Folder = Folder;

    fn answers(&self) -> Answers {
        Answers::Later { folders: 3, files: 5 }
    }

    fn connection(&self) -> Option<engine::source::ConnectionReport> {
        self.0.connection()
    }

    fn reports(&self, keep: engine::Preserve) -> engine::Preserve {
        keep
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn root(&self, path: &Path) -> Result<Root<Folder>, SourceError> {
        self.0.root(path)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<Folder>, SourceError>> {
        self.0.roots(paths)
    }

    fn folder(&self, parent: &Folder, name: &CStr, listed: &Meta) -> Result<Folder, SourceError> {
        self.0.folder(parent, name, listed)
    }

    fn crossing(&self, parent: &Folder, name: &CStr) -> Crossing {
        self.0.crossing(parent, name)
    }

    fn look(&self, folder: &Folder, name: &CStr) -> Result<Entry, SourceError> {
        self.0.look(folder, name)
    }

    fn list(&self, folder: &Arc<Folder>, sink: Box<dyn ListSink>) {
        let (source, folder) = (Arc::clone(&self.0), Arc::clone(folder));
        std::thread::spawn(move || source.list(&folder, sink));
    }

    fn fetch(&self, folder: &Arc<Folder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let (source, folder) = (Arc::clone(&self.0), Arc::clone(folder));
        std::thread::spawn(move || source.fetch(&folder, files, sink));
    }
}
