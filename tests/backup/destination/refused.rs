//! If the destination refuses a name, an attribute or a size, only that entry or value is affected
//! and reported. The run continues, and older snapshots stay.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::lockless::Lockless;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Sets attributes of `file` until the file system refuses more.
fn fill_with_attributes(stage: &Stage, file: &str) {
    stage.sh(&format!(
        "echo content >{file}
         for size in 1000 300 100 40 16 8 4 1; do
             number=0
             while setfattr -n user.$size.$number -v $(head -c $size /dev/zero | tr '\\0' x) {file} 2>/dev/null
             do number=$((number + 1)); done
         done"
    ));
}

/// The problems in the newest report: path, and what the snapshot holds instead.
fn problems(stage: &Stage) -> Vec<(String, String)> {
    let report = stage.history().report(&stage.history().newest());
    let text = |problem: &serde_json::Value, key: &str| {
        problem[key].as_str().unwrap_or_default().to_owned()
    };
    let problems = report["problems"].as_array().cloned().unwrap_or_default();
    problems.iter().map(|problem| (text(problem, "path"), text(problem, "instead"))).collect()
}

#[test]
fn attributes_that_do_not_fit_beside_an_inode_are_no_full_disk() {
    need!(need::tool("setfattr"));
    let disk = need!(LoopFs::ext4(64));
    let stage = Stage::all_on(BIN, disk.path());
    let run = stage.run().rsync(&["-X"]).set("max-backups", "2");
    stage.sh("echo plain >plain");
    run.expect(0);
    run.expect(0);
    let before = stage.history().complete();
    fill_with_attributes(&stage, "full");
    let done = run.expect(0);
    assert!(!done.said().contains("no space left"), "{}", done.said());
    assert_eq!(stage.history().complete()[0], before[1], "one made place, as in every run");
    let listed = problems(&stage);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].0.ends_with("/full") && listed[0].1 == "beside", "{listed:?}");
    // Nothing is lost: a restore returns all of them.
    let back = stage.beside("back");
    let restore = stage.look("restore").arg("latest").arg(&stage.source).set("to", &back);
    restore.expect(0);
    Judge::strict().assert_same(&stage.source, &back.join("source"));
    assert_eq!(run.expect(0).said().matches("WARN").count(), 0, "it is unchanged, and linked");
}

#[test]
fn a_restore_lists_attributes_that_do_not_fit_and_goes_on() {
    need!(need::tool("setfattr"));
    let (large, small) = (need!(LoopFs::xfs(320)), need!(LoopFs::ext4(64)));
    let stage = Stage::all_on(BIN, large.path());
    stage.sh("echo a >a; echo b >b; echo c >c
              setfattr -n user.icon -v $(head -c 20000 /dev/zero | tr '\\0' x) b");
    stage.run().rsync(&["-X"]).expect(0);
    let back = small.path().join("back");
    let done = stage.look("restore").arg("latest").arg(&stage.source).set("to", &back).done();
    assert!([0, 3].contains(&done.code), "{}", done.said());
    done.assert_says("user.icon");
    for name in ["a", "b", "c"] {
        assert_eq!(
            fs::read_to_string(back.join("source").join(name)).unwrap(),
            format!("{name}\n")
        );
    }
}

#[test]
fn a_source_root_that_the_destination_refuses_fails_the_run_when_the_history_holds_it() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "x"));
    stage.take();
    let root = stage.source.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
    let top = stage.source.components().nth(1).expect("a folder above it");
    let top = top.as_os_str().to_str().expect("UTF-8").to_owned();
    for refused in [root, top] {
        let refuse = ["-P", &refused, "-e", "inject=mkdirat:error=EPERM:when=1+"];
        let words: Vec<_> = ["strace", "-f", "-qqq", "-o", "/dev/null"].into_iter().collect();
        let done = stage.run().under(&[&words[..], &refuse[..]].concat()).done();
        done.assert_code(1).assert_says("Operation not permitted");
        assert_eq!(stage.history().complete().len(), 1, "{refused}: nothing replaces it");
    }
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn names_that_the_destination_refuses_are_listed_and_the_run_goes_on() {
    let disk = need!(LoopFs::exfat(64));
    let tree =
        Tree::new().file("good/file", "x").file("not: here", "x").file("not: there/file", "y");
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    let bad = |name: &[u8]| stage.source.join(std::ffi::OsStr::from_bytes(name));
    fs::write(bad(b"\xff\xfe"), "x").unwrap();
    fs::create_dir(bad(b"good/\xff\xfd")).unwrap();
    std::os::unix::fs::symlink("nowhere", stage.source.join("link")).unwrap();
    for round in 1..=2 {
        let done = stage.run().expect(3);
        done.assert_says("not: here").assert_says("not: there");
        assert_eq!(stage.history().complete().len(), round);
        assert_eq!(problems(&stage).len(), 4, "{:?}", problems(&stage));
        let copy = stage.inside(&stage.history().newest());
        assert_eq!(fs::read_to_string(copy.join("good/file")).unwrap(), "x");
    }
}

/// What the sidecar keeps under names that the destination refuses is whole: it is linked onward,
/// carried forward, checked and restored.
#[test]
fn sidecar_values_under_a_refused_name_are_not_lost() {
    need!(need::root());
    let disk = need!(LoopFs::exfat(64));
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "x"));
    let stage = stage.backups_in(&disk.path().join("backups"));
    let link = |name: &[u8]| stage.source.join("folder").join(std::ffi::OsStr::from_bytes(name));
    let names: [&[u8]; 3] = [b"good", b"not: good", b"\xff\xfe"];
    for name in names {
        std::os::unix::fs::symlink("nowhere", link(name)).unwrap();
    }
    for _ in 1..=2 {
        stage.run().expect(0);
        assert_eq!(stage.counts()["problems"], 0);
    }
    let back = |to: &str| {
        let back = stage.beside(to);
        stage.look("restore").arg("latest").arg(&stage.source).set("to", &back).expect(0);
        for name in names {
            let at = back.join("source/folder").join(std::ffi::OsStr::from_bytes(name));
            assert_eq!(fs::read_link(&at).unwrap(), Path::new("nowhere"), "{}", at.display());
        }
    };
    back("back");
    stage.look("verify").expect(0);
    // The folder cannot be read: all of it is carried forward.
    let run = stage.run().under(&["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    stage.sh("chown 7:7 folder; chmod 700 folder");
    run.expect(3);
    back("again");
}

/// An error for one entry does not fail the run; the same error for all entries does.
#[test]
fn an_error_at_one_entry_costs_that_entry_and_one_at_all_of_them_the_run() {
    need!(need::tool("strace"));
    let folders = 0..60;
    let tree = folders.fold(Tree::new(), |tree, number| tree.file(format!("{number}/file"), "x"));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    for errno in ["EINVAL", "ENAMETOOLONG", "EILSEQ", "EPERM", "EACCES", "ENOENT", "ENOSPC"] {
        // By its 20th call, each thread has created the program's own folders.
        let one = stage.run().injecting(&[&format!("mkdirat:error={errno}:when=20")]).done();
        one.assert_code(3).assert_says("refuses the folder");
        let all = stage.run().injecting(&[&format!("mkdirat:error={errno}:when=20+")]).done();
        assert_eq!(all.code, 1, "{errno}: {}", all.said());
    }
    assert_untouched(&first, &before);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn sidecar_values_are_stored_on_disk_once_the_destination_can_hold_them() {
    need!(need::root());
    need!(need::tool("strace"));
    need!(need::tool("setfattr"));
    let tree = Tree::new().file("owned", "content").file("labelled", "content").file("plain", "x");
    let stage = Stage::with(BIN, &tree);
    stage.sh("chown 5:6 owned; setfattr -n user.label -v value labelled
              ln -s owned link; mkfifo fifo; mkdir folder; ln -s ../plain folder/deep");
    let run = stage.run().rsync(&["-X"]);
    let unable = ["symlinkat", "mknodat", "fchown", "fchownat", "fsetxattr"];
    let rules = unable.map(|call| format!("{call}:error=EOPNOTSUPP"));
    let unable = run.injecting(&rules.each_ref().map(String::as_str));
    unable.expect(0);
    let first = stage.history().newest();
    let copy = |snapshot: &std::path::Path| stage.inside(snapshot);
    for missing in ["link", "fifo", "folder/deep"] {
        assert!(copy(&first).join(missing).symlink_metadata().is_err(), "{missing} is there");
    }
    let before = Fingerprint::of(&first);
    let run = stage.run().rsync(&["-X"]);
    run.expect(0);
    let second = stage.history().newest();
    Judge::strict().assert_same(&stage.source, &copy(&second));
    assert_eq!(stage.counts()["bytes_copied"], 0, "it was read from the base");
    assert_untouched(&first, &before);
    // Only once: from then on it is unchanged.
    run.expect(0);
    for name in ["owned", "labelled", "plain", "link", "fifo", "folder/deep"] {
        stage.assert_linked(name);
    }
    Judge::strict().assert_same(&stage.source, &copy(&stage.history().newest()));
}

#[test]
fn what_the_destination_would_store_under_another_name_is_kept_apart_from_the_entry_of_that_name() {
    let place = need!(Lockless::changing_names());
    let stage = Stage::new(BIN).backups_in(&place.path().join("backups"));
    let bad = |name: &[u8]| stage.source.join(std::ffi::OsStr::from_bytes(name));
    fs::write(bad(b"a\xff"), "of the name that is not UTF-8").unwrap();
    fs::write(bad("a\u{fffd}".as_bytes()), "of the other name").unwrap();
    fs::write(bad(b"good"), "x").unwrap();
    fs::create_dir(bad(b"folder\xfe")).unwrap();
    fs::write(bad(b"folder\xfe/file"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", bad(b"link\xfd")).unwrap();
    fs::write(bad("link\u{fffd}".as_bytes()), "of the other name").unwrap();
    let kept = |snapshot: &Path| {
        let name = snapshot.file_name().expect("a snapshot has a name");
        fixtures::scan::scan(&stage.backups.join(".backup_manager/kept").join(name)).len()
    };
    let mut before = None;
    for round in 1..=3 {
        stage.run().expect(3).assert_says("names that are not UTF-8");
        assert_eq!(stage.history().complete().len(), round);
        let listed = problems(&stage);
        let instead: Vec<_> = listed.iter().map(|(_, instead)| instead.as_str()).collect();
        assert_eq!(listed.len(), 3, "{listed:?}");
        assert_eq!(instead.iter().filter(|instead| **instead == "beside").count(), 1, "{listed:?}");
        assert_eq!(instead.iter().filter(|instead| **instead == "other_name").count(), 2);
        let copy = stage.inside(&stage.history().newest());
        let mut names: Vec<_> =
            fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| !name.to_string_lossy().starts_with("backup_manager.name."));
        names.sort();
        assert_eq!(names, ["a\u{fffd}", "good", "link\u{fffd}"]);
        let other = fs::read_to_string(copy.join("a\u{fffd}")).unwrap();
        assert_eq!(other, "of the other name");
        // Further runs list, keep and copy the same.
        let now = (listed, kept(&stage.history().newest()));
        assert!(before.as_ref().is_none_or(|before| *before == now), "{before:?} {now:?}");
        assert!(round == 1 || stage.counts()["copied"] == 0, "{}", stage.counts());
        before = Some(now);
    }
    // What is kept beside is restored under its name, and not mistaken for the entry of the other name.
    let to = stage.beside("back");
    stage.look("restore").arg("latest").arg(&stage.source).set("to", &to).expect(0);
    let link = to.join("source").join(std::ffi::OsStr::from_bytes(b"link\xfd"));
    assert_eq!(fs::read_link(link).unwrap(), Path::new("nowhere"));
    let other = fs::read_to_string(to.join("source/link\u{fffd}")).unwrap();
    assert_eq!(other, "of the other name");
    Judge::plain().assert_same(&stage.source, &to.join("source"));
    // They are part of the snapshot, so a restore with --delete leaves them in the source.
    let back = stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes");
    let done = back.arg("--delete").done();
    assert!([0, 3].contains(&done.code), "{}", done.said());
    assert!(bad(b"a\xff").exists() && bad(b"folder\xfe/file").exists() && bad(b"good").exists());
    let own = fs::read_dir(stage.backups.join(".backup_manager")).unwrap();
    let probes = own.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().contains("backup_manager.probe")
    });
    assert_eq!(probes.count(), 0, "the probe left something behind");
}

/// GlusterFS leaves the name of a link that it refused for a moment, or says EEXIST of it.
#[test]
fn the_name_that_a_failed_link_left_is_replaced() {
    need!(need::tool("strace"));
    for (rule, left) in [
        ("linkat:error=EMLINK:delay_exit=6000000:when=2", true),
        ("linkat:error=EEXIST:delay_exit=6000000:when=2", true),
        ("linkat:error=EEXIST:when=2", false),
    ] {
        // The first link is the probe's, the second one that of the only file.
        let stage = Stage::with(BIN, &Tree::new().file("folder/file", "content"));
        let first = stage.take();
        let mut running = stage.run().injecting_on(0, &[rule]).start();
        if left {
            let incomplete = || stage.history().incomplete().first().map(|path| stage.inside(path));
            assert!(running.until(|| incomplete().is_some_and(|at| at.join("folder").exists())));
            let file = incomplete().expect("it is there").join("folder/file");
            let made = fs::File::options().write(true).create_new(true).open(file);
            made.expect("the run waits").write_all(b"left").expect("it is written");
        }
        running.wait().assert_code(0);
        assert_eq!(fs::read(stage.inside(&first).join("folder/file")).unwrap(), b"content");
        stage.assert_newest_is_source(Judge::strict());
        assert_eq!(stage.counts()["bytes_copied"], 0, "{rule}: read from the source");
    }
}

#[test]
fn a_file_with_more_attributes_than_can_be_listed_is_stored_without_and_listed() {
    need!(need::tool("setfattr"));
    let disk = need!(LoopFs::xfs(320));
    let stage = Stage::all_on(BIN, disk.path());
    stage.sh("echo content >many; echo x >other; mkdir folder; echo x >folder/file
              long=$(head -c 240 /dev/zero | tr '\\0' x)
              for number in $(seq 300); do
                  setfattr -n user.$long.$number many; setfattr -n user.$long.$number folder
              done
              ! getfattr many 2>/dev/null");
    let run = stage.run().rsync(&["-X"]);
    for _ in 1..=2 {
        run.expect(3).assert_says("64 KiB");
        let listed = problems(&stage);
        let listed: Vec<_> = listed
            .iter()
            .map(|(path, instead)| (path.rsplit('/').next().unwrap_or_default(), instead.as_str()))
            .collect();
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert!(listed.contains(&("many", "partly")) && listed.contains(&("folder", "partly")));
        let copy = stage.inside(&stage.history().newest());
        assert_eq!(fs::read_to_string(copy.join("many")).unwrap(), "content\n");
        assert_eq!(fs::read_to_string(copy.join("folder/file")).unwrap(), "x\n");
    }
    stage.assert_linked("many");
}

#[test]
fn jobs_that_try_the_destination_at_the_same_time_find_the_same() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &Tree::new().file("file", "x"));
    stage.sh("ln -s file link");
    let of = |prefix: &str| stage.run().set("backup-name-prefix", prefix);
    let warnings = of("alone").expect(0).said().matches("WARN").count();
    std::thread::scope(|scope| {
        for prefix in ["a", "b", "c", "d"] {
            let run = of(prefix).injecting(&["symlinkat:delay_exit=400000"]);
            scope.spawn(move || {
                let done = run.expect(0);
                assert_eq!(done.said().matches("WARN").count(), warnings, "{}", done.said());
            });
        }
    });
    let left = fs::read_dir(stage.backups.join(".backup_manager")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.contains("probe") && name != "probe").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// GlusterFS returns ENOSPC at its link limit, ext4 EMLINK.
#[test]
fn a_link_that_the_destination_refuses_is_a_copy_without_reading_the_source() {
    need!(need::tool("strace"));
    let tree = (0..60).fold(Tree::new(), |tree, n| tree.file(format!("folder/{n}"), "content"));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    for errno in ["EMLINK", "ENOSPC"] {
        // The first call of a thread succeeds, so the probe finds hard links.
        stage.run().injecting(&[&format!("linkat:error={errno}:when=2+")]).expect(0);
        let counts = stage.counts();
        assert!(counts["link_fallbacks"].as_u64() > Some(0), "{errno}: {counts}");
        assert_eq!(counts["bytes_copied"], 0, "{errno}: read from the source");
        stage.assert_newest_is_source(Judge::strict());
    }
    assert_untouched(&first, &before);
}

/// MooseFS answers what it is asked about an ACL, and lists none.
#[test]
fn acls_that_the_destination_does_not_list_are_found_and_restored() {
    need!(need::tool("setfacl"));
    let place = need!(Lockless::refusing(rustix::io::Errno::NOLCK));
    let tree = Tree::new()
        .file("file", "x")
        .acl("u:1234:rw-")
        .folder("folder")
        .acl("d:u:1234:rwx")
        .file("folder/plain", "x");
    let stage = Stage::with(BIN, &tree).backups_in(&place.path().join("backups"));
    let run = stage.run().rsync(&["-A", "-X"]);
    run.expect(0);
    run.expect(0);
    assert_eq!(stage.counts()["metadata"], 0, "an unchanged ACL counts as a change");
    let restored = stage.beside("restored");
    stage.look("restore").set("to", &restored).expect(0);
    Judge::strict().assert_same(&stage.source, &fixtures::stage::inside(&restored, &stage.source));
    // What has lost its ACL has none in the next snapshot.
    stage.sh("setfacl -b file; setfacl -b folder");
    run.expect(0);
    stage.look("restore").set("to", stage.beside("again")).expect(0);
    let again = fixtures::stage::inside(&stage.beside("again"), &stage.source);
    Judge::strict().assert_same(&stage.source, &again);
}
