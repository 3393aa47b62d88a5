//! A source that confirms folders wrongly: no snapshot is damaged by it, and the next honest run repairs everything.

use std::ffi::{CStr, CString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use engine::entry::folder_digest::DigestKey;
use engine::entry::{Entry, FileId, Meta, Time};
use engine::fs::XattrSelection;
use engine::source::{
    Answers, Confirmed, ContentSink, Crossing, Expected, Found, ListSink, Reply, Root,
    SeveralNames, Wanted,
};
use engine::{
    Accept, Context, Job, Layout, Outcome, Prefix, Preserve, Progress, Report, Retention, RunError,
    Silent, Source, SourceError, Stop, run,
};
use transport::local::{LocalFolder, LocalSource};

/// What the source answers to each question.
type Lie = fn(&Expected) -> Option<Found>;

/// Local folders; what is confirmed is decided by a lie.
struct Liar(Arc<LocalSource>, Lie);

impl Source for Liar {
    type Folder = LocalFolder;

    fn answers(&self) -> Answers {
        Answers::Later { folders: 20, files: 20 }
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        keep
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn hashes(&self) -> bool {
        true
    }

    fn connection(&self) -> Option<engine::source::ConnectionReport> {
        None
    }

    fn root(&self, path: &Path) -> Result<Root<LocalFolder>, SourceError> {
        self.0.root(path)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<LocalFolder>, SourceError>> {
        self.0.roots(paths)
    }

    fn folder(
        &self,
        parent: &LocalFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<LocalFolder, SourceError> {
        // Like the helper, it opens the folder only when it is used.
        let now = self.0.look(parent, name)?;
        self.0.folder(parent, name, if listed.id.is_some() { &now.meta } else { listed })
    }

    fn crossing(&self, parent: &LocalFolder, name: &CStr) -> Crossing {
        self.0.crossing(parent, name)
    }

    fn look(&self, folder: &LocalFolder, name: &CStr) -> Result<Entry, SourceError> {
        self.0.look(folder, name)
    }

    fn list(&self, folder: &Arc<LocalFolder>, sink: Box<dyn ListSink>) {
        let (source, folder) = (Arc::clone(&self.0), Arc::clone(folder));
        std::thread::spawn(move || source.list(&folder, sink));
    }

    fn confirms(&self) -> Option<DigestKey> {
        Some(DigestKey::new([1; 32]))
    }

    fn confirm(
        &self,
        folder: &Arc<LocalFolder>,
        expected: Expected,
        reply: Arc<Reply>,
        sink: Box<dyn ListSink>,
    ) {
        match (self.1)(&expected) {
            Some(found) => {
                reply.set(found);
                std::thread::spawn(move || sink.end(Ok(())));
            }
            None => self.list(folder, sink),
        }
    }

    fn fetch(&self, folder: &Arc<LocalFolder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let (source, folder) = (Arc::clone(&self.0), Arc::clone(folder));
        std::thread::spawn(move || source.fetch(&folder, files, sink));
    }
}

fn ids(count: usize) -> Vec<FileId> {
    (0..count).map(|number| FileId { dev: 5, ino: 1 + number as u64 }).collect()
}

fn several(folder: usize, name: &CStr) -> SeveralNames {
    let (name, id) = (CString::from(name), FileId { dev: 5, ino: 9 });
    SeveralNames { folder, name, id, links: 2, ctime: Time::default() }
}

/// Lies, and whether the run can see that the answer is none.
const LIES: [(&str, Lie, bool); 8] = [
    ("same", |expected| Some(same(expected, Vec::new())), false),
    ("too few", |expected| Some(of(ids(expected.folders.saturating_sub(1)), vec![])), true),
    ("too many", |expected| Some(of(ids(expected.folders + 1), vec![])), true),
    ("an unknown name", |expected| Some(same(expected, vec![several(0, c"unknown")])), true),
    ("an unknown folder", |expected| Some(same(expected, vec![several(99, c"one")])), true),
    (
        "a name twice",
        |expected| {
            let twice = if expected.entries > 0 {
                vec![several(0, c"one"), several(0, c"one")]
            } else {
                vec![]
            };
            Some(same(expected, twice))
        },
        false,
    ),
    ("all differs", |_| Some(Found::Differs), false),
    ("nothing", |_| None, false),
];

fn of(folders: Vec<FileId>, several: Vec<SeveralNames>) -> Found {
    Found::Same(Confirmed { folders, several })
}

fn same(expected: &Expected, several: Vec<SeveralNames>) -> Found {
    of(ids(expected.folders), several)
}

fn run_with(job: &Job, lie: Lie) -> Result<Option<Box<Report>>, RunError> {
    let source = Arc::new(LocalSource::new(XattrSelection::default()));
    let context = Context {
        now: Utc::now,
        stop: Arc::new(Stop::default()),
        progress: Arc::new(Progress::default()),
        monitor: Arc::new(Silent),
        sync: engine::fs::sync_file_system,
        items: None,
    };
    let open = || Ok(Arc::new(Liar(source, lie)));
    let outcome = run(job, None, open, Accept::default(), &context)?;
    Ok(if let Outcome::Completed(report) = outcome { Some(report) } else { None })
}

/// The content of all files of a snapshot by their paths.
fn content(snapshot: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    let mut all = Vec::new();
    let mut folders = vec![snapshot.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let inside = path.strip_prefix(snapshot).map_err(std::io::Error::other)?.to_owned();
                all.push((inside, std::fs::read_to_string(path)?));
            }
        }
    }
    all.sort();
    Ok(all)
}

#[test]
fn no_lie_about_what_is_unchanged_damages_a_snapshot() {
    for (what, lie, is_seen) in LIES {
        let temp = tempfile::tempdir().unwrap();
        let source = temp.path().join("source");
        std::fs::create_dir_all(source.join("a/b")).unwrap();
        for name in ["one", "two", "a/one", "a/b/one"] {
            std::fs::write(source.join(name), name).unwrap();
        }
        let job = Job {
            host: engine::Host::default(),
            prefix: Prefix::new("p").unwrap(),
            layout: Layout::new(std::slice::from_ref(&source), false, Path::new("/")).unwrap(),
            backups_dir: temp.path().join("backups"),
            backups_mode: None,
            keep: Preserve { ctime: false, ..Preserve::default() },
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
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        for name in ["one", "two", "a/one", "a/b/one"] {
            let file = std::fs::File::options().append(true).open(source.join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        let snapshot = |report: &Report| job.backups_dir.join(&report.snapshot).join("source");
        let first = run_with(&job, |_| None).unwrap().unwrap();
        let before = content(&snapshot(&first)).unwrap();
        assert_eq!(before.len(), 4, "{what}");
        std::fs::write(source.join("a/b/one"), "changed").unwrap();
        std::fs::write(source.join("a/new"), "new").unwrap();
        std::fs::remove_file(source.join("two")).unwrap();
        let outcome = run_with(&job, lie);
        assert_eq!(content(&snapshot(&first)).unwrap(), before, "{what}");
        assert!(outcome.is_ok() || is_seen, "{what}: {outcome:?}");
        if let Ok(Some(outcome)) = &outcome {
            let counts = &outcome.counts;
            let now = content(&snapshot(outcome)).unwrap();
            // The old content, as a source that lists the old entries would get it, or the new one.
            let believed = matches!(what, "same" | "a name twice");
            assert_eq!(believed, now == before, "{what}: {now:?}");
            assert!(
                now == before || now == content(&source).unwrap() || is_seen,
                "{what}: {now:?}"
            );
            assert!(
                !is_seen || counts.problems > 0 || now == content(&source).unwrap(),
                "{what}: {counts:?}"
            );
        }
        let last = run_with(&job, |_| None).unwrap().unwrap();
        assert_eq!(content(&snapshot(&last)).unwrap(), content(&source).unwrap(), "{what}");
        assert_eq!(content(&snapshot(&first)).unwrap(), before, "{what}");
    }
}
