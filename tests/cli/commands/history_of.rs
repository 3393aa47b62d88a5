//! `history PATH` and `find PATTERN`: versions of files and folders, and where an entry is.

use std::fs;
use std::path::PathBuf;

use fixtures::stage::Stage;
use fixtures::tree::Tree;
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Six snapshots of a file that changes, is touched, is deleted, returns unchanged, and changes
/// again.
fn stage() -> Stage {
    let tree =
        Tree::new().file("notes/today.txt", "one").file("notes/other", "x").file("lone", "x");
    let stage = Stage::with(BIN, &tree);
    for script in [
        "true",
        "printf two >notes/today.txt",
        "touch -d 2020-01-01 notes/today.txt",
        "rm notes/today.txt",
        "printf two >notes/today.txt",
        "printf longer >notes/today.txt; printf y >'odd name'",
    ] {
        stage.sh(script);
        stage.take();
    }
    stage
}

fn names(stage: &Stage) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    stage.history().complete().into_iter().map(name).collect()
}

/// Version, event, first and last snapshot (by number), where it vanished, size.
fn printed(stage: &Stage, objects: &[Value]) -> Vec<String> {
    let names = names(stage);
    let number = |name: &Value| {
        names.iter().position(|known| name == known).map_or("-".to_owned(), |at| at.to_string())
    };
    let line = |one: &Value| {
        let (event, size) = (one["event"].as_str().unwrap_or("?"), &one["bytes"]);
        let (first, last) = (number(&one["first"]), number(&one["last"]));
        format!("{} {event} {first}-{last} {} {size}", one["version"], number(&one["vanished_in"]))
    };
    objects.iter().map(line).collect()
}

#[test]
fn every_version_of_a_file_is_shown_with_the_command_that_restores_it() {
    let stage = stage();
    let path = stage.source.join("notes/today.txt");
    let done = stage.look("history").arg(&path).arg("--json").expect(0);
    let expected = [
        "1 appeared 0-0 - 3",
        // Only touched: the hash shows the same content.
        "2 changed 1-2 3 3",
        "2 returned 4-4 - 3",
        "3 changed 5-5 - 6",
    ];
    assert_eq!(printed(&stage, &done.objects()), expected);
    let restore = done.objects()[1]["restore"].as_str().unwrap().to_owned();
    let wanted = format!(
        "backup_manager restore {} {} --to DIR --backups-dir {}",
        names(&stage)[2],
        path.display(),
        stage.backups.display()
    );
    assert_eq!(restore, wanted);
    let text = stage.look("history").arg(&path).expect(0);
    text.assert_says("vanished")
        .assert_says("returned")
        .assert_says(&format!("version 2: backup_manager restore {}", names(&stage)[4]));
    // By its path in a snapshot folder, and relative to the current folder.
    let inside = stage.inside(&stage.history().newest()).join("notes/today.txt");
    let relative = stage.look("history").in_folder(&stage.source.join("notes")).arg("today.txt");
    let from_beside = stage.look("history").in_folder(&stage.source.join("notes"));
    let from_beside = from_beside.arg("./../notes/today.txt/");
    for run in [stage.look("history").arg(&inside), relative, from_beside] {
        assert_eq!(printed(&stage, &run.arg("--json").expect(0).objects()), expected);
    }
}

#[test]
fn a_folder_has_a_version_for_each_change_below_it() {
    let stage = stage();
    let done = stage.look("history").arg(stage.source.join("notes")).arg("--json").expect(0);
    assert_eq!(
        printed(&stage, &done.objects()),
        [
            "1 appeared 0-0 - 4",
            "2 changed 1-1 - 4",
            "3 changed 2-2 - 4",
            "4 changed 3-3 - 1",
            "5 changed 4-4 - 4",
            "6 changed 5-5 - 7",
        ]
    );
    assert_eq!(done.objects()[0]["entries"], 2);
}

#[test]
fn a_pattern_shows_every_match() {
    let stage = stage();
    let pattern = format!("{}/**/*o*", stage.source.display());
    let objects = stage.look("history").arg(&pattern).arg("--json").expect(0).objects();
    let mut paths: Vec<_> = objects.iter().map(|one| one["path"].as_str().unwrap()).collect();
    paths.dedup();
    let expected = ["lone", "notes", "notes/other", "notes/today.txt", "odd name"];
    assert_eq!(paths, expected.map(|name| stage.source.join(name).display().to_string()));
    let odd = objects.last().unwrap()["restore"].as_str().unwrap();
    assert!(odd.contains(&format!(" '{}' --to", stage.source.join("odd name").display())), "{odd}");
}

#[test]
fn the_command_that_brings_a_file_back_runs_nothing_of_its_name() {
    let names = [
        "$(touch ran)",
        "`touch ran`",
        "a\n$(touch ran)\n",
        "';touch ran;'",
        "\u{9b}\x1b[31m!x %s",
    ];
    let tree = names.iter().fold(Tree::new(), |tree, name| tree.file(name, name));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let program = format!("backup_manager() {{ {BIN} \"$@\"; }}");
    for (number, name) in names.iter().enumerate() {
        let path = stage.source.join(name);
        let objects = stage.look("history").arg(&path).arg("--json").expect(0).objects();
        let command = objects[0]["restore"].as_str().unwrap();
        assert!(!command.contains('\n') && !command.contains('\x1b'), "{command:?}");
        for shell in ["sh", "bash"] {
            let folder = stage.beside(&format!("{shell}-{number}"));
            fs::create_dir(&folder).unwrap();
            let script = format!("{program}\n{}", command.replace("DIR", "back"));
            let done = std::process::Command::new(shell)
                .args(["-c", &script])
                .current_dir(&folder)
                .output()
                .unwrap();
            assert!(done.status.success(), "{shell}: {command}: {done:?}");
            assert_eq!(fs::read_to_string(folder.join("back").join(name)).unwrap(), *name);
            assert!(!folder.join("ran").exists(), "{shell}: {command}");
        }
    }
}

#[test]
fn a_name_with_brackets_is_found_as_it_is_written() {
    let stage = Stage::with(BIN, &Tree::new().file("clip [id].mp4", "x").file("clip d.mp4", "y"));
    stage.take();
    let paths = |verb: &str, asked: &str| {
        let objects = stage.look(verb).arg(asked).arg("--json").expect(0).objects();
        let path = |one: &Value| PathBuf::from(one["path"].as_str().unwrap());
        let mut paths: Vec<PathBuf> = objects.iter().map(path).collect();
        paths.sort();
        paths
    };
    let both = ["clip [id].mp4", "clip d.mp4"].map(|name| stage.source.join(name));
    for verb in ["find", "history"] {
        for asked in ["clip [id].mp4", "source/clip [id].mp4", both[0].to_str().unwrap()] {
            assert_eq!(paths(verb, asked), both, "{verb} {asked}");
        }
    }
}

#[test]
fn a_path_that_was_never_there_is_reported() {
    let stage = stage();
    stage
        .look("history")
        .arg("/nowhere/x")
        .expect(1)
        .assert_says("no complete snapshot has /nowhere/x");
    // A part of a name: both verbs say how to find it, and end with the same code.
    let part = stage.source.join("notes/tod");
    for asked in ["tod", part.to_str().unwrap()] {
        for verb in ["find", "history"] {
            let done = stage.look(verb).arg(asked).expect(1);
            done.assert_says(&format!("no complete snapshot has {asked}; "));
            done.assert_says("find '*tod*'");
        }
    }
    stage.look("find").arg("*tod*").expect(0).assert_says("notes/today.txt");
    // A name alone is found by both, wherever the file lies.
    for verb in ["find", "history"] {
        stage.look(verb).arg("today.txt").expect(0).assert_says("notes/today.txt");
    }
    stage.look("find").in_folder(&stage.source).arg("./notes/today.txt").expect(0);
    stage.look("find").in_folder(&stage.source).arg("./today.txt").expect(1);
    let inside = stage.inside(&stage.history().newest()).join("notes/today.txt");
    let path = stage.source.join("notes/today.txt").display().to_string();
    stage.look("find").arg(&inside).expect(0).assert_says(&format!("{path}\n"));
}

#[test]
fn snapshots_without_hashes_go_by_size_and_time() {
    let stage = stage();
    fs::remove_dir_all(stage.backups.join(".backup_manager")).unwrap();
    let done =
        stage.look("history").arg(stage.source.join("notes/today.txt")).arg("--json").expect(0);
    assert_eq!(done.objects().len(), 4, "the paths are full ones, so no report is needed");
}

#[test]
fn cut_paths_are_found_by_the_report() {
    let stage = Stage::with(BIN, &Tree::new().file("notes/a", "one"));
    let cut = format!("{}/./notes", stage.source.display());
    stage.run().set("srcs-to-backup", cut).expect(0);
    let path = stage.source.join("notes/a");
    let objects = stage.look("history").arg(&path).arg("--json").expect(0).objects();
    assert_eq!(objects.len(), 1);
    let found = stage.look("find").arg("a").arg("--json").expect(0).objects();
    assert_eq!(found[0]["path"], path.display().to_string());
}

#[test]
fn find_folds_the_snapshots_that_have_it() {
    let stage = stage();
    let names = names(&stage);
    let done = stage.look("find").arg("TODAY.*").arg("-i").expect(0);
    done.assert_says(&stage.source.join("notes/today.txt").display().to_string());
    done.assert_says(&format!(
        "in 5 of 6 snapshots: {} ... {}, {} ... {}",
        names[0], names[2], names[4], names[5]
    ));
    let objects = stage.look("find").arg("notes/*").arg("--json").expect(0).objects();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[1]["snapshots"].as_array().unwrap().len(), 5);
    let folder = stage.look("find").arg("notes").arg("--json").expect(0).objects();
    assert_eq!((folder.len(), &folder[0]["folder"]), (1, &Value::Bool(true)));
}
