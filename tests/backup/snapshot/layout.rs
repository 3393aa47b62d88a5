//! The layout of sources inside a snapshot.

use std::path::Path;

use fixtures::judge::Judge;
use fixtures::scan::scan;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// `a/docs`, `b/docs` and `a/photos` with one file each, below parents with unusual modes.
fn three_folders() -> Stage {
    Stage::with(
        BIN,
        &Tree::new()
            .file("a/docs/text", "from a")
            .file("a/photos/picture", "picture")
            .file("b/docs/text", "from b")
            .folder("a")
            .mode(0o2710)
            .mtime(1_111_111_111, 222_222_222),
    )
}

/// The comma separated list of `paths` below the source.
fn list(stage: &Stage, paths: &[&str]) -> String {
    let source = stage.source.to_string_lossy();
    paths.iter().map(|path| format!("{source}/{path}")).collect::<Vec<_>>().join(",")
}

/// The names directly in `folder`.
fn names(folder: &Path) -> Vec<String> {
    let found = scan(folder).into_keys().filter(|path| !path.is_empty() && !path.contains(&b'/'));
    found.map(|name| String::from_utf8_lossy(&name).into_owned()).collect()
}

#[test]
fn the_full_path_lies_inside_and_parents_keep_their_attributes() {
    let stage = three_folders();
    stage.run().set("srcs-to-backup", list(&stage, &["a/docs", "b/docs/"])).expect(0);
    let snapshot = stage.history().newest();
    for folder in ["a/docs", "b/docs"] {
        let path = stage.source.join(folder);
        Judge::plain().assert_same(&path, &inside(&snapshot, &path));
    }
    assert_eq!(names(&stage.inside(&snapshot).join("a")), ["docs"], "photos was not asked for");
    let (source, copy) = (scan(&stage.source), scan(&stage.inside(&snapshot)));
    for parent in [&b"a"[..], b"b", b""] {
        let (ours, theirs) = (&source[parent], &copy[parent]);
        let name = parent.escape_ascii();
        assert_eq!((ours.mode, ours.mtime), (theirs.mode, theirs.mtime), "{name}");
        assert_eq!((ours.user, ours.group), (theirs.user, theirs.group), "{name}");
    }
}

#[test]
fn the_marker_cuts_what_stands_before_it() {
    let stage = three_folders();
    stage.run().set("srcs-to-backup", list(&stage, &["a/./docs", "./a/photos"])).expect(0);
    let snapshot = stage.history().newest();
    assert_eq!(names(&snapshot), ["a", "docs"]);
    Judge::plain().assert_same(&stage.source.join("a/docs"), &snapshot.join("docs"));
    Judge::plain().assert_same(&stage.source.join("a/photos"), &snapshot.join("a/photos"));
}

#[test]
fn a_marker_at_the_end_puts_the_content_at_the_top() {
    let stage = three_folders();
    stage.run().set("srcs-to-backup", list(&stage, &["a/./"])).expect(0);
    let snapshot = stage.history().newest();
    assert_eq!(names(&snapshot), ["docs", "photos"]);
    Judge::plain().assert_same(&stage.source.join("a"), &snapshot);
}

#[test]
fn the_flat_layout_has_the_last_names_at_the_top() {
    let stage = three_folders();
    let run = stage.run().rsync(&["--no-relative"]);
    run.clone().set("srcs-to-backup", list(&stage, &["a/docs", "a/photos/"])).expect(0);
    let snapshot = stage.history().newest();
    assert_eq!(names(&snapshot), ["docs", "photos"]);
    Judge::plain().assert_same(&stage.source.join("a/docs"), &snapshot.join("docs"));
}

#[test]
fn two_sources_for_one_place_are_a_mistake() {
    let stage = three_folders();
    for (sources, option) in
        [(["a/docs", "b/docs"], &["--no-relative"][..]), (["a/./docs", "b/./docs"], &[])]
    {
        let run = stage.run().set("srcs-to-backup", list(&stage, &sources)).rsync(option);
        let done = run.expect(2);
        done.assert_says(&list(&stage, &["a/docs"])).assert_says(&list(&stage, &["b/docs"]));
    }
    assert_eq!(std::fs::read_dir(&stage.backups).unwrap().count(), 0, "nothing was written");
}

#[test]
fn a_source_inside_another_and_the_same_one_twice_are_stored_once() {
    let stage = three_folders();
    for sources in
        [&["a", "a/docs"][..], &["a/docs", "a"], &["a", "a/"], &["a/docs", "a/docs", "a"]]
    {
        stage.run().set("srcs-to-backup", list(&stage, sources)).expect(0);
        let snapshot = stage.history().newest();
        Judge::plain().assert_same(&stage.source.join("a"), &stage.inside(&snapshot).join("a"));
        assert_eq!(stage.counts()["files"], 2, "{sources:?}");
    }
}

#[test]
fn a_source_may_be_a_single_file() {
    let stage = three_folders();
    let source = list(&stage, &["a/docs/text"]);
    for _ in 0..2 {
        stage.run().set("srcs-to-backup", &source).expect(0);
    }
    let copy = inside(&stage.history().newest(), Path::new(&source));
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "from a");
    stage.assert_linked("a/docs/text");
    let run = stage.run().rsync(&["--no-relative"]);
    run.set("srcs-to-backup", &source).expect(0);
    assert_eq!(names(&stage.history().newest()), ["text"]);
}

#[test]
fn a_source_that_is_a_symlink_is_the_folder_it_leads_to() {
    let stage = three_folders();
    stage.sh("ln -s a/docs link");
    let done = stage.run().set("srcs-to-backup", list(&stage, &["link"])).expect(0);
    done.assert_says("symlink");
    let copy = stage.inside(&stage.history().newest()).join("link");
    assert_eq!(std::fs::read_to_string(copy.join("text")).unwrap(), "from a");
}

#[test]
fn a_symlink_on_the_way_to_a_source_is_followed() {
    let stage = three_folders();
    stage.sh("ln -s a link");
    stage.run().set("srcs-to-backup", list(&stage, &["link/docs"])).expect(0);
    let copy = stage.inside(&stage.history().newest()).join("link/docs/text");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "from a");
}

#[test]
fn relative_paths_start_in_the_current_folder() {
    let stage = three_folders();
    stage.run().in_folder(&stage.source).set("srcs-to-backup", "a/docs,./b").expect(0);
    let snapshot = stage.history().newest();
    for folder in ["a/docs", "b"] {
        let path = stage.source.join(folder);
        let copies = [inside(&snapshot, &path), snapshot.join(folder)];
        let copy = copies.iter().find(|copy| copy.exists()).expect("it is stored somewhere");
        Judge::plain().assert_same(&path, copy);
    }
}

#[test]
fn a_comma_in_a_name_is_written_with_a_backslash() {
    let stage = Stage::with(BIN, &Tree::new().file("a,b/file", "x").file("c/file", "y"));
    let sources = format!("{}/a\\,b,{}/c", stage.source.display(), stage.source.display());
    stage.run().set("srcs-to-backup", sources).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_source_that_is_no_longer_listed_is_gone_from_the_next_snapshot() {
    let stage = three_folders();
    stage.run().set("srcs-to-backup", list(&stage, &["a/docs", "b/docs"])).expect(0);
    stage.run().set("srcs-to-backup", list(&stage, &["a/docs"])).expect(0);
    assert_eq!(names(&stage.inside(&stage.history().newest())), ["a"]);
}
