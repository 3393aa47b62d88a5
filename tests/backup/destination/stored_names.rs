//! Files and folders whose names the destination refuses or changes are stored under other names, and every verb knows
//! them by their own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::lockless::Lockless;
use fixtures::loop_fs::{LoopFs, Mount};
use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Done;
use fixtures::scratch::Scratch;
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// What keeps a file system mounted.
#[expect(dead_code, reason = "held until the test ends")]
enum Held {
    Disk(LoopFs),
    Changing(Lockless),
    Encrypted(Mount, Scratch),
}

/// A destination, and two kinds of names that it cannot have.
struct Destination {
    path: PathBuf,
    /// A name and another one; the program prints both as [`Destination::shown`].
    names: [Vec<u8>; 2],
    shown: [String; 2],
    /// Whether it has hard links.
    links: bool,
    _held: Held,
}

impl Destination {
    /// exFAT has no colons, and no names that are not UTF-8.
    fn exfat() -> Result<Self, Missing> {
        let disk = LoopFs::exfat(64)?;
        Ok(Self {
            path: disk.path().join("backups"),
            names: [b"not: here".to_vec(), b"\xff\xfe".to_vec()],
            shown: ["not: here".to_owned(), "\\xff\\xfe".to_owned()],
            links: false,
            _held: Held::Disk(disk),
        })
    }

    /// It stores names that are not UTF-8, and those that end with dots, as others.
    fn changing() -> Result<Self, Missing> {
        let place = Lockless::changing_names()?;
        Ok(Self {
            path: place.path().join("backups"),
            names: [b"a\xff".to_vec(), b"file.".to_vec()],
            shown: ["a\\xff".to_owned(), "file.".to_owned()],
            links: true,
            _held: Held::Changing(place),
        })
    }

    /// Without long names, gocryptfs has names of 175 bytes at most.
    fn encrypted() -> Result<Self, Missing> {
        need::root()?;
        need::tool("gocryptfs")?;
        let folder = Scratch::new();
        let (sealed, at, password) =
            (folder.join("sealed"), folder.join("mounted"), folder.join("password"));
        fs::create_dir(&sealed).expect("a folder");
        fs::write(&password, "secret\n").expect("a file");
        let made = Command::new("gocryptfs")
            .args(["-init", "-q", "-scryptn", "10", "-passfile"])
            .args([&password, &sealed])
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "gocryptfs -init");
        let options = format!("longnames=false,passfile={}", password.display());
        let mount = Mount::new(&["-t", "fuse.gocryptfs", "-o", &options], &sealed, &at)
            .map_err(|error| Missing(format!("needs a mounted gocryptfs: {error}")))?;
        let (long, other) = ("l".repeat(200), "m".repeat(255));
        Ok(Self {
            path: at.join("backups"),
            names: [long.clone().into_bytes(), other.clone().into_bytes()],
            shown: [long, other],
            links: true,
            _held: Held::Encrypted(mount, folder),
        })
    }

    fn name(&self, number: usize) -> &OsStr {
        OsStr::from_bytes(&self.names[number])
    }

    /// A source with these names, at several places.
    fn stage(&self) -> Stage {
        let stage = Stage::new(BIN).backups_in(&self.path);
        let (one, other) = (self.name(0), self.name(1));
        let at = |path: &Path| stage.source.join(path);
        for folder in [one, other, OsStr::new("plain")] {
            fs::create_dir_all(at(Path::new(folder)).join(one)).expect("a folder");
            fs::write(at(Path::new(folder)).join("file"), "plain name").expect("a file");
            fs::write(at(Path::new(folder)).join(other), "refused name").expect("a file");
            let deep = at(Path::new(folder)).join(one).join("deep");
            fs::write(deep, folder.as_bytes()).expect("a file");
        }
        stage
    }

    /// The number of entries of [`Destination::stage`] with such names.
    const REFUSED: usize = 8;

    /// Its file with such a name in such a folder.
    fn file(&self, top: &Path) -> PathBuf {
        top.join(self.name(0)).join(self.name(1))
    }
}

/// Runs with exit code 3. exFAT stores even seconds, so the source has only such times.
#[track_caller]
fn run(stage: &Stage) -> Done {
    even_times(stage);
    stage.run().expect(3)
}

fn even_times(stage: &Stage) {
    for path in walk(&stage.source).iter().chain([&stage.source]) {
        let file = fs::File::open(path).expect("it can be read");
        let time = file.metadata().and_then(|meta| meta.modified()).expect("stat");
        let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let even = SystemTime::UNIX_EPOCH + Duration::from_secs(since / 2 * 2);
        file.set_modified(even).expect("its time can be set");
    }
}

fn judge(links: bool) -> Judge {
    let judge = Judge::plain();
    if links { judge } else { judge.without_hard_links() }
}

/// All destinations that this machine has; skips the others.
fn each(test: impl Fn(&Destination)) {
    let mut tried = 0;
    let all = [Destination::exfat, Destination::changing, Destination::encrypted];
    for destination in all {
        match destination() {
            Ok(destination) => {
                tried += 1;
                test(&destination);
            }
            Err(missing) => need::skip("stored_names", &missing),
        }
    }
    println!("{tried} destinations");
}

/// The problems of the newest snapshot that are not about stored names, and the number of those that are.
fn other_problems(stage: &Stage) -> (Vec<String>, usize) {
    let report = stage.history().report(&stage.history().newest());
    let problems = report["problems"].as_array().cloned().unwrap_or_default();
    let (named, others): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem["instead"] == "other_name");
    (others.iter().map(ToString::to_string).collect(), named.len())
}

/// Restores the newest snapshot and compares it with the source.
#[track_caller]
fn assert_restored(stage: &Stage, to: &str, judge: Judge) {
    let back = stage.beside(to);
    stage.look("restore").arg("latest").arg(&stage.source).set("to", &back).expect(0);
    judge.assert_same(&stage.source, &back.join("source"));
}

/// The paths of all entries below `top`.
fn walk(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// The entries on the disk below the newest snapshot.
fn on_disk(stage: &Stage) -> Vec<PathBuf> {
    walk(&stage.inside(&stage.history().newest()))
}

#[test]
fn every_run_stores_lists_and_restores_them_and_links_what_did_not_change() {
    each(|destination| {
        let stage = destination.stage();
        let all = walk(&stage.source).len();
        for round in 1..=3 {
            let done = run(&stage);
            done.assert_says("restore brings it back under its own name");
            assert_eq!(other_problems(&stage), (vec![], Destination::REFUSED), "{}", done.said());
            assert_eq!(on_disk(&stage).len(), all);
            let counts = stage.counts();
            if round > 1 {
                assert_eq!((&counts["new"], &counts["changed"]), (&0.into(), &0.into()));
                assert_eq!(counts["deleted"], 0, "{counts}");
                assert_eq!(counts["bytes_copied"], 0, "{counts}");
                assert_eq!(counts["unchanged"], counts["entries"], "{counts}");
            }
            if destination.links && round > 1 {
                assert_eq!(counts["link_fallbacks"], 0, "{counts}");
                assert_eq!(inodes(&stage, 0), inodes(&stage, 1), "the same inodes");
            }
            assert_restored(&stage, &format!("back {round}"), judge(destination.links));
        }
        // Changed content, another type, a new hard link.
        let file = destination.file(&stage.source);
        fs::write(&file, "changed content").expect("it is written");
        if destination.links {
            fs::hard_link(&file, stage.source.join("plain/second")).expect("it is linked");
        }
        fs::remove_dir_all(stage.source.join("plain").join(destination.name(0))).expect("gone");
        fs::write(stage.source.join("plain").join(destination.name(0)), "a file").expect("written");
        let before = Fingerprint::of(&stage.history().newest());
        let third = stage.history().newest();
        run(&stage);
        assert_eq!(other_problems(&stage).0, [""; 0]);
        assert_untouched(&third, &before);
        assert_restored(&stage, "changed", judge(destination.links));
        // What the source no longer has is in no new snapshot.
        fs::remove_dir_all(stage.source.join(destination.name(0))).expect("gone");
        run(&stage);
        assert_restored(&stage, "gone", judge(destination.links));
        stage.look("verify").expect(0);
    });
}

/// The inode numbers of all files in the snapshot that is `back` before the newest.
fn inodes(stage: &Stage, back: usize) -> Vec<u64> {
    let complete = stage.history().complete();
    let top = stage.inside(&complete[complete.len() - 1 - back]);
    let files = walk(&top).into_iter().filter(|path| path.is_file());
    let mut inodes: Vec<_> = files.map(|path| path.metadata().expect("stat").ino()).collect();
    inodes.sort_unstable();
    inodes
}

#[test]
fn find_history_diff_usage_and_verify_know_them_by_their_own_names() {
    each(|destination| {
        let stage = destination.stage();
        run(&stage);
        let file = destination.file(&stage.source);
        fs::write(&file, "changed content").expect("it is written");
        run(&stage);
        let shown = format!("{}/{}", destination.shown[0], destination.shown[1]);
        let clean = |said: String| {
            assert!(!said.contains("backup_manager.name."), "{said}");
            said
        };
        let said = clean(stage.look("find").arg("*").arg("--json").expect(0).said());
        assert!(said.contains(&shown.replace('\\', "\\\\")), "{said}");
        let said = clean(stage.look("history").arg(&file).arg("--json").expect(0).said());
        assert_eq!(said.matches("\"type\":\"version\"").count(), 2, "{said}");
        let diff = stage.look("diff").arg("latest~1").arg("latest").arg("--json").expect(0);
        let objects = diff.objects();
        let changed: Vec<_> =
            objects.iter().filter(|object| object["difference"] == "changed").collect();
        assert_eq!(changed.len(), 1, "{}", diff.said());
        assert!(clean(changed[0].to_string()).contains(&shown.replace('\\', "\\\\")));
        let now =
            stage.look("diff").set("srcs-to-backup", &stage.source).arg("latest").arg("--json");
        let summary = now.expect(0).objects();
        let differs = summary.iter().filter(|object| object.get("difference").is_some()).count();
        assert_eq!(differs, 0, "{summary:?}");
        let dry = stage.run().arg("--dry-run").arg("--json").expect(0);
        assert!(!dry.said().contains(&shown.replace('\\', "\\\\")), "{}", dry.said());
        stage.look("verify").expect(0);
        // Damage in the newest snapshot alone.
        let newest = stage.inside(&stage.history().newest());
        let stored = walk(&newest).into_iter().find(|path| {
            path.is_file() && fs::read(path).is_ok_and(|bytes| bytes == b"changed content")
        });
        let stored = stored.expect("its content is there");
        let time = stored.metadata().and_then(|meta| meta.modified()).expect("stat");
        let damaged = fs::File::options().write(true).open(&stored).expect("open");
        damaged.write_all_at(b"X", 0).expect("written");
        damaged.set_modified(time).expect("set");
        drop(damaged);
        let done = stage.look("verify").expect(4);
        assert!(clean(done.said()).contains(&shown), "{}", done.said());
        // The next run stores it again.
        run(&stage);
        assert_restored(&stage, "healed", judge(destination.links));
        stage.look("verify").expect(0);
    });
}

#[test]
fn a_restore_in_place_with_delete_brings_them_back_and_removes_only_what_is_surplus() {
    each(|destination| {
        let stage = destination.stage();
        run(&stage);
        let kept = stage.beside("kept");
        let copied = Command::new("cp").arg("-a").args([&stage.source, &kept]).status();
        assert!(copied.is_ok_and(|status| status.success()));
        fs::remove_file(destination.file(&stage.source)).expect("it is gone");
        fs::write(stage.source.join(destination.name(0)).join("surplus"), "x").expect("written");
        fs::write(stage.source.join("plain/surplus"), "x").expect("written");
        let back = stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes");
        back.arg("--delete").expect(0);
        judge(destination.links).assert_same(&kept, &stage.source);
    });
}

#[test]
fn an_interrupted_run_is_resumed_with_their_names() {
    need!(need::tool("strace"));
    each(|destination| {
        let stage = destination.stage();
        run(&stage);
        let first = stage.history().newest();
        let before = Fingerprint::of(&first);
        for (number, kill) in [3, 5, 7, 9, 12, 15, 18].into_iter().enumerate() {
            let file = destination.file(&stage.source);
            fs::write(&file, format!("version {number}")).expect("written");
            let name = format!("new {number}");
            fs::write(stage.source.join(destination.name(1)).join(name), "x").expect("written");
            even_times(&stage);
            drop(stage.run().killed_at_time(kill).done());
        }
        // What an interrupted run stored and the source lost is not in the snapshot.
        fs::remove_file(stage.source.join(destination.name(1)).join("new 3")).expect("gone");
        fs::remove_dir_all(stage.source.join("plain").join(destination.name(0))).expect("gone");
        run(&stage);
        assert_eq!(on_disk(&stage).len(), walk(&stage.source).len());
        assert_restored(&stage, "back", judge(destination.links));
        assert_untouched(&first, &before);
        stage.look("verify").expect(0);
    });
}

/// Turns the newest snapshot into an interrupted one, with or without the record of its names.
fn interrupt(stage: &Stage, with_names: bool) {
    let newest = stage.history().newest();
    let to = |path: &Path| PathBuf::from(format!("{}.incomplete", path.display()));
    let kept = stage.backups.join(".backup_manager/kept").join(newest.file_name().expect("a name"));
    if with_names {
        fs::rename(&kept, to(&kept)).expect("it is renamed");
    } else {
        fs::remove_dir_all(&kept).expect("it is removed");
    }
    fs::rename(&newest, to(&newest)).expect("it is renamed");
}

#[test]
fn a_record_of_names_that_a_power_cut_lost_costs_a_copy_and_nothing_else() {
    each(|destination| {
        let stage = destination.stage();
        run(&stage);
        run(&stage);
        for with_names in [true, false] {
            interrupt(&stage, with_names);
            fs::remove_file(destination.file(&stage.source)).expect("gone");
            fs::write(destination.file(&stage.source), format!("{with_names}")).expect("written");
            fs::remove_dir_all(stage.source.join("plain").join(destination.name(0))).ok();
            run(&stage);
            assert_eq!(on_disk(&stage).len(), walk(&stage.source).len(), "{with_names}");
            assert_restored(&stage, &format!("back {with_names}"), judge(destination.links));
            stage.look("verify").expect(0);
        }
    });
}

#[test]
fn what_cannot_be_read_is_carried_forward_under_its_own_name() {
    need!(need::tool("setpriv"));
    each(|destination| {
        let stage = destination.stage();
        run(&stage);
        let kept = stage.beside("kept");
        let copied = Command::new("cp").arg("-a").args([&stage.source, &kept]).status();
        assert!(copied.is_ok_and(|status| status.success()));
        // A folder with such a name, and a file with such a name in another one.
        let (folder, file) = (
            stage.source.join(destination.name(0)),
            stage.source.join("plain").join(destination.name(1)),
        );
        for path in [&folder, &file] {
            std::os::unix::fs::chown(path, Some(7), Some(7)).expect("chown");
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .expect("chmod");
        }
        let run = stage.run();
        run.under(&["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]).expect(3);
        let back = stage.beside("back");
        stage.look("restore").arg("latest").arg(&stage.source).set("to", &back).expect(0);
        judge(destination.links).assert_same(&kept, &back.join("source"));
        let others = other_problems(&stage).0;
        assert_eq!(others.len(), 2, "{others:?}");
        assert!(others.iter().all(|problem| problem.contains("carried_forward")), "{others:?}");
    });
}

#[test]
fn a_name_of_the_source_that_is_like_a_stored_name_is_kept_apart() {
    each(|destination| {
        let stage = destination.stage();
        run(&stage);
        let newest = stage.inside(&stage.history().newest());
        let stored: Vec<_> = fs::read_dir(&newest)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| name.to_string_lossy().starts_with("backup_manager.name."))
            .collect();
        assert_eq!(stored.len(), 2);
        for name in &stored {
            fs::write(stage.source.join(name), "has this very name").expect("written");
        }
        for round in 1..=2 {
            run(&stage);
            assert_eq!(other_problems(&stage), (vec![], Destination::REFUSED));
            assert_restored(&stage, &format!("back {round}"), judge(destination.links));
        }
        interrupt(&stage, true);
        fs::remove_file(stage.source.join(&stored[0])).expect("gone");
        run(&stage);
        assert_eq!(on_disk(&stage).len(), walk(&stage.source).len());
        assert_restored(&stage, "resumed", judge(destination.links));
    });
    // A destination that refuses no names has nothing to report.
    let stage = Stage::new(BIN);
    fs::write(stage.source.join("backup_manager.name.x"), "x").expect("written");
    for _ in 1..=2 {
        stage.take();
        assert_eq!(stage.counts()["problems"], 0);
        stage.look("verify").expect(0);
    }
    assert_eq!(inodes(&stage, 0), inodes(&stage, 1));
    assert_restored(&stage, "back", Judge::plain());
}

#[test]
fn names_that_the_destination_can_have_again_are_used_again() {
    let destination = need!(Destination::encrypted());
    let stage = destination.stage();
    run(&stage);
    let at = destination.path.parent().expect("it is mounted there").to_owned();
    let sealed = at.with_file_name("sealed");
    let Destination { _held, .. } = destination;
    let Held::Encrypted(mount, folder) = _held else { panic!("it is encrypted") };
    drop(mount);
    let options = format!("passfile={}", folder.join("password").display());
    let _mount =
        need!(Mount::new(&["-t", "fuse.gocryptfs", "-o", &options], &sealed, &at).map_err(Missing));
    stage.run().expect(0);
    assert_eq!(inodes(&stage, 0).len(), inodes(&stage, 1).len());
    assert_eq!(stage.counts()["bytes_copied"], 0);
    stage.assert_newest_is_source(Judge::plain());
    let kept = stage.backups.join(".backup_manager/kept");
    let newest = stage.history().newest();
    assert!(!kept.join(newest.file_name().expect("a name")).exists(), "no record is left");
}

#[test]
fn a_source_root_may_have_such_a_name() {
    each(|destination| {
        // Names that are not UTF-8 cannot be given as a source root.
        let Ok(name) = std::str::from_utf8(&destination.names[0]) else { return };
        let stage = destination.stage();
        let (root, file) = (stage.source.join(name), stage.source.join("file").join(name));
        fs::create_dir(stage.source.join("file")).expect("a folder");
        fs::write(&file, "a root").expect("a file");
        even_times(&stage);
        let sources = format!("{},{}", root.display(), file.display());
        for round in 1..=2 {
            stage.run().set("srcs-to-backup", &sources).expect(3);
            assert_eq!(stage.history().complete().len(), round);
            let back = stage.beside(&format!("back {round}"));
            stage.look("restore").arg("latest").set("to", &back).expect(0);
            let inside = fixtures::stage::inside(&back, &stage.source);
            judge(destination.links).assert_same(&root, &inside.join(name));
            assert_eq!(fs::read_to_string(inside.join("file").join(name)).expect("it"), "a root");
        }
        assert_eq!(stage.counts()["unchanged"], stage.counts()["entries"]);
        stage.look("verify").expect(0);
    });
}
