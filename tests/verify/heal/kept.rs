//! What no manifest records comes back with what is healed: attributes of folders, owners that attributes keep, links. And what a
//! killed healing left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fixtures::history::History;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::Run;
use fixtures::sample_tree::SOMEONE;
use fixtures::sshd::{Plan, Sshd, Subsystem};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use rustix::fs::FlockOperation;

use crate::heal::{assert_whole, copied, copy, inside, none_left, stage};
use crate::snapshots::{BIN, overwrite, verify};

/// The owner and mode that a user could not set.
const OWNER: &str = "user.rsync.%stat";

/// `verify --heal-from` the copy beside the backups folder, and the same folder on a server.
fn heals<'a>(stage: &'a Stage, server: &'a Sshd) -> [(&'static str, Run); 2] {
    let here = verify(stage).arg("--heal-from").arg(copied(stage));
    let there = server.known_to(verify(stage)).env("REMOTE_HELPER", BIN);
    let there = there.arg("--heal-from").arg(format!("test:{}", copied(stage).display()));
    [("a folder", here), ("a host", there)]
}

/// Two snapshots, and a copy of them.
fn taken(tree: &Tree, script: &str, options: &[&str]) -> Stage {
    let stage = Stage::with(BIN, tree);
    stage.sh(script);
    for _ in 0..2 {
        stage.run().rsync(options).expect(0);
    }
    copy(&stage.backups, &copied(&stage));
    stage
}

#[test]
fn missing_folders_get_their_attributes_back() {
    for tool in ["setfacl", "setfattr"] {
        need!(need::tool(tool));
    }
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().file("top/folder/below/file", "x");
    let attributes = "setfattr -n user.of_folder -v value top/folder\n\
                      setfacl -d -m u:1234:rwx top top/folder; setfacl -m u:77:r top/folder";
    let stage = taken(&tree, attributes, &["-A", "-X"]);
    for (what, heal) in heals(&stage, &server) {
        fs::remove_dir_all(inside(&stage, 1).join("top/folder")).expect("removed");
        heal.expect(0);
        let value = xattr::get(inside(&stage, 1).join("top/folder"), "user.of_folder");
        assert_eq!(value.expect("read").as_deref(), Some(&b"value"[..]), "{what}");
        // The judge compares ACLs as well.
        assert_whole(&stage, what);
    }
}

#[test]
fn links_of_what_is_no_file_and_of_replaced_files_come_back() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().file("file", "x").symlink("link", "file").file("empty", "");
    let others = "mkfifo fifo; mkdir other; ln file other/file; ln empty other/empty\n\
                  ln link other/link; ln fifo other/fifo";
    let stage = taken(&tree, others, &["-H"]);
    for (what, heal) in heals(&stage, &server) {
        for number in 0..2 {
            for name in ["empty", "link", "fifo"] {
                fs::remove_file(inside(&stage, number).join(name)).expect("removed");
            }
            let file = inside(&stage, number).join("other/file");
            fs::remove_file(&file).expect("removed");
            fs::write(&file, "y").expect("written");
        }
        heal.expect(0);
        assert_whole(&stage, what);
    }
}

#[test]
fn many_missing_files_are_healed_in_one_pass_over_the_other_folder() {
    need!(need::tool("strace"));
    let folders = (0..20).flat_map(|folder| (0..10).map(move |file| format!("{folder}/{file}")));
    let tree = folders.fold(Tree::new(), |tree, path| tree.file(&path, &path));
    let stage = taken(&tree, "", &[]);
    for folder in fs::read_dir(inside(&stage, 1)).expect("listed") {
        fs::remove_dir_all(folder.expect("an entry").path()).expect("removed");
    }
    let calls = stage.beside("calls");
    let traced = ["strace", "-f", "-qq", "-e", "trace=getdents64", "-o"];
    let under: Vec<&str> =
        traced.into_iter().chain([calls.to_str().expect("plain letters")]).collect();
    verify(&stage).arg("--heal-from").arg(copied(&stage)).under(&under).expect(0);
    let calls = fs::read_to_string(calls).expect("read").lines().count();
    assert!(calls < 2_000, "{calls}");
    assert_whole(&stage, "in one pass");
}

#[test]
fn an_ordinary_user_gets_owners_back_that_attributes_keep() {
    need!(need::root());
    let server = need!(Plan::new(Subsystem::Internal).start());
    let tree = Tree::new().random_file("folder/file", 3_000, 1).random_file("program", 300, 2);
    let stage = Stage::with(BIN, &tree);
    stage
        .sh("chown -R 77:88 folder; chmod 755 . folder; chmod 644 folder/file; chmod 4755 program");
    let fake = |run: Run| run.env("RSYNC_SINGLE_PARAMS", "-a,--relative,-H,--fake-super");
    for _ in 0..2 {
        fake(stage.run_as(SOMEONE)).expect(0);
    }
    copy(&stage.backups, &copied(&stage));
    let config = stage.beside("config.toml");
    let text = format!(
        "BACKUPS_DIR = {:?}\nSRCS_TO_BACKUP = {:?}\nRSYNC_SINGLE_PARAMS = \"-a,--relative,-H,--fake-super\"\n",
        stage.backups, stage.source
    );
    fs::write(&config, text).expect("written");
    server.give("user", SOMEONE);
    let owner = |at: PathBuf| xattr::get(at, OWNER).expect("read");
    let all = [heals(&stage, &server), heals(&stage, &server)].concat();
    for (number, (what, heal)) in all.into_iter().enumerate() {
        // Without the settings of the job it is seen in the history.
        let heal = match number < 2 {
            true => heal.unset("backups-dir").set("config", &config),
            false => heal,
        };
        fs::remove_dir_all(inside(&stage, 0).join("folder")).expect("removed");
        fs::remove_file(inside(&stage, 1).join("folder/file")).expect("removed");
        fs::remove_file(inside(&stage, 1).join("program")).expect("removed");
        heal.program(&stage.beside("backup_manager")).as_user(SOMEONE).expect(0);
        for (number, name) in
            [(0, "folder"), (0, "folder/file"), (1, "folder/file"), (1, "program")]
        {
            let there =
                copied(&stage).join(stage.history().complete()[number].file_name().unwrap());
            let theirs = owner(stage.inside(&there).join(name));
            assert!(theirs.is_some(), "{name}");
            assert_eq!(owner(inside(&stage, number).join(name)), theirs, "{what}: {name}");
        }
        assert_whole(&stage, what);
    }
}

#[test]
fn a_disk_without_attributes_gets_its_folders_back() {
    need!(need::root());
    let disk = need!(LoopFs::exfat(64));
    let stage = Stage::with(BIN, &Tree::new().file("folder/below/file", "x"));
    let on_disk = |run: Run| run.unset("backups-dir").set("backups-dir", disk.path());
    on_disk(stage.run()).expect(0);
    on_disk(stage.look("copy")).arg("--to").arg(copied(&stage)).expect(0);
    let newest = History::new(disk.path(), PREFIX).newest();
    let theirs = stage.inside(&copied(&stage).join(newest.file_name().expect("a name")));
    // As in a copy by a user.
    for name in ["folder", "folder/below/file"] {
        xattr::set(theirs.join(name), OWNER, b"100644 0,0 7:7").expect("set");
    }
    fs::remove_dir_all(stage.inside(&newest).join("folder")).expect("removed");
    on_disk(verify(&stage)).arg("--heal-from").arg(copied(&stage)).expect(0);
    let content = fs::read_to_string(stage.inside(&newest).join("folder/below/file"));
    assert_eq!(content.expect("read"), "x");
}

#[test]
fn a_setuid_file_of_another_user_is_healed() {
    need!(need::root());
    let tree = Tree::new().random_file("program", 3_000, 1);
    let stage = Stage::with(BIN, &tree);
    stage.sh("chmod 755 .; chmod 4755 program");
    stage.run_as(SOMEONE).expect(0);
    copy(&stage.backups, &copied(&stage));
    // Its time is another one, too.
    fs::write(inside(&stage, 0).join("program"), "damaged").expect("written");
    let heal = verify(&stage).arg("--heal-from").arg(copied(&stage));
    heal.program(&stage.beside("backup_manager")).as_user(SOMEONE).expect(0);
    assert_whole(&stage, "set-id");
    let mode = fs::metadata(inside(&stage, 0).join("program")).expect("a file").mode();
    assert_eq!(mode & 0o7777, 0o755);
}

fn make_old(folder: &Path) {
    let before = SystemTime::now() - Duration::from_secs(2 * 24 * 3_600);
    let opened = fs::File::open(folder).expect("opened");
    opened.set_modified(before).expect("set");
}

#[test]
fn what_a_killed_healing_brought_is_removed_by_any_other_and_by_a_run_a_day_later() {
    let stage = stage();
    let healing = stage.backups.join(".backup_manager/healing");
    let left = healing.join("fetched");
    fs::create_dir_all(left.join("my_backup.x/folder")).expect("made");
    // One of another job, which may be at work.
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_nanos();
    let of_other = healing.join(format!(".heal.0123456789abcdef.1.{now:x}.1.tmp"));
    fs::write(&of_other, "x").expect("written");
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    verify(&stage).arg("--heal-from").arg(copied(&stage)).expect(0);
    assert!(!left.exists() && of_other.exists());
    fs::remove_file(of_other).expect("removed");
    fs::create_dir_all(left.join("my_backup.x/folder")).expect("made");
    stage.take();
    assert!(left.exists(), "it may be in use on another machine");
    make_old(&left);
    let lock = fs::File::open(&healing).expect("opened");
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("locked");
    stage.take();
    assert!(left.exists(), "it is in use");
    drop(lock);
    stage.take();
    none_left(&stage, "after a run");
}

#[test]
fn what_is_under_a_wrong_name_is_not_replaced_while_it_is_the_only_one() {
    let names = ["one", "two", "three", "four"];
    let tree = names.into_iter().fold(Tree::new(), |tree, name| tree.file(name, name));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    copy(&stage.backups, &copied(&stage));
    let at = |name: &str| inside(&stage, 0).join(name);
    let theirs = copied(&stage).join(stage.history().newest().file_name().expect("a name"));
    let theirs = stage.inside(&theirs);
    let content = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
    fs::rename(at("one"), at("aside")).expect("renamed");
    fs::rename(at("two"), at("one")).expect("renamed");
    fs::rename(at("aside"), at("two")).expect("renamed");
    fs::rename(at("three"), at("four")).expect("renamed");
    for name in ["two", "three"] {
        fs::rename(theirs.join(name), theirs.join(format!("no {name}"))).expect("renamed");
    }
    let heal = || verify(&stage).arg("--heal-from").arg(copied(&stage));
    heal().expect(4).assert_says("the only one");
    assert_eq!([content("one"), content("four")], ["two", "three"]);
    for name in ["two", "three"] {
        fs::rename(theirs.join(format!("no {name}")), theirs.join(name)).expect("renamed");
    }
    // The folders there have other times now.
    heal().expect(4);
    assert_eq!(names.map(content), names);
}
