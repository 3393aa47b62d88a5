//! Tests of the whole configuration: which layer takes precedence, and what counts as a mistake.

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use engine::Prefix;
use tempfile::TempDir;

use crate::config::setting::Key;
use crate::config::types::{Config, Inputs, NamedJob};
use crate::config::values::log_format::Format;
use crate::config::{load, load_for_reading};

/// A folder with a config file, and the other inputs of a test.
struct Given {
    dir: TempDir,
    inputs: Inputs,
}

fn given(file: &str, variables: &[(&str, &str)], flags: &[(Key, &str)]) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    fs::write(&path, file).unwrap();
    let inputs = Inputs {
        flags: flags.iter().map(|(key, value)| (*key, value.into())).collect(),
        rsync_args: Vec::new(),
        config_file: Some(path),
        names: Vec::new(),
        variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        current_dir: dir.path().to_owned(),
    };
    Given { dir, inputs }
}

impl Given {
    fn names(mut self, names: &[&str]) -> Self {
        self.inputs.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn rsync_args(mut self, args: &[&str]) -> Self {
        self.inputs.rsync_args = args.iter().map(OsString::from).collect();
        self
    }

    fn config(&self) -> Config {
        load(&self.inputs).unwrap()
    }

    /// The mistakes, without the path of the test's folder.
    fn mistakes(&self) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        let mistakes = load(&self.inputs).unwrap_err();
        mistakes.iter().map(|mistake| mistake.to_string().replace(&dir, "")).collect()
    }
}

const SOURCE: (&str, &str) = ("SRCS_TO_BACKUP", "/a/src");

#[test]
fn sources_that_a_mistake_hides_are_not_called_missing() {
    for (file, mistake) in [
        ("SRCS_TO_BACKUP = /home\n", "c.toml, line 1: not valid TOML"),
        ("[job]\nSRCS_TO_BACKUP = ['/a']\n", "c.toml, line 1: job: it is not a list of jobs"),
        ("SRC_TO_BACKUP = ['/a']\n", "c.toml, line 1: SRC_TO_BACKUP: unknown key; did you mean"),
        ("SRCS_TO_BACKUP = [1]\n", "c.toml, line 1: SRCS_TO_BACKUP: an item of the list"),
        ("[[job]]\nSRC_TO_BACKUP = ['/a']\n", "c.toml, line 2: SRC_TO_BACKUP: unknown key"),
    ] {
        let mistakes = given(file, &[], &[]).mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].starts_with(mistake), "{mistakes:?}");
    }
    // No other mistake hides them here.
    for (file, count) in [("MAX_BACKUPS = 0\n", 2), ("job = []\n", 1), ("", 1)] {
        let mistakes = given(file, &[], &[]).mistakes();
        assert_eq!(mistakes.len(), count, "{mistakes:?}");
        assert!(mistakes[count - 1].contains("it is not set"), "{mistakes:?}");
    }
}

#[test]
fn an_option_of_rsync_in_the_wrong_place_is_refused_with_the_right_place() {
    let mistakes = given("", &[SOURCE], &[]).names(&["/src"]).mistakes();
    assert!(mistakes[0].contains("write folders to SRCS_TO_BACKUP"), "{mistakes:?}");
    let host = ("REMOTE_SRC_HOST", "me@nas:/photos");
    let mistakes = given("", &[SOURCE, host], &[]).mistakes();
    assert!(mistakes[0].ends_with("and the folders into SRCS_TO_BACKUP"), "{mistakes:?}");
}

#[test]
fn a_remote_host_has_a_time_to_answer() {
    let host = ("REMOTE_SRC_HOST", "me@nas");
    let wait = |given: Given| given.config().jobs[0].remote.as_ref().unwrap().answer_timeout;
    assert_eq!(wait(given("", &[SOURCE, host], &[])).as_secs(), 60);
    assert_eq!(wait(given("answer_timeout_s = 5", &[SOURCE, host], &[])).as_secs(), 5);
    let variables = |seconds| [SOURCE, host, ("ANSWER_TIMEOUT_S", seconds)];
    assert_eq!(wait(given("", &variables("6"), &[(Key::AnswerTimeoutS, "7")])).as_secs(), 7);
    let mistakes = given("", &variables("0.5"), &[]).mistakes();
    assert_eq!(
        mistakes,
        ["environment: ANSWER_TIMEOUT_S: 0.5 seconds is out of range; write 1 to 3600"]
    );
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let (file, variable, flag) = ("MAX_BACKUPS = 3", ("MAX_BACKUPS", "4"), (Key::MaxBackups, "5"));
    for (given, expected) in [
        (given("", &[SOURCE], &[]), 30),
        (given(file, &[SOURCE], &[]), 3),
        (given(file, &[SOURCE, variable], &[]), 4),
        (given(file, &[SOURCE, ("MAX_BACKUPS", "")], &[]), 3),
        (given(file, &[SOURCE, variable], &[flag]), 5),
        (given("", &[SOURCE], &[flag]), 5),
    ] {
        assert_eq!(
            given.config().jobs[0].job.retention.max.map(NonZeroUsize::get),
            Some(expected),
            "{:?}",
            given.inputs
        );
    }
}

#[test]
fn keys_of_a_job_win_over_all_but_the_flags() {
    let job = "MAX_BACKUPS = 3\n[[job]]\nSRCS_TO_BACKUP = '/src'\nMAX_BACKUPS = 7\n";
    let variable = ("MAX_BACKUPS", "4");
    for (given, expected) in [
        (given(job, &[variable], &[]), 7),
        (given(job, &[variable], &[(Key::MaxBackups, "5")]), 5),
        (given("[[job]]\nSRCS_TO_BACKUP = '/src'", &[variable], &[]), 4),
    ] {
        assert_eq!(given.config().jobs[0].job.retention.max.map(NonZeroUsize::get), Some(expected));
    }
}

#[test]
fn the_default_count_does_not_cut_what_periods_keep() {
    let daily = ("KEEP_DAILY", "7");
    for (given, expected) in [
        (given("", &[SOURCE], &[]), (Some(30), 0)),
        (given("", &[SOURCE, daily], &[]), (None, 7)),
        (given("KEEP_DAILY = '7'", &[SOURCE, ("KEEP_DAILY", "0")], &[]), (Some(30), 0)),
        (given("", &[SOURCE, daily, ("MAX_BACKUPS", "30")], &[]), (Some(30), 7)),
        (given("MAX_BACKUPS = '4'", &[SOURCE], &[(Key::KeepDaily, "3")]), (Some(4), 3)),
    ] {
        let retention = &given.config().jobs[0].job.retention;
        let count = retention.max.map(NonZeroUsize::get);
        assert_eq!((count, retention.keep.daily), expected, "{:?}", given.inputs);
    }
}

#[test]
fn verbs_that_look_need_no_sources() {
    let places = |given: &Given| load_for_reading(&given.inputs).unwrap().places;
    let lone = given("", &[], &[(Key::BackupsDir, "/b")]);
    let [place] = &places(&lone)[..] else { panic!() };
    assert!(place.prefix.is_none() && place.job.is_none());
    assert_eq!(place.backups_dir, Path::new("/b"));
    let named = given("", &[("BACKUP_NAME_PREFIX", "x")], &[]);
    assert_eq!(places(&named)[0].prefix.as_ref().map(Prefix::as_str), Some("x"));
    let whole = given("", &[SOURCE], &[]);
    assert_eq!(places(&whole)[0].prefix.as_ref().map(Prefix::as_str), Some("my_backup"));
    assert!(places(&whole)[0].job.is_some());
    let two = given(TWO, &[], &[]).names(&["home"]);
    let [place] = &places(&two)[..] else { panic!() };
    assert_eq!(place.name, "home");
    let unknown = given(TWO, &[], &[]).names(&["hme"]);
    let mistakes = load_for_reading(&unknown.inputs).unwrap_err();
    assert!(mistakes[0].to_string().starts_with("command line: --job hme: "), "{mistakes:?}");
}

#[test]
fn defaults_are_those_of_the_rules() {
    let given = given("", &[SOURCE], &[]);
    let config = given.config();
    let NamedJob { name, job, .. } = &config.jobs[0];
    assert_eq!((name.as_str(), job.prefix.as_str()), ("my_backup", "my_backup"));
    assert_eq!(job.backups_dir, given.dir.path().join("backups"));
    assert_eq!(job.minimum_time_guard, chrono::TimeDelta::hours(20));
    assert_eq!(job.max_shrink_percent.to_string(), "90");
    assert_eq!(job.keep, engine::Preserve::default());
    assert_eq!(job.layout.roots(), [("/a/src".into(), b"a/src".to_vec())]);
    assert_eq!((config.log_file, config.log_format), (None, Format::Text));
}

#[test]
fn rsync_parameters_stand_in_the_place_of_the_default_switches() {
    for (given, relative, hard_links, xattrs) in [
        (given("", &[SOURCE], &[]), true, true, false),
        (given("", &[SOURCE, ("RSYNC_SINGLE_PARAMS", "-x")], &[]), false, false, false),
        (given("RSYNC_SINGLE_PARAMS = []", &[SOURCE], &[]), false, false, false),
        (given("", &[SOURCE], &[(Key::RsyncDictParams, r#"{"-X":""}"#)]), true, true, true),
        (given("", &[SOURCE], &[]).rsync_args(&["-X", "--no-relative"]), false, true, true),
        (
            given("", &[SOURCE, ("RSYNC_SINGLE_PARAMS", "-H")], &[]).rsync_args(&["-RX"]),
            true,
            true,
            true,
        ),
    ] {
        let job = &given.config().jobs[0].job;
        let inside: &[u8] = if relative { b"a/src" } else { b"src" };
        assert_eq!((job.keep.hard_links, job.keep.xattrs), (hard_links, xattrs));
        assert!(job.keep.symlinks && job.keep.mode, "the archive base stays on");
        assert_eq!(job.layout.roots()[0].1, inside);
    }
}

const TWO: &str = "
[[job]]
NAME = 'photos'
SRCS_TO_BACKUP = '/photos'
BACKUP_NAME_PREFIX = 'p'
[[job]]
SRCS_TO_BACKUP = '/home'
BACKUP_NAME_PREFIX = 'home'
";

#[test]
fn names_select_jobs() {
    for (names, expected) in [
        (&[][..], &["photos", "home"][..]),
        (&["home"], &["home"]),
        (&["home", "photos"], &["photos", "home"]),
    ] {
        let config = given(TWO, &[], &[]).names(names).config();
        let names: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, expected);
    }
    assert_eq!(
        given(TWO, &[], &[]).names(&["phtos", "x"]).mistakes(),
        [
            "command line: run phtos: there is no job of that name; did you mean photos?",
            "command line: run x: there is no job of that name; there is photos, home",
        ]
    );
}

#[test]
fn jobs_keep_apart() {
    let file = |first: &str, second: &str| {
        format!("[[job]]\nSRCS_TO_BACKUP='/a'\n{first}\n[[job]]\nSRCS_TO_BACKUP='/b'\n{second}\n")
    };
    for (text, expected) in [
        (file("NAME='x'", "NAME='y'"), Some("the job x has the prefix my_backup in the same")),
        (file("", "BACKUPS_DIR='backups/.'"), Some("the job my_backup has the prefix")),
        (file("", "BACKUPS_DIR='other'"), Some("two jobs named my_backup")),
        (file("NAME='x'", "BACKUPS_DIR='other'"), None),
        (file("NAME='x'", "NAME='x'\nBACKUP_NAME_PREFIX='z'"), Some("two jobs named x")),
    ] {
        let given = given(&text, &[], &[]);
        match expected {
            Some(expected) => {
                let mistakes = given.mistakes();
                assert_eq!(mistakes.len(), 1, "{mistakes:?}");
                assert!(mistakes[0].starts_with("c.toml, line 4: [[job]]: "), "{mistakes:?}");
                assert!(mistakes[0].contains(expected), "{mistakes:?}");
            }
            None => assert_eq!(given.config().jobs.len(), 2),
        }
    }
}

#[test]
fn sources_beside_jobs_are_a_mistake() {
    for (given, expected) in [
        (given(TWO, &[SOURCE], &[]), "environment: SRCS_TO_BACKUP: the config file holds [[job]]"),
        (
            given(&format!("SRCS_TO_BACKUP = '/x'{TWO}"), &[], &[]),
            "c.toml, line 1: SRCS_TO_BACKUP: every [[job]] has sources of its own",
        ),
        (
            given(TWO, &[], &[(Key::SrcsToBackup, "/x")]),
            "command line: --srcs-to-backup: it would hold for several jobs",
        ),
    ] {
        let mistakes = given.mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].starts_with(expected), "{mistakes:?}");
    }
    let one = given(TWO, &[], &[(Key::SrcsToBackup, "/x")]).names(&["home"]).config();
    assert_eq!(one.jobs[0].job.layout.roots()[0].0, Path::new("/x"));
}

#[test]
fn every_mistake_is_named_at_once() {
    let given = given(
        "MAX_BACKUP = 3\nBACKUPS_DIR = ''\n",
        &[
            ("SRCS_TO_BACKUP", "/a,,/b/../c"),
            ("BACKUP_NAME_PREFIX", "a/b"),
            ("REMOTE_SRC_HOST", "-oProxyCommand=x"),
            ("MIN_TIME_GUARD_H", "1"),
            ("LOG_FIL", "x"),
        ],
        &[(Key::MaxShrinkPercent, "101")],
    );
    let mistakes = given.rsync_args(&["--nope"]).mistakes();
    for (mistake, expected) in mistakes.iter().zip([
        "command line: --max-shrink-percent: 101 is out of range",
        "command line: after --: rsync has no option '--nope'",
        "environment: BACKUP_NAME_PREFIX: 'a/b' cannot",
        "c.toml, line 1: MAX_BACKUP: unknown key; did you mean MAX_BACKUPS?",
        "c.toml, line 2: BACKUPS_DIR: it is empty",
        "environment: REMOTE_SRC_HOST: ",
        "environment: SRCS_TO_BACKUP: one of its paths is empty",
        "environment: SRCS_TO_BACKUP: /b/../c: write the path without '..'",
        "environment: LOG_FIL: it is not known; did you mean LOG_FILE?",
    ]) {
        assert!(mistake.starts_with(expected), "{mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 9, "{mistakes:#?}");
}

#[test]
fn sources_have_to_be_given() {
    for (given, expected) in [
        (given("", &[], &[]), "environment: SRCS_TO_BACKUP: it is not set"),
        (given("[[job]]", &[], &[]), "c.toml, line 1: [[job]]: it does not say what to back up"),
        (
            given("SRCS_TO_BACKUP = []", &[], &[]),
            "c.toml, line 1: SRCS_TO_BACKUP: it names no path",
        ),
        (
            given("", &[], &[(Key::SrcsToBackup, " ")]),
            "command line: --srcs-to-backup: it names no",
        ),
    ] {
        let mistakes = given.mistakes();
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(expected), "{mistakes:?}");
    }
}

#[test]
fn a_source_inside_the_backups_folder_is_a_mistake() {
    let given = given("SRCS_TO_BACKUP = 'b/x/none'\nBACKUPS_DIR = 'b'", &[], &[]);
    assert!(load(&given.inputs).is_ok(), "there is no such folder yet");
    fs::create_dir_all(given.dir.path().join("b/x")).unwrap();
    assert_eq!(
        given.mistakes(),
        ["c.toml, line 1: SRCS_TO_BACKUP: the source b/x/none lies inside the backups folder b; \
             remove it, or write another BACKUPS_DIR"]
    );
}

#[test]
fn a_config_file_that_was_named_has_to_be_there() {
    let mut given = given("", &[SOURCE], &[]);
    given.inputs.config_file = Some("none.toml".into());
    assert!(given.mistakes()[0].starts_with("command line: --config: cannot read none.toml: "));
    given.inputs.config_file = None;
    given.inputs.variables.push(("CONFIG_FILE".into(), "none.toml".into()));
    assert!(given.mistakes()[0].starts_with("environment: CONFIG_FILE: cannot read none.toml: "));
    fs::write(given.dir.path().join("none.toml"), b"# \xff\n").unwrap();
    assert!(given.mistakes()[0].contains("line 1 is not valid UTF-8"));
}
