//! Settings from flags, environment, files and config.toml; every mistake is named at once.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::history::History;
use fixtures::judge::Judge;
use fixtures::run::{Done, Run};
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("a/one", "1").file("b/two", "2").file("c/three", "3"))
}

/// Writes a config file beside the source; `$S` and `$B` are replaced by source and backups.
fn config(stage: &Stage, text: &str) -> PathBuf {
    let path = stage.beside("config.toml");
    let text = text
        .replace("$S", &stage.source.to_string_lossy())
        .replace("$B", &stage.backups.to_string_lossy());
    fs::write(&path, text).expect("write the config file");
    path
}

/// The number of complete snapshots of `prefix`.
fn count(stage: &Stage, prefix: &str) -> usize {
    History::new(&stage.backups, prefix).complete().len()
}

/// Fails the test unless the command is refused with all of `reasons` and writes nothing.
#[track_caller]
fn refused(stage: &Stage, run: &Run, reasons: &[&str]) -> Done {
    let done = run.expect(2);
    for reason in reasons {
        done.assert_says(reason);
    }
    let entries = fs::read_dir(&stage.backups).map_or(0, Iterator::count);
    assert_eq!(entries, 0, "nothing is written");
    done
}

#[test]
fn the_environment_describes_a_job() {
    let stage = stage();
    let run = stage
        .bare_run()
        .env("SRCS_TO_BACKUP", format!("{0}/a,{0}/b", stage.source.display()))
        .env("BACKUPS_DIR", &stage.backups)
        .env("BACKUP_NAME_PREFIX", "from env")
        .env("MINIMUM_TIME_GUARD_H", "0")
        .env("MAX_BACKUPS", "2");
    for _ in 0..3 {
        run.expect(0);
    }
    assert_eq!(count(&stage, "from env"), 2);
    let newest = History::new(&stage.backups, "from env").newest();
    assert!(inside(&newest, &stage.source.join("b/two")).exists());
    assert!(!inside(&newest, &stage.source.join("c")).exists());
}

#[test]
fn the_defaults_need_only_a_source() {
    let stage = stage();
    let home = stage.beside("cwd");
    fs::create_dir(&home).unwrap();
    let run = stage.bare_run().env("SRCS_TO_BACKUP", &stage.source).in_folder(&home);
    run.expect(0);
    run.expect(0);
    let history = History::new(&home.join("backups"), "my_backup");
    assert_eq!(history.complete().len(), 1, "the guard of 20 hours holds the second");
    Judge::plain().assert_same(&stage.source, &inside(&history.newest(), &stage.source));
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let stage = stage();
    let file = config(
        &stage,
        "BACKUP_NAME_PREFIX = 'file'\nBACKUPS_DIR = '$B'\nMINIMUM_TIME_GUARD_H = 0\n",
    );
    let run = stage.bare_run().set("config", &file).env("SRCS_TO_BACKUP", &stage.source);
    run.expect(0);
    let run = run.env("BACKUP_NAME_PREFIX", "variable");
    run.expect(0);
    let run = run.set("backup-name-prefix", "flag");
    run.expect(0);
    for prefix in ["file", "variable", "flag"] {
        assert_eq!(count(&stage, prefix), 1, "{prefix}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_stops_no_backup() {
    let stage = stage();
    let log = stage.beside("gone/log");
    let run = || stage.run().set("log-file", &log);
    let done = run().expect(0);
    done.assert_says("cannot open LOG_FILE").assert_says("make its folder");
    assert!(done.stdout.contains("completed"), "{}", done.stdout);
    fs::create_dir(stage.beside("gone")).unwrap();
    stage.sh("echo more >a/one");
    let done = run().expect(0);
    assert!(!done.said().contains("LOG_FILE"), "{}", done.said());
    assert!(fs::read_to_string(&log).unwrap().contains("completed"));
}

#[test]
fn a_value_may_stand_in_a_file_of_its_own() {
    let stage = stage();
    let file = stage.beside("sources");
    fs::write(&file, format!("{}/a\n", stage.source.display())).unwrap();
    let run = stage.run().unset("srcs-to-backup");
    run.clone().env("SRCS_TO_BACKUP_FILE", &file).expect(0);
    let copy = inside(&stage.history().newest(), &stage.source);
    assert!(copy.join("a/one").exists() && !copy.join("b").exists());
    let run = run.env("SRCS_TO_BACKUP_FILE", "/no/such/file");
    run.expect(2).assert_says("SRCS_TO_BACKUP_FILE").assert_says("/no/such/file");
}

#[test]
fn the_config_file_describes_jobs_that_are_all_run_or_some() {
    let stage = stage();
    let file = config(
        &stage,
        "backups_dir = '$B'\nminimum_time_guard_h = 0\n\
         [[job]]\nname = 'first'\nsrcs_to_backup = '$S/a'\nbackup_name_prefix = 'one'\n\
         [[job]]\nname = 'second'\nsrcs_to_backup = ['$S/b', '$S/c']\nbackup_name_prefix = 'two'\nmax_backups = 1\n",
    );
    let run = stage.bare_run().set("config", &file);
    run.expect(0);
    assert_eq!((count(&stage, "one"), count(&stage, "two")), (1, 1));
    let newest = History::new(&stage.backups, "two").newest();
    Judge::plain().assert_same(&stage.source.join("b"), &inside(&newest, &stage.source.join("b")));
    run.clone().arg("first").expect(0);
    assert_eq!((count(&stage, "one"), count(&stage, "two")), (2, 1));
    run.clone().arg("second").arg("first").expect(0);
    assert_eq!((count(&stage, "one"), count(&stage, "two")), (3, 1));
    run.arg("secnd").expect(2).assert_says("second");
}

#[test]
fn one_failing_job_does_not_stop_the_others() {
    let stage = stage();
    let file = config(
        &stage,
        "backups_dir = '$B'\nminimum_time_guard_h = 0\n\
         [[job]]\nname = 'broken'\nsrcs_to_backup = '$S/gone'\nbackup_name_prefix = 'broken'\n\
         [[job]]\nname = 'fine'\nsrcs_to_backup = '$S/b'\nbackup_name_prefix = 'fine'\n",
    );
    let run = stage.bare_run().set("config", &file);
    run.expect(1).assert_says("gone").assert_says("broken");
    assert_eq!((count(&stage, "broken"), count(&stage, "fine")), (0, 1));
}

#[test]
fn every_mistake_is_named_at_once_with_its_key() {
    let stage = stage();
    let run = stage
        .bare_run()
        .set("backups-dir", &stage.backups)
        .set("backup-name-prefix", "-bad/prefix")
        .set("max-backups", "0")
        .set("minimum-time-guard-h", "soon")
        .env("MAX_SHRINK_PERCENT", "101")
        .env("LOG_FORMAT", "xml");
    let reasons = [
        "SRCS_TO_BACKUP",
        "backup-name-prefix",
        "max-backups",
        "minimum-time-guard-h",
        "MAX_SHRINK_PERCENT",
        "LOG_FORMAT",
    ];
    refused(&stage, &run, &reasons);
}

#[test]
fn a_bad_value_is_refused_wherever_it_comes_from() {
    let stage = stage();
    for (key, value) in [
        ("MAX_BACKUPS", "0"),
        ("MAX_BACKUPS", "-1"),
        ("MAX_BACKUPS", "many"),
        ("MAX_BACKUPS", "1.5"),
        ("MAX_BACKUPS", "99999999999999999999999"),
        ("MINIMUM_TIME_GUARD_H", "-2"),
        ("MINIMUM_TIME_GUARD_H", "NaN"),
        ("MINIMUM_TIME_GUARD_H", "1e400"),
        ("MAX_SHRINK_PERCENT", "-1"),
        ("MAX_SHRINK_PERCENT", "inf"),
        ("BACKUP_NAME_PREFIX", "a/b"),
        ("BACKUP_NAME_PREFIX", ".hidden"),
        ("BACKUP_NAME_PREFIX", "-option"),
        ("BACKUP_NAME_PREFIX", "new\nline"),
        ("SRCS_TO_BACKUP", ","),
        ("SRCS_TO_BACKUP", "/a,,/b"),
        ("SRCS_TO_BACKUP", "/a/../b"),
        ("RSYNC_SINGLE_PARAMS", "--no-such-option"),
        ("RSYNC_DICT_PARAMS", "{"),
        ("LOG_FORMAT", "yaml"),
    ] {
        let run = stage.bare_run().env("SRCS_TO_BACKUP", &stage.source);
        let run = run.env("BACKUPS_DIR", &stage.backups).env(key, value);
        refused(&stage, &run, &[key]);
        let flag = key.to_lowercase().replace('_', "-");
        if flag != "rsync-single-params" {
            refused(&stage, &stage.run().set(&flag, value), &[&flag]);
        }
    }
}

#[test]
fn mistakes_of_the_config_file_are_named_with_their_lines() {
    let stage = stage();
    let file = config(
        &stage,
        "BACKUPS_DIR = '$B'\nMAX_BACKUP = 3\n\
         [[job]]\nname = 'a'\nSRCS_TO_BACKUP = '$S/a'\n\
         [[job]]\nname = 'b'\nSRCS_TO_BACKUP = '$S/b'\nMAX_BACKUPS = 0\n",
    );
    let run = stage.bare_run().set("config", &file);
    refused(&stage, &run, &["line 2", "MAX_BACKUPS", "line 9", "prefix my_backup"]);
    let run = run.env("SRCS_TO_BACKUP", &stage.source);
    refused(&stage, &run, &["SRCS_TO_BACKUP"]);
    let broken = config(&stage, "BACKUPS_DIR = \n");
    refused(&stage, &stage.run().set("config", &broken), &["line 1"]);
    let nowhere = Path::new("/no/such/config.toml");
    refused(&stage, &stage.run().set("config", nowhere), &["/no/such/config.toml"]);
}

#[test]
fn the_log_goes_to_a_file_and_as_json_where_asked() {
    let stage = stage();
    let log = stage.beside("log.txt");
    let done = stage.run().set("log-file", &log).expect(0);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("my_backup."), "{text}");
    assert!(!done.stdout.contains("starting"), "{}", done.stdout);
    let done = stage.run().set("log-format", "json").expect(0);
    assert!(done.stdout.lines().count() > 1);
    for line in done.stdout.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value.is_object(), "{line}");
    }
}

#[test]
fn words_it_does_not_know_are_usage_errors() {
    let stage = stage();
    for words in [&["--no-such-flag"][..], &["--dry-run=maybe"], &["--json"]] {
        let run = words.iter().fold(stage.run(), |run, word| run.arg(word));
        refused(&stage, &run, &[]);
    }
    Run::new(BIN).arg("frobnicate").expect(2);
    Run::new(BIN).arg("--help").expect(0).assert_says("run");
    Run::new(BIN).arg("run").arg("--help").expect(0).assert_says("Examples");
    Run::new(BIN).arg("--version").expect(0);
}

#[test]
fn a_mistyped_word_for_the_helper_is_no_command() {
    let stage = stage();
    for (word, meant) in [("instal", "install"), ("Auto", "auto"), ("of", "off")] {
        let run = stage.run().set("remote-src-host", "nas").set("remote-helper", word);
        refused(&stage, &run, &[&format!("there is no {word}; did you mean {meant}?")]);
    }
    // A path and several words are a command, and so is a word that resembles none.
    for command in ["./instal", "sudo instal", "backup_manager"] {
        let run = stage.look("list").env("REMOTE_SRC_HOST", "nas").env("REMOTE_HELPER", command);
        run.env("SRCS_TO_BACKUP", &stage.source).expect(0);
    }
}
