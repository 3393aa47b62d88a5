//! `daemon` with a real crontab, a real shell and real signals.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixtures::need;
use fixtures::run::{Done, Run, Running};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A setup with a crontab whose commands run in a folder for their output.
struct Service {
    stage: Stage,
    config: PathBuf,
    out: PathBuf,
}

impl Service {
    fn new(crontab: &str) -> Self {
        let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
        let (config, out) = (stage.beside("config"), stage.beside("out"));
        for folder in [&config, &out] {
            fs::create_dir(folder).expect("made");
        }
        let service = Self { stage, config, out };
        service.write(crontab);
        service
    }

    fn write(&self, crontab: &str) {
        fs::write(self.config.join("crontab"), crontab).expect("written");
    }

    fn verb(&self, verb: &str) -> Run {
        Run::new(BIN)
            .in_folder(&self.out)
            .env("HOME", &self.out)
            .env("TZ", "UTC")
            .env("CONFIG_DIR", &self.config)
            .env("SRCS_TO_BACKUP", &self.stage.source)
            .env("BACKUPS_DIR", &self.stage.backups)
            .arg(verb)
    }

    fn start(&self) -> Running {
        self.verb("daemon").start()
    }

    /// The output of a command, once it is a whole line or the time is over.
    #[track_caller]
    fn line(&self, running: &mut Running, name: &str) -> String {
        let path = self.out.join(name);
        let text = || fs::read_to_string(&path).unwrap_or_default();
        running.until(|| text().ends_with('\n'));
        text().trim_end().to_owned()
    }

    /// Ends the daemon like a container engine.
    #[track_caller]
    fn end(&self, mut running: Running) -> Done {
        running.signal(Signal::TERM);
        let done = running.wait();
        done.assert_code(0).assert_says("stopped");
        done
    }
}

#[test]
fn a_start_without_settings_writes_nothing_and_one_with_them_what_is_missing() {
    let stage = Stage::new(BIN);
    let config = stage.beside("made/config");
    let log = stage.beside("log");
    let bare = Run::new(BIN).arg("daemon").set("config-dir", &config).in_folder(&stage.source);
    let daemon = bare.clone().env("MAX_BACKUPS", "0").env("LOG_FILE", &log);
    let done = daemon.expect(2);
    for part in [
        "MAX_BACKUPS",
        "SRCS_TO_BACKUP: it is not set",
        "wrote nothing: correct this in its environment or in ",
    ] {
        done.assert_says(part);
    }
    assert!(!stage.beside("made").exists() && !log.exists());
    let written = |path: &std::path::Path| path.read_dir().expect("a folder").count();
    assert_eq!((written(&stage.source), written(&stage.backups)), (0, 0));
    let set = bare.env("SRCS_TO_BACKUP", &stage.source).env("BACKUPS_DIR", &stage.backups);
    let mut running = set.env("LOG_FILE", &log).start();
    let logged = || fs::read_to_string(&log).unwrap_or_default();
    let both = || {
        ["crontab", "config.toml"].map(|name| logged().contains(&format!("{name} with comments")))
    };
    assert!(running.until(|| both() == [true, true]), "{}", logged());
    running.signal(Signal::TERM);
    let _ = running.wait();
    let crontab = fs::read_to_string(config.join("crontab")).expect("written");
    assert!(crontab.contains("\n* * * * * backup_manager run\n"), "{crontab}");
    fs::write(config.join("crontab"), "# mine\n").expect("written");
    fs::write(config.join("config.toml"), "MAX_BACKUP = 1\n").expect("written");
    daemon.expect(2).assert_says("did you mean MAX_BACKUPS");
    assert_eq!(fs::read_to_string(config.join("crontab")).expect("there"), "# mine\n");
}

#[test]
fn commands_get_the_environment_and_a_broken_line_stops_no_other() {
    let service = Service::new(
        "@reboot echo \"$SRCS_TO_BACKUP\" >source\nA = 'x y'\n99 * * * * nonsense\n@reboot echo \"$A\" $(which backup_manager) >variable\nnonsense\n@reboot cat >input%1%2\n@reboot exit 7\n@reboot trap '' TERM; someone echo; code=$?; echo x >ended; exit $code\n",
    );
    let mut running = service.start();
    assert_eq!(service.line(&mut running, "source"), service.stage.source.display().to_string());
    assert_eq!(service.line(&mut running, "variable"), format!("x y {BIN}"));
    assert_eq!(service.line(&mut running, "input"), "1\n2");
    service.line(&mut running, "ended");
    let done = service.end(running);
    done.assert_says("crontab, line 3: '99 * * * *' are not times");
    done.assert_says("crontab, line 5: it is not a line of a crontab");
    done.assert_says("crontab line 7 ended with exit code 7");
    done.assert_says("crontab line 8 ended with exit code 127");
    done.assert_says("a user before the command is for /etc/cron.d only");
    // Without a temporary folder on a mount of its own, the backups are on that of `/`.
    let device = |path: &Path| fs::metadata(path).expect("there").dev();
    let on_root = device(&service.stage.backups) == device(Path::new("/"));
    assert_eq!(done.said().contains("is not on a mount of its own"), on_root, "{}", done.said());
}

#[test]
fn a_run_of_the_crontab_and_one_by_hand_have_the_same_configuration() {
    let service = Service::new("@reboot backup_manager run && echo done >done\n");
    let config = "BACKUP_NAME_PREFIX = \"mine\"\nMAX_AGE_H = 3\n";
    fs::write(service.config.join("config.toml"), config).expect("written");
    let mut running = service.start();
    assert_eq!(service.line(&mut running, "done"), "done");
    service.verb("status").arg("--check").expect(0).assert_says("mine: healthy, mine.");
    service.verb("run").expect(0).assert_says("MINIMUM_TIME_GUARD_H");
    service.end(running).assert_says("completed mine.");
}

#[test]
fn running_commands_are_asked_to_end_and_waited_for() {
    let service = Service::new(
        "@reboot trap 'sleep 1; echo ended >ended; exit 0' TERM; echo up >up; while :; do sleep 0.1; done\n@reboot (trap '' HUP; trap 'echo late >late; exit' TERM; while :; do sleep 0.1; done) & sleep 0.2\n",
    );
    let mut running = service.start();
    assert_eq!(service.line(&mut running, "up"), "up");
    std::thread::sleep(Duration::from_millis(500));
    service.end(running).assert_says("waiting for what runs to end");
    // Written before the daemon ended; the second file by a process that outlived its shell.
    for name in ["ended", "late"] {
        assert!(service.out.join(name).exists(), "{name}");
    }
}

#[test]
fn a_run_in_progress_stops_cleanly_and_is_resumed() {
    need!(need::tool("strace"));
    let service = Service::new(
        "@reboot strace -f -qqq -o /dev/null -e inject=utimensat:delay_enter=5000 backup_manager run\n",
    );
    service.stage.sh("for i in $(seq 3000); do echo $i >$i; done");
    let mut running = service.start();
    assert!(running.until(|| !service.stage.history().incomplete().is_empty()));
    std::thread::sleep(Duration::from_millis(300));
    let done = service.end(running);
    done.assert_says("stopped by SIGTERM; what was copied stays");
    assert_eq!(service.stage.history().incomplete().len(), 1);
    let status = service.verb("status").arg("--json").expect(0);
    status.assert_says("\"outcome\": \"stopped\"").assert_says("\"failures_in_a_row\": 0");
    service.verb("run").expect(0);
    assert_eq!(service.stage.history().complete().len(), 1);
}

#[test]
fn orphans_are_waited_for() {
    let service = Service::new("@reboot (sleep 0.3; touch orphan) & echo $PPID >pid; exit 0\n");
    let mut running = service.start();
    let pid = service.line(&mut running, "pid");
    assert!(running.until(|| service.out.join("orphan").exists()));
    let gone = running.until(|| children(&pid).is_empty());
    assert!(gone, "left behind: {:?}", children(&pid));
    service.end(running);
}

#[test]
fn as_the_first_process_it_waits_for_all_and_asks_all_to_end() {
    need!(need::root());
    need!(need::tool("unshare"));
    need!(need::tool("nsenter"));
    let service = Service::new(
        "@reboot echo $PPID >parent; (setsid sh -c 'sleep 0.2; touch orphan' &) & exit 0\n",
    );
    let daemon = service.verb("daemon").set("config-dir", &service.config);
    let mut running = daemon.under(&["unshare", "--pid", "--fork", "--mount-proc"]).start();
    assert_eq!(service.line(&mut running, "parent"), "1", "its number in the container");
    let pid = pid_of(&[BIN, "daemon", &format!("--config-dir={}", service.config.display())]);
    assert!(running.until(|| service.out.join("orphan").exists()));
    assert!(running.until(|| children(&pid).is_empty()), "left behind: {:?}", children(&pid));
    // Like `docker exec`. A process enters another mount namespace at its root.
    let script = "cd \"$0\"; trap 'sleep 0.5; echo ended >ended; exit' TERM; echo in >in; while :; do sleep 0.1; done";
    let mut beside = std::process::Command::new("nsenter")
        .args(["--target", &pid, "--pid", "--mount", "sh", "-c", script])
        .arg(&service.out)
        .spawn()
        .expect("nsenter starts");
    assert_eq!(service.line(&mut running, "in"), "in");
    let number = pid.parse().ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(number, Signal::TERM).expect("sent");
    running.wait().assert_code(0).assert_says("stopped");
    beside.wait().expect("waited for");
    assert!(service.out.join("ended").exists(), "it had the time to end");
}

/// The id of the process with this command line.
fn pid_of(words: &[&str]) -> String {
    let expected = words.join("\0") + "\0";
    let processes = fs::read_dir("/proc").expect("proc").flatten();
    let found = processes
        .filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|words| words == expected.as_bytes())
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    found.last().expect("it runs")
}

/// The states of the child processes, including zombies.
fn children(parent: &str) -> Vec<String> {
    let stats = fs::read_dir("/proc").expect("proc").flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let rest = stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()));
    rest.filter(|rest| rest.split(' ').nth(1) == Some(parent)).collect()
}

#[test]
fn every_minute_means_every_minute_also_in_a_crontab_that_an_editor_replaced() {
    let service = Service::new("@reboot echo up >up\n");
    let mut running = service.start();
    assert_eq!(service.line(&mut running, "up"), "up");
    let new = service.config.join("crontab~");
    fs::write(&new, "@reboot echo again >again\n* * * * * backup_manager run; echo tick >>tick\n")
        .expect("written");
    fs::rename(&new, service.config.join("crontab")).expect("replaced");
    assert_eq!(service.line(&mut running, "tick"), "tick");
    assert_eq!(service.stage.history().complete().len(), 1);
    assert!(!service.out.join("again").exists(), "@reboot is for starts of the daemon");
    service.end(running).assert_says("crontab line 2, next at ");
}

#[test]
fn as_root_it_becomes_the_user_that_puid_and_pgid_name() {
    need!(need::root());
    let service = Service::new("@reboot id >id; backup_manager run; echo $? >code\n");
    // A place that the user can access.
    let program = service.stage.beside("backup_manager");
    fs::copy(BIN, &program).expect("copied");
    fs::remove_file(service.config.join("crontab")).expect("removed");
    fs::set_permissions(&service.out, fs::Permissions::from_mode(0o777)).expect("set");
    let daemon = service.verb("daemon").program(&program).env("PUID", "12345").env("PGID", "23456");
    let mut first = daemon.start();
    let crontab = service.config.join("crontab");
    assert!(first.until(|| crontab.metadata().is_ok_and(|file| file.uid() == 12345)));
    std::thread::sleep(std::time::Duration::from_millis(500));
    first.signal(Signal::TERM);
    first.wait().assert_says("(PUID, PGID)").assert_says("crontab with comments");
    assert_eq!(crontab.metadata().expect("written").gid(), 23456);
    service.write("@reboot id -u >id; id -G >groups; backup_manager run; echo $? >code\n");
    let mut running = daemon.start();
    assert_eq!(service.line(&mut running, "code"), "0");
    assert_eq!(service.line(&mut running, "id"), "12345");
    assert_eq!(service.line(&mut running, "groups"), "23456");
    service.end(running).assert_says("running as the user 12345: owners cannot be set (CHOWN)");
    let snapshot = service.stage.history().newest().metadata().expect("there");
    assert_eq!(snapshot.uid(), 12345);
    // By hand, as root in the same container: the same user.
    let by_hand = service.verb("run").program(&program).env("PUID", "12345");
    by_hand.set("minimum-time-guard-h", "0").expect(0);
    assert_eq!(service.stage.history().newest().metadata().expect("there").uid(), 12345);
    // The first command in a new container gives it a new backups folder, as the daemon does. A dry run changes nothing.
    let new = service.stage.beside("new");
    fs::create_dir(&new).expect("a folder");
    let first = service.verb("run").program(&program).env("PUID", "12345").set("backups-dir", &new);
    let _ = first.clone().arg("--dry-run").done();
    assert_eq!(new.metadata().expect("there").uid(), 0);
    first.expect(0).assert_says("(PUID, PGID)").assert_says("completed");
    assert_eq!(new.metadata().expect("there").uid(), 12345);
    daemon.env("PUID", "me").expect(2).assert_says("PUID: 'me' is not a number");
}
