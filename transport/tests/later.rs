//! A source that answers from threads of its own builds the same snapshot as one that answers at once.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use engine::attrs::Asked;
use engine::dir::Dir;
use engine::entry::{Entry, Meta};
use engine::job::{Job, Keep};
use engine::layout::Layout;
use engine::monitor::{Progress, Silent};
use engine::name::Prefix;
use engine::run::{Context, Outcome, Stop, run};
use engine::source::{Answers, ContentSink, ListSink, Root, Source, SourceError, Wanted};
use transport::local::LocalSource;

/// Local folders, told by a new thread each time.
struct Later(Arc<LocalSource>);

impl Source for Later {
    type Folder = Dir;

    fn answers(&self) -> Answers {
        Answers::Later { folders: 3, files: 5 }
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn root(&self, path: &Path) -> Result<Root<Dir>, SourceError> {
        self.0.root(path)
    }

    fn folder(&self, parent: &Dir, name: &CStr, listed: &Meta) -> Result<Dir, SourceError> {
        self.0.folder(parent, name, listed)
    }

    fn look(&self, folder: &Dir, name: &CStr) -> Result<Entry, SourceError> {
        self.0.look(folder, name)
    }

    fn list(&self, folder: &Arc<Dir>, sink: Box<dyn ListSink>) {
        let (source, folder) = (Arc::clone(&self.0), Arc::clone(folder));
        std::thread::spawn(move || source.list(&folder, sink));
    }

    fn fetch(&self, folder: &Arc<Dir>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let (source, folder) = (Arc::clone(&self.0), Arc::clone(folder));
        std::thread::spawn(move || source.fetch(&folder, files, sink));
    }
}

#[test]
fn answers_that_come_later_make_the_same_snapshot() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    for folder in 0..60 {
        let folder = source.join(format!("a{}/b{}/c{folder}", folder % 3, folder % 7));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..40 {
            std::fs::write(folder.join(format!("f{file}")), vec![b'x'; file * 100]).unwrap();
        }
    }
    std::fs::write(source.join("large"), vec![b'y'; 20 << 20]).unwrap();
    let job = Job {
        prefix: Prefix::new("p").unwrap(),
        layout: Layout::new(std::slice::from_ref(&source), false, Path::new("/")).unwrap(),
        backups_dir: temp.path().join("backups"),
        keep: Keep { hard_links: false, ..Keep::default() },
        retention: engine::retention::Retention::default(),
        minimum_time_guard: TimeDelta::zero(),
        max_shrink_percent: 90.0,
    };
    for copied in [60 * 40 + 1, 0] {
        let later =
            Arc::new(Later(Arc::new(LocalSource::new(Asked { xattrs: false, acls: false }))));
        let context = Context {
            now: Utc::now,
            stop: Arc::new(Stop::default()),
            progress: Arc::new(Progress::default()),
            monitor: Arc::new(Silent),
            sync: engine::durable::sync_file_system,
        };
        let outcome = run(&job, || Ok(later), false, &context).unwrap();
        let Outcome::Completed(report) = outcome else { panic!("not completed: {outcome:?}") };
        assert_eq!(report.counts.copied, copied);
        let snapshot = Path::new(&report.path).join("source");
        let judge =
            std::process::Command::new("diff").arg("-r").args([&source, &snapshot]).status();
        assert!(judge.unwrap().success());
        let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
        assert_eq!(time(&source.join("a1")), time(&snapshot.join("a1")));
    }
}
