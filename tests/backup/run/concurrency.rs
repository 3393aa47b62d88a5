//! Several processes on one backups folder: the second one says so, or works without harm.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::{History, hours_ago};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::{Done, Run, Running};
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The message of a run that finds another one at work.
const BUSY: &str = "another run of this job is at work";

/// Namespaces like those of a container.
const CONTAINER: [&str; 6] = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--ipc"];

fn sample() -> Tree {
    Tree::new()
        .file("one", "first")
        .random_file("folder/two", 5_000, 1)
        .random_file("folder/large", 5_000_000, 2)
        .hard_link("second name", "folder/two")
}

/// A setup with a snapshot from 50 hours ago, and a source that changed since.
fn stage() -> Stage {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let aged = stage.history().path(&hours_ago(50), "");
    fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    stage.sh("echo changed >one; touch folder/large");
    stage
}

/// A run that takes several seconds.
fn slow(stage: &Stage) -> Run {
    stage.run().rsync(&["--bwlimit=1000"])
}

/// Starts `run` and waits until it has started its snapshot.
#[track_caller]
fn begun(stage: &Stage, run: &Run) -> Running {
    let mut running = run.start();
    let at_work = || {
        let incomplete = stage.history().incomplete();
        incomplete.iter().any(|path| stage.inside(path).join("folder").exists())
    };
    assert!(running.until(at_work), "it was too fast: {}", running.wait().said());
    running
}

/// Fails the test unless `first`, with which others interfered, completes and the folder is in
/// order.
#[track_caller]
fn completes(stage: &Stage, first: Running, complete: usize) {
    first.wait().assert_code(0);
    assert_eq!(stage.history().complete().len(), complete);
    assert!(stage.history().incomplete().is_empty() && stage.history().deleting().is_empty());
    stage.assert_newest_is_source(Judge::plain());
    stage.look("verify").arg("--all").expect(0);
}

fn lock_file(stage: &Stage) -> std::path::PathBuf {
    stage.backups.join(format!(".backup_manager/locks/{PREFIX}.lock"))
}

/// The lock files and leases.
fn locks(stage: &Stage) -> Vec<std::ffi::OsString> {
    let left = fs::read_dir(stage.backups.join(".backup_manager/locks")).expect("a folder");
    left.flatten().map(|entry| entry.file_name()).collect()
}

#[test]
fn runs_in_namespaces_of_their_own_keep_apart() {
    need!(need::root());
    need!(need::tool("unshare"));
    let stage = stage();
    let first = begun(&stage, &slow(&stage).under(&CONTAINER));
    stage.run().under(&CONTAINER).expect(0).assert_says(BUSY);
    stage.run().expect(0).assert_says(BUSY);
    completes(&stage, first, 2);
}

#[test]
fn many_runs_at_once_make_one_snapshot_at_a_time() {
    let stage = stage();
    let all: Vec<_> = (0..8).map(|_| stage.run().start()).collect();
    let said: Vec<_> = all.into_iter().map(|run| run.wait().assert_code(0).said()).collect();
    let busy = said.iter().filter(|said| said.contains(BUSY)).count();
    assert_eq!(stage.history().complete().len() - 1, said.len() - busy, "{said:#?}");
    stage.assert_newest_is_source(Judge::plain());
    assert!(stage.history().incomplete().is_empty());
    stage.look("verify").arg("--all").expect(0);
}

#[test]
fn a_lock_file_that_is_removed_or_replaced_lets_no_second_run_in() {
    for replaced in [false, true] {
        let stage = stage();
        stage.take();
        stage.sh("touch folder/large");
        let first = begun(&stage, &slow(&stage));
        fs::remove_file(lock_file(&stage)).expect("it is there");
        if replaced {
            fs::write(lock_file(&stage), "").expect("it can be written");
        }
        stage.run().expect(0).assert_says(BUSY);
        stage.look("prune").set("max-backups", "1").arg("--yes").expect(1).assert_says("at work");
        completes(&stage, first, 3);
        stage.take();
    }
}

#[test]
fn without_locks_a_second_run_keeps_away_all_the_same() {
    need!(need::tool("strace"));
    for error in ["ENOLCK", "EOPNOTSUPP"] {
        let stage = stage();
        let rule = format!("flock:error={error}");
        let first = begun(&stage, &slow(&stage).rsync(&["--bwlimit=500"]).injecting(&[&rule]));
        let second = stage.run().injecting(&[&rule]).expect(0);
        second.assert_says(BUSY);
        let first = first.wait();
        first.assert_code(0).assert_says("the destination has no locks");
        let complete = stage.history().complete().len();
        assert_eq!(complete, 2, "{error}: the first one's alone");
        stage.assert_newest_is_source(Judge::plain());
        assert_eq!(locks(&stage), ["my_backup.lock"], "a lease goes with its run");
    }
}

/// Like two machines of which one has no locks on the shared folder, or a lock service that
/// returns.
#[test]
fn a_run_that_has_locks_minds_one_that_has_none() {
    need!(need::tool("strace"));
    let stage = stage();
    let none = "flock:error=ENOLCK";
    let first = begun(&stage, &slow(&stage).rsync(&["--bwlimit=500"]).injecting(&[none]));
    stage.run().expect(0).assert_says(BUSY);
    completes(&stage, first, 2);
    stage.sh("echo more >one");
    let killed = stage.run().injecting(&[none, "utimensat:signal=KILL:when=2"]).done();
    assert_eq!(killed.code, 137, "{}", killed.said());
    assert_eq!(locks(&stage).len(), 2, "a lease and a lock");
    stage.run().expect(0);
    assert_eq!(locks(&stage), ["my_backup.lock"]);
    assert_eq!(stage.history().complete().len(), 3);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_lease_that_is_no_file_keeps_nobody_away() {
    let stage = stage();
    fs::create_dir_all(lock_file(&stage).with_extension("lease").join("inside")).expect("made");
    stage.take();
    assert_eq!(stage.history().complete().len(), 2);
}

#[test]
fn without_locks_a_killed_run_holds_the_next_one_for_less_than_a_minute() {
    need!(need::tool("strace"));
    let stage = stage();
    let none = "flock:error=ENOLCK";
    let killed = stage.run().injecting(&[none, "utimensat:signal=KILL:when=2"]).done();
    assert_eq!(killed.code, 137, "{}", killed.said());
    stage.run().injecting(&[none]).expect(0);
    assert_eq!(stage.history().complete().len(), 2);
    stage.assert_newest_is_source(Judge::plain());
}

/// Like a laptop that slept while a run of another machine started.
#[test]
fn without_locks_a_run_that_slept_lets_the_one_that_took_over_alone() {
    need!(need::tool("strace"));
    let stage = stage();
    let none = "flock:error=ENOLCK";
    // With its tracer stopped, the program stops at its next call, of whatever kind.
    let rule = format!("inject={none}");
    let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &rule];
    let mut first = begun(&stage, &slow(&stage).under(&strace));
    first.signal(Signal::STOP);
    stage.run().injecting(&[none]).expect(0);
    let newest = stage.history().newest();
    let before = Fingerprint::of(&newest);
    first.signal(Signal::CONT);
    first.wait().assert_code(0).assert_says(BUSY);
    assert_untouched(&newest, &before);
    assert_eq!(stage.history().complete().len(), 2);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn those_who_look_and_restore_do_not_mind_a_run() {
    let stage = stage();
    let older = stage.history().newest();
    let before = Fingerprint::of(&older);
    let first = begun(&stage, &slow(&stage));
    stage.look("verify").arg("--all").expect(0);
    stage.look("list").expect(0);
    stage.look("restore").set("to", stage.beside("back")).arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.inside(&older), &stage.beside("back/source"));
    stage.look("prune").set("max-backups", "1").arg("--yes").expect(0);
    assert_untouched(&older, &before);
    completes(&stage, first, 2);
}

#[test]
fn a_run_ignores_changes_to_another_prefix() {
    let stage = stage();
    for _ in 0..3 {
        stage.run().set("backup-name-prefix", "other").expect(0);
    }
    let other = History::new(&stage.backups, "other");
    let first = begun(&stage, &slow(&stage));
    let look = |verb: &str| stage.look(verb).set("backup-name-prefix", "other");
    look("prune").set("max-backups", "2").arg("--yes").expect(0);
    assert_eq!(other.complete().len(), 2);
    look("verify").arg("--all").expect(0);
    let back = look("restore").set("to", stage.beside("back")).arg("--job").arg("other");
    back.arg(&stage.source).expect(0);
    stage.run().set("backup-name-prefix", "other").set("max-backups", "1").expect(0);
    assert_eq!(other.complete().len(), 1);
    completes(&stage, first, 2);
}

/// A setup with three snapshots of many files.
fn three() -> Stage {
    let tree = (0..60).fold(Tree::new(), |tree, number| {
        tree.file(format!("folder {}/{number}", number % 6), format!("content {number}"))
    });
    let stage = Stage::with(BIN, &tree);
    for number in 0..3 {
        stage.sh(&format!("for file in */*; do echo {number} >>\"$file\"; done"));
        stage.take();
    }
    stage
}

/// Prunes everything except the newest snapshot and the one being read, while `running` is at work.
#[track_caller]
fn pruned_meanwhile(stage: &Stage, running: Running) -> Done {
    let pruned = stage.look("prune").set("max-backups", "1").arg("--yes").done();
    assert!([0, 3].contains(&pruned.code), "{}", pruned.said());
    assert!(stage.history().complete().len() < 3, "{}", pruned.said());
    running.wait()
}

#[test]
fn a_check_does_not_take_a_removal_for_damage() {
    need!(need::tool("strace"));
    // During the listing of the first of three snapshots, and while content is read.
    for slow in ["getdents64", "fadvise64"] {
        let stage = three();
        let trace = stage.beside("trace");
        let (traced, rule) = (format!("trace={slow}"), format!("inject={slow}:delay_enter=50000"));
        let file = trace.display().to_string();
        let strace = ["strace", "-f", "-y", "-qqq", "-e", &traced, "-e", &rule, "-o", &file];
        let mut verify = stage.look("verify").arg("--all").under(&strace).start();
        let reads = || {
            let trace = fs::read_to_string(&trace).unwrap_or_default();
            trace.lines().any(|line| line.contains(slow) && line.contains("/source"))
        };
        assert!(verify.until(reads), "it was too fast: {}", verify.wait().said());
        let done = pruned_meanwhile(&stage, verify);
        done.assert_code(0).assert_says("was removed during the check");
        let marks = fs::read_dir(stage.backups.join(".backup_manager/damaged"));
        assert_eq!(marks.map_or(0, Iterator::count), 0, "{}", done.said());
        stage.take();
        assert_eq!(stage.counts()["healed"], 0);
    }
}

#[test]
fn a_restore_whose_snapshot_is_removed_lists_what_did_not_come_back() {
    need!(need::tool("strace"));
    let stage = three();
    let oldest = stage.history().complete().remove(0);
    let restore = stage.look("restore").set("to", stage.beside("back"));
    let restore = restore.arg(oldest.file_name().expect("a name")).arg(&stage.source);
    let mut running = restore.injecting(&["utimensat:delay_enter=30000"]).start();
    let back = stage.beside("back/source");
    assert!(running.until(|| has_files(&back)), "it was too fast: {}", running.wait().said());
    // Not done by the program, but possible by hand.
    fs::remove_dir_all(&oldest).expect("it can be removed");
    // A file that was listed before the removal and is opened after it counts as damaged.
    let done = running.wait();
    assert!([3, 4].contains(&done.code), "{}", done.said());
    done.assert_says("FAILED");
}

fn has_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries
        .flatten()
        .any(|entry| fs::read_dir(entry.path()).is_ok_and(|mut it| it.next().is_some()))
}

#[test]
fn a_run_that_was_stopped_for_long_goes_on_alone() {
    let stage = stage();
    let mut first = begun(&stage, &slow(&stage));
    first.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..3 {
        stage.run().expect(0).assert_says(BUSY);
    }
    first.signal(Signal::CONT);
    completes(&stage, first, 2);
}

/// The inodes of a folder that have temporary names.
fn temporary(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_temporary = |entry: &fs::DirEntry| {
        entry.file_name().as_encoded_bytes().starts_with(b".backup_manager.restoring.")
    };
    let inode = |entry: fs::DirEntry| Some(entry.metadata().ok()?.ino());
    entries.filter(is_temporary).filter_map(inode).collect()
}

/// Two restores write the same large file at the same time; the second one is killed.
fn two_restores(stage: &Stage, restore: &Run) {
    let back = stage.beside("back/source");
    let whole = || {
        let same = fs::read(back.join("large")).ok() == fs::read(stage.source.join("large")).ok();
        assert!(same, "the file has its name and is not whole");
    };
    let mut first = restore.start();
    assert!(first.until(|| !temporary(&back).is_empty()), "too fast: {}", first.wait().said());
    first.signal(Signal::STOP);
    let of_first = temporary(&back);
    assert_eq!(of_first.len(), 1, "it was too fast");
    let mut second = restore.start();
    let begun = || temporary(&back).iter().any(|inode| !of_first.contains(inode));
    assert!(second.until(begun), "too fast: {}", second.wait().said());
    second.signal(Signal::STOP);
    assert!(temporary(&back).contains(&of_first[0]), "the second restore took it from the first");
    first.signal(Signal::CONT);
    first.wait().assert_code(0);
    whole();
    second.signal(Signal::KILL);
    second.wait();
    whole();
    // The remains of the second restore do not disturb the next one.
    restore.expect(0);
    assert_eq!(temporary(&back), Vec::<u64>::new());
    Judge::sent_by_sftp().assert_same(&stage.source, &back);
}

#[test]
fn two_restores_into_one_folder_do_not_take_each_others_files() {
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 80_000_000, 1));
    stage.take();
    let to = stage.look("restore").set("to", stage.beside("back"));
    two_restores(&stage, &to.arg(&stage.source));
}

#[test]
fn two_restores_to_one_host_do_not_take_each_others_files() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 80_000_000, 1));
    stage.take();
    let place = format!("test:{}", stage.beside("back").display());
    let to = server.known_to(stage.look("restore")).set("to", place);
    two_restores(&stage, &to.arg(&stage.source));
}
