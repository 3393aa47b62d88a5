//! Both ends of a copy in one process. The far end confines its thread, and the threads that this one starts.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::JoinHandle;

use chrono::Utc;
use engine::fs::sync_file_system;
use engine::snapshot::SnapshotLinks;
use engine::threads::lock;
use engine::{Event, Monitor, Prefix, Progress, Retention, Stop};

use super::*;
use crate::helper::far_end::serve;
use crate::helper::protocol::copy::SentSnapshot;
use crate::helper::protocol::message::Hello;
use crate::helper::protocol::{PREAMBLE, PROTOCOL};
use crate::helper::serve::ServeOptions;
use crate::ssh::service::Service;

/// Two backups folders, with a history in the first.
pub(crate) struct Scene {
    scratch: tempfile::TempDir,
}

pub(crate) fn day(day: u32) -> String {
    format!("p.{day:02}-12-2023_13-32-58")
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let scene = Self { scratch };
        for (number, content) in [(1, "one"), (2, "one"), (3, "three")] {
            let sub = scene.here().join(day(number)).join("folder/sub");
            fs::create_dir_all(&sub).unwrap();
            if number == 1 {
                fs::write(sub.join("shared"), "shared").unwrap();
                fs::write(sub.join("large"), vec![7; 6 << 20]).unwrap();
            } else {
                let before = scene.here().join(day(number - 1)).join("folder/sub");
                for name in ["shared", "large"] {
                    fs::hard_link(before.join(name), sub.join(name)).unwrap();
                }
            }
            // Equal size and time, but another inode in the second snapshot.
            fs::write(sub.join("own"), content).unwrap();
            std::os::unix::fs::symlink("target", sub.join("link")).unwrap();
        }
        fs::create_dir(scene.there()).unwrap();
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn here(&self) -> PathBuf {
        self.path("here")
    }

    pub(crate) fn there(&self) -> PathBuf {
        self.path("there")
    }

    fn offered(&self, dir: &Path) -> Offered {
        use std::os::unix::ffi::OsStrExt;
        let job = CopyJob {
            prefix: Prefix::new("p").unwrap(),
            backups_dir: PathBuf::new(),
            backups_mode: None,
            retention: Retention::default(),
            newest: None,
            rename_from: None,
            links: SnapshotLinks::default(),
            fake_super: false,
            only_adds: false,
            selection: None,
        };
        let (backups_dir, from) = (self.here(), "test:/here".to_owned());
        Offered {
            backups_dir,
            job,
            dir: dir.as_os_str().as_bytes().to_vec(),
            from,
            rate: Arc::new(|| None),
        }
    }

    /// Copies to a far end whose only root is the second folder.
    pub(crate) fn push(&self, dir: &Path, only_adds: bool) -> Pushed {
        let (streams, greeting, far) = start(vec![self.there()], only_adds);
        assert!(greeting.receives && greeting.only_adds == only_adds);
        let pushed = self.push_over(streams, dir);
        far.join().unwrap().unwrap();
        pushed
    }

    /// Offers the snapshots on `streams`.
    pub(crate) fn push_over(&self, streams: Streams, dir: &Path) -> Pushed {
        let events = Arc::new(Events::default());
        let context = Context {
            now: Utc::now,
            stop: Arc::new(Stop::default()),
            progress: Arc::new(Progress::default()),
            monitor: Arc::clone(&events) as Arc<dyn Monitor>,
            sync: sync_file_system,
            items: None,
        };
        let options = Options::default();
        let reports = Arc::new(Reports::new(&context, options.answer_timeout));
        let offered = self.offered(dir);
        let announced = announcement(&offered, false, &options).unwrap();
        let done = converse(&offered, &options, (announced, streams, Vec::new()), &reports);
        let done =
            done.and_then(|done| done.outcome(&offered.job.prefix).map_err(OfferError::Failed));
        let events = lock(&events.0).clone();
        (done, events)
    }
}

/// The outcome, and the events.
type Pushed = (Result<CopyOutcome, OfferError>, Vec<String>);

#[derive(Default)]
struct Events(Mutex<Vec<String>>);

impl Monitor for Events {
    fn event(&self, event: &Event) {
        lock(&self.0).push(event.to_string());
    }
}

/// Starts a far end and greets it as an end with snapshots.
pub(crate) fn start(
    roots: Vec<PathBuf>,
    only_adds: bool,
) -> (Streams, OfferGreeting, JoinHandle<Result<(), ServeError>>) {
    let (mut near, far) = UnixStream::pair().unwrap();
    let version = "1.2.3".to_owned();
    let options = ServeOptions { roots, writes: true, only_adds, version };
    let far = std::thread::spawn(move || serve_whole(&options, &far));
    let offering = Offering { command: String::new(), announcement: Vec::new() };
    let mut hello = Vec::new();
    offering.hello(&mut hello);
    near.write_all(&hello).unwrap();
    let greeting = offering.read_hello(&frame(&mut near)).unwrap();
    let to = near.try_clone().unwrap().into();
    (Streams { to, from: near.into() }, greeting, far)
}

/// Serves like a process: its streams are closed when it ends.
pub(crate) fn serve_whole(options: &ServeOptions, far: &UnixStream) -> Result<(), ServeError> {
    let own = || OwnedFd::from(far.try_clone().unwrap());
    let served = serve(options, own(), own(), || {});
    let _ = far.shutdown(std::net::Shutdown::Both);
    served
}

/// The next frame.
pub(crate) fn frame(from: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    from.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame).unwrap();
    frame
}

#[test]
fn a_history_arrives_with_its_links_and_is_copied_once() {
    let scene = Scene::new();
    let (done, events) = scene.push(&scene.there(), true);
    let Ok(CopyOutcome::Done { copied, newest }) = done else { panic!("{done:?}") };
    assert_eq!(
        copied.iter().map(|one| one.name.to_string()).collect::<Vec<_>>(),
        [1, 2, 3].map(day)
    );
    assert_eq!(newest.unwrap().to_string(), day(3));
    assert!(events.iter().any(|event| event.contains(&day(2))), "{events:?}");
    let meta = |number: u32, name: &str| {
        fs::metadata(scene.there().join(day(number)).join("folder/sub").join(name)).unwrap()
    };
    for (number, own) in [(1, "one"), (2, "one"), (3, "three")] {
        for name in ["shared", "large"] {
            assert_eq!(meta(number, name).ino(), meta(1, name).ino(), "{number} {name}");
        }
        let sub = scene.there().join(day(number)).join("folder/sub");
        assert_eq!(fs::read_to_string(sub.join("own")).unwrap(), own);
        assert_eq!(fs::read(sub.join("large")).unwrap(), vec![7; 6 << 20]);
        assert_eq!(fs::read_link(sub.join("link")).unwrap(), Path::new("target"));
    }
    let (done, _) = scene.push(&scene.there(), false);
    let Ok(CopyOutcome::Done { copied, .. }) = done else { panic!("{done:?}") };
    assert_eq!(copied, []);
}

#[test]
fn snapshots_go_into_the_root_and_nowhere_else() {
    let scene = Scene::new();
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, scene.there().join("link")).unwrap();
    for dir in [outside.clone(), scene.there().join("link"), scene.there().join("../outside")] {
        let (done, _) = scene.push(&dir, true);
        let why = done.unwrap_err().to_string();
        assert!(why.contains("--root for another folder"), "{why}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let inside = scene.there().join("of this machine");
    scene.push(&inside, true).0.unwrap();
    assert!(inside.join(day(3)).is_dir());
    // Without a name it is the root itself.
    scene.push(Path::new(""), true).0.unwrap();
    assert!(scene.there().join(day(3)).is_dir());
}

/// The frame that an end answers to `request` after its greeting.
fn asked(mut near: UnixStream, hello: Hello, request: &Request<'_>) -> Option<Answer> {
    let mut out = PREAMBLE.to_vec();
    append(&mut out, CONNECTION, &Request::Hello(hello), &[]).unwrap();
    append(&mut out, 1, request, &[]).unwrap();
    near.write_all(&out).unwrap();
    // An end that refuses the request ends the connection, even before it has greeted.
    let mut next = || {
        let mut length = [0; 4];
        near.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        near.read_exact(&mut frame).ok()?;
        Some(frame)
    };
    let _greeting = next()?;
    Some(read(&next()?).unwrap().1)
}

#[test]
fn a_far_end_that_only_adds_neither_reads_nor_restores() {
    let scene = Scene::new();
    let there = scene.there();
    fs::create_dir(there.join("p.01-12-2023_00-00-00")).unwrap();
    let path = there.to_str().unwrap().as_bytes();
    let target = crate::helper::protocol::write::WriteRequest::Target {
        folder: 1,
        path,
        make: true,
        id: None,
    };
    for (request, is_answered) in [
        (Request::Root { folder: 1, path, id: None }, true),
        (Request::Copy(CopyRequest::Snapshots { dir: path, prefix: "p" }), true),
        (Request::Write(target), false),
        (Request::Copy(CopyRequest::Tell { what: b"{}" }), false),
    ] {
        let (near, far) = UnixStream::pair().unwrap();
        let options = ServeOptions {
            roots: vec![there.clone()],
            writes: true,
            only_adds: true,
            version: String::new(),
        };
        let far = std::thread::spawn(move || serve_whole(&options, &far));
        let hello = Hello { protocols: (PROTOCOL, PROTOCOL), ..Hello::default() };
        let answer = asked(near, hello, &request);
        assert_eq!(answer.is_some(), is_answered, "{request:?}: {answer:?}");
        let text = format!("{answer:?}");
        assert!(!is_answered || text.contains("only receives snapshots"), "{text}");
        assert_eq!(far.join().unwrap().is_ok(), is_answered);
    }
}

#[test]
fn an_end_with_snapshots_shows_only_the_offered_history() {
    let scene = Scene::new();
    fs::create_dir(scene.here().join("q.01-12-2023_13-32-58")).unwrap();
    let path = scene.here();
    let path = path.to_str().unwrap().as_bytes();
    let seconds = 1_701_437_578;
    let answer = |request: &Request<'_>| {
        let (near, far) = UnixStream::pair().unwrap();
        let offer = Offer {
            dir: scene.here(),
            prefix: Prefix::new("p").unwrap(),
            fake_super: false,
            told: Box::new(|_| true),
            rate: Arc::new(|| None),
            stop: Arc::default(),
        };
        let output = far.try_clone().unwrap();
        let mut greeting = far.try_clone().unwrap();
        greeting.write_all(&offer_greeting(None)).unwrap();
        let end = std::thread::spawn(move || answer_offer(offer, None, &far, output));
        let hello = Hello { protocols: (PROTOCOL, PROTOCOL), ..Hello::default() };
        let answer = asked(near, hello, request);
        let _ = end.join().unwrap();
        format!("{answer:?}")
    };
    let snapshots = |prefix| Request::Copy(CopyRequest::Snapshots { dir: b"/etc", prefix });
    assert!(
        answer(&snapshots("p")).contains(&seconds.to_string()),
        "the folder is the offered one"
    );
    assert!(answer(&snapshots("q")).contains("only one history"));
    assert!(answer(&snapshots("../p")).contains("Err"));
    let root = Request::Root { folder: 1, path, id: None };
    assert!(answer(&root).contains("only the offered snapshots"));
    for (stamp, opens) in [(seconds, true), (seconds + 1, false), (i64::MAX, false)] {
        let snapshot = SentSnapshot { dir: path, prefix: "p", stamp, previous: None };
        let open = Request::Copy(CopyRequest::Open { folder: 1, snapshot, id: None });
        assert_eq!(answer(&open).contains("Root(Ok"), opens, "{stamp}");
    }
}
