//! Several jobs at the same time: which run together, what they share, and how they end.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::history::History;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::run::{Run, Running};
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A server under several names, a configuration with jobs, and a disk for them that does not rotate.
struct Hosts {
    server: Sshd,
    _disk: LoopFs,
    stage: Stage,
    text: String,
}

impl Hosts {
    fn new() -> Result<Self, need::Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let port = server.port();
        server.write_config(
            "user",
            &format!(
                "Host a b c d A\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias [127.0.0.1]:{port}"
            ),
        );
        let stage =
            Stage::with(BIN, &Tree::new().file("one", "1").random_file("large", 3_000_000, 1));
        let disk = LoopFs::ext4(64)?.rotates(false)?;
        let stage = stage.backups_in(&disk.path().join("backups"));
        let (source, backups) = (stage.source.display(), stage.backups.display());
        let text = format!(
            "SRCS_TO_BACKUP=[\"{source}\"]\nBACKUPS_DIR=\"{backups}\"\nMINIMUM_TIME_GUARD_H=0\nHOOK_TIMEOUT_S=60\n"
        );
        Ok(Self { server, _disk: disk, stage, text })
    }

    /// Adds the job `name` of `host` with further lines.
    fn job(mut self, name: &str, host: &str, more: &str) -> Self {
        let account = self.server.account();
        self.text.push_str(&format!(
            "[[job]]\nBACKUP_NAME_PREFIX=\"{name}\"\nREMOTE_SRC_HOST=\"{account}@{host}\"\n{more}\n"
        ));
        self
    }

    /// A job whose run begins with `pre` and ends with `post`.
    fn with_hooks(self, name: &str, host: &str, pre: &str, post: &str) -> Self {
        let more = format!("PRE_BACKUP='''{pre}'''\nPOST_BACKUP='''{post}'''");
        self.job(name, host, &more)
    }

    /// A job that notes its begin and its end in a file.
    fn noted(self, name: &str, host: &str, more: &str) -> Self {
        let file = self.events().display().to_string();
        let note = |what: &str| format!("echo {what} {name} >>{file}");
        let hooks =
            format!("PRE_BACKUP='''{}'''\nPOST_BACKUP='''{}'''\n", note("begin"), note("end"));
        self.job(name, host, &(hooks + more))
    }

    fn events(&self) -> PathBuf {
        self.stage.beside("events")
    }

    fn run(&self, at_once: &str) -> Run {
        let file = self.stage.beside("config.toml");
        fs::write(&file, &self.text).expect("a config file");
        let run = self.server.known_to(self.stage.bare_run());
        run.arg("--config").arg(&file).set("jobs-at-once", at_once)
    }

    fn history(&self, prefix: &str) -> History {
        History::new(&self.stage.backups, prefix)
    }
}

/// A command that ends when `theirs` exists, after it has made `mine`.
fn meet(mine: &Path, theirs: &Path) -> String {
    format!("touch {}; until [ -e {} ]; do sleep 0.05; done", mine.display(), theirs.display())
}

/// Fails the test if `one` and `other` ran at the same time.
fn assert_apart(hosts: &Hosts, one: &str, other: &str) {
    let text = fs::read_to_string(hosts.events()).expect("the hooks ran");
    let of_them: Vec<&str> =
        text.lines().filter(|line| line.ends_with(one) || line.ends_with(other)).collect();
    let after = |job: &str| [format!("begin {job}"), format!("end {job}")];
    let in_order = [after(one), after(other)].concat();
    assert_eq!(of_them, in_order, "{text}");
}

#[test]
fn jobs_of_different_hosts_run_at_the_same_time() {
    let hosts = need!(Hosts::new());
    let [one, two] = ["one", "two"].map(|name| hosts.stage.beside(name));
    let hosts = hosts.with_hooks("web", "a", &meet(&one, &two), "").with_hooks(
        "mail",
        "b",
        &meet(&two, &one),
        "",
    );
    // Each waits until the other one has begun.
    let done = hosts.run("2").expect(0);
    done.assert_says("web: completed web.").assert_says("mail: completed mail.");
    for file in [&one, &two] {
        fs::remove_file(file).expect("a hook made it");
    }
    let alone = hosts.run("1").set("hook-timeout-s", "1").expect(1);
    alone.assert_says("web: failed: PRE_BACKUP took longer");
    let text = fs::read_to_string(hosts.stage.backups.join(".backup_manager/metrics.prom"));
    let text = text.expect("metrics");
    for job in ["web", "mail"] {
        assert!(text.contains(&format!("backup_manager_snapshots{{job=\"{job}\"")), "{text}");
    }
}

#[test]
fn two_jobs_of_one_host_never_run_at_the_same_time() {
    let hosts = need!(Hosts::new());
    let hosts = hosts.noted("first", "a", "").noted("second", "A", "").noted("third", "b", "");
    hosts.run("3").expect(0);
    assert_apart(&hosts, "first", "second");
    let text = fs::read_to_string(hosts.events()).expect("the hooks ran");
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[test]
fn jobs_onto_one_rotating_disk_do_not_run_at_the_same_time() {
    let disk = need!(LoopFs::ext4(64).and_then(|disk| disk.rotates(true)));
    let hosts = need!(Hosts::new());
    let onto = |name: &str| format!("BACKUPS_DIR=\"{}\"", disk.path().join(name).display());
    let hosts = hosts.noted("first", "a", &onto("x")).noted("second", "b", &onto("y"));
    let done = hosts.run("2").expect(0);
    done.assert_says("first, second write to the rotating disk loop");
    assert_apart(&hosts, "first", "second");
}

#[test]
fn a_job_that_fails_stops_no_other() {
    let hosts = need!(Hosts::new());
    let said = hosts.stage.beside("said");
    let failed = format!("ON_FAILURE='''echo \"$BM_JOB\" >{}'''", said.display());
    let hosts = hosts
        .job("bad", "a", &format!("SRCS_TO_BACKUP=[\"/does/not/exist\"]\n{failed}"))
        .job("good", "b", "")
        .job("last", "c", "");
    let done = hosts.run("2").expect(1);
    done.assert_says("bad: failed: source root").assert_says("good: completed good.");
    done.assert_says("last: completed last.");
    assert_eq!(fs::read_to_string(said).expect("the hook ran"), "bad\n");
}

#[test]
fn the_limit_of_the_rate_holds_for_all_together() {
    let hosts = need!(Hosts::new());
    let limit = "BWLIMIT=\"1m\"";
    let hosts = hosts.job("one", "a", limit).job("two", "b", limit).job("three", "c", "");
    let done = hosts.run("3").expect(0);
    // Two times 3 MB at 1 MiB per second. A tenth of a second, and what is sent ahead, passes at once.
    assert!(done.took.as_secs_f64() > 5.0, "{:?}", done.took);
}

/// Starts slow jobs of two hosts; returns the processes of the jobs when both have begun.
fn slow(hosts: Hosts) -> (Hosts, Running, Vec<u32>) {
    let file = |name: &str| hosts.stage.beside(name);
    let pids = [file("pid-web"), file("pid-mail")];
    let more =
        |pid: &Path| format!("PRE_BACKUP='''echo $PPID >{}'''\nBWLIMIT=\"20\"", pid.display());
    let [web, mail] = [more(&pids[0]), more(&pids[1])];
    let hosts = hosts.job("web", "a", &web).job("mail", "b", &mail).job("later", "a", "");
    let mut running = hosts.run("2").start();
    let begun = || ["web", "mail"].iter().all(|name| hosts.history(name).incomplete().len() == 1);
    assert!(running.until(begun), "both begin: {}", running.wait().said());
    let read =
        |path: &PathBuf| fs::read_to_string(path).expect("the hook ran").trim().parse::<u32>();
    let pids = pids.iter().map(|path| read(path).expect("a number")).collect();
    (hosts, running, pids)
}

fn live(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_signal_stops_all_jobs_and_the_next_run_resumes_them() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (mut hosts, mut running, pids) = slow(need!(Hosts::new()));
        running.signal(signal);
        let done = running.wait();
        done.assert_code(code);
        done.assert_says("web: stopped by SIGTERM").assert_says("mail: stopped by SIGTERM");
        assert!(!pids.iter().any(|pid| live(*pid)), "a job outlives the run");
        assert_eq!(hosts.server.clients(), Vec::<u32>::new(), "ssh is still there");
        assert!(hosts.history("later").incomplete().is_empty(), "nothing else was started");
        hosts.text = hosts.text.replace("BWLIMIT=\"20\"", "");
        hosts.run("2").expect(0).assert_says("resuming");
        for name in ["web", "mail", "later"] {
            assert_eq!(hosts.history(name).complete().len(), 1, "{name}");
            assert!(hosts.history(name).incomplete().is_empty(), "{name}");
        }
    }
}

#[test]
fn a_run_that_is_killed_takes_its_jobs_with_it() {
    let (hosts, mut running, pids) = slow(need!(Hosts::new()));
    running.signal(Signal::KILL);
    running.wait().assert_code(137);
    let story = || format!("{pids:?}");
    wait_for("end of all jobs", story, || !pids.iter().any(|pid| live(*pid)));
    wait_for("end of ssh", story, || hosts.server.clients().is_empty());
    assert_eq!(hosts.history("web").incomplete().len(), 1);
}

#[test]
fn a_job_whose_process_is_killed_counts_as_failed() {
    let (hosts, mut running, pids) = slow(need!(Hosts::new()));
    let first = rustix::process::Pid::from_raw(pids[0].cast_signed()).expect("a process");
    rustix::process::kill_process(first, Signal::KILL).expect("it runs");
    let started = || hosts.history("later").complete().len() == 1;
    wait_for("the next job", String::new, started);
    running.signal(Signal::TERM);
    let done = running.wait();
    done.assert_code(143);
    done.assert_says("web: failed: its process was ended by signal 9");
}

#[test]
fn a_terminal_shows_a_line_for_each_job() {
    let hosts = need!(Hosts::new());
    let limit = "BWLIMIT=\"1m\"";
    let hosts = hosts.job("web", "a", limit).job("mail", "b", limit);
    let done = hosts.run("2").env("TERM", "xterm").on_a_terminal().wait();
    done.assert_code(0);
    for text in
        ["web: copying: ", "mail: copying: ", "web: completed web.", "mail: completed mail."]
    {
        assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
    }
}
