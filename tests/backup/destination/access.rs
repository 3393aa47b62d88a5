//! Access for other users: modes of the backups folder, of `.backup_manager`, of snapshots and of
//! the log.

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::scratch::Scratch;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A user other than the one who runs the program.
const USER: u32 = 12345;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it was made").mode() & 0o7777
}

fn with_umask(run: Run, umask: &str) -> Run {
    run.under(&["sh", "-c", &format!("umask {umask} && exec \"$@\""), "sh"])
}

/// Everything below `folder`, including `folder`.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    for entry in fs::read_dir(folder)
        .expect("the test's own folder")
        .map(|entry| entry.expect("the test's own folder"))
    {
        let path = entry.path();
        if entry.file_type().expect("the test's own folder").is_dir() {
            all.extend(below(&path));
        } else {
            all.push(path);
        }
    }
    all
}

/// A setup without a backups folder, below folders that all users may enter.
fn open_stage() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    set_permissions(stage.beside("."), Permissions::from_mode(0o755))
        .expect("the test's own folder");
    fs::remove_dir(&stage.backups).expect("the test's own folder");
    stage
}

#[test]
fn a_new_backups_folder_is_closed_whatever_the_umask_and_opened_by_a_setting() {
    for umask in ["000", "022", "077"] {
        let stage = open_stage();
        let run = with_umask(stage.run(), umask).env("NOTIFY_ON", "always").expect(0);
        assert_eq!(run.lines_with("may enter"), 0);
        assert_eq!(mode(&stage.backups), 0o700, "umask {umask}");
        for path in below(&stage.backups.join(".backup_manager")) {
            assert_eq!(mode(&path) & 0o077, 0, "umask {umask}: {}", path.display());
        }
        let opened = with_umask(stage.run(), umask).set("backups-mode", "0755").expect(0);
        assert_eq!((mode(&stage.backups), opened.lines_with("may enter")), (0o755, 0));
        stage.run().expect(0);
        assert_eq!(mode(&stage.backups), 0o755, "nothing closes it again by itself");
    }
}

#[test]
fn an_open_backups_folder_is_told_by_the_first_run_and_by_doctor_and_status() {
    let stage = open_stage();
    fs::create_dir(&stage.backups).unwrap();
    set_permissions(&stage.backups, Permissions::from_mode(0o755)).unwrap();
    let first = stage.run().expect(0);
    first.assert_says("all users of this machine may enter");
    first.assert_says("(mode 0755)");
    first.assert_says("BACKUPS_MODE=0755 keeps it open");
    assert_eq!(stage.run().expect(0).lines_with("may enter"), 0, "the run reports it once");
    assert_eq!(mode(&stage.backups), 0o755);
    let looks = |verb: &str| {
        let look = stage.look(verb).set("srcs-to-backup", &stage.source);
        [look.clone().done(), look.set("backups-mode", "0755").done()]
    };
    let [warned, meant] = looks("status");
    assert_eq!((warned.lines_with("may enter"), meant.lines_with("may enter")), (1, 0));
    let [warned, meant] = looks("doctor");
    warned.assert_says(&format!("chmod 700 {}", stage.backups.display()));
    assert!(!meant.said().contains("chmod 700"), "{}", meant.said());
    let wrong = stage.run().set("backups-mode", "0777").expect(2);
    wrong.assert_says("let everybody change the backups");
}

#[test]
fn entries_keep_their_modes_whatever_the_umask_in_a_snapshot_and_in_a_restore() {
    let tree = Tree::new()
        .file("all", "1")
        .mode(0o666)
        .file("group", "2")
        .mode(0o664)
        .file("own", "3")
        .mode(0o600)
        .file("program", "4")
        .mode(0o777)
        .file("large", "5".repeat(3_000_000))
        .mode(0o666)
        .folder("open")
        .mode(0o777)
        .folder("open/sticky")
        .mode(0o1777)
        .fifo("fifo")
        .mode(0o666)
        .socket("socket")
        .mode(0o775);
    for umask in ["000", "077", "0777"] {
        let stage = Stage::with(BIN, &tree);
        with_umask(stage.run(), umask).expect(0);
        stage.assert_newest_is_source(Judge::plain());
        stage.sh("chmod 606 all; touch new; chmod 622 new");
        with_umask(stage.run(), umask).expect(0);
        stage.assert_newest_is_source(Judge::plain());
        let back = stage.beside("back");
        let restore = stage.look("restore").arg("latest").arg(&stage.source).set("to", &back);
        with_umask(restore, umask).expect(0);
        Judge::plain().assert_same(&stage.source, &back.join("source"));
    }
}

#[test]
fn a_log_that_is_made_anew_during_a_run_has_the_mode_of_the_callers_umask() {
    for (umask, expected) in [("077", 0o600), ("022", 0o644)] {
        let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
        let log = stage.beside("log");
        let rotate = format!("mv '{0}' '{0}.1'", log.display());
        with_umask(stage.run().set("log-file", &log).set("pre-backup", rotate), umask).expect(0);
        assert_eq!(mode(&log), expected, "umask {umask}");
    }
}

#[test]
fn files_of_the_configuration_are_closed_and_open_ones_are_told() {
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let config = stage.beside("config");
    let with = |run: Run| {
        run.env("CONFIG_DIR", &config)
            .env("SRCS_TO_BACKUP", &stage.source)
            .env("BACKUPS_DIR", &stage.backups)
    };
    let daemon = with(Run::new(BIN).arg("daemon"));
    let start = |written: &dyn Fn() -> bool| {
        let mut running = daemon.start();
        assert!(running.until(written));
        running.signal(Signal::TERM);
        running.wait()
    };
    let (crontab, toml) = (config.join("crontab"), config.join("config.toml"));
    start(&|| toml.exists() && crontab.exists());
    assert_eq!((mode(&crontab), mode(&toml)), (0o600, 0o600));
    fs::write(&toml, "WEBHOOK_URL = \"http://127.0.0.1:1/hunter22\"\n").unwrap();
    let up = stage.beside("up");
    let line = format!("@reboot TOKEN='hunter 22' touch {}; : --no-hunter22\n", up.display());
    fs::write(&crontab, line).unwrap();
    for path in [&crontab, &toml] {
        set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    }
    let done = start(&|| up.exists());
    done.assert_says(&format!("others may change {}", crontab.display()));
    done.assert_says(&format!("others may change {}", toml.display()));
    done.assert_says(&format!("others may read the secrets in {}", toml.display()));
    done.assert_says("crontab line 1, when the daemon starts: touch");
    assert!(!done.said().contains("hunter"), "{}", done.said());
    let doctor = with(Run::new(BIN).arg("doctor")).done();
    doctor.assert_says(&format!("chmod go-w {}", crontab.display()));
    doctor.assert_says(&format!("others may read the secrets in {}", toml.display()));
    let run = with(Run::new(BIN).arg("run")).done();
    run.assert_says(&format!("others may read the secrets in {}", toml.display()));
    for path in [&crontab, &toml] {
        set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    let run = with(Run::new(BIN).arg("run")).done();
    assert!(!run.said().contains("others may"), "{}", run.said());
}

#[test]
fn a_configuration_without_an_end_is_an_error() {
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let limited = |run: Run| run.limited("-v 2000000");
    let run = limited(stage.run().env("CONFIG_FILE", "/dev/zero"));
    run.expect(2).assert_says("it holds more than 4 MiB");
    let run = limited(stage.run().rsync(&["--files-from=/dev/zero"]));
    run.expect(2).assert_says("it holds more than 256 MiB");
}

#[test]
fn no_log_is_written_through_what_another_user_put_in_its_place() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let (home, victim) = (stage.beside("home"), stage.beside("victim"));
    fs::create_dir(&home).unwrap();
    fs::write(&victim, "kept\n").unwrap();
    lchown(&home, Some(USER), Some(USER)).unwrap();
    let log = home.join("log");
    let run = || stage.run().set("log-file", &log).set("minimum-time-guard-h", "0");
    symlink(&victim, &log).unwrap();
    lchown(&log, Some(USER), Some(USER)).unwrap();
    run().expect(0).assert_says("is not followed").assert_says("cannot open LOG_FILE");
    fs::remove_file(&log).unwrap();
    fs::hard_link(&victim, &log).unwrap();
    run().expect(0).assert_says("has a second name");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept\n");
    fs::remove_file(&log).unwrap();
    // Replaced during a run: further lines go to another file.
    let exchange =
        format!("mv '{0}' '{0}.1' && ln -s '{1}' '{0}'", log.display(), victim.display());
    run().set("pre-backup", exchange).expect(0).assert_says("cannot write LOG_FILE");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept\n");
    fs::remove_file(&log).unwrap();
    run().expect(0);
    assert!(fs::read_to_string(&log).unwrap().contains("completed"));
}

#[test]
fn a_folder_or_a_file_by_which_others_change_the_configuration_is_told() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let home = stage.beside("home");
    fs::create_dir(&home).unwrap();
    let (toml, hook) = (home.join("config.toml"), home.join("hook"));
    fs::write(&toml, "").unwrap();
    fs::write(&hook, ":").unwrap();
    set_permissions(&toml, Permissions::from_mode(0o600)).unwrap();
    let run = || {
        let run = stage.run().env("CONFIG_FILE", &toml).env("PRE_BACKUP_FILE", &hook);
        run.set("minimum-time-guard-h", "0")
    };
    assert_eq!(run().expect(0).lines_with("may exchange names"), 0);
    lchown(&home, Some(USER), Some(USER)).unwrap();
    let warned = run().expect(0);
    let who = format!("the user {USER} may exchange names in {}", home.display());
    assert_eq!(warned.lines_with(&who), 2, "{}", warned.said());
    warned.assert_says(&format!("chown 0 {}", home.display()));
    let doctor =
        stage.look("doctor").set("srcs-to-backup", &stage.source).env("CONFIG_FILE", &toml).done();
    doctor.assert_says(&who);
    lchown(&home, Some(0), Some(0)).unwrap();
    set_permissions(&hook, Permissions::from_mode(0o666)).unwrap();
    run().expect(0).assert_says(&format!("others may change {}", hook.display()));
    // The mode of a file in memory does not matter: container engines mount secrets so.
    let disk = Scratch::below(need!(need::disk()));
    let secret = disk.join("secret");
    fs::write(&secret, "http://127.0.0.1:1/hunter22").unwrap();
    let warned = stage.run().env("WEBHOOK_URL_FILE", &secret).expect(0);
    warned.assert_says(&format!("others may read the secrets in {}", secret.display()));
}

#[test]
fn an_incomplete_snapshot_is_closed_so_that_nobody_keeps_runs_off_it() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new());
    stage.sh("for n in $(seq 30); do echo $n >$n; done");
    let run = || stage.run().set("backups-mode", "0755").set("minimum-time-guard-h", "0");
    run().expect(0);
    assert_eq!(mode(&stage.history().newest()), 0o755);
    // After a collapse the snapshot is filled but not sealed.
    stage.sh("mkdir ../aside && mv * ../aside");
    run().expect(1).assert_says("are gone");
    let incomplete = fs::read_dir(&stage.backups)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|suffix| suffix == "incomplete"))
        .expect("it is resumed later");
    assert_eq!(mode(&incomplete), 0o700);
    stage.sh("mv ../aside/* .");
    run().expect(0);
    assert_eq!(mode(&stage.history().newest()), 0o755);
}

#[test]
fn a_folder_for_records_that_another_user_made_beforehand_is_told() {
    need!(need::root());
    let stage = open_stage();
    let own = stage.backups.join(".backup_manager");
    fs::create_dir_all(&own).unwrap();
    set_permissions(&stage.backups, Permissions::from_mode(0o777)).unwrap();
    lchown(&own, Some(USER), Some(USER)).unwrap();
    let warned = format!("belongs to the user {USER}");
    let run = || stage.run().set("minimum-time-guard-h", "0").expect(0);
    assert_eq!(run().lines_with(&warned), 1);
    stage.sh(&format!("chown -R --reference='{0}' '{0}/.backup_manager'", stage.backups.display()));
    assert_eq!(run().lines_with(&warned), 0);
    // A history of one user, in which root runs.
    stage.sh(&format!("chown -R {USER} '{}'", stage.backups.display()));
    assert_eq!(run().lines_with(&warned), 0);
}

#[test]
fn a_configuration_blocks_no_run_and_tells_nothing_of_a_secret_that_is_named_by_mistake() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let (home, secret) = (stage.beside("home"), stage.beside("secret"));
    fs::create_dir(&home).unwrap();
    let fifo = home.join("fifo");
    stage.sh(&format!("mkfifo '{}'; chown {USER} ../home", fifo.display()));
    let option = format!("--exclude-from={}", fifo.display());
    let ways = [
        stage.run().env("CONFIG_FILE", &fifo),
        stage.run().env("MAX_BACKUPS_FILE", &fifo),
        stage.run().rsync(&[&option]),
    ];
    for way in ways {
        way.expect(2).assert_says("another user can have put it there");
    }
    fs::write(&secret, "hunter22,hunter33\n").unwrap();
    for name in ["MAX_BACKUPS_FILE", "BACKUPS_MODE_FILE", "RSYNC_DICT_PARAMS_FILE"] {
        let done = stage.run().env(name, &secret).expect(2);
        done.assert_says(name);
        assert!(!done.said().contains("hunter"), "{}", done.said());
    }
}
