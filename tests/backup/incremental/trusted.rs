//! Which facts about a file are trusted without reading it: size, times, inode numbers, temporary
//! errors.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fixtures::concurrent::{repeat_while, swap_while};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::Run;
use fixtures::scan::scan;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const SOMEONE: u32 = 12_345;

fn believing_mtime(stage: &Stage) -> Run {
    stage.run().set("trust", "mtime")
}

fn content(stage: &Stage, name: &str) -> String {
    fs::read_to_string(stage.inside(&stage.history().newest()).join(name)).unwrap_or_default()
}

/// A time that is later than any read of these tests, in whole seconds like that of a coarse clock.
const LATER: &str = "@4000000000";

#[test]
fn a_second_save_within_the_tick_of_the_first_is_copied_by_the_next_run() {
    for time in [LATER, "@4000000000.5"] {
        let stage = Stage::with(BIN, &Tree::new().file("saved", "first").file("other", "same"));
        stage.sh(&format!("touch -d {time} saved other"));
        believing_mtime(&stage).expect(0);
        stage.sh(&format!("printf SECON >saved; touch -d {time} saved"));
        believing_mtime(&stage).expect(0);
        assert_eq!(content(&stage, "saved"), "SECON", "{time}");
        stage.assert_linked("other");
        let counts = stage.counts();
        assert_eq!((&counts["changed"], &counts["compared"]), (&1.into(), &1.into()), "{counts}");
        assert_eq!(counts["copied"], 1, "{counts}");
    }
}

#[test]
fn the_same_holds_of_a_remote_file_and_what_is_older_is_not_asked_for() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("saved", "first").file("older", "same"));
    stage.sh(&format!("touch -d {LATER} saved; touch -d '10 seconds ago' older"));
    server.reached_by(stage.run()).expect(0);
    stage.sh(&format!("printf SECON >saved; touch -d {LATER} saved"));
    server.reached_by(stage.run()).expect(0);
    assert_eq!(content(&stage, "saved"), "SECON");
    let counts = stage.counts();
    assert_eq!((&counts["copied"], &counts["compared"]), (&1.into(), &0.into()), "{counts}");
    stage.assert_linked("older");
}

#[test]
fn a_change_that_kept_size_and_time_is_found_by_its_change_time() {
    let stage = Stage::with(BIN, &Tree::new().file("one", "first").file("two", "other"));
    let first = stage.take();
    let before = Fingerprint::of(&first);
    // Only the change time of the second file is new.
    stage.sh(
        "m=$(stat -c %y one); printf FIRST >one; touch -d \"$m\" one; chmod 600 two; chmod 644 two",
    );
    stage.run().arg("--dry-run").expect(0);
    believing_mtime(&stage).expect(0);
    stage.assert_linked("one");
    fs::remove_dir_all(stage.history().newest()).unwrap();
    let done = stage.run().expect(0);
    done.assert_says("compared");
    stage.assert_apart("one");
    stage.assert_linked("two");
    let counts = stage.counts();
    assert_eq!((&counts["copied"], &counts["compared"]), (&1.into(), &1.into()), "{counts}");
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
    // A compared file is trusted from then on.
    stage.run().expect(0);
    assert_eq!(stage.counts()["compared"], 0, "{}", stage.counts());
}

#[test]
fn counts_tell_what_was_found_when_everything_is_compared() {
    let tree = Tree::new().file("one", "first").file("two", "other").file("three", "third");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh(
        "m=$(stat -c %y one); printf FIRST >one; touch -d \"$m\" one; touch -d @1234567890 two",
    );
    let done = stage.run().rsync(&["-c"]).expect(0);
    done.assert_says("compared");
    let counts = stage.counts();
    for (count, number) in [("changed", 1), ("metadata", 1), ("copied", 2), ("compared", 1)] {
        assert_eq!(counts[count], number, "{count}: {counts}");
    }
    assert_eq!(counts["bytes_copied"], 10, "{counts}");
    stage.assert_linked("three");
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn files_stored_within_the_tick_of_a_change_by_an_interrupted_run_are_read_again() {
    let stage = Stage::with(BIN, &Tree::new().file("saved", "first"));
    // The files of one folder are stored in the order of their inode numbers: the large one could be the first.
    stage.sh(&format!(
        "mkdir slow; head -c 60000000 /dev/urandom >slow/large; touch -d {LATER} saved slow/large"
    ));
    let limited = |stage: &Stage| believing_mtime(stage).rsync(&["--bwlimit=2500"]);
    let mut running = limited(&stage).start();
    let left = || {
        let incomplete = stage.history().incomplete().pop()?;
        let inside = stage.inside(&incomplete);
        let large = fs::metadata(inside.join("slow/large")).ok()?.len();
        Some(large > 20 << 20 && inside.join("saved").exists())
    };
    assert!(running.until(|| left() == Some(true)), "it is under way");
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    let rewritten = "printf X | dd of=slow/large bs=1 seek=5 conv=notrunc status=none";
    stage.sh(&format!("{rewritten}; printf SECON >saved; touch -d {LATER} saved slow/large"));
    believing_mtime(&stage).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_new_name_of_a_known_file_copies_nothing_wherever_it_is_found_first() {
    let stage = Stage::with(BIN, &Tree::new().random_file("middle/file", 300_000, 5));
    stage.take();
    for trust in ["ctime", "mtime"] {
        for name in [format!("a {trust}"), format!("z {trust}")] {
            stage.sh(&format!("mkdir '{name}'; ln middle/file '{name}/file'"));
            stage.run().set("trust", trust).expect(0);
            let counts = stage.counts();
            assert_eq!((&counts["copied"], &counts["changed"]), (&0.into(), &0.into()), "{counts}");
            stage.assert_linked("middle/file");
            stage.assert_newest_is_source(Judge::plain());
        }
    }
    // A new file with several names is copied once.
    stage.sh("mkdir b y; echo new >b/new; ln b/new y/new");
    stage.run().expect(0);
    assert_eq!(stage.counts()["copied"], 1, "{}", stage.counts());
    stage.assert_newest_is_source(Judge::plain());
}

/// ext4 reuses inode numbers immediately.
#[test]
fn a_file_that_gets_the_inode_number_of_another_one_keeps_its_own_content() {
    let disk = need!(LoopFs::ext4(64));
    // The files of the program must not get the number.
    let elsewhere = Stage::new(BIN);
    let stage = Stage::all_on(BIN, disk.path()).backups_in(&elsewhere.beside("other"));
    stage.sh("mkdir a z; echo old >a/one; ln a/one a/two; touch -d @1 a/one; head -c 3000000 /dev/zero >b");
    let number = fs::metadata(stage.source.join("a/one")).unwrap().ino();
    let mut running = stage.run().rsync(&["--bwlimit=1000"]).start();
    let stored = || {
        let incomplete = stage.history().incomplete().pop();
        incomplete.is_some_and(|at| stage.inside(&at).join("a/two").exists())
    };
    assert!(running.until(stored), "it is under way");
    fs::remove_file(stage.source.join("a/one")).unwrap();
    fs::remove_file(stage.source.join("a/two")).unwrap();
    stage.sh("for i in $(seq 200); do echo NEW >z/$i; touch -d @1 z/$i; ln z/$i z/$i+; done");
    let same = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|meta| meta.ino() == number);
    let reused = fs::read_dir(stage.source.join("z")).unwrap().flatten().any(|entry| same(&entry));
    assert!(reused, "no file got the number");
    running.wait().assert_code(0);
    let inside = stage.inside(&stage.history().newest()).join("z");
    for entry in fs::read_dir(inside).into_iter().flatten().flatten() {
        assert_eq!(
            fs::read_to_string(entry.path()).unwrap(),
            "NEW\n",
            "{}",
            entry.path().display()
        );
    }
}

#[test]
fn a_name_that_is_listed_and_cannot_be_opened_is_carried_forward() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &Tree::new().file("ghost", "version 1").file("other", "other"));
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.sh("printf 'version 2' >ghost");
    for _ in 0..2 {
        let words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-P", "ghost", "-e"];
        let inject = ["inject=openat,newfstatat:error=ENOENT:when=1+"];
        let words: Vec<&str> = words.into_iter().chain(inject).collect();
        let done = stage.run().under(&words).done();
        done.assert_code(3).assert_says("ghost").assert_says("listed");
        let counts = stage.counts();
        assert_eq!((&counts["vanished"], &counts["problems"]), (&0.into(), &1.into()), "{counts}");
    }
    assert_untouched(&first, &before);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_file_that_is_saved_by_making_it_anew_is_in_each_snapshot() {
    let stage = Stage::with(BIN, &Tree::new().file("kept", "version 1"));
    stage.take();
    let save = || {
        let path = stage.source.join("kept");
        let _ = fs::remove_file(&path);
        let _ = fs::write(&path, "version 2");
        std::thread::sleep(Duration::from_millis(3));
    };
    repeat_while(save, || {
        for _ in 0..5 {
            let done = stage.run().done();
            assert!([0, 3].contains(&done.code), "{}", done.said());
            let text = content(&stage, "kept");
            assert!(["version 1", "version 2", ""].contains(&text.as_str()), "{text}");
        }
    });
}

#[test]
fn files_that_are_deleted_for_good_are_gone() {
    let stage = Stage::with(
        BIN,
        &Tree::new().file("stays", "x").file("goes/one", "1").file("goes/two", "2"),
    );
    stage.take();
    stage.sh("head -c 3000000 /dev/zero >large; echo more >>goes/one");
    let mut running = stage.run().rsync(&["--bwlimit=2000"]).start();
    let begun = || !stage.history().incomplete().is_empty();
    assert!(running.until(begun), "it is under way");
    stage.sh("rm -r goes");
    running.wait().assert_code(0);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn an_ordinary_users_files_get_a_hash_whatever_their_mode() {
    need!(need::root());
    let tree = Tree::new().file("object", "a").mode(0o444).file("closed", "b").mode(0o400);
    let stage = Stage::with(BIN, &tree);
    stage.sh(&format!("chown -R {SOMEONE}:{SOMEONE} ."));
    stage.run_as(SOMEONE).expect(0);
    let hashed = |name: &str| {
        let path = stage.inside(&stage.history().newest()).join(name);
        let hash = xattr::get(path, "user.backup_manager.blake3").unwrap();
        hash.is_some_and(|hash| hash.len() == 32)
    };
    assert!(hashed("object") && hashed("closed"));
    // A local copy with another mode keeps it.
    stage.sh("chmod 440 object");
    stage.run_as(SOMEONE).expect(0);
    assert!(hashed("object") && hashed("closed"));
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn files_of_size_0_that_hold_something_are_kept_whole() {
    let stage = Stage::new(BIN);
    let name = "/proc/sys/kernel/hostname";
    for _ in 0..2 {
        stage.run().set("srcs-to-backup", name).expect(0);
        let copy = fixtures::stage::inside(&stage.history().newest(), Path::new(name));
        let content = fs::read_to_string(name).unwrap();
        assert_eq!(fs::read_to_string(copy).unwrap(), content);
    }
}

#[test]
fn a_file_that_the_destination_takes_no_more_of_leaves_no_part_under_its_name() {
    let stage = Stage::with(BIN, &Tree::new().file("grows", "small").file("other", "x"));
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.sh("head -c 9000000 /dev/urandom >grows; head -c 9000000 /dev/urandom >new; cp -p new sparse; truncate -s 99M sparse");
    // In units of 512 bytes; the signal must become an error.
    let limit = "trap '' XFSZ; ulimit -f 8000; exec \"$@\"";
    let limited = |run: Run| run.under(&["sh", "-c", limit, "sh"]);
    for run in [stage.run(), stage.run().rsync(&["-c"])] {
        let done = limited(run).expect(3);
        done.assert_says("File too large").assert_says("carried forward");
        assert_eq!(content(&stage, "grows"), "small");
        let newest = stage.inside(&stage.history().newest());
        assert!(!newest.join("new").exists() && !newest.join("sparse").exists());
    }
    assert_untouched(&first, &before);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    // The same when the content of the base is copied with another mode.
    stage.sh("chmod 600 new");
    let done = limited(stage.run()).done();
    assert!([0, 3].contains(&done.code), "{}", done.said());
    let size = fs::metadata(stage.inside(&stage.history().newest()).join("new")).unwrap().len();
    assert_eq!(size, 9_000_000, "{}", done.said());
}

/// BLAKE3 processes every zero; a hole of this size would take practically forever.
#[test]
fn a_hole_of_any_size_is_copied_compared_checked_and_restored_at_once() {
    let disk = need!(LoopFs::xfs(300));
    let stage = Stage::all_on(BIN, disk.path());
    stage.sh("printf head >sparse; truncate -s 7E sparse; printf tail | dd of=sparse bs=1 seek=1T conv=notrunc status=none");
    stage.take();
    stage.look("verify").expect(0).assert_says("1 file");
    stage.sh("chmod 600 sparse");
    stage.run().rsync(&["-c"]).expect(0);
    assert_eq!(stage.counts()["compared"], 1, "{}", stage.counts());
    stage.sh("printf TAIL | dd of=sparse bs=1 seek=1T conv=notrunc status=none");
    stage.run().expect(0);
    let copy = stage.inside(&stage.history().newest()).join("sparse");
    let read = |at| {
        let mut bytes = [0; 6];
        std::os::unix::fs::FileExt::read_at(&fs::File::open(&copy).unwrap(), &mut bytes, at)
            .unwrap();
        bytes
    };
    assert_eq!((read(0), read((1 << 40) - 1)), (*b"head\0\0", *b"\0TAIL\0"));
    assert_eq!(fs::metadata(&copy).unwrap().len(), 7 << 60);
    let to = disk.path().join("restored");
    let restore = stage.look("restore").arg("latest").arg(&stage.source).arg("--to").arg(&to);
    restore.expect(0);
    // A changed byte of the copy is found.
    let file = fs::OpenOptions::new().write(true).open(&copy).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"x", 3 << 40).unwrap();
    stage.look("verify").expect(4);
}

#[test]
fn a_file_that_only_others_may_read_is_not_copied() {
    need!(need::root());
    const PAIRS: u64 = 40;
    let stage = Stage::new(BIN);
    for number in 0..PAIRS {
        let tree = Tree::new()
            .file(format!("own {number}"), "public")
            .mode(0o644)
            .owner(SOMEONE, SOMEONE)
            .mtime(1_700_000_000, 0)
            .file(format!("others {number}"), "SECRET")
            .mode(0o600)
            .mtime(1_700_000_000, 0);
        tree.build(&stage.source);
    }
    swap_while(&stage.source, ["own", "others"], PAIRS, |_| {
        for _ in 0..6 {
            let done = stage.run().set("max-backups", "3").rsync(&["-I"]).done();
            assert!([0, 3].contains(&done.code), "{}", done.said());
            let newest = stage.inside(&stage.history().newest());
            for (path, found) in scan(&newest).iter().filter(|(_, found)| found.is_file()) {
                let text =
                    fs::read_to_string(newest.join(std::str::from_utf8(path).unwrap())).unwrap();
                let open = found.mode & 0o077 != 0 || found.user != 0;
                assert!(text != "SECRET" || !open, "{path:?}: {found:?}");
                assert!(text == "SECRET" || open, "{path:?}: {found:?}");
            }
        }
    });
}

#[test]
fn content_that_only_others_may_read_is_not_used_for_a_file_with_the_same_name_size_and_time() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let remote = |stage: &Stage| server.reached_by(stage.run());
    // A local source provides change times; with the option, size and mtime suffice.
    let ways: [&dyn Fn(&Stage) -> Run; 2] = [&remote, &believing_mtime];
    for way in ways {
        let stage = Stage::with(BIN, &Tree::new().file("taken", "SECRET").file("given", "public"));
        stage.sh("chmod 600 taken; touch -d 2020-01-01 taken given");
        way(&stage).expect(0);
        stage.sh(&format!(
            "rm taken; echo -n PUBLIC >taken; touch -d 2020-01-01 taken; chown {SOMEONE} taken given"
        ));
        way(&stage).expect(0);
        assert_eq!(content(&stage, "taken"), "PUBLIC");
        let counts = stage.counts();
        assert_eq!((&counts["copied"], content(&stage, "given")), (&1.into(), "public".into()));
    }
}

#[test]
fn no_file_gets_the_attributes_of_one_that_had_its_name_for_a_moment() {
    need!(need::root());
    need!(need::tool("strace"));
    const PAIRS: u64 = 8;
    for own in [Some("own"), None] {
        let stage = Stage::new(BIN);
        for number in 0..PAIRS {
            let tree = Tree::new().file(format!("own {number}"), "public").owner(SOMEONE, SOMEONE);
            let tree = match own {
                Some(own) => tree.xattr("user.of", own),
                None => tree,
            };
            let others = tree.file(format!("others {number}"), "SECRET").xattr("user.of", "others");
            others.build(&stage.source);
        }
        swap_while(&stage.source, ["own", "others"], PAIRS, |_| {
            // Between reading the owner and reading the attributes, which may come first.
            let slow = ["listxattr,llistxattr,newfstatat:delay_enter=2000"];
            let done = stage.run().rsync(&["-X"]).injecting(&slow).done();
            assert!([0, 3].contains(&done.code), "{}", done.said());
            let newest = stage.inside(&stage.history().newest());
            for (path, found) in scan(&newest).iter().filter(|(_, found)| found.is_file()) {
                let expected = if found.user == SOMEONE { own } else { Some("others") };
                let of = found.xattrs.get("user.of").map(Vec::as_slice);
                assert_eq!(of, expected.map(str::as_bytes), "{path:?}: {found:?}");
            }
        });
    }
}

#[test]
fn a_file_under_a_lease_is_waited_for() {
    need!(need::tool("python3"));
    let stage = Stage::with(BIN, &Tree::new().file("leased", "in use").file("other", "x"));
    // The lease holder keeps the lease for a while after it learns that a process waits.
    let holder = "import fcntl,os,signal,sys,time
told=[]
signal.signal(signal.SIGIO,lambda *a: told.append(1))
f=os.open(sys.argv[1],os.O_RDWR)
fcntl.fcntl(f,fcntl.F_SETLEASE,fcntl.F_WRLCK)
print('held',flush=True)
while not told: time.sleep(0.05)
time.sleep(1.5)
fcntl.fcntl(f,fcntl.F_SETLEASE,fcntl.F_UNLCK)
";
    let mut python = Command::new("python3");
    python.args(["-c", holder]).arg(stage.source.join("leased")).stdout(Stdio::piped());
    let mut holder = python.spawn().unwrap();
    let mut said = String::new();
    let stdout = holder.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).unwrap();
    assert_eq!(said, "held\n");
    stage.take();
    assert!(holder.wait().unwrap().success());
    assert_eq!(content(&stage, "leased"), "in use");
}
