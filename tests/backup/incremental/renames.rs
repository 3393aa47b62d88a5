//! Renamed files and folders are linked to the copy that the previous snapshot has under the old path.

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const LARGE: usize = 100 * 1024;

/// A folder with large and small files, one beside it, and files that stay.
fn sample() -> Tree {
    let mut tree = Tree::new().folder("stays");
    for number in 0..6 {
        tree = tree.random_file(format!("photos/2023/large{number}"), LARGE, number).random_file(
            format!("photos/2023/small{number}"),
            700,
            100 + number,
        );
    }
    tree.random_file("photos/deep/er/large", LARGE, 50)
        .random_file("photos/deep/er/small", 500, 51)
        .random_file("alone", LARGE, 60)
        .random_file("stays/file", LARGE, 61)
}

/// Takes a snapshot, changes the source by `script`, takes another one, and checks both.
fn rename(tree: &Tree, script: &str) -> Stage {
    let stage = Stage::with(BIN, tree);
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.sh(script);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
    stage.look("verify").expect(0);
    stage
}

#[test]
fn a_renamed_file_is_linked_and_not_copied() {
    let stage = rename(&sample(), "mv alone stays/other; mv photos/2023/large1 photos/2023/new");
    stage.assert_linked_to("alone", "stays/other");
    stage.assert_linked_to("photos/2023/large1", "photos/2023/new");
    let counts = stage.counts();
    assert_eq!((&counts["renamed"], &counts["copied"]), (&2.into(), &0.into()), "{counts}");
    let report = stage.history().report(&stage.history().newest());
    let inside = |name: &str| format!("{}/{name}", stage.source.display())[1..].to_owned();
    let renamed = &report["renamed"];
    assert_eq!(renamed[0]["from"], inside("photos/2023/large1"), "{renamed}");
    assert_eq!(renamed[0]["to"], inside("photos/2023/new"), "{renamed}");
    assert_eq!(renamed[1]["to"], inside("stays/other"), "{renamed}");
}

#[test]
fn all_files_of_a_renamed_folder_are_linked_the_small_ones_too() {
    let stage =
        rename(&sample(), "mkdir archive; mv photos/2023 archive/old; mv photos/deep archive");
    for number in 0..6 {
        for kind in ["large", "small"] {
            let name = |folder: &str| format!("{folder}/{kind}{number}");
            stage.assert_linked_to(&name("photos/2023"), &name("archive/old"));
        }
    }
    stage.assert_linked_to("photos/deep/er/small", "archive/deep/er/small");
    let counts = stage.counts();
    assert_eq!((&counts["renamed"], &counts["copied"]), (&14.into(), &0.into()), "{counts}");
    let done = stage.run().expect(0);
    assert!(!done.said().contains("renamed"), "the next run has nothing renamed: {}", done.said());
}

#[test]
fn the_run_its_summary_and_a_dry_run_name_the_old_path() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("mv photos/2023 photos/2024; mv alone other");
    let dry = stage.run().arg("--dry-run").expect(0);
    let said = dry.said();
    let line = said.lines().find(|line| line.starts_with("renamed") && line.contains("/other"));
    assert!(
        line.is_some_and(|line| line.contains("from ") && line.contains("/alone")),
        "{}",
        dry.said()
    );
    assert_eq!(stage.history().complete().len(), 1, "a dry run writes nothing");
    let done = stage.run().expect(0);
    let said = done.said();
    assert!(said.contains("renamed: 12 files of") && said.contains("photos/2024/"), "{said}");
    let source = stage.source.display();
    assert!(said.contains(&format!("renamed: {source}/alone is now {source}/other")), "{said}");
    assert!(said.contains("13 files of the new and changed ones, not copied"), "{said}");
}

#[test]
fn list_diff_and_history_call_it_renamed() {
    let stage = rename(&sample(), "mv photos/2023 photos/2024; mv alone other");
    let [first, second] = &stage.history().complete()[..] else { panic!("two snapshots") };
    stage.look("list").expect(0).assert_says("13 renamed");
    let [first, second] = [first, second].map(|path| path.file_name().unwrap().to_owned());
    let done = stage.look("diff").arg(&first).arg(&second).expect(0);
    done.assert_says("  renamed    13\n");
    let source = stage.source.display().to_string();
    let old = |name: &str| format!("{source}/{name}");
    for (name, before) in [
        ("other", "alone"),
        ("photos/2024/small1", "photos/2023/small1"),
        ("photos/2024", "photos/2023"),
    ] {
        let done = stage.look("history").arg(old(name)).expect(0);
        done.assert_says(&format!("renamed: it was {} before;", old(before)));
        let done = stage.look("history").arg("--json").arg(old(name)).expect(0);
        assert_eq!(done.objects()[0]["renamed_from"], old(before));
    }
    let done = stage.look("history").arg("--json").arg(old("stays/file")).expect(0);
    assert_eq!(done.objects()[0]["renamed_from"], serde_json::Value::Null);
}

#[test]
fn equal_size_time_and_name_are_not_enough() {
    let script = "mkdir new; head -c 102400 /dev/urandom >new/alone; touch -r alone new/alone; rm alone
        mkdir moved; for name in photos/2023/*; do n=${name##*/}
        head -c \"$(stat -c %s \"$name\")\" /dev/urandom >moved/$n; touch -r \"$name\" moved/$n; done
        rm -r photos/2023";
    let stage = rename(&sample(), script);
    stage.assert_apart_from("alone", "new/alone");
    stage.assert_apart_from("photos/2023/small0", "moved/small0");
    let counts = stage.counts();
    assert_eq!((&counts["renamed"], &counts["copied"]), (&0.into(), &13.into()), "{counts}");
}

#[test]
fn other_metadata_makes_a_copy_with_the_same_content() {
    let stage = rename(&sample(), "mv alone other; chmod 640 other");
    stage.assert_apart_from("alone", "other");
    let counts = stage.counts();
    assert_eq!((&counts["renamed"], &counts["bytes_copied"]), (&1.into(), &0.into()), "{counts}");
}

#[test]
fn rotated_files_are_linked_to_the_copies_under_their_old_names() {
    let tree = Tree::new()
        .random_file("log", 200_000, 1)
        .random_file("log.1", 300_000, 2)
        .random_file("log.2", 400_000, 3);
    let stage = rename(
        &tree,
        "mv log.2 log.3; mv log.1 log.2; mv log log.1; head -c 90000 /dev/urandom >log",
    );
    for (before, name) in [("log.2", "log.3"), ("log.1", "log.2"), ("log", "log.1")] {
        stage.assert_linked_to(before, name);
    }
    assert_eq!(stage.counts()["copied"], 1);
}

#[test]
fn two_files_of_the_source_never_become_one_inode() {
    // The copies have the size and time of the file, and in the source each is a file of its own.
    let stage = rename(&sample(), "cp -p alone one; cp -p alone two; rm alone");
    assert_ne!(stage.inode("one"), stage.inode("two"));
    assert_eq!(stage.counts()["bytes_copied"], 0);
    // The other name of the same inode stays, and the new file is a file of its own.
    let tree = Tree::new().random_file("kept", LARGE, 1).hard_link("gone", "kept");
    let stage = rename(&tree, "cp -p kept new; rm gone");
    assert_ne!(stage.inode("kept"), stage.inode("new"));
}

#[test]
fn many_files_of_one_size_are_found_in_a_renamed_folder_and_alone() {
    let mut tree = Tree::new().folder("into");
    for number in 0..1500 {
        tree = tree.random_file(format!("bands/{number}"), 4096, number);
    }
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh("mv bands segments");
    stage.take();
    assert_eq!(stage.counts()["renamed"], 1500);
    stage.sh("mv segments/* into");
    stage.take();
    assert_eq!(stage.counts()["renamed"], 1500);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn few_open_files_are_enough() {
    let mut tree = Tree::new().folder("all");
    for number in 0..600 {
        tree = tree.random_file(format!("{}/{number}", number % 100), 3000, number).random_file(
            format!("deep{}/{}/file", number % 20, number),
            2000,
            1000 + number,
        );
    }
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh("mv [0-9]*/* all; for f in deep*/*/file; do echo more >>$f; done");
    stage.run().limited("-n 200").expect(0);
    assert_eq!(stage.counts()["renamed"], 600);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_name_that_could_not_be_read_at_first_does_not_become_one_with_a_renamed_file() {
    need!(need::root());
    let tree = Tree::new().random_file("a/f", LARGE, 1).hard_link("b/g", "a/f").folder("c");
    let stage = Stage::with(BIN, &tree);
    let run = || stage.run_as(1234);
    stage.sh("chown -R 1234 .");
    run().expect(0);
    // The folder cannot be listed, and its content is carried forward at the end.
    stage.sh("cp -p b/g c/g; rm b/g; chmod 0 a");
    run().expect(3);
    assert_eq!(stage.counts()["renamed"], 1);
    assert_ne!(stage.inode("a/f"), stage.inode("c/g"));
}

#[test]
fn hard_linked_files_stay_one_file_when_they_are_renamed() {
    let tree = Tree::new()
        .random_file("a/one", LARGE, 1)
        .hard_link("a/two", "a/one")
        .random_file("b/one", LARGE, 2)
        .hard_link("b/two", "b/one");
    let stage = rename(&tree, "mv a c; mv b/two b/three");
    stage.assert_linked_to("a/one", "c/one");
    stage.assert_linked_to("a/two", "c/two");
    stage.assert_linked_to("b/two", "b/three");
    assert_eq!(stage.counts()["copied"], 0);
}

#[test]
fn a_file_that_replaced_another_type_and_one_that_a_folder_replaced_are_found() {
    let tree = Tree::new().random_file("file", LARGE, 1).symlink("link", "file");
    let stage =
        rename(&tree, "mv file x; rm link; mv x link; mkdir file; echo inside >file/inside");
    stage.assert_linked_to("file", "link");
}

#[test]
fn detection_has_a_smallest_size_and_can_be_turned_off() {
    for (value, renamed) in [("off", false), ("200K", false), ("64K", true), ("0", true)] {
        let stage = Stage::with(BIN, &sample());
        stage.take();
        stage.sh("mv alone other");
        stage.run().set("rename-detection", value).expect(0);
        match renamed {
            true => stage.assert_linked_to("alone", "other"),
            false => stage.assert_apart_from("alone", "other"),
        }
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn a_damaged_file_is_not_spread_to_another_path() {
    let stage = Stage::with(BIN, &sample());
    let first = stage.take();
    let alone = stage.inside(&first).join("alone");
    // The content rots: size, time and the recorded hash stay.
    let time = alone.metadata().unwrap().modified().unwrap();
    std::fs::write(&alone, vec![7; LARGE]).unwrap();
    std::fs::File::open(&alone).unwrap().set_modified(time).unwrap();
    stage.look("verify").expect(4);
    stage.sh("mv alone other");
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_eq!(stage.counts()["copied"], 1);
}

#[test]
fn an_interrupted_run_loses_nothing_that_it_deferred() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh(
        "mkdir archive; mv photos/2023 archive; mv alone other; head -c 500000 /dev/urandom >new",
    );
    // Each run is killed before it sets a time that often.
    for number in [1, 2, 3, 4, 5, 7] {
        drop(stage.run().killed_at_time(number).done());
    }
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    stage.look("verify").expect(0);
}

#[test]
fn what_an_interrupted_run_had_renamed_is_called_so_by_the_run_that_completes_it() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("mkdir archive; mv photos/2023 archive/old; mv alone other");
    // Before the snapshot gets its complete name.
    drop(stage.run().injecting(&["renameat2:signal=KILL"]).done());
    assert_eq!(stage.history().incomplete().len(), 1);
    stage.take();
    let counts = stage.counts();
    assert_eq!((&counts["renamed"], &counts["copied"]), (&13.into(), &0.into()), "{counts}");
    let report = stage.history().report(&stage.history().newest());
    assert_eq!(report["resumed"], true, "{report}");
    let renamed = report["renamed"].as_array().unwrap();
    let names = |key: &str| renamed.iter().filter_map(|it| it[key].as_str()).collect::<String>();
    assert!(renamed.len() == 2, "{renamed:?}");
    assert!(names("from").contains("photos/2023/") && names("to").contains("archive/old/"));
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn files_that_move_while_a_run_lists_them_are_never_mixed_up() {
    let mut tree = Tree::new().folder("here").folder("there");
    for number in 0..40 {
        // All have the same size and time.
        tree = tree.random_file(format!("here/{number}"), 2000, number).mtime(1_600_000_000, 0);
    }
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let script = "while [ ! -e ../stop ]; do for f in here/*; do mv $f there/; done
        for f in there/*; do mv $f here/; done; done";
    let mover =
        std::process::Command::new("sh").args(["-c", script]).current_dir(&stage.source).spawn();
    let mut mover = mover.unwrap();
    for _ in 0..8 {
        // A name that moves may be missing in both folders.
        let done = stage.run().set("rename-detection", "0").done();
        assert!([0, 3].contains(&done.code), "{}", done.said());
        let newest = stage.inside(&stage.history().newest());
        for number in 0..40 {
            for path in ["here", "there"].map(|folder| newest.join(folder).join(number.to_string()))
            {
                if path.exists() {
                    let first = stage.inside(&stage.history().complete()[0]);
                    let content = std::fs::read(first.join(format!("here/{number}"))).unwrap();
                    assert!(std::fs::read(&path).unwrap() == content, "{}", path.display());
                }
            }
        }
    }
    std::fs::write(stage.beside("stop"), "").unwrap();
    mover.wait().unwrap();
    stage.run().set("rename-detection", "0").expect(0);
    stage.assert_newest_is_source(Judge::plain());
    stage.look("verify").expect(0);
}

/// `RENAME_PAIRS=1000000` tries as many: five minutes and 15 GB on a tmpfs, with an optimised binary.
#[test]
fn no_pair_of_equal_size_time_and_name_with_other_content_is_linked() {
    let pairs: u64 = std::env::var("RENAME_PAIRS").map_or(3000, |pairs| pairs.parse().unwrap());
    let stage = Stage::new(BIN);
    // A million takes minutes of processor time.
    let hour = 3600;
    let write = |top: &str, version: u64| {
        for number in 0..pairs {
            let folder = stage.source.join(top).join((number / 1000).to_string());
            if number.is_multiple_of(1000) {
                std::fs::create_dir_all(&folder).unwrap();
            }
            // The two versions differ in one bit.
            let mut content = number.to_le_bytes().repeat(20);
            content[usize::try_from(number % 160).unwrap()] ^= u8::try_from(version).unwrap();
            let path = folder.join(number.to_string());
            std::fs::write(&path, content).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
            std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
    };
    write("before", 0);
    stage.run().patience(hour).expect(0);
    std::fs::remove_dir_all(stage.source.join("before")).unwrap();
    write("after", 1);
    stage.run().set("rename-detection", "0").patience(hour).expect(0);
    let counts = stage.counts();
    assert_eq!((&counts["renamed"], &counts["copied"]), (&0.into(), &pairs.into()), "{counts}");
    stage.assert_newest_is_source(Judge::plain());
}
