//! The window of a job, limits of the rate that depend on the time of day, and priorities.
//!
//! The tests choose a zone in which it is noon, or some seconds before. So they need no other clock.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A rate at which nothing in these tests ends, KiB per second.
const NEVER: &str = "--bwlimit=1";

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("a", "1").random_file("large", 8_000_000, 1))
}

/// The value of `TZ` of a zone whose clocks show `seconds` after midnight now (tzset(3)).
fn zone_at(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_secs();
    let ahead = (seconds + 86_400 - now % 86_400) % 86_400;
    // East of Greenwich, up to twelve hours, or west. A POSIX zone names what is added to reach UTC.
    let (sign, offset) = if ahead <= 43_200 { ('-', ahead) } else { ('+', 86_400 - ahead) };
    format!("TST{sign}{}:{:02}:{:02}", offset / 3600, offset / 60 % 60, offset % 60)
}

fn at_noon(run: Run) -> Run {
    run.env("TZ", zone_at(12 * 3600))
}

#[test]
fn nothing_starts_outside_the_window_unless_it_is_asked_for() {
    let stage = stage();
    let run = || at_noon(stage.run()).set("window", "22:00-06:00");
    let done = run().expect(0);
    done.assert_says("nothing to do: outside WINDOW=22:00-06:00, which opens at ");
    done.assert_says(" 22:00:00 ").assert_says("run --now does not wait for it");
    assert!(stage.history().complete().is_empty() && stage.history().incomplete().is_empty());
    let done = run().set("log-format", "json").expect(0);
    let objects = done.objects();
    let event = objects.iter().find(|line| line["event"] == "outside_window").expect("an event");
    assert!(event["opens"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
    run().arg("--dry-run").expect(0).assert_says("large");
    run().arg("--now").expect(0);
    assert_eq!(stage.history().complete().len(), 1);
    at_noon(stage.run()).set("window", "11:00-13:00").expect(0);
    assert_eq!(stage.history().complete().len(), 2, "the window is open");
}

#[test]
fn a_run_stops_at_the_end_of_the_window_and_the_next_one_resumes() {
    let stage = stage();
    let log = stage.beside("hook");
    let note = format!("echo \"$BM_HOOK\" >>{}", log.display());
    let run = |zone: String| {
        let run = stage.run().env("TZ", zone).set("window", "09:00-12:00");
        run.set("post-backup", &note).set("on-failure", &note)
    };
    let done = run(zone_at(12 * 3600 - 3)).rsync(&[NEVER]).expect(143);
    done.assert_says("stopped at the end of WINDOW=09:00-12:00; what was copied stays");
    assert_eq!(stage.history().incomplete().len(), 1);
    assert!(stage.history().complete().is_empty() && !log.exists(), "no hook of an end");
    run(zone_at(12 * 3600)).expect(0).assert_says("outside WINDOW");
    stage.look("status").done().assert_says("stopped");
    run(zone_at(10 * 3600)).expect(0);
    assert_eq!(fs::read_to_string(&log).expect("a hook"), "POST_BACKUP\n");
    assert!(stage.history().incomplete().is_empty());
    stage.assert_newest_is_source(Judge::plain());
    let report = stage.history().report(&stage.history().newest());
    assert_eq!(report["resumed"], true);
}

#[test]
fn one_job_outside_its_window_does_not_keep_the_others_from_running() {
    let stage = stage();
    let (source, backups) = (stage.source.display(), stage.backups.display());
    let job = |name: &str, window: &str| {
        format!("[[job]]\nBACKUP_NAME_PREFIX=\"{name}\"\nWINDOW=\"{window}\"\n")
    };
    let jobs =
        [("one", "22:00-06:00"), ("two", "10:00-14:00")].map(|(name, window)| job(name, window));
    let top = format!("SRCS_TO_BACKUP=[\"{source}\"]\nBACKUPS_DIR=\"{backups}\"\n");
    let file = stage.beside("config.toml");
    fs::write(&file, top + &jobs.concat()).expect("a config file");
    let run = at_noon(stage.bare_run()).arg("--config").arg(&file);
    let done = run.expect(0);
    done.assert_says("one: nothing to do: outside WINDOW").assert_says("two: completed two.");
}

#[test]
fn a_snapshot_is_due_when_the_window_opens_and_not_overdue_before_it_was_open() {
    let stage = stage();
    stage.take();
    let aged = stage.history().path(&fixtures::history::hours_ago(30), "");
    fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    let status = |window: Option<&str>| {
        let status = at_noon(stage.look("status")).set("srcs-to-backup", &stage.source);
        let status = status.set("minimum-time-guard-h", "20").set("max-age-h", "24");
        match window {
            Some(window) => status.set("window", window),
            None => status,
        }
    };
    status(None).arg("--check").expect(1).assert_says("more than 1 d 0 h (MAX_AGE_H)");
    // It was taken at 06:00 yesterday, and the next one can be taken from 02:00 on.
    for (window, code) in [("11:00-14:00", 0), ("14:00-15:00", 0), ("03:00-05:00", 1)] {
        status(Some(window)).arg("--check").expect(code);
    }
    let waits = status(Some("14:00-15:00")).expect(0);
    assert!(waits.lines_with(" 14:00 ") > 0, "{}", waits.said());
}

#[test]
fn the_rate_changes_during_a_run_when_the_clock_passes_an_entry() {
    let stage = stage();
    let soon = || zone_at(12 * 3600 - 3);
    let run = |table: &str| stage.run().env("TZ", soon()).set("bwlimit", table);
    // With the first rate alone it would take two hours.
    run("00:00,1 12:00,off").expect(0);
    run("off").rsync(&["--bwlimit=00:00,1 12:00,off"]).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    let at_last = stage.beside("again");
    fs::create_dir(&at_last).expect("a new folder");
    let mut running = run("00:00,off 11:00,1").set("backups-dir", &at_last).start();
    let begun = || fs::read_dir(&at_last).is_ok_and(|entries| entries.count() > 1);
    assert!(running.until(begun), "it has begun");
    running.signal(rustix::process::Signal::TERM);
    running.wait().assert_code(143);
}

#[test]
fn an_option_of_rsync_replaces_the_setting() {
    let stage = stage();
    stage.run().set("bwlimit", "1").rsync(&["--bwlimit=0"]).expect(0);
    stage.run().env("BWLIMIT", "1").set("bwlimit", "20m").expect(0);
}

/// A command that writes the nice value and the I/O priority of the process that starts it.
fn priority_of_the_run(to: &str) -> String {
    format!("cut -d' ' -f19 /proc/$PPID/stat >{to}; ionice -p $PPID >>{to}")
}

#[test]
fn a_run_has_the_priority_that_is_set() {
    need!(need::tool("ionice"));
    let stage = stage();
    let said = stage.beside("said");
    let hook = priority_of_the_run(&said.display().to_string());
    for (nice, class, expected) in [
        ("7", "best-effort:5", "7\nbest-effort: prio 5\n"),
        ("19", "idle", "19\nidle\n"),
        ("3", "Best-Effort", "3\nbest-effort: prio 4\n"),
    ] {
        stage.run().set("nice", nice).set("ionice", class).set("pre-backup", &hook).expect(0);
        assert_eq!(fs::read_to_string(&said).expect("the hook ran"), expected);
    }
}

#[test]
fn a_priority_that_this_user_may_not_have_stops_nothing() {
    need!(need::root());
    let stage = stage();
    let run = stage.run_as(fixtures::sshd::NOBODY_ID).set("nice", "-5");
    run.expect(0).assert_says("NICE=-5 cannot be set: ").assert_says("CAP_SYS_NICE");
}

#[test]
fn each_of_several_jobs_has_its_own_priority() {
    need!(need::tool("ionice"));
    let stage = stage();
    let (source, backups) = (stage.source.display(), stage.backups.display());
    let job = |name: &str, more: &str| {
        let said = stage.beside(name).display().to_string();
        let hook = priority_of_the_run(&said);
        format!("[[job]]\nBACKUP_NAME_PREFIX=\"{name}\"\nPRE_BACKUP=\"{hook}\"\n{more}\n")
    };
    let text = [
        format!("SRCS_TO_BACKUP=[\"{source}\"]\nBACKUPS_DIR=\"{backups}\"\nIONICE=\"idle\"\n"),
        job("one", "NICE=11"),
        job("two", "NICE=5\nIONICE=\"none\""),
    ];
    let file = stage.beside("config.toml");
    fs::write(&file, text.concat()).expect("a config file");
    let done = stage.bare_run().arg("--config").arg(&file).expect(0);
    let said = |name: &str| fs::read_to_string(stage.beside(name)).expect("the hook ran");
    assert_eq!(said("one"), "11\nidle\n", "{}", done.said());
    assert!(said("two").starts_with("5\n") && !said("two").contains("idle"), "{}", said("two"));
    done.assert_says("one: completed one.").assert_says("two: completed two.");
}

#[test]
fn mistakes_say_what_to_write() {
    let stage = stage();
    for (key, value, expected) in [
        ("window", "22-6", "write two times of day, for example 22:00-06:00"),
        ("window", "9:00-9:00", "write two different times"),
        ("bwlimit", "08:00,2m 19:00", "write for example 08:00,2M 19:00,off"),
        ("nice", "20", "write -20 to 19"),
        ("ionice", "realtime", "write idle, best-effort, best-effort:0 to best-effort:7, or none"),
        ("ionice", "best-effort:8", "write best-effort:0 to best-effort:7"),
        ("jobs-at-once", "0", "write 1 or more"),
        ("jobs-at-once", "65", "write 1 to 64"),
    ] {
        stage.run().set(key, value).expect(2).assert_says(expected);
    }
    stage.run().arg("--part=my_backup").expect(2).assert_says("name the job instead");
}

/// How many blocks of waiting subfolders went from the memory of a run with 16 jobs to the disk. One of them has 20,000
/// subfolders, which take 2 MB while they wait.
fn moved_to_disk(stage: &Stage, at_once: &str) -> usize {
    let backups = stage.beside(&format!("backups {at_once}"));
    let small = stage.beside("small");
    fs::create_dir_all(&small).expect("a folder");
    let job = |number: usize| {
        let source = if number == 0 { &stage.source } else { &small };
        format!("[[job]]\nBACKUP_NAME_PREFIX=\"j{number}\"\nSRCS_TO_BACKUP=[{source:?}]\n")
    };
    let jobs: Vec<String> = (0..16).map(job).collect();
    let (file, trace) = (stage.beside("config.toml"), stage.beside("trace"));
    fs::write(&file, format!("BACKUPS_DIR={backups:?}\n{}", jobs.concat())).expect("a file");
    let shown = trace.display().to_string();
    let strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=pwrite64", "-o", &shown];
    let run = stage.bare_run().under(&strace).patience(600);
    let done = run.arg("--config").arg(&file).set("jobs-at-once", at_once).expect(0);
    assert_eq!(done.lines_with(": completed j"), 16, "{}", done.said());
    let calls = fs::read_to_string(trace).expect("strace writes");
    let written = |line: &str| line.rsplit_once("= ")?.1.trim().parse::<usize>().ok();
    calls.lines().filter_map(written).filter(|bytes| *bytes > 10_000).count()
}

#[test]
fn several_jobs_share_the_memory_of_one() {
    need!(need::tool("strace"));
    let stage = Stage::new(BIN);
    stage.sh("seq 20000 | xargs mkdir");
    assert_eq!(moved_to_disk(&stage, "1"), 0, "one after the other, each has all memory");
    assert_ne!(moved_to_disk(&stage, "16"), 0, "each has a sixteenth");
}
