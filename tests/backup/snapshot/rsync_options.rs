//! Options of rsync: their effect on a snapshot equals rsync's result.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::random::Random;
use fixtures::run::{Done, Run};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn rsync(args: &[&str], from: &Path, to: &Path) -> String {
    let done = Command::new("rsync").args(args).arg(from).arg(to).output().expect("rsync runs");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Takes two snapshots with `options`. The newest must equal rsync's copy with these options, and
/// unchanged files must not be copied again.
#[track_caller]
fn as_rsync(stage: &Stage, options: &[&str]) {
    as_rsync_ending(stage, options, 0);
}

#[track_caller]
fn as_rsync_ending(stage: &Stage, options: &[&str], code: i32) -> Done {
    // One folder at a time, each with new counts.
    for snapshot in stage.history().complete() {
        fs::remove_dir_all(snapshot).expect("removed");
    }
    let run = stage.run().set("rsync-single-params", "-a,-H,--relative").rsync(options);
    run.expect(code);
    let done = run.expect(code);
    let copy = stage.beside("by_rsync");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir(&copy).expect("created");
    let args: Vec<&str> =
        ["-aH", "--numeric-ids", "--relative"].iter().chain(options).copied().collect();
    rsync(&args, &stage.source, &copy);
    // The tests change the folders above the source; with a list there are none.
    let newest = stage.history().newest();
    let listed = options.iter().any(|option| option.starts_with("--files-from"));
    let (copy, newest) =
        if listed { (copy, newest) } else { (stage.inside(&copy), stage.inside(&newest)) };
    let mut args = vec!["-aHcn", "--numeric-ids", "--delete", "-i"];
    args.extend(options.iter().filter(|option| **option == "-OJ"));
    args.extend(listed.then_some("-O"));
    let differs = rsync(&args, &copy.join(""), &newest.join(""));
    assert_eq!(differs, "", "{options:?}");
    done
}

fn sample() -> Tree {
    Tree::new()
        .file("small", "1")
        .mode(0o600)
        .random_file("large", 3_000, 1)
        .mode(0o4755)
        .file("d/file", "22")
        .mode(0o640)
        .owner(1_000, 1_000)
        .file("d/e/deep", "333")
        .folder("empty/er")
        .mode(0o2700)
        .symlink("link", "small")
        .symlink("d/up", "../small")
        .symlink("out", "/etc/hostname")
        .symlink("d/far", "../../../../../../../../../etc/hostname")
        .symlink("folder", "d")
        .fifo("pipe")
}

#[test]
fn options_keep_what_rsyncs_keep() {
    need!(need::root());
    need!(need::tool("rsync"));
    let stage = Stage::with(BIN, &sample());
    for options in [
        &[][..],
        &["--chmod=Du=rwx,Dgo=rx,Fu=rw,Fgo=r"],
        &["--chmod=F-s,ug+X,o="],
        &["--chown=7:8"],
        &["--usermap=1000:5,*:6", "--groupmap=0-9:4"],
        &["--max-size=2k"],
        &["--min-size=2b"],
        &["--max-size=2", "-m"],
        &["-m"],
        &["--prune-empty-dirs", "--no-links", "--no-D"],
        &["--safe-links"],
        &["--copy-unsafe-links"],
        &["-L"],
        &["-k"],
        &["-k", "--safe-links"],
        &["--drop-D"],
        &["--no-links"],
        &["-OJ", "--no-D"],
        &["--numeric-ids", "-I"],
        &["--size-only"],
        &["--modify-window=2"],
        &["-xx", "-S", "-W"],
    ] {
        as_rsync(&stage, options);
        assert_eq!(stage.counts()["copied"].as_u64().map(|_| ()), Some(()), "{options:?}");
    }
}

#[test]
fn unchanged_files_are_linked_whatever_was_changed_about_them() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    for options in
        [&["--chmod=F600"][..], &["--chown=7:8"], &["-L"], &["-m"], &["--no-perms", "-E"], &["-I"]]
    {
        stage.run().rsync(options).expect(0);
        stage.run().rsync(options).expect(0);
        stage.assert_linked("d/file");
        stage.assert_linked("large");
    }
}

#[test]
fn every_change_of_modes_is_that_of_rsync() {
    need!(need::root());
    need!(need::tool("rsync"));
    let mut tree = Tree::new();
    for mode in [0, 0o4, 0o70, 0o100, 0o444, 0o644, 0o755, 0o1777, 0o2711, 0o4750, 0o6777, 0o7000] {
        tree = tree.file(format!("f{mode:o}"), "").mode(mode);
        tree = tree.folder(format!("d{mode:o}")).mode(mode);
    }
    let stage = Stage::with(BIN, &tree);
    for chmod in [
        "u=rwX,go=rX",
        "a+w",
        "+w",
        "-w",
        "=r",
        "+X",
        "D2775,F664",
        "Dg+s,ug+w,Fo-w,+X",
        "g=u",
        "o=g",
        "g-o",
        "u+s,g-s,+t",
        "u=s",
        "go=t",
        "=s",
        "-st",
        "ug=rws",
        "D+t,F-x",
        "0",
        "7777",
        "u=g,g=o,o=",
    ] {
        as_rsync(&stage, &[&format!("--chmod={chmod}")]);
    }
}

#[test]
fn a_symlink_into_itself_is_listed_and_not_followed() {
    let stage = Stage::with(BIN, &Tree::new().file("d/file", "1").symlink("d/loop", ".."));
    stage.run().rsync(&["-L"]).expect(3).assert_says("it leads to a folder that it lies in");
    let copy = stage.inside(&stage.history().newest());
    assert!(copy.join("d/file").exists() && !copy.join("d/loop").exists());
    stage.sh("rm d/loop; ln -s nowhere gone");
    stage.run().rsync(&["-L"]).expect(3).assert_says("gone: cannot follow the symlink");
    stage.run().rsync(&["-k"]).expect(0);
}

#[test]
fn a_list_of_files_takes_what_it_takes_of_rsync() {
    need!(need::root());
    need!(need::tool("rsync"));
    let stage = Stage::with(BIN, &sample());
    let list = stage.beside("list");
    let option = format!("--files-from={}", list.display());
    for (text, more, code) in [
        ("small\n/d/e/deep\n", &[][..], 0),
        ("d\nempty\n", &[], 0),
        ("d/\n", &[], 0),
        ("d\n# comment\n\nsmall\n", &["-r"], 0),
        ("small\0d/file\0", &["-0"], 0),
        (".\n", &[], 0),
        ("small\nnot/there\n", &[], 3),
    ] {
        fs::write(&list, text).expect("written");
        let options: Vec<&str> = [option.as_str()].iter().chain(more).copied().collect();
        let done = as_rsync_ending(&stage, &options, code);
        if code == 3 {
            done.assert_says("not/there").assert_says("--files-from");
        }
    }
    let two = stage.run().set("srcs-to-backup", "/etc,/usr").rsync(&[&option]);
    two.expect(2).assert_says("below one source");
    fs::write(&list, "a\n../b\n").expect("written");
    stage.run().rsync(&[&option]).expect(2).assert_says("line 2: '../b'");
    stage.run().rsync(&["--files-from=/not/there"]).expect(2).assert_says("cannot read it");
}

#[test]
fn folders_on_the_way_lose_their_attributes_without_implied_dirs() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("way/d/file", "1"));
    stage.sh("chmod 700 way; chown 5:5 way");
    let run = stage.run().set("srcs-to-backup", stage.source.join("way/d"));
    let way = |stage: &Stage| {
        use std::os::unix::fs::MetadataExt;
        let way = stage.inside(&stage.history().newest()).join("way");
        let stat = fs::metadata(way).expect("there");
        (stat.mode() & 0o7777, stat.uid())
    };
    run.expect(0);
    assert_eq!(way(&stage), (0o700, 5));
    run.rsync(&["--no-implied-dirs"]).expect(0);
    assert_eq!(way(&stage), (0o755, 0));
}

#[test]
fn a_run_that_would_lose_too_much_changes_nothing() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("rm -r d/e small");
    let run = stage.run().rsync(&["--max-delete=2"]);
    run.expect(1)
        .assert_says("3 entries of the previous snapshot are gone, more than --max-delete=2");
    assert_eq!(stage.history().complete().len(), 1);
    run.clone().arg("--accept-shrink").expect(0);
    stage.sh("rm d/file");
    stage.run().rsync(&["--max-delete=1"]).expect(0);
}

#[test]
fn files_that_only_look_the_same_are_found_with_ignore_times() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1").file("b", "1"));
    stage.take();
    stage.sh("touch -r a stamp; printf 2 >a; touch -r stamp a; rm stamp");
    // The change time would reveal it.
    stage.run().set("trust", "mtime").expect(0);
    stage.assert_linked("a");
    stage.run().set("trust", "mtime").rsync(&["-I"]).expect(0);
    stage.assert_apart("a");
    stage.assert_linked("b");
    stage.sh("touch -d '1 hour' b; printf 3 >a");
    stage.run().set("trust", "mtime").rsync(&["--size-only"]).expect(0);
    assert_eq!(stage.counts()["copied"], 0, "only a's size says nothing: {}", stage.counts());
    stage.assert_newest_is_source_but_for_content();
}

trait ButForContent {
    fn assert_newest_is_source_but_for_content(&self);
}

impl ButForContent for Stage {
    #[track_caller]
    fn assert_newest_is_source_but_for_content(&self) {
        let newest = self.inside(&self.history().newest());
        let args = ["-ani", "--delete", "--size-only"];
        assert_eq!(rsync(&args, &self.source.join(""), &newest.join("")), "");
    }
}

#[test]
fn a_dry_run_among_the_options_writes_nothing() {
    let stage = Stage::with(BIN, &sample());
    for option in ["-n", "--dry-run"] {
        let done = stage.run().rsync(&[option]).expect(0);
        done.assert_says("would").assert_says("d/e/deep");
        let _ = done;
    }
    assert!(fs::read_dir(&stage.backups).is_ok_and(|mut entries| entries.next().is_none()));
    let done = stage.run().rsync(&["-nim", "--stats"]).expect(0);
    assert!(done.stdout.contains(">f+++++++++ "), "{}", done.stdout);
    assert!(!done.stdout.contains("empty"), "{}", done.stdout);
    done.assert_says("Number of files: ");
    stage.run().rsync(&["--stats"]).expect(0).assert_says("Number of created files: ");
}

/// Creates a small tree with every type of entry and times in whole seconds, or a later state of
/// it.
fn grow(random: &mut Random) -> String {
    let mut script = String::new();
    let names = ["a", "b", "c", "d", "d/a", "d/b", "d/c", "d/d", "e", "e/a"];
    for name in names {
        let (time, mode) = (1_600_000_000 + random.below(3), *random.pick(&["600", "644", "755"]));
        let owner = random.below(2);
        let make = match random.below(9) {
            0 | 1 => continue,
            2..=4 => format!("rm -rf {name}; printf '%0{}d' 1 >{name}", 1 + random.below(2)),
            5 => format!("rm -rf {name}; ln -s {} {name}", random.pick(&["x", "y"])),
            6 => format!("rm -rf {name}; mkfifo {name}"),
            7 => format!("rm -rf {name}; mknod {name} c 1 {}", 3 + 2 * random.below(2)),
            _ => format!("[ -d {name} ] || rm -rf {name}; mkdir -p {name}"),
        };
        let set = format!("[ -L {name} ] || chmod {mode} {name}; chown -h {owner}:{owner} {name}");
        let _ = writeln!(
            script,
            "mkdir -p $(dirname {name}) 2>/dev/null && {{ {make}; {set}; touch -h -d @{time} {name}; }} || true"
        );
    }
    script + "find . -type d -exec touch -d @1600000009 {} +\n"
}

#[test]
fn the_letters_of_itemized_changes_are_those_of_rsync() {
    need!(need::root());
    need!(need::tool("rsync"));
    let first = u64::from(std::process::id());
    for seed in first..first + 12 {
        let stage = Stage::new(BIN);
        let mut random = Random::new(seed);
        stage.sh(&grow(&mut random));
        let base = stage.take();
        stage.sh(&grow(&mut random));
        for options in
            [&["-i"][..], &["-ii"], &["-i", "--no-p"], &["-i", "--no-o", "--no-g"], &["-im"]]
        {
            let to = stage.beside("to");
            let _ = fs::remove_dir_all(&to);
            let base = base.display();
            let link = format!("--link-dest={base}");
            let args = [&["-a", "--numeric-ids", "--relative", &link], options].concat();
            let mut expected: Vec<String> =
                rsync(&args, &stage.source, &to.join("")).lines().map(str::to_owned).collect();
            expected.retain(|line| !line.starts_with("created directory"));
            // Full paths are stored without their leading slash.
            let relative = |line: &mut String| *line = line.replacen(" /", " ", 1);
            expected.iter_mut().for_each(relative);
            // The implied folders do not belong to the test.
            let source = stage.source.display().to_string();
            let below = format!("{}/", source.trim_start_matches('/'));
            let run = stage.run().set("rsync-single-params", "-a,--relative").arg("--dry-run");
            let done = run.rsync(options).expect(0);
            let letters = |line: &&str| {
                line.as_bytes().get(11) == Some(&b' ') && !line.starts_with("*deleting")
            };
            let mut found: Vec<String> =
                done.stdout.lines().filter(letters).map(str::to_owned).collect();
            let ours = |line: &String| line.get(12..).is_some_and(|path| path.starts_with(&below));
            found.retain(ours);
            expected.retain(ours);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "seed {seed} {options:?}");
        }
    }
}

#[test]
fn a_run_prints_each_change_and_what_is_gone() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("rm -r d/e; printf 22 >small; ln -s x new");
    let done = stage.run().rsync(&["-i"]).expect(0);
    for line in ["*deleting   ", ">f.s", "cL+++++++++ "] {
        assert!(done.stdout.lines().any(|found| found.starts_with(line)), "{}", done.stdout);
    }
    assert!(done.stdout.contains("/new -> x\n") && done.stdout.contains("/d/e/\n"));
    let done = stage.run().set("log-format", "json").rsync(&["-ii"]).expect(0);
    for line in done.stdout.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("an object a line");
        assert!(value.is_object());
    }
}

#[test]
fn mistakes_are_named_before_anything_is_touched() {
    let stage = Stage::with(BIN, &sample());
    for (key, value, reason) in [
        ("rsync-dict-params", "{\"--exclude\": ", "not valid JSON"),
        ("rsync-dict-params", "['--exclude']", "not an object"),
        ("rsync-dict-params", "[1]", "not an object"),
        ("rsync-dict-params", "{\"--bwlimit\": 5}", "write it in quotes"),
        ("rsync-dict-params", "{\"--exclude\": {}}", "neither a text"),
        ("rsync-dict-params", "{\"exclude\": \"x\"}", "not an option"),
        ("rsync-dict-params", "{\"--exlude\": \"x\"}", "did you mean '--exclude'"),
        ("rsync-single-params", "-a,--bwlimit", "'--bwlimit' needs a value"),
        ("rsync-single-params", "-a,--inplace", "older snapshots"),
        ("rsync-single-params", "-a,--nosuch", "has no option '--nosuch'"),
        ("rsync-single-params", "-aQ", "has no option '-Q'"),
        ("rsync-single-params", "-a -x", "separated by commas"),
        ("rsync-single-params", "-a,--chmod=u+q", "is not a mode change"),
        ("rsync-single-params", "--usermap=1:2,--chown=3", "there is another --usermap"),
    ] {
        let done = stage.run().set(key, value).expect(2);
        done.assert_says(reason);
    }
    assert!(fs::read_dir(&stage.backups).is_ok_and(|mut entries| entries.next().is_none()));
    let done = stage.run().set("rsync-dict-params", "{'--chmod': 'F600', '-m': None,}").expect(0);
    done.assert_says("completed");
    stage.run().rsync(&["-vz", "--whole-file"]).expect(0).assert_says("-v (the log reports");
}

#[test]
fn owners_that_may_not_be_set_are_kept_as_rsync_keeps_them() {
    need!(need::root());
    need!(need::tool("rsync"));
    let stage =
        Stage::with(BIN, &Tree::new().file("file", "1").owner(7, 8).folder("d").owner(7, 8));
    // Other users need access to the source, and the user to its backups.
    stage.sh("chmod -R a+rX . ..; chmod u+s file");
    let run = stage.run_as(1_234).rsync(&["--fake-super"]);
    run.expect(0);
    run.expect(0);
    stage.assert_linked("file");
    assert_eq!(stage.counts()["metadata"], 0, "{}", stage.counts());
    let copy = stage.beside("by_rsync");
    rsync(&["-a", "--numeric-ids", "-M--fake-super"], &stage.source.join(""), &copy);
    let newest = stage.inside(&stage.history().newest());
    for name in ["file", "d"] {
        let stat = |top: &Path| {
            let done = Command::new("getfattr")
                .args(["--only-values", "-n", "user.rsync.%stat"])
                .arg(top.join(name))
                .output();
            String::from_utf8_lossy(&done.expect("getfattr runs").stdout).into_owned()
        };
        let (found, expected) = (stat(&newest), stat(&copy));
        assert!(found.ends_with("7:8"), "{found}");
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn an_owner_that_somebody_else_wrote_into_the_attribute_is_not_given_back() {
    need!(need::root());
    let stage = Stage::with(
        BIN,
        &Tree::new().file("roots", "1").owner(0, 0).file("users", "2").owner(1_234, 1_234),
    );
    let fake = |run: Run| run.env("RSYNC_SINGLE_PARAMS", "-a,--relative,--fake-super");
    fake(stage.run()).expect(0);
    let newest = stage.inside(&stage.history().newest());
    // The owner of the inode can write it where the backups folder is accessible.
    for name in ["roots", "users"] {
        xattr::set(newest.join(name), "user.rsync.%stat", b"104755 0,0 0:7").expect("set");
    }
    let back = stage.beside("back");
    let restore = stage.look("restore").arg("latest").arg(&stage.source).set("to", &back);
    fake(restore.env("SRCS_TO_BACKUP", &stage.source)).expect(0);
    let restored = |name: &str| {
        let meta = back.join("source").join(name).metadata().expect("it is restored");
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(restored("roots"), (0, 7, 0o4755), "it is root's own word");
    assert_eq!(restored("users"), (1_234, 1_234, 0o644));
}

#[test]
fn a_limited_rate_and_a_changed_tree_go_together() {
    let stage = Stage::with(BIN, &Tree::new().random_file("a", 400_000, 1).file("b", "2"));
    stage.run().rsync(&["--bwlimit=20m"]).expect(0);
    stage.assert_newest_is_source(Judge::plain().without_owners());
}
