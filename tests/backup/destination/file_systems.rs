//! Real file systems: limits of links, space and inodes, and types that some cannot store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use fixtures::bulk::{big_file, big_tree, even_tree};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::loop_fs::{LoopFs, Mount};
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::scan::scan;
use fixtures::scratch::Scratch;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const MIB: usize = 1 << 20;

/// Renames the newest snapshot to one this many hours ago.
fn age(stage: &Stage, hours: u64) -> std::path::PathBuf {
    let aged = stage.history().path(&hours_ago(hours), "");
    fs::rename(stage.history().newest(), &aged).expect("rename a snapshot");
    aged
}

#[test]
fn ext4_xfs_and_btrfs_hold_everything() {
    need!(need::tool("setfacl"));
    for (kind, megabytes) in [("ext4", 200), ("xfs", 320), ("btrfs", 300)] {
        let disk = need!(LoopFs::new(kind, megabytes, &[]));
        let spec = Spec { files: 300, folders: 60, largest: 100_000, root_only: true };
        let tree = random_tree(4, spec)
            .file("dressed", "x")
            .xattr("user.colour", "red")
            .acl("u:1234:rw-")
            .char_device("null", 1, 3);
        let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
        let mut older = Vec::new();
        for seed in 0..3 {
            stage.run().rsync(&["-A", "-X"]).expect(0);
            println!("{kind}, round {seed}");
            stage.assert_newest_is_source(Judge::strict());
            older.push((stage.history().newest(), Fingerprint::of(&stage.history().newest())));
            mutate(&stage.source, seed);
            let _ =
                stage.run().rsync(&["-A", "-X"]).killed_after(std::time::Duration::from_millis(15));
        }
        for (snapshot, before) in older {
            assert_untouched(&snapshot, &before);
        }
    }
}

/// `-X` describes a file by its name where this holds (`engine::fs::ByName`).
#[test]
fn ext4_btrfs_and_tmpfs_show_renames_and_links_in_the_change_time() {
    let mut places = vec![("tmpfs", Scratch::below(Path::new("/dev/shm")), None)];
    for (kind, megabytes) in [("ext4", 64), ("btrfs", 300)] {
        let disk = need!(LoopFs::new(kind, megabytes, &[]));
        places.push((kind, Scratch::below(disk.path()), Some(disk)));
    }
    for (kind, place, _) in &places {
        let changed = |name: &str| {
            let meta = fs::symlink_metadata(place.join(name)).expect("look at a file");
            (meta.ctime(), meta.ctime_nsec())
        };
        // Makes the clock of the file system advance.
        let tick = || {
            let now = || {
                fs::write(place.join("now"), "").expect("write a file");
                changed("now")
            };
            let before = now();
            while now() <= before {}
        };
        let file = |name: &str| fs::write(place.join(name), "").expect("write a file");
        ["one", "two", "three", "four", "five"].iter().for_each(|name| file(name));
        let at = |name: &str| place.join(name);
        let [one, two, three, four, five] = ["one", "two", "three", "four", "five"].map(&changed);
        tick();
        fs::rename(at("one"), at("moved")).expect("rename");
        assert!(changed("moved") > one, "{kind}: a rename");
        fs::rename(at("moved"), at("two")).expect("rename over another file");
        assert!(changed("two") > two, "{kind}: a rename over another file");
        fs::hard_link(at("three"), at("link")).expect("link");
        assert!(changed("three") > three, "{kind}: a link");
        let folder = fs::File::open(place.path()).expect("open a folder");
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(&folder, "four", &folder, "five", exchange).expect("exchange");
        assert!(changed("five") > four && changed("four") > five, "{kind}: an exchange");
    }
}

#[test]
fn attributes_that_xfs_adds_to_an_acl_are_no_change() {
    need!(need::tool("setfacl"));
    let disk = need!(LoopFs::xfs(320));
    let tree = Tree::new().file("dressed", "x").acl("u:1234:rw-").xattr("user.colour", "red");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    for _ in 0..2 {
        stage.run().rsync(&["-A", "-X"]).expect(0);
    }
    stage.assert_linked("dressed");
    assert_eq!(stage.counts()["metadata"], 0);
}

#[test]
fn the_link_limit_of_ext4_starts_a_new_group_of_links() {
    let disk = need!(LoopFs::new("ext4", 64, &["-q", "-F"]));
    let tree = Tree::new().file("popular", "linked 65,000 times").file("other", "x");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    stage.take();
    let first = stage.inside(&stage.history().newest()).join("popular");
    let shelf = disk.path().join("shelf");
    fs::create_dir(&shelf).unwrap();
    for number in 1..64_999 {
        fs::hard_link(&first, shelf.join(number.to_string())).unwrap();
    }
    let before = Fingerprint::of(&stage.history().newest());
    stage.take();
    stage.assert_linked("popular");
    let done = stage.run().expect(0);
    stage.assert_apart("popular");
    stage.assert_linked("other");
    assert_eq!(stage.counts()["link_fallbacks"], 1, "{}", done.said());
    stage.assert_newest_is_source(Judge::plain());
    // Later snapshots link to the new group, without reading the source.
    stage.take();
    stage.assert_linked("popular");
    assert_eq!(stage.counts()["link_fallbacks"], 0);
    assert_eq!(stage.counts()["copied"], 0);
    let oldest = &stage.history().complete()[0];
    assert_untouched(oldest, &before);
}

#[test]
fn the_link_limit_keeps_hard_links_of_the_source_together() {
    let disk = need!(LoopFs::ext4(64));
    let tree = Tree::new().file("a", "x").hard_link("b", "a").hard_link("folder/c", "a");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    stage.take();
    let first = stage.inside(&stage.history().newest()).join("a");
    let shelf = disk.path().join("shelf");
    fs::create_dir(&shelf).unwrap();
    // Room for one more name, but there are three.
    for number in 3..64_999 {
        fs::hard_link(&first, shelf.join(number.to_string())).unwrap();
    }
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn without_space_the_run_fails_says_so_and_the_next_one_completes() {
    let disk = need!(LoopFs::ext4(48));
    let stage = Stage::with(BIN, &Tree::new().random_file("file", 15 * MIB, 1))
        .backups_in(&disk.path().join("backups"));
    stage.take();
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    stage.sh("head -c 20000000 /dev/urandom >second; head -c 20000000 /dev/urandom >third");
    for _ in 0..2 {
        let done = stage.run().expect(1);
        done.assert_says("no space left").assert_says("free");
        assert_eq!(stage.history().complete(), std::slice::from_ref(&first));
        assert_eq!(stage.history().incomplete().len(), 1);
        assert_untouched(&first, &before);
    }
    stage.sh("rm third");
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
}

#[test]
fn when_the_history_is_full_the_oldest_makes_room() {
    let disk = need!(LoopFs::ext4(80));
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    let run = stage.run().set("max-backups", "2");
    for hours in [40, 30] {
        stage.sh("head -c 25000000 /dev/urandom >file");
        run.expect(0);
        age(&stage, hours);
    }
    let newest = stage.history().newest();
    let before = Fingerprint::of(&newest);
    stage.sh("head -c 25000000 /dev/urandom >file");
    run.expect(0);
    assert_eq!(stage.history().complete().len(), 2);
    assert_untouched(&newest, &before);
    stage.assert_newest_is_source(Judge::plain());
}

/// The removal moves the change times of the inodes that the removed snapshot had too.
#[test]
fn a_renamed_file_is_linked_also_after_the_oldest_made_room() {
    let disk = need!(LoopFs::ext4(80));
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    let run = stage.run().set("max-backups", "2");
    stage.sh("mkdir photos; head -c 8000000 /dev/urandom >photos/large");
    for hours in [40, 30] {
        stage.sh("head -c 25000000 /dev/urandom >file");
        run.expect(0);
        age(&stage, hours);
    }
    stage.sh("mv photos pictures; head -c 25000000 /dev/urandom >file");
    run.expect(0);
    stage.assert_linked_to("photos/large", "pictures/large");
    assert_eq!(stage.counts()["renamed"], 1, "{}", stage.counts());
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn the_newest_never_makes_room() {
    let disk = need!(LoopFs::ext4(64));
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    for limit in ["1", "2", "30"] {
        if stage.history().complete().is_empty() {
            stage.sh("head -c 30000000 /dev/urandom >file");
            stage.take();
        }
        let newest = stage.history().newest();
        let before = Fingerprint::of(&newest);
        stage.sh("head -c 35000000 /dev/urandom >file");
        stage.run().set("max-backups", limit).expect(1);
        assert_eq!(
            stage.history().complete(),
            std::slice::from_ref(&newest),
            "MAX_BACKUPS={limit}"
        );
        assert_untouched(&newest, &before);
    }
}

#[test]
fn without_inodes_the_run_fails_and_says_so() {
    let disk = need!(LoopFs::new("ext4", 32, &["-q", "-F", "-N", "256"]));
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    stage.sh("mkdir old; for i in $(seq 80); do echo $i >old/$i; done");
    stage.take();
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    stage.sh("mkdir new; for i in $(seq 200); do echo $i >new/$i; done");
    stage.run().expect(1).assert_says("inodes");
    assert_eq!(stage.history().complete(), std::slice::from_ref(&first));
    assert_untouched(&first, &before);
    stage.sh("rm -r new");
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn on_xfs_too_a_full_disk_fails_the_run_and_says_what_is_missing() {
    // One per cent of the disk may hold inodes, so small files use up the inodes first.
    let disk = need!(LoopFs::new("xfs", 320, &["-q", "-i", "maxpct=1"]));
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    stage.sh("mkdir old; for i in $(seq 80); do echo $i >old/$i; done");
    stage.take();
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    big_file(&stage.source.join("large"), 260 << 20, 1);
    stage.run().expect(1).assert_says("no space left").assert_says("MiB");
    assert_eq!(stage.history().complete(), std::slice::from_ref(&first));
    stage.sh("rm large");
    big_tree(&stage.source.join("many"), 9_000, 30, 1);
    stage.run().expect(1).assert_says("inodes");
    assert_eq!(stage.history().complete(), std::slice::from_ref(&first));
    assert_untouched(&first, &before);
    stage.sh("rm -r many");
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
}

/// What is left of the large file takes all space, and the small one is stored before it.
#[test]
fn what_an_interrupted_run_left_of_a_file_that_is_shorter_now_makes_room_for_the_others() {
    need!(need::root());
    let disk = need!(LoopFs::ext4(32));
    let stage = Stage::with(BIN, &Tree::new()).backups_in(&disk.path().join("backups"));
    big_file(&stage.source.join("z"), 64 << 20, 1);
    stage.run().expect(1).assert_says("no space left");
    stage.sh("head -c 1000 z >../short; cat ../short >z");
    big_file(&stage.source.join("a"), 1 << 20, 2);
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::strict());
}

#[test]
fn on_a_disk_that_the_first_run_fills_status_says_that_it_failed_and_why() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new());
    let at = stage.beside("disk");
    let stage = stage.backups_in(&at.join("backups"));
    std::fs::create_dir(&at).expect("a folder of the test");
    let _disk = need!(Mount::tmpfs(&at));
    stage.sh("mount -o remount,size=4m ../disk");
    big_file(&stage.source.join("large"), 8 << 20, 1);
    let done = stage.run().expect(1);
    done.assert_says("no space left");
    assert!(!done.said().contains("cannot be stored"), "{}", done.said());
    let status = stage.look("status").arg("--json").expect(0);
    status.assert_says("\"outcome\": \"failed\"").assert_says("no space left");
}

#[test]
fn on_a_full_disk_status_says_that_runs_fail_and_why() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("small", "1"));
    let at = stage.beside("disk");
    let stage = stage.backups_in(&at.join("backups"));
    std::fs::create_dir(&at).expect("a folder of the test");
    let _disk = need!(Mount::tmpfs(&at));
    stage.sh("mount -o remount,size=4m ../disk");
    stage.take();
    big_file(&stage.source.join("large"), 8 << 20, 1);
    for failures in 1..=3 {
        stage.run().expect(1).assert_says("no space left");
        let status = stage.look("status").arg("--json").expect(0);
        status.assert_says("\"outcome\": \"failed\"").assert_says("no space left");
        status.assert_says(&format!("\"failures_in_a_row\": {failures}"));
    }
    stage.look("status").arg("--check").expect(1);
}

/// The file that is created next gets the number of the inode that was removed. With 20 names, the name that was left is hardly the
/// first one, for which the file is created.
#[test]
fn what_an_interrupted_run_left_under_a_name_of_a_hard_linked_file_is_not_taken_for_that_file() {
    need!(need::root());
    let disk = need!(LoopFs::ext4(32));
    let stage = Stage::with(BIN, &Tree::new()).backups_in(&disk.path().join("backups"));
    big_file(&stage.source.join("left"), 64 << 20, 1);
    stage.run().expect(1).assert_says("no space left");
    stage.sh("echo short >name0; for i in $(seq 18); do ln name0 name$i; done; ln -f name0 left");
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::strict());
}

/// For a file that is not on disk yet, xfs reserves several blocks; a sync releases them.
#[test]
fn a_disk_that_is_full_of_what_is_only_in_memory_is_synced_and_filled_further() {
    need!(need::tool("strace"));
    let disk = need!(LoopFs::xfs(320));
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    let files = 4_000;
    even_tree(&stage.source.join("many"), files, 20, 500, 1);
    // A folder is refused, and so is the second attempt, with thousands of files in memory.
    let done = stage.run().injecting_on(0, &["mkdirat:error=ENOSPC:when=22..23"]).expect(0);
    done.assert_says("until all that was written was on the disk");
    assert!(stage.counts()["kept"].as_u64() > Some(500), "{}", stage.counts());
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_destination_that_is_read_only_fails_the_run() {
    let disk = need!(LoopFs::ext4(32));
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let stage = stage.backups_in(&disk.path().join("backups"));
    stage.take();
    disk.remount("ro");
    stage.run().expect(1).assert_says("ead-only");
    stage.run().arg("--dry-run").expect(0);
    disk.remount("rw");
    stage.take();
    assert_eq!(stage.history().complete().len(), 2);
}

/// Whether a file shares all blocks with another one.
fn is_shared(path: &Path) -> bool {
    let done = Command::new("filefrag").arg("-v").arg(path).output().expect("filefrag");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let extents: Vec<_> = text.lines().filter(|line| line.contains("..")).collect();
    println!("{text}");
    !extents.is_empty() && extents.iter().all(|line| line.contains("shared"))
}

#[test]
fn new_metadata_of_a_large_file_costs_no_space_where_blocks_can_be_shared() {
    need!(need::tool("filefrag"));
    for (kind, options) in [("btrfs", &["-q"][..]), ("xfs", &["-q", "-m", "reflink=1"])] {
        let disk = need!(LoopFs::new(kind, 400, options));
        let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
        big_file(&stage.source.join("large"), 60 << 20, 1);
        stage.take();
        let before = Fingerprint::of(&stage.history().newest());
        stage.sh("chmod 600 large");
        stage.take();
        stage.assert_apart("large");
        stage.assert_newest_is_source(Judge::plain());
        assert!(is_shared(&stage.inside(&stage.history().newest()).join("large")), "{kind}");
        assert_untouched(&stage.history().complete()[0], &before);
    }
}

/// xfs reserves blocks behind the end of a file that grows.
#[test]
fn holes_between_data_stay_holes() {
    for kind in ["xfs", "btrfs", "ext4"] {
        let disk = need!(LoopFs::new(kind, 400, &["-q"]));
        let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
        big_file(&stage.source.join("sparse"), 30 << 20, 1);
        for (at, length) in [(4 << 20, 4096), (10_000_000, 1_000_000), (20_000_000, 4_000_000)] {
            stage.sh(&format!("fallocate -p -o {at} -l {length} sparse"));
        }
        stage.take();
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn where_there_are_no_hard_links_files_are_copied_and_that_is_said_loudly() {
    let disk = need!(LoopFs::exfat(64));
    let tree = Tree::new()
        .file("one", "1")
        .mtime(1_600_000_000, 0)
        .random_file("folder/two", 100_000, 1)
        .mode(0o640)
        .mtime(1_600_000_010, 0)
        .file("folder/UPPER", "case")
        .folder("empty");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    for round in 1..=2 {
        let done = stage.run().expect(0);
        done.assert_says("hard link").assert_says("no extended attributes");
        assert_eq!(stage.history().complete().len(), round);
        let copy = scan(&stage.inside(&stage.history().newest()));
        for (path, found) in scan(&stage.source) {
            let theirs = copy.get(&path).map(|found| (found.kind, &found.content));
            assert_eq!(theirs, Some((found.kind, &found.content)), "{}", path.escape_ascii());
        }
    }
    assert_eq!(stage.counts()["changed"], 0, "coarse times are no change: {}", stage.counts());
    assert_eq!(stage.counts()["copied"], 0, "copied locally, not read again");
}

#[test]
fn of_names_that_differ_in_case_only_one_is_stored_there_and_the_others_are_listed() {
    let disk = need!(LoopFs::exfat(64));
    let tree = Tree::new()
        .file("README", "upper")
        .file("readme", "lower")
        .file("Readme", "mixed")
        .file("Folder/file", "1")
        .file("folder/file", "2")
        .file("other", "x");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    for round in 1..=2 {
        let done = stage.run().done();
        println!("{} {}", done.code, done.said());
        done.assert_code(3).assert_says("ignores case");
        assert_eq!(stage.history().complete().len(), round);
        let copy = scan(&stage.inside(&stage.history().newest()));
        let source = scan(&stage.source);
        // Each stored name has the content of that name in the source.
        for (path, found) in copy.iter().filter(|(_, found)| found.is_file()) {
            let theirs = source.get(path).map(|found| &found.content);
            assert_eq!(theirs, Some(&found.content), "{}", path.escape_ascii());
        }
        assert_eq!(copy.values().filter(|found| found.is_file()).count(), 3);
    }
}

#[test]
fn values_that_such_a_file_system_cannot_hold_are_kept_in_the_sidecar() {
    need!(need::root());
    let disk = need!(LoopFs::exfat(64));
    let tree = Tree::new()
        .file("owned", "x")
        .owner(1_234, 5_678)
        .mode(0o4711)
        .symlink("link", "owned")
        .fifo("pipe")
        .hard_link("second name", "owned");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    let first = stage.run().done();
    assert!([0, 3].contains(&first.code), "{}", first.said());
    let kept = Command::new("grep")
        .args(["-rl", "1234"])
        .arg(stage.backups.join(".backup_manager"))
        .output()
        .unwrap();
    assert!(!kept.stdout.is_empty(), "the owner is kept beside");
    let second = stage.run().done();
    assert_eq!(second.code, first.code, "{}", second.said());
    let counts = stage.counts();
    for key in ["new", "changed", "metadata", "deleted"] {
        assert_eq!(counts[key], 0, "nothing changed: {counts}");
    }
    // The manifest has a hash for both names of the file.
    stage.look("verify").arg("--all").expect(0);
}
