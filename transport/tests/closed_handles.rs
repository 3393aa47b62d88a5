//! A source with delayed answers, in a process that may open few folders: a folder that cannot be
//! opened again does not count as deleted.

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use engine::fs::XattrSelection;

use engine::Accept;
use engine::Context;
use engine::Job;
use engine::Layout;
use engine::Prefix;
use engine::Preserve;
use engine::Report;
use engine::Retention;
use engine::RunError;
use engine::Stop;
use engine::entry::{Entry, Meta};
use engine::source::{Answers, ContentSink, Crossing, ListSink, Root, Wanted};
use engine::{Outcome, run};
use engine::{Progress, Silent};
use engine::{Source, SourceError};
use rustix::process::{Resource, Rlimit, setrlimit};
use transport::local::{LocalFolder, LocalSource};

/// Local folders with delayed listings, so that many are open; this many of the first requests
/// fail.
struct Shaky {
    source: Arc<LocalSource>,
    failing: AtomicUsize,
    why: SourceError,
}

impl Source for Shaky {
    type Folder = LocalFolder;

    fn answers(&self) -> Answers {
        Answers::Later { folders: 100, files: 100 }
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

    fn root(&self, path: &Path) -> Result<Root<LocalFolder>, SourceError> {
        self.source.root(path)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<LocalFolder>, SourceError>> {
        self.source.roots(paths)
    }

    fn folder(
        &self,
        parent: &LocalFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<LocalFolder, SourceError> {
        self.source.folder(parent, name, listed)
    }

    fn crossing(&self, parent: &LocalFolder, name: &CStr) -> Crossing {
        self.source.crossing(parent, name)
    }

    fn look(&self, folder: &LocalFolder, name: &CStr) -> Result<Entry, SourceError> {
        let less = |left: usize| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Err(self.why.again());
        }
        self.source.look(folder, name)
    }

    fn list(&self, folder: &Arc<LocalFolder>, sink: Box<dyn ListSink>) {
        let (source, folder) = (Arc::clone(&self.source), Arc::clone(folder));
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            source.list(&folder, sink);
        });
    }

    fn fetch(&self, folder: &Arc<LocalFolder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let (source, folder) = (Arc::clone(&self.source), Arc::clone(folder));
        std::thread::spawn(move || source.fetch(&folder, files, sink));
    }
}

/// Runs while the first `failing` requests fail with `why`.
fn run_shaky(job: &Job, failing: usize, why: SourceError) -> Result<Option<Box<Report>>, RunError> {
    let source = Arc::new(LocalSource::new(XattrSelection { xattrs: false, acls: false }));
    let shaky = Arc::new(Shaky { source, failing: failing.into(), why });
    let context = Context {
        now: Utc::now,
        stop: Arc::new(Stop::default()),
        progress: Arc::new(Progress::default()),
        monitor: Arc::new(Silent),
        sync: engine::fs::sync_file_system,
        items: None,
    };
    let outcome = run(job, None, || Ok(shaky), Accept::default(), &context)?;
    Ok(if let Outcome::Completed(report) = outcome { Some(report) } else { None })
}

#[test]
fn entries_of_a_folder_that_cannot_be_opened_again_are_not_gone() {
    let few = Rlimit { current: Some(160), maximum: Some(160) };
    setrlimit(Resource::Nofile, few).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    for folder in 0..30 {
        let folder = source.join(format!("folder {folder}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..5 {
            std::fs::write(folder.join(format!("{file}")), "x").unwrap();
        }
    }
    let job = Job {
        host: engine::Host::default(),
        prefix: Prefix::new("p").unwrap(),
        layout: Layout::new(std::slice::from_ref(&source), false, Path::new("/")).unwrap(),
        backups_dir: temp.path().join("backups"),
        backups_mode: None,
        keep: Preserve { hard_links: false, ..Preserve::default() },
        filters: Arc::default(),
        retention: Retention { max: NonZeroUsize::new(9), ..Retention::default() },
        minimum_time_guard: TimeDelta::zero(),
        max_shrink_percent: 90.0,
        selection: None,
        max_delete: None,
        links: Default::default(),
        rename_from: None,
        change_brake: engine::snapshot::ChangeBrake::Off,
        prune_empty: false,
    };
    let first = run_shaky(&job, 0, SourceError::Vanished).unwrap().unwrap();
    assert_eq!(first.counts.copied, 150);
    let error = rustix::io::Errno::IO.into();
    let report = run_shaky(&job, 5, SourceError::Unreadable { action: "look at", error });
    let counts = report.unwrap().unwrap().counts;
    assert_eq!((counts.deleted, counts.linked, counts.problems), (0, 150, 0), "{counts:?}");
    // The last answers have arrived when the connection is lost.
    let lost = run_shaky(&job, usize::MAX, SourceError::Lost("cut".to_owned()));
    assert!(matches!(lost, Err(RunError::SourceLost(_))), "{lost:?}");
}
