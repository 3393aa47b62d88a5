//! The summary after a run: what the snapshot cost, how many there are, which one was removed.

use fixtures::stage::Stage;
use fixtures::tree::Tree;
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The text of a row of the summary.
fn row(said: &str, label: &str) -> Option<String> {
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("  {label}  ")));
    line.map(|text| text.trim().to_owned())
}

#[test]
fn a_summary_has_the_new_bytes_the_number_of_snapshots_and_the_removed_ones() {
    let tree = Tree::new().random_file("file", 100_000, 1).hard_link("same", "file");
    let stage = Stage::with(BIN, &tree);
    // A hole takes no blocks.
    stage.sh("truncate -s 1G sparse; printf end >>sparse");
    let run = || stage.run().set("max-backups", "2");
    let first = run().expect(0).said();
    assert_eq!(row(&first, "snapshots").as_deref(), Some("1 of at most 2"), "{first}");
    let stored = stage.counts()["bytes_stored"].as_u64().expect("a count");
    // SEEK_DATA works in blocks, so the end of the sparse file may count as one.
    assert!((100_003..=200_000).contains(&stored), "{stored}");
    assert!(row(&first, "new on disk").is_some_and(|text| text.ends_with("KiB")), "{first}");
    assert_eq!(row(&first, "removed"), None, "{first}");
    // Only links.
    let second = run().expect(0).said();
    assert_eq!(row(&second, "new on disk").as_deref(), Some("0 B"), "{second}");
    // Another mode is another inode: a copy, or shared blocks.
    stage.sh("chmod 600 file");
    let oldest = stage.history().complete().first().cloned().expect("a snapshot");
    let oldest = oldest.file_name().map(|name| name.display().to_string()).expect("a name");
    let third = run().expect(0).said();
    let stored = stage.counts()["bytes_stored"].as_u64();
    assert!([Some(0), Some(100_000)].contains(&stored), "{stored:?}");
    assert_eq!(row(&third, "snapshots").as_deref(), Some("2 of at most 2"), "{third}");
    assert_eq!(row(&third, "removed").as_deref(), Some(oldest.as_str()), "{third}");
    let fourth = run().env("LOG_FORMAT", "json").expect(0).stdout;
    let lines = fourth.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let completed = lines.into_iter().find(|line| line["event"] == "completed").expect("an event");
    assert_eq!(completed["snapshots"], 2, "{completed}");
    assert_eq!(completed["report"]["counts"]["bytes_stored"], 0, "{completed}");
    assert!(completed["report"]["pruned"].is_array(), "{completed}");
}

#[test]
fn a_resumed_run_counts_what_the_interrupted_one_stored() {
    let tree = (0..20).fold(Tree::new(), |tree, number| {
        tree.random_file(format!("file{number}"), 10_000, number)
    });
    let stage = Stage::with(BIN, &tree);
    let killed = stage.run().killed_at_time(10).start().wait();
    assert_ne!(killed.code, 0);
    let done = stage.run().expect(0).said();
    assert!(row(&done, "kept").is_some(), "{done}");
    assert_eq!(stage.counts()["bytes_stored"], 200_000, "{done}");
}
