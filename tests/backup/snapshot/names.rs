//! Names are bytes: every byte, length and depth.

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::scan::scan;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// All 253 bytes except NUL and slash, in two names.
fn every_byte() -> [Vec<u8>; 2] {
    let bytes = (1..=255).filter(|byte| *byte != b'/');
    [bytes.clone().collect(), bytes.rev().collect()]
}

fn odd_names() -> Tree {
    let [up, down] = every_byte();
    let mut tree = Tree::new().file(&up, "up").symlink(&down, &up).folder("f");
    for byte in (1..=255_u8).filter(|byte| !b"/.".contains(byte)) {
        tree = tree.file([b'f', b'/', byte], [byte]);
    }
    for name in [
        &b"-rf"[..],
        b"--delete",
        b" ",
        b"  leading and trailing  ",
        b"...",
        b"a\nb",
        b"tab\tname",
        b"\x1b[31mred\x1b[0m",
        b"\xff\xfe",
        b"\xc3\x28",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        "\u{202e}backwards".as_bytes(),
        b"back\\slash",
        b"\\x41",
        b"A",
        b"quote'\"`$(id)",
        b"*?[a]",
        b"#comment",
        b"+ rule",
        b"user@host:path",
        b"my_backup.07-12-2023_13-32-58",
        b"my_backup.07-12-2023_13-32-58.incomplete",
        b".backup_manager",
        b"CON",
        b"a.",
    ] {
        tree = tree.file(name, name).folder([b"below ", name].concat());
    }
    let longest = [b'n'; 255];
    tree.file(longest, "255 bytes")
        .folder([b'm'; 255])
        .file([&[b'm'; 255][..], b"/", &[0xf0; 255]].concat(), "255 bytes twice")
}

#[test]
fn every_name_comes_through() {
    let stage = Stage::with(BIN, &odd_names());
    for _ in 0..2 {
        stage.take();
        stage.assert_newest_is_source(Judge::plain());
    }
    stage.assert_linked("f/\u{7f}");
}

#[test]
fn names_are_escaped_when_they_are_shown() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file(b"evil\x1b[31m\n\xff", "x").mode(0));
    let done = stage.run_as(12_345).expect(3);
    done.assert_says("evil\\x1b[31m\\x0a\\xff");
    assert!(!done.said().contains('\x1b'), "{:?}", done.said());
}

#[test]
fn two_thousand_levels_are_no_problem() {
    // 2,000 levels of 8 bytes are four times PATH_MAX, beyond what rsync can compare.
    let deep = vec!["a-level"; 2_000].join("/");
    let tree = Tree::new()
        .file(format!("{deep}/bottom"), "deep down")
        .file(format!("{deep}/other"), "removed later")
        .hard_link("top", format!("{deep}/bottom"))
        .folder(&deep)
        .mode(0o750);
    let stage = Stage::with(BIN, &tree);
    for _ in 0..2 {
        let snapshot = stage.take();
        let differences = Judge::plain().differences(&stage.source, &stage.inside(&snapshot));
        assert_eq!(differences, Vec::<String>::new());
        assert_eq!(scan(&snapshot).iter().filter(|(_, found)| found.is_file()).count(), 3);
    }
    // It can also be pruned.
    stage.run().set("max-backups", "1").expect(0);
    assert_eq!(stage.history().complete().len(), 1);
    assert_eq!(stage.history().deleting().len(), 0);
}

#[test]
fn as_many_open_files_as_a_shell_allows_are_enough() {
    let wide = (0..300).fold(Tree::new(), |tree, number| {
        tree.file(format!("{number}/a/b/c/d/e/f/g/file"), number.to_string())
    });
    let stage = Stage::with(BIN, &wide);
    stage.run().limited("-n 64").expect(0);
    stage.assert_newest_is_source(Judge::plain());
    let deep = vec!["d"; 1_500].join("/");
    Tree::new().file(format!("{deep}/bottom"), "").build(&stage.source);
    stage.run().limited("-n 256").expect(0);
    let inside = stage.inside(&stage.history().newest());
    assert_eq!(Judge::plain().differences(&stage.source, &inside), Vec::<String>::new());
}
