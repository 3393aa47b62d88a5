//! What holds on each distributed file system.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::distributed::{Cluster, Mounts};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::mutate::mutate;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::{Run, Running};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The message of a run that finds another one at work.
const BUSY: &str = "another run of this job is at work";

/// A setup whose backups folder is on the cluster, as machine 1 sees it.
pub(crate) fn stage(mounts: &Mounts, tree: &Tree) -> Stage {
    Stage::with(BIN, tree).backups_in(&backups(mounts, 1))
}

fn backups(mounts: &Mounts, machine: usize) -> PathBuf {
    mounts.machines[machine - 1].join("backups")
}

/// A run with attributes and ACLs.
fn run(stage: &Stage) -> Run {
    stage.run().rsync(&["-A", "-X"])
}

/// Files that a slow run needs seconds for.
fn slow_tree() -> Tree {
    let tree = Tree::new().random_file("folder/large", 12_000_000, 1).symlink("link", "folder");
    let tree = (0..40).fold(tree, |tree, n| tree.random_file(format!("small/{n}"), 3_000, n));
    tree.hard_link("second name", "small/7").file("dressed", "x").acl("u:1234:rw-")
}

/// Starts a run of ten seconds or more and waits until it has started its snapshot.
#[track_caller]
fn begun(stage: &Stage) -> Running {
    let mut running = run(stage).rsync(&["--bwlimit=1000"]).start();
    let at_work = || {
        let incomplete = stage.history().incomplete();
        incomplete.iter().any(|path| stage.inside(path).join("folder/large").exists())
    };
    assert!(running.until(at_work), "it was too fast: {}", running.wait().said());
    running
}

/// Fails the test unless the newest snapshot is the source, and all are intact.
#[track_caller]
fn assert_whole(mounts: &Mounts, stage: &Stage, complete: usize) {
    let history = stage.history();
    assert_eq!(history.complete().len(), complete);
    assert!(history.incomplete().is_empty() && history.deleting().is_empty());
    stage.assert_newest_is_source(mounts.judge);
    stage.look("verify").arg("--all").expect(0);
}

/// Changed and unchanged runs, then a restore, a verification and a prune.
pub(crate) fn runs_restores_verifies_and_prunes(mounts: &Mounts) {
    let spec = Spec { files: 200, folders: 40, largest: 200_000, root_only: true };
    let tree = random_tree(4, spec)
        .file("dressed", "x")
        .xattr("user.colour", "red")
        .acl("u:1234:rw-")
        .symlink("old link", "dressed")
        .mtime(1_000_000, 0)
        .hard_link("third name", "dressed");
    let stage = stage(mounts, &tree);
    let mut older = Vec::new();
    for seed in 0..3 {
        run(&stage).expect(0);
        stage.assert_newest_is_source(mounts.judge);
        older.push((stage.history().newest(), Fingerprint::of(&stage.history().newest())));
        mutate(&stage.source, seed);
        fs::write(stage.source.join("stays"), "x").expect("write to the source");
    }
    for _ in 0..2 {
        run(&stage).expect(0);
    }
    stage.assert_linked("stays");
    let counts = stage.counts();
    for kind in ["new", "changed", "metadata", "bytes_copied"] {
        assert_eq!(counts[kind], 0, "{kind} of an unchanged source: {counts}");
    }
    for (snapshot, before) in &older {
        assert_untouched(snapshot, before);
    }
    let restored = stage.beside("restored");
    stage.look("restore").set("to", &restored).expect(0);
    let restored = fixtures::stage::inside(&restored, &stage.source);
    mounts.restored.assert_same(&stage.source, &restored);
    assert_whole(mounts, &stage, 5);
    let prune = stage.look("prune").set("backup-name-prefix", "my_backup");
    prune.set("max-backups", "2").arg("--yes").expect(0);
    assert_whole(mounts, &stage, 2);
    assert!(older.iter().all(|(snapshot, _)| !snapshot.exists()));
}

/// A time that the file system cannot hold comes back, and its file is not copied again.
pub(crate) fn keeps_old_times(mounts: &Mounts) {
    let tree = Tree::new().file("old", "x").mtime(-1_000_000, 0);
    let stage = stage(mounts, &tree);
    run(&stage).expect(0);
    run(&stage).expect(0);
    stage.assert_linked("old");
    assert_eq!(stage.counts()["bytes_copied"], 0);
    let restored = stage.beside("restored");
    stage.look("restore").set("to", &restored).expect(0);
    let restored = fixtures::stage::inside(&restored, &stage.source);
    mounts.restored.assert_same(&stage.source, &restored);
}

/// A run that was killed is resumed.
pub(crate) fn resumes_after_a_kill(mounts: &Mounts) {
    let stage = stage(mounts, &slow_tree());
    run(&stage).expect(0);
    let older = stage.history().newest();
    let before = Fingerprint::of(&older);
    stage.sh("head -c 12000000 /dev/urandom >folder/large; rm small/1; echo new >small/new");
    let mut killed = begun(&stage);
    killed.signal(Signal::KILL);
    killed.wait().assert_code(137);
    run(&stage).expect(0).assert_says("from the interrupted run");
    assert_whole(mounts, &stage, 2);
    assert_untouched(&older, &before);
}

/// A server that holds data is killed during a run.
pub(crate) fn survives_a_lost_server(cluster: &Cluster) {
    let mounts = &cluster.mounts();
    for server in [1, 2] {
        let stage = stage(mounts, &slow_tree());
        let stage = stage.backups_in(&mounts.machines[0].join(format!("lost{server}")));
        run(&stage).expect(0);
        let older = stage.history().newest();
        let before = Fingerprint::of(&older);
        stage.sh("head -c 12000000 /dev/urandom >folder/large; rm small/1; echo new >small/new");
        let during = begun(&stage);
        cluster.kill_server(server);
        let during = during.wait();
        let complete = stage.history().complete().len();
        assert_eq!(complete, if during.code == 0 { 2 } else { 1 }, "{}", during.said());
        assert!(during.code == 0 || !during.stderr.is_empty(), "it failed without a word");
        if during.code == 0 {
            stage.assert_newest_is_source(mounts.judge);
        }
        // With the other server alone.
        run(&stage).expect(0);
        stage.assert_newest_is_source(mounts.judge);
        cluster.start_server(server);
        run(&stage).expect(0);
        assert_whole(mounts, &stage, complete + 2);
        assert_untouched(&older, &before);
    }
}

/// Two machines have one backups folder: one works at a time, and each continues what the other began.
pub(crate) fn two_machines_take_turns(mounts: &Mounts) {
    let mut stage = stage(mounts, &slow_tree());
    run(&stage).expect(0);
    let older = stage.history().newest();
    let before = Fingerprint::of(&older);
    stage.sh("head -c 12000000 /dev/urandom >folder/large");
    let first = begun(&stage);
    stage.backups = backups(mounts, 2);
    run(&stage).expect(0).assert_says(BUSY);
    assert!(is_at_work(&stage), "machine 2 sees the run of machine 1");
    first.wait().assert_code(0);
    assert!(!is_at_work(&stage));
    assert_whole(mounts, &stage, 2);
    run(&stage).expect(0);
    stage.assert_linked("folder/large");
    // The run of machine 1 is killed; machine 2 continues it.
    stage.backups = backups(mounts, 1);
    stage.sh("head -c 12000000 /dev/urandom >folder/large");
    let mut killed = begun(&stage);
    killed.signal(Signal::KILL);
    killed.wait().assert_code(137);
    stage.backups = backups(mounts, 2);
    run(&stage).expect(0).assert_says("from the interrupted run");
    assert_whole(mounts, &stage, 4);
    stage.backups = backups(mounts, 1);
    assert_whole(mounts, &stage, 4);
    assert_untouched(&older, &before);
}

fn is_at_work(stage: &Stage) -> bool {
    let status = stage.look("status").set("srcs-to-backup", &stage.source).arg("--json");
    let said = status.expect(0).said();
    let states: serde_json::Value = serde_json::from_str(&said).expect("one JSON object");
    states["jobs"][0]["at_work"].as_bool().expect("status reports it")
}

/// More snapshots than an inode can have names: from `limit` on, a file is stored anew and linked again.
pub(crate) fn outlives_the_link_limit(
    mounts: &Mounts,
    snapshots: usize,
    limit: std::ops::Range<u64>,
) {
    let tree = Tree::new().file("one", "content").random_file("folder/two", 50_000, 1);
    let stage = stage(mounts, &tree);
    let mut fallbacks = 0;
    for _ in 0..snapshots {
        stage.run().set("max-backups", "1000").expect(0);
        let counts = stage.counts();
        fallbacks += counts["link_fallbacks"].as_u64().expect("a report counts them");
        assert!(stage.history().complete().len() == 1 || counts["new"] == 0, "{counts}");
    }
    assert!(fallbacks >= 2, "no file met the limit: {fallbacks}");
    let complete = stage.history().complete();
    assert_eq!(complete.len(), snapshots);
    let mut most = 0;
    for snapshot in &complete {
        mounts.judge.assert_same(&stage.source, &stage.inside(snapshot));
        most = most.max(names(&stage.inside(snapshot).join("one")));
    }
    assert!(limit.contains(&most), "{most} names of an inode");
    let prune = stage.look("prune").set("backup-name-prefix", "my_backup");
    prune.set("max-backups", "3").arg("--yes").expect(0);
    assert_whole(mounts, &stage, 3);
}

fn names(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).expect("look at a file").nlink()
}

/// `doctor` names the file system.
pub(crate) fn doctor_names(mounts: &Mounts, name: &str) {
    let stage = stage(mounts, &Tree::new().file("a", "1"));
    let found = findings(&stage, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(name), "{found:?}");
}

/// What `doctor`, under the command `under`, says of the file system of the backups folder.
pub(crate) fn findings(stage: &Stage, under: &[&str]) -> Vec<String> {
    let doctor = stage.look("doctor").set("srcs-to-backup", &stage.source).arg("--json");
    let done = doctor.env("CONFIG_DIR", stage.beside("config")).under(under).expect(0);
    let all = done.objects();
    let found = all.iter().filter(|finding| finding["check"] == "file system");
    found.map(|finding| finding["found"].as_str().unwrap_or_default().to_owned()).collect()
}
