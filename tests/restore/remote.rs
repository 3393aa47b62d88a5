//! `restore --to user@host:DIR`: like a local target, as far as SFTP permits. `tests/helper/restore/to_host.rs` has what only the
//! helper brings back.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown, symlink};
use std::path::Path;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::sample_tree::{everything, odd_and_deep, ordinary};
use fixtures::scan::scan;
use fixtures::sshd::{NOBODY_ID, Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, Over};

/// The differences of a restored tree, except those caused by SFTP.
fn differences(source: &Path, copy: &Path) -> Vec<String> {
    let mut source = scan(source);
    source.retain(|_, found| found.is_file() || found.is_folder() || found.kind.is_symlink());
    for found in source.values_mut() {
        found.mtime = found.mtime.max(0);
    }
    Judge::sent_by_sftp().tree_differences(&source, &scan(copy))
}

/// `restore --to` a folder beside the setup, on the server.
fn to(over: Over, stage: &Stage, server: &Sshd, folder: &str) -> Run {
    let place = format!("test:{}", stage.beside(folder).display());
    server.known_to(over.set(stage.look("restore"))).set("to", place)
}

#[test]
fn root_gets_back_what_sftp_carries_through_both_servers() {
    need!(need::root());
    need!(need::tool("setfacl"));
    for subsystem in [Subsystem::Internal, Subsystem::Program] {
        let server = need!(Sshd::serving(subsystem));
        let stage = Stage::with(BIN, &everything());
        stage.run().rsync(&["-A", "-X"]).expect(0);
        let snapshot = stage.history().newest();
        let before = Fingerprint::of(&snapshot);
        let done = to(Over::Sftp, &stage, &server, "back").arg(&stage.source).expect(3);
        for what in ["source/pipe", "source/socket", "source/null", "source/disk"] {
            done.assert_says(&format!("{what}: SFTP can make no fifos, sockets or devices"));
        }
        done.assert_says("source/dressed: restored without its system.posix_acl_access");
        done.assert_says("source/old: restored without its modification time");
        done.assert_says("whole seconds");
        let back = stage.beside("back/source");
        assert_eq!(differences(&stage.source, &back), Vec::<String>::new());
        assert_untouched(&snapshot, &before);
        assert_eq!(server.clients(), Vec::<u32>::new(), "ssh is still there");
    }
}

#[test]
fn an_ordinary_user_there_gets_what_is_theirs_and_hears_what_is_missing_of_others() {
    let server = need!(Plan::new(Subsystem::Internal).serving_nobody().start());
    let tree = ordinary().file("theirs", "#!").owner(7, 8).mode(0o4755).mtime(1_500_000_000, 0);
    let stage = Stage::with(BIN, &tree);
    stage.sh("rm -rf pipe folder/'the same pipe' socket old");
    stage.sh("find . ! -name theirs -exec chown -h 65534:65534 {} +; chmod 3775 folder");
    stage.take();
    let back = stage.beside("back");
    fs::create_dir(&back).unwrap();
    chown(&back, Some(NOBODY_ID), Some(NOBODY_ID)).unwrap();
    open_up(&stage);
    let run = to(Over::Sftp, &stage, &server, "back").arg(&stage.source);
    let done = run.expect(3);
    done.assert_says("source/theirs: restored without its owner or group, mode");
    let found = fs::metadata(back.join("source/theirs")).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (NOBODY_ID, 0o755), "no rights of another");
    fs::remove_file(back.join("source/theirs")).unwrap();
    fs::remove_file(stage.source.join("theirs")).unwrap();
    let mut differences = differences(&stage.source, &back.join("source"));
    // The times of the folder in which this test removed a file.
    differences.retain(|line| !line.starts_with(": mtime"));
    // Root owns the source root.
    differences.retain(|line| !line.starts_with(": owner") && !line.starts_with(": group"));
    assert_eq!(differences, Vec::<String>::new());
}

/// Gives all users access to the folders beside the setup.
fn open_up(stage: &Stage) {
    let mut folder = stage.beside("");
    while folder.parent().is_some() && folder != Path::new("/") {
        let mode = fs::metadata(&folder).expect("a folder").mode() & 0o7777;
        if mode & 0o001 == 0 {
            fs::set_permissions(
                &folder,
                std::os::unix::fs::PermissionsExt::from_mode(mode | 0o011),
            )
            .expect("a folder");
        }
        folder.pop();
    }
}

#[test]
fn an_account_that_may_do_nothing_but_sftp_in_its_jail_is_restored_to() {
    need!(need::root());
    // Only root may be able to write to the jail and the folders above it, so it cannot be in the
    // usual place.
    let jail = fixtures::scratch::Scratch::below(Path::new("/var"));
    let server = need!(Plan::new(Subsystem::Internal).jailed(jail.path()).start());
    fs::create_dir(jail.join("inbox")).unwrap();
    chown(jail.join("inbox"), Some(NOBODY_ID), Some(NOBODY_ID)).unwrap();
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "x").symlink("link", "folder"));
    stage.sh("chown -hR 65534:65534 .");
    stage.take();
    let run = server.known_to(stage.look("restore")).set("to", "test:inbox/new").arg(&stage.source);
    run.expect(0);
    Judge::sent_by_sftp().assert_same(&stage.source, &jail.join("inbox/new/source"));
    // It may not write outside of the jail.
    let run = server.known_to(stage.look("restore")).set("to", "test:/other").arg(&stage.source);
    run.expect(1).assert_says("cannot make /other");
}

#[test]
fn a_second_time_nothing_is_sent_and_a_dry_run_says_what_would_be() {
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Program));
        let stage = staged(sample(1));
        stage.take();
        let run = |folder| to(over, &stage, &server, folder).arg(&stage.source);
        let preview = run("new/folder").arg("-n").expect(0);
        preview.assert_says("would restore").assert_says("create ");
        assert!(!stage.beside("new").exists(), "a dry run writes nothing");
        run("new/folder").expect(0);
        let back = stage.beside("new/folder/source");
        over.judge().assert_same(&stage.source, &back);
        let before = Fingerprint::of(&back);
        let again = run("new/folder").arg("--json").expect(0).objects().pop().unwrap();
        let counts = &again["counts"];
        let done =
            ["created", "replaced", "metadata", "removed", "bytes"].map(|what| &counts[what]);
        assert_eq!(done.map(|count| count.as_u64()), [Some(0); 5]);
        assert_eq!(again["whole_seconds"], over == Over::Sftp);
        assert_untouched(&back, &before);
    }
}

#[test]
fn existing_entries_are_replaced_or_removed_only_on_request() {
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Internal));
        let stage = staged(sample(2).file("kept", "kept").file("changed", "before"));
        stage.take();
        let original = stage.beside("back/source");
        fs::create_dir(stage.beside("back")).unwrap();
        stage.sh(&format!("cp -a . {}", original.display()));
        fixtures::mutate::mutate(&original, 5);
        fs::write(original.join("changed"), "later").unwrap();
        fs::remove_dir_all(original.join("new folder")).ok();
        fs::create_dir_all(original.join("new folder/deep")).unwrap();
        fs::write(original.join("new folder/deep/file"), "new").unwrap();
        let run = || to(over, &stage, &server, "back").arg(&stage.source);
        run().expect(3).assert_says("changed: another version is in its place");
        let read = |name: &str| fs::read_to_string(original.join(name)).unwrap();
        assert_eq!((read("changed"), read("new folder/deep/file")), ("later".into(), "new".into()));
        run().arg("--overwrite").arg("newer").expect(3);
        assert_eq!(read("changed"), "later", "the snapshot's is older");
        let preview = run().arg("-n").arg("--overwrite").arg("changed").arg("--delete").expect(0);
        preview.assert_says("replace ").assert_says("remove ");
        assert!(original.join("new folder").exists());
        run().arg("--overwrite").arg("changed").arg("--delete").expect(0);
        over.judge().assert_same(&stage.source, &original);
        let inode = fs::metadata(original.join("kept")).unwrap().ino();
        run().arg("--overwrite").arg("always").expect(0);
        assert_ne!(fs::metadata(original.join("kept")).unwrap().ino(), inode, "made anew");
        over.judge().assert_same(&stage.source, &original);
    }
}

#[test]
fn only_attributes_are_set_where_the_content_is_right_unless_it_has_other_names() {
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Internal));
        let tree = Tree::new().file("one", "1").mode(0o640).file("two", "2").mode(0o640);
        let stage = Stage::with(BIN, &tree);
        stage.take();
        let run = || to(over, &stage, &server, "back").arg(&stage.source);
        run().expect(0);
        let back = stage.beside("back/source");
        let elsewhere = stage.beside("another name of two");
        fs::hard_link(back.join("two"), &elsewhere).unwrap();
        let inode = |name: &str| fs::metadata(back.join(name)).unwrap().ino();
        let before = [inode("one"), inode("two")];
        for name in ["one", "two"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(back.join(name), mode).unwrap();
        }
        run().arg("--overwrite").arg("changed").expect(0);
        over.judge().assert_same(&stage.source, &back);
        assert_eq!(inode("one"), before[0], "it was not sent again");
        assert_ne!(inode("two"), before[1], "what has other names is never changed");
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o600);
    }
}

/// Files of all sizes in folders, some larger than one request.
fn sample(seed: u64) -> Tree {
    let root_only = need::root().is_ok();
    random_tree(seed, Spec { files: 300, folders: 40, largest: 100_000, root_only: false })
        .random_file("large", 9_000_000, seed)
        .random_file("medium", 700_000, seed + 1)
        .file("set id", "#!")
        .mode(if root_only { 0o6755 } else { 0o755 })
}

/// A source with only entries that SFTP supports.
fn staged(tree: Tree) -> Stage {
    let stage = Stage::with(BIN, &tree);
    stage.sh("find . ! -type f ! -type d ! -type l -delete");
    stage
}

#[test]
fn planted_symlinks_lead_nowhere() {
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Internal));
        let stage = Stage::with(BIN, &Tree::new().file("folder/file", "x").file("top", "y"));
        stage.take();
        let (outside, back) = (stage.beside("outside"), stage.beside("back/source"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(&back).unwrap();
        fs::write(outside.join("victim"), "v").unwrap();
        let plant = || {
            for name in ["folder", "top"] {
                let _ = fs::remove_file(back.join(name))
                    .or_else(|_| fs::remove_dir_all(back.join(name)));
            }
            symlink(&outside, back.join("folder")).unwrap();
            symlink(outside.join("victim"), back.join("top")).unwrap();
        };
        let untouched = || {
            assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "v");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        };
        let restore = |when: &str| {
            to(over, &stage, &server, "back").arg(&stage.source).set("overwrite", when)
        };
        plant();
        restore("never").expect(3).assert_says("something that is no folder is in its place");
        untouched();
        for when in ["changed", "always"] {
            plant();
            restore(when).expect(0);
            untouched();
            over.judge().assert_same(&stage.source, &back);
        }
        // Symlinks above the target belong to the user.
        symlink(&back, stage.beside("way")).unwrap();
        to(over, &stage, &server, "way/below").arg(&stage.source).expect(0);
        over.judge().assert_same(&stage.source, &back.join("below/source"));
    }
}

#[test]
fn a_damaged_file_is_not_left_there_unless_asked_for() {
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Internal));
        let tree = Tree::new()
            .random_file("bad", 100_000, 1)
            .random_file("large and bad", 6_000_000, 2)
            .file("good", "good")
            .hard_link("bad too", "bad");
        let stage = Stage::with(BIN, &tree);
        let snapshot = stage.take();
        for name in ["bad", "large and bad"] {
            let bad = stage.inside(&snapshot).join(name);
            let bad = fs::OpenOptions::new().write(true).open(bad).unwrap();
            bad.write_all_at(b"flip", 50_000).unwrap();
        }
        let restore = || to(over, &stage, &server, "back").arg(&stage.source);
        let done = restore().expect(4);
        done.assert_says("source/bad: ").assert_says("source/large and bad': ");
        let names = || {
            let found = fs::read_dir(stage.beside("back/source")).unwrap();
            let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["good"]);
        restore().arg("--accept-damage").expect(4);
        assert_eq!(names(), ["bad", "bad too", "good", "large and bad"]);
    }
}

#[test]
fn nothing_is_restored_into_backups_of_the_host() {
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Internal));
        let stage = Stage::with(BIN, &Tree::new().file("file", "x"));
        let snapshot = stage.take();
        let before = Fingerprint::of(&stage.backups);
        let link = stage.beside("link");
        symlink(&snapshot, &link).unwrap();
        for folder in ["backups", "backups/new/folder", "link/deep"] {
            for more in ["--overwrite=always", "--dry-run"] {
                let refused = to(over, &stage, &server, folder).arg(more).expect(2);
                refused.assert_says("lies in the backups folder");
            }
        }
        // Contains backups: existing files stay, whatever the options.
        let holder = stage.beside("back/source/file");
        fs::create_dir_all(&holder).unwrap();
        fs::rename(&stage.backups, holder.join("backups")).unwrap();
        let stage = stage.backups_in(&holder.join("backups"));
        let run = to(over, &stage, &server, "back").arg(&stage.source);
        let done = run.set("overwrite", "always").arg("--delete").expect(3);
        done.assert_says("a folder is in its place, and in it something that must not be removed");
        assert_untouched(&stage.backups, &before);
    }
}

#[test]
fn odd_names_and_deep_folders_come_back_and_what_is_too_deep_is_listed() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &odd_and_deep());
    stage.take();
    let done = to(Over::Sftp, &stage, &server, "back").arg(&stage.source).expect(3);
    done.assert_says("its path there is longer than 4,095 bytes");
    let back = stage.beside("back/source");
    assert_eq!(
        fs::read_link(back.join("link")).unwrap(),
        stage.source.join("link").read_link().unwrap()
    );
    let read = |top: &Path| fs::read(top.join(std::ffi::OsStr::new("link"))).unwrap();
    assert_eq!(read(&back), read(&stage.source));
    let way = vec!["d".repeat(250); 14].join("/");
    assert!(back.join(way).exists());
}
