//! A dry run writes nothing and reports what the run after it does.

use std::collections::BTreeMap;
use std::fs;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::{Done, Run};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new()
        .file("same", "as ever")
        .file("edited", "version 1")
        .file("private", "only the mode")
        .mode(0o644)
        .file("old/one", "1")
        .file("old/two", "2")
        .symlink("link", "same")
}

fn dry(run: &Run) -> Done {
    run.clone().arg("--dry-run").expect(0)
}

/// The JSON lines of a dry run: the changes by path, and the summary.
fn json(run: &Run) -> (BTreeMap<String, Value>, Value) {
    let done = run.clone().arg("--dry-run").arg("--json").expect(0);
    let lines = done.stdout.lines().map(|line| {
        serde_json::from_str::<Value>(line).expect("every line of stdout is a JSON object")
    });
    let (changes, others): (Vec<_>, Vec<_>) = lines.partition(|line| line["type"] == "change");
    assert_eq!(others.len(), 1, "one summary: {others:?}");
    let path = |change: &Value| change["path"].as_str().map(ToOwned::to_owned).unwrap_or_default();
    let changes = changes.into_iter().map(|change| (path(&change), change)).collect();
    (changes, others.into_iter().next().unwrap_or_default())
}

#[test]
fn the_first_dry_run_finds_all_new_and_makes_no_folder() {
    let stage = Stage::with(BIN, &sample());
    let nowhere = stage.beside("not there yet");
    let run = stage.run().set("backups-dir", &nowhere);
    let done = dry(&run);
    done.assert_says("source/edited");
    let (changes, summary) = json(&run);
    assert_eq!(summary["counts"]["files"], 5);
    assert_eq!(summary["entries_to_copy"], 5);
    assert_eq!(summary["bytes_to_copy"], 31);
    assert!(changes.values().all(|change| change["change"] == "new"), "{changes:?}");
    assert!(!nowhere.exists());
}

#[test]
fn it_writes_not_one_byte_whatever_state_the_folder_is_in() {
    let stage = Stage::with(BIN, &sample());
    for hours in [30, 20] {
        stage.take();
        fs::rename(stage.history().newest(), stage.history().path(&hours_ago(hours), "")).unwrap();
    }
    stage.sh("printf 'version 2' >edited");
    let states: [&dyn Fn(); 4] = [
        &|| {},
        &|| {
            Tree::new().file("half", "x").build(&stage.history().path(&hours_ago(5), ".incomplete"))
        },
        &|| Tree::new().file("gone", "x").build(&stage.history().path(&hours_ago(99), ".deleting")),
        &|| fs::remove_dir_all(stage.backups.join(".backup_manager")).expect("remove it"),
    ];
    for prepare in states {
        prepare();
        let before = Fingerprint::of(&stage.backups);
        for run in [stage.run(), stage.run().set("max-backups", "1"), stage.run().rsync(&["-c"])] {
            dry(&run).assert_says("edited");
            assert_untouched(&stage.backups, &before);
        }
    }
}

#[test]
fn each_kind_of_change_has_its_word() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh(
        "printf 'version 2' >edited; chmod 600 private; rm -r old; printf x >added; mkdir more",
    );
    let (changes, summary) = json(&stage.run());
    let found = |name: &str| {
        let end = format!("source/{name}");
        let change = changes.iter().find(|(path, _)| path.ends_with(&end));
        change.map(|(_, change)| change["change"].as_str().unwrap_or_default().to_owned())
    };
    let word = |text: &str| Some(text.to_owned());
    assert_eq!(found("edited"), word("changed"));
    assert_eq!(found("private"), word("metadata"));
    assert_eq!(found("added"), word("new"));
    assert_eq!(found("more/"), word("new"));
    assert_eq!(found("old/"), word("deleted"));
    assert_eq!(found("same"), None);
    assert_eq!(found("link"), None);
    assert_eq!(summary["bytes_to_copy"], 10, "{summary}");
    let text = dry(&stage.run());
    for word in ["new", "changed", "metadata", "deleted", "unchanged", "to copy"] {
        text.assert_says(word);
    }
}

#[test]
fn the_run_after_it_does_what_it_said() {
    let root_only = need::root().is_ok();
    let spec = Spec { files: 400, folders: 60, largest: 100_000, root_only };
    let stage = Stage::with(BIN, &random_tree(2, spec));
    for seed in 0..5 {
        let (_, forecast) = json(&stage.run());
        stage.take();
        let counts = stage.counts();
        for key in [
            "entries",
            "files",
            "folders",
            "bytes",
            "new",
            "changed",
            "metadata",
            "unchanged",
            "deleted",
        ] {
            assert_eq!(
                forecast["counts"][key], counts[key],
                "{key}, seed {seed}\n{forecast}\n{counts}"
            );
        }
        // Of an inode with several names, the first one that a thread reaches is read or linked and
        // the others follow; the order depends on the threads.
        let number = |counts: &serde_json::Value| counts["copied"].as_u64().unwrap();
        let apart = number(&forecast["counts"]).abs_diff(number(&counts));
        assert!(
            apart <= counts["hard_links"].as_u64().unwrap(),
            "copied, seed {seed}\n{forecast}\n{counts}"
        );
        mutate(&stage.source, seed);
    }
}

#[test]
fn it_shows_which_snapshots_would_be_removed() {
    let stage = Stage::with(BIN, &sample());
    let mut names = Vec::new();
    for hours in [40, 30, 20] {
        stage.take();
        let aged = stage.history().path(&hours_ago(hours), "");
        fs::rename(stage.history().newest(), &aged).unwrap();
        names.push(aged.file_name().unwrap().to_string_lossy().into_owned());
    }
    let run = stage.run().set("max-backups", "2");
    let (_, summary) = json(&run);
    assert_eq!(summary["would_delete"], Value::from(names[..2].to_vec()));
    dry(&run).assert_says(&names[0]).assert_says(&names[1]);
    let (_, summary) = json(&stage.run());
    assert_eq!(summary["would_delete"], Value::Array(Vec::new()));
}

#[test]
fn it_shows_what_would_delay_or_refuse_the_run() {
    let many = (0..30).fold(Tree::new(), |tree, number| tree.file(format!("f{number}"), "x"));
    let stage = Stage::with(BIN, &many);
    stage.take();
    let (_, summary) = json(&stage.run().set("minimum-time-guard-h", "20"));
    assert!(summary["held_until"].is_string(), "{summary}");
    stage.sh("rm f*; printf x >f1");
    let (_, summary) = json(&stage.run());
    assert!(summary["refused"].is_string(), "{summary}");
    let (_, summary) = json(&stage.run().arg("--accept-shrink"));
    assert!(summary["refused"].is_null(), "{summary}");
}

#[test]
fn it_needs_no_right_to_write() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("printf 'version 2' >edited");
    let before = Fingerprint::of(&stage.backups);
    let run = stage.run_as(12_345);
    std::os::unix::fs::chown(&stage.backups, Some(0), Some(0)).unwrap();
    dry(&run).assert_says("edited");
    let (_, summary) = json(&run);
    assert!(summary["counts"]["changed"].as_u64() >= Some(1), "{summary}");
    let changes = Fingerprint::of(&stage.backups).changes_since(&before);
    assert_eq!(changes, Vec::<String>::new());
}
