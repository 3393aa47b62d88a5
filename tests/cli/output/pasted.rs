//! Paths that one command prints are pasted through a shell into the others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const NAMES: [&[u8]; 13] = [
    b"plain",
    b"two words",
    b"it's \"quoted\"",
    b"new\nline",
    b"ends with a line feed\n",
    b"bad \xff\xfe",
    b"-rf",
    b"--to",
    b"a*b[c]{d}?",
    b"back\\slash",
    b"~",
    b"$(touch ran) `touch ran`;",
    b"\x1b[31m \xc2\x9b",
];

/// The column in which `diff` and the dry runs print the path.
const COLUMN: usize = 20;

/// The words at the ends of lines that begin with one of `kinds`.
fn words(text: &str, kinds: &[&str]) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind)));
    lines.map(|line| line[COLUMN..].to_owned()).collect()
}

fn shell(stage: &Stage, script: &str) -> Output {
    let here = stage.beside("here");
    let _ = fs::create_dir(&here);
    Command::new("sh").args(["-c", script]).current_dir(here).output().expect("a shell")
}

#[track_caller]
fn succeeds(stage: &Stage, script: &str) {
    let done = shell(stage, script);
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(!stage.beside("here/ran").exists(), "{script}");
}

#[test]
fn each_printed_path_can_be_pasted_into_each_command() {
    let stage = Stage::new(BIN);
    stage.take();
    NAMES.iter().fold(Tree::new(), |tree, name| tree.file(name, name)).build(&stage.source);
    Tree::new().file("a folder/inside", "x").build(&stage.source);
    let text = |run: Run| run.expect(0).stdout;
    let dry = words(&text(stage.run().arg("--dry-run")), &["new "]);
    assert_eq!(dry.len(), NAMES.len() + 2, "{dry:#?}");
    stage.take();
    let diff = words(&text(stage.look("diff").arg("latest~1").arg("latest")), &["added "]);
    assert_eq!(diff, dry);
    let to = |place: &Path| stage.look("restore").arg("--to").arg(place).arg("--dry-run");
    let preview = words(&text(to(&stage.beside("none"))), &["create "]);
    assert!(preview.is_superset(&dry), "{preview:#?}\n{dry:#?}");
    let one =
        words(&text(to(&stage.beside("none")).arg(stage.source.join("two words"))), &["create "]);
    assert_eq!(one.len(), 1, "below its last name, it is still the path on the source: {one:?}");
    assert!(one.is_subset(&dry), "{one:?}");
    let found = text(stage.look("find").arg(format!("{}/**", stage.source.display())));
    let found: BTreeSet<String> =
        found.lines().filter(|line| !line.starts_with("  in ")).map(ToOwned::to_owned).collect();
    assert_eq!(found, dry);
    let dir = stage.backups.display();
    for word in &dry {
        assert!(word.starts_with(['/', '\'', '"']), "{word}");
        for verb in ["history", "find"] {
            succeeds(&stage, &format!("{BIN} {verb} {word} --backups-dir {dir}"));
        }
        succeeds(&stage, &format!("{BIN} restore latest {word} --to back --backups-dir {dir}"));
        let explain =
            format!("{BIN} run --explain {word} --srcs-to-backup {}", stage.source.display());
        succeeds(&stage, &format!("{explain} --backups-dir {dir}"));
    }
    for name in NAMES {
        use std::os::unix::ffi::OsStrExt;
        let back = stage.beside("here/back").join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read(&back).expect("it is back"), name, "{}", name.escape_ascii());
    }
}

#[test]
fn what_a_restore_could_not_do_names_the_path_on_the_source_and_where_it_is() {
    let stage = Stage::with(BIN, &Tree::new().file("a b", "1"));
    stage.take();
    Tree::new().file("a b", "other").build(&stage.beside("back"));
    let path = stage.source.join("a b");
    let restore = stage.look("restore").arg(&path).arg("--to").arg(stage.beside("back"));
    let done = restore.expect(3);
    let (path, at) = (path.display(), stage.beside("back/a b"));
    done.assert_says(&format!("left: '{path}': "));
    done.assert_says(&format!("(at {})", at.display()));
}

#[test]
fn a_cut_path_is_printed_as_it_is_on_the_source() {
    let stage = Stage::new(BIN);
    let run = || stage.run().set("srcs-to-backup", format!("{}/./notes", stage.source.display()));
    fs::create_dir(stage.source.join("notes")).expect("made");
    run().expect(0);
    Tree::new().file("notes/a", "1").build(&stage.source);
    let path = stage.source.join("notes/a").display().to_string();
    run().arg("-n").expect(0).assert_says(&format!("  {path}\n"));
    run().expect(0);
    let diff = stage.look("diff").arg("latest~1").arg("latest");
    diff.clone().expect(0).assert_says(&format!("  {path}\n"));
    let json = diff.arg("--json").expect(0).objects();
    assert!(json.iter().any(|line| line["path"] == path), "{json:?}");
}
