//! The output of the verbs that look at snapshots, on a terminal of 80 columns.

use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const COLUMNS: usize = 80;
const PREFIX: &str = "homeserver-photos-20";

/// Two sources, three snapshots with a long prefix, and a held one.
fn stage() -> Stage {
    let tree =
        Tree::new().file("home/uname/Documents/contract.txt", "1").file("srv/media/song", "2");
    let stage = Stage::with(BIN, &tree);
    for change in [
        "truncate -s 3T srv/media/film.mkv",
        "echo 2 >>home/uname/Documents/contract.txt",
        "rm srv/media/film.mkv",
    ] {
        stage.sh(change);
        run(&stage, "run").arg("--now").arg("--accept-shrink").expect(0);
    }
    run(&stage, "hold")
        .arg("oldest")
        .arg("--note")
        .arg("before the big move of all photos to the new disk")
        .expect(0);
    stage
}

fn run(stage: &Stage, verb: &str) -> Run {
    let sources = ["home/uname", "srv/media"].map(|name| stage.source.join(name));
    let sources = sources.map(|path| path.display().to_string()).join(",");
    stage.look(verb).set("backup-name-prefix", PREFIX).env("SRCS_TO_BACKUP", sources)
}

/// The lines that are too wide, without those with a command or a path to copy.
fn too_wide(shown: &str) -> Vec<&str> {
    let lines = shown.lines().map(|line| line.trim_end_matches('\r'));
    let to_copy = |line: &&str| line.contains("backup_manager ") || line.contains(" /");
    lines.filter(|line| line.chars().count() > COLUMNS && !to_copy(line)).collect()
}

#[test]
fn tables_fit_80_columns_on_a_terminal_and_have_whole_rows_elsewhere() {
    let stage = stage();
    let contract = stage.source.join("home/uname/Documents/contract.txt");
    let verbs: [&dyn Fn() -> Run; 9] = [
        &|| run(&stage, "list"),
        &|| run(&stage, "status"),
        &|| run(&stage, "diff").arg("oldest").arg("latest"),
        &|| run(&stage, "history").arg(&contract),
        &|| run(&stage, "find").arg("*.mkv"),
        &|| run(&stage, "prune"),
        &|| run(&stage, "verify"),
        &|| run(&stage, "doctor"),
        &|| run(&stage, "run").arg("--dry-run"),
    ];
    for verb in verbs {
        // No colours, and no display of the progress, which appears when the disk is slow.
        let verb = || verb().env("TERM", "dumb");
        let shown = verb().on_a_terminal().wait().stdout;
        assert!(shown.len() > 50, "{shown}");
        assert!(too_wide(&shown).is_empty(), "{:?} in:\n{shown}", too_wide(&shown));
        // Nothing is lost: the words are those of the piped output, in another order or on other lines. Numbers alone can be ages.
        let piped = verb().start().wait().stdout;
        let is_text = |word: &&str| word.contains(['.', '/']) && word.parse::<f64>().is_err();
        for word in piped.split_whitespace().filter(is_text) {
            assert!(shown.contains(word), "{word} in:\n{shown}");
        }
    }
    let list = run(&stage, "list").expect(0).stdout;
    let rows: Vec<&str> = list.lines().filter(|line| line.starts_with(PREFIX)).collect();
    let held = rows.iter().find(|row| row.contains("held: before the big move of all photos"));
    assert!(held.is_some_and(|row| row.chars().count() > COLUMNS), "{list}");
}
