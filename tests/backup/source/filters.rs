//! Filters of the real program: the examples of rsync's manual page, messages for bad rules, and
//! explanations of why a path is included or excluded.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fixtures::fingerprint::Fingerprint;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A setup with these empty files.
fn stage(files: &[&str]) -> Stage {
    Stage::with(BIN, &files.iter().fold(Tree::new(), |tree, path| tree.file(path, "")))
}

/// Everything below `folder`; the path of a folder ends in a slash.
fn below(folder: &Path) -> String {
    let find = [".", "-mindepth", "1", "-type", "d", "-printf", "%P/\\n", "-o", "-printf", "%P\\n"];
    let output = Command::new("find").args(find).current_dir(folder).output().expect("find runs");
    let text = String::from_utf8(output.stdout).expect("names");
    let lines: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines.into_iter().collect::<Vec<_>>().join(" ")
}

/// The names of the extended attributes of a file.
fn xattrs(file: &Path) -> Vec<String> {
    let tree = fixtures::scan::scan(file.parent().expect("a folder"));
    let name = file.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes).expect("a name");
    let found = tree.iter().find(|(path, _)| path.ends_with(name)).expect("the file");
    found.1.xattrs.keys().cloned().collect()
}

/// Takes a snapshot of the folders `roots` with these options and returns its content.
fn taken(stage: &Stage, roots: &str, options: &[&str]) -> String {
    let run = stage.run().set("srcs-to-backup", roots).in_folder(&stage.source).rsync(options);
    let done = run.done();
    // These filters may exclude all files of the previous snapshot, which had other filters.
    done.assert_code(if done.lines_with("the filters leave out") > 0 { 3 } else { 0 });
    below(&stage.history().newest())
}

#[test]
fn the_example_of_the_manual_page() {
    let stage = stage(&["x/file.txt", "x/y/file.txt", "x/y/zzz.txt", "x/z/file.txt"]);
    for (root, options, expected) in [
        ("x", &["-f+ x/", "-f+ x/y/", "-f+ x/y/file.txt", "-f- *"][..], "x/ x/y/ x/y/file.txt"),
        ("./x/./", &["-R", "-f+ file.txt", "-f- *"], "file.txt"),
        ("x", &["-f- zzz.txt"], "x/ x/file.txt x/y/ x/y/file.txt x/z/ x/z/file.txt"),
        ("x", &["-f", "-_zzz.txt", "-f", "-_z/"], "x/ x/file.txt x/y/ x/y/file.txt"),
    ] {
        let mut options = options.to_vec();
        if !options.contains(&"-R") {
            options.push("--no-relative");
        }
        assert_eq!(taken(&stage, root, &options), expected, "{options:?}");
    }
}

#[test]
fn the_patterns_of_the_manual_page() {
    let stage = stage(&[
        "foo",
        "a.o",
        "d/foo/bar",
        "d/foo/two/bar",
        "d/a.o",
        "foo.c",
        "etc/passwd",
        "[x]",
        "dir_name/a/b",
    ]);
    let all = [
        "[x]",
        "a.o",
        "d/",
        "d/a.o",
        "d/foo/",
        "d/foo/bar",
        "d/foo/two/",
        "d/foo/two/bar",
        "dir_name/",
        "dir_name/a/",
        "dir_name/a/b",
        "etc/",
        "etc/passwd",
        "foo",
        "foo.c",
    ];
    let without = |gone: &[&str]| -> String {
        all.iter().filter(|path| !gone.contains(path)).copied().collect::<Vec<_>>().join(" ")
    };
    let deep = ["d/foo/", "d/foo/bar", "d/foo/two/", "d/foo/two/bar"];
    let absolute = format!("-f-/ {}", stage.source.join("etc/passwd").display());
    let cases: [(&[&str], String); 12] = [
        (&["-f- *.o"], without(&["a.o", "d/a.o"])),
        (&["-f- /foo"], without(&["foo"])),
        (&["-f- foo/"], without(&deep)),
        (&["-f- /foo/*/bar"], without(&[])),
        (&["-f- foo/*/bar"], without(&["d/foo/two/bar"])),
        (&["-f- /d/**/bar"], without(&["d/foo/bar", "d/foo/two/bar"])),
        (
            &["-f+ */", "-f+ *.c", "-f- *"],
            "d/ d/foo/ d/foo/two/ dir_name/ dir_name/a/ etc/ foo.c".into(),
        ),
        (&["-f- dir_name/***"], without(&["dir_name/", "dir_name/a/", "dir_name/a/b"])),
        (&["-f-! */"], "d/ d/foo/ d/foo/two/ dir_name/ dir_name/a/ etc/".into()),
        (&[&absolute], without(&["etc/passwd"])),
        (&["-f- \\[x]"], without(&["[x]"])),
        (
            &["--exclude=[x]", "--exclude=d", "--include=*"],
            without(&["d/", "d/a.o", deep[0], deep[1], deep[2], deep[3]]),
        ),
    ];
    for (options, expected) in cases {
        let mut options = options.to_vec();
        options.push("--relative");
        assert_eq!(taken(&stage, "././", &options), expected, "{options:?}");
    }
}

#[test]
fn the_rule_files_of_the_manual_page() {
    let stage = stage(&["a.gz", "sub/a.o", "sub/x.c", "sub/foo1", "cvs/core", "cvs/mine"]);
    stage.sh(
        "printf -- '- *.gz\\n' >../global; printf -- '+ *.[ch]\\n- *.o\\n- foo*\\n' >sub/.rules",
    );
    stage.sh("printf 'mine other' >cvs/.cvsignore; printf -- '- x.c\\n' >.rsync-filter");
    stage.sh("printf 'merge %s\\ndir-merge .rules\\n' \"$PWD/../global\" >../filter");
    let merge = format!("-f. {}", stage.beside("filter").display());
    for (options, expected) in [
        (
            &[&merge[..]][..],
            ".rsync-filter cvs/ cvs/.cvsignore cvs/core cvs/mine sub/ sub/.rules sub/x.c",
        ),
        (&["-C"], ".rsync-filter a.gz cvs/ cvs/.cvsignore sub/ sub/.rules sub/foo1 sub/x.c"),
        (&["-FF", "-f:Ce"], "a.gz cvs/ cvs/core sub/ sub/.rules sub/a.o sub/foo1"),
    ] {
        let mut options = options.to_vec();
        options.push("-R");
        assert_eq!(taken(&stage, "././", &options), expected, "{options:?}");
    }
}

#[test]
fn filters_of_the_settings_leave_out_too() {
    let stage = stage(&["a.tmp", "b", "c.bak"]);
    stage.run().env("RSYNC_DICT_PARAMS", r#"{"--exclude": ["*.tmp", "*.bak"]}"#).expect(0);
    assert_eq!(below(&inside(&stage.history().newest(), &stage.source)), "b");
}

#[test]
fn bad_rules_are_named_before_anything_is_touched() {
    let stage = stage(&["a"]);
    let bad = stage.beside("bad");
    std::fs::write(&bad, "# fine\n- a\nnonsense\n").unwrap();
    let before = Fingerprint::of(&stage.backups);
    for (option, said) in [
        ("--exclude=", "it is empty"),
        ("--filter=- ", "the rule has no pattern"),
        ("--filter=-z a", "the rule takes no modifier 'z'"),
        ("--filter=nonsense", "it is no filter rule"),
        ("--filter=! a", "nothing may follow '!'"),
        ("--filter=. missing", "cannot read the file of rules: No such file"),
        ("--exclude-from=missing", "cannot read the file of rules: No such file"),
        (&format!("--filter=. {}", bad.display()), "bad, line 3: 'nonsense': it is no filter rule"),
        ("--exclude-if-present=a/b", "give the name of a file"),
    ] {
        stage.run().rsync(&[option]).expect(2).assert_says(said);
        assert_eq!(Fingerprint::of(&stage.backups).changes_since(&before), Vec::<String>::new());
    }
}

#[test]
fn a_broken_rule_file_in_the_source_leaves_nothing_out_and_is_listed() {
    let stage = stage(&["a", "b"]);
    stage.sh("printf -- '- a\\nnonsense\\n' >.rsync-filter");
    let done = stage.run().rsync(&["-F"]).expect(3);
    done.assert_says("line 2: 'nonsense': it is no filter rule");
    let held = below(&inside(&stage.history().newest(), &stage.source));
    assert_eq!(held, ".rsync-filter a b");
}

/// A source with folders `bad-…` whose rule files are endless, beside one with ordinary rules.
fn hostile_rules() -> Tree {
    let many = |line: &str, count: usize| line.repeat(count);
    let chain = |tree: Tree, number: usize| {
        let next = format!(". r{}\n", number + 1).repeat(9);
        tree.file(format!("bad-chain/r{number}"), next)
    };
    let all: String = (0..100).map(|number| format!(". n{number}\n")).collect();
    let wide = |tree: Tree, number: usize| tree.file(format!("bad-wide/n{number}"), &all);
    let tree = Tree::new()
        .file("bad-itself/.rsync-filter", "- lost\n".to_owned() + &many(". .rsync-filter\n", 10))
        .file("bad-pair/.rsync-filter", many(". other\n- lost\n", 10))
        .file("bad-pair/other", many(". .rsync-filter\n", 10))
        .file("bad-chain/.rsync-filter", "- lost\n. r0\n")
        .file("bad-wide/.rsync-filter", "- lost\n".to_owned() + &all)
        .file("bad-rules/.rsync-filter", "- lost\n".to_owned() + &many("- x\n", 20_000))
        .file("bad-long/.rsync-filter", "- lost\n".to_owned() + &many("# a comment\n", 100_000))
        .file(
            "bad-names/.rsync-filter",
            (0..2_000).map(|number| format!(": m{number}\n")).collect::<String>() + "- lost\n",
        )
        .file("bad-lines/.rsync-filter", "- lost\n".to_owned() + &many("wrong\n", 20_000))
        .file("good/.rsync-filter", "- left-out\n. more\n")
        .file("good/more", "- out-too\n")
        .file("good/left-out", "")
        .file("good/out-too", "");
    let tree = (0..25).fold(tree, chain);
    let tree = (0..100).fold(tree, wide);
    BAD.iter().fold(tree, |tree, name| tree.file(format!("bad-{name}/lost"), "kept all the same"))
}

const BAD: [&str; 8] = ["itself", "pair", "chain", "wide", "rules", "long", "names", "lines"];

#[test]
fn rule_files_without_end_are_listed_for_their_folder_only() {
    let stage = Stage::with(BIN, &hostile_rules());
    let done = stage.run().rsync(&["-F"]).limited("-v 2000000").expect(3);
    let newest = stage.inside(&stage.history().newest());
    for name in BAD {
        assert!(newest.join(format!("bad-{name}/lost")).exists(), "{name}: its rules are not used");
        let listed = done.lines_with(&format!("bad-{name}/"));
        assert!((1..=10).contains(&listed), "{name} is listed {listed} times");
    }
    assert!(!newest.join("good/left-out").exists() && !newest.join("good/out-too").exists());
    assert_eq!(done.lines_with("/good/"), 0);
    // Far less memory than the endless rules would take.
    assert!(done.peak_kib < 100 << 10, "{} KiB", done.peak_kib);
}

#[test]
fn patterns_that_take_long_hold_no_run_up() {
    let pattern = format!("- {}b\n", "**a*".repeat(40)).repeat(200);
    let deep = "a/".repeat(200);
    let tree =
        Tree::new().file(".rsync-filter", pattern).file(format!("{deep}{}", "a".repeat(200)), "");
    let stage = Stage::with(BIN, &tree);
    stage.run().rsync(&["-F"]).expect(0);
    let newest = stage.inside(&stage.history().newest());
    assert!(newest.join(format!("{deep}{}", "a".repeat(200))).exists());
}

#[test]
fn a_dry_run_tells_what_is_newly_left_out() {
    let stage = stage(&["a.tmp", "b"]);
    stage.take();
    let done = stage.run().arg("--dry-run").rsync(&["--exclude=*.tmp"]).expect(0);
    assert_eq!(done.lines_with("left out"), 1, "{}", done.stdout);
    done.assert_says("deleted        0");
}

#[test]
fn marked_folders_are_kept_without_their_content() {
    let stage = stage(&["n/.nobackup", "n/x", "c/x", "d/x"]);
    stage.sh("printf 'Signature: 8a477f597d28d172789f06886806bc55\\n' >c/CACHEDIR.TAG");
    let options = ["--exclude-caches", "--exclude-if-present=.nobackup"];
    stage.run().rsync(&options).expect(0);
    let held = below(&inside(&stage.history().newest(), &stage.source));
    assert_eq!(held, "c/ c/CACHEDIR.TAG d/ d/x n/ n/.nobackup");
}

#[test]
fn rules_with_x_leave_out_attributes() {
    let tree = Tree::new().file("a", "").xattr("user.keep", "1").xattr("user.cache.x", "2");
    let stage = Stage::with(BIN, &tree);
    stage.run().rsync(&["-X", "-f-x user.cache.*", "-f- keep"]).expect(0);
    let file = inside(&stage.history().newest(), &stage.source).join("a");
    let mut names: Vec<_> = xattrs(&file);
    names.retain(|name| !name.starts_with("user.backup_manager."));
    assert_eq!(names, ["user.keep"]);
}

#[test]
fn an_explanation_names_the_rule_and_writes_nothing() {
    let stage = stage(&["cache/x", "keep/y", "keep/z"]);
    stage.sh("printf -- '# mine\\n- z\\n' >keep/.rsync-filter");
    let before = Fingerprint::of(&stage.backups);
    let ask = |path: &str| {
        let path = stage.source.join(path);
        let run = stage.run().arg("--explain").arg(path).rsync(&["-F", "--exclude=cache/"]);
        run.expect(0).stdout
    };
    let cache = ask("cache/x");
    assert!(cache.contains("cache/x: out\n"), "{cache}");
    assert!(cache.contains("cache: out by 'cache/' ("), "{cache}");
    let z = ask("keep/z");
    assert!(z.contains("z: out by '- z' (") && z.contains("keep/.rsync-filter, line 2)"), "{z}");
    assert!(ask("keep/y").contains("keep/y: in\n"));
    assert!(ask("new").contains("it does not exist"));
    assert!(ask("../other").contains("it lies in no source"));
    assert_eq!(Fingerprint::of(&stage.backups).changes_since(&before), Vec::<String>::new());
}

#[test]
fn filters_that_newly_leave_out_a_whole_source_are_told_once() {
    let everything = r#"{"--exclude":"*"}"#;
    for (excluded, left) in [(everything, 0), (r#"{"--exclude":"photo*"}"#, 1)] {
        let stage = stage(&["other/file"]);
        stage.sh(
            "mkdir home; for i in $(seq 30); do echo $i >home/photo$i; done; echo x >home/text",
        );
        let sources = format!("{0}/home,{0}/other", stage.source.display());
        let run = || stage.run().set("srcs-to-backup", &sources);
        run().expect(0);
        let filtered = || run().set("rsync-dict-params", excluded);
        let home = stage.source.join("home");
        let done = filtered().arg("--dry-run").expect(3);
        done.assert_says("the filters leave out");
        let done = filtered().expect(3);
        done.assert_says("the filters leave out").assert_says(&home.to_string_lossy());
        let copy = inside(&stage.history().newest(), &home);
        assert_eq!(std::fs::read_dir(copy).map_or(0, Iterator::count), left);
        assert_eq!(filtered().expect(0).lines_with("of it that the snapshot before has"), 0);
        // A few files fewer are not reported.
        run().expect(0);
        run().set("rsync-dict-params", r#"{"--exclude":"photo1*"}"#).expect(0);
    }
}
