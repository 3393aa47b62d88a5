//! Commands of the user's around a run.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::threads::cancel::Stop;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::setting::secret_variables;
use crate::log::JobLog;

/// sysexits.h: EX_TEMPFAIL, "try again later".
const PUT_OFF: i32 = 75;
/// How long a command may take to end after SIGTERM; less than the whole program has.
const GRACE: Duration = Duration::from_millis(1000);
/// How long what it wrote is waited for when it has ended; a child of it may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Longest line that is taken as one, bytes.
const LINE: u64 = 4096;
/// How many lines of one command are logged.
const LINES: usize = 500;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// With exit code 75.
    PutOff,
    /// Why it did not end well.
    Failed(String),
    /// The program was stopped meanwhile.
    Stopped,
}

/// What a command gets to know, as environment variables.
pub(crate) type Facts = Vec<(&'static str, OsString)>;

/// What surrounds a command.
pub(crate) struct Around<'a> {
    pub(crate) timeout: Duration,
    pub(crate) stop: &'a Stop,
    pub(crate) log: &'a JobLog,
}

/// Runs `command` of the setting `name` with `/bin/sh -c` and logs what it writes.
pub(crate) fn run(name: &'static str, command: &str, facts: &Facts, around: &Around<'_>) -> Ended {
    around.log.info(&format!("{name} begins"));
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what it starts ends with it.
    shell.process_group(0);
    for secret in secret_variables() {
        shell.env_remove(secret);
    }
    shell.env("BM_HOOK", name).envs(facts.iter().map(|(key, value)| (key, value)));
    let mut child = match shell.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::Failed(format!("{name} cannot be started: {error}")),
    };
    let output: Vec<JoinHandle<()>> = [
        child.stdout.take().map(|pipe| logged(name, Box::new(pipe), around.log)),
        child.stderr.take().map(|pipe| logged(name, Box::new(pipe), around.log)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let ended = wait(name, &mut child, around);
    let deadline = Instant::now() + LAST_WORDS;
    while Instant::now() < deadline && output.iter().any(|reader| !reader.is_finished()) {
        thread::sleep(Duration::from_millis(5));
    }
    ended
}

fn wait(name: &str, child: &mut Child, around: &Around<'_>) -> Ended {
    let deadline = Instant::now() + around.timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return judged(name, status),
            Ok(None) => {}
            Err(error) => return Ended::Failed(format!("{name} cannot be waited for: {error}")),
        }
        let stopped = around.stop.asked();
        if stopped || Instant::now() >= deadline {
            end(child);
            if stopped {
                return Ended::Stopped;
            }
            let seconds = around.timeout.as_secs();
            return Ended::Failed(format!("{name} took longer than {seconds} s (HOOK_TIMEOUT_S)"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends a command and what it started: first asks, then kills.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

fn judged(name: &str, status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Well,
        (Some(PUT_OFF), _) => Ended::PutOff,
        (Some(code), _) => Ended::Failed(format!("{name} failed with exit code {code}")),
        (None, signal) => {
            Ended::Failed(format!("{name} was ended by signal {}", signal.unwrap_or_default()))
        }
    }
}

/// Logs a pipe line by line.
fn logged(name: &'static str, pipe: Box<dyn Read + Send>, log: &JobLog) -> JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        for number in 0.. {
            let mut line = Vec::new();
            match pipe.by_ref().take(LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if number < LINES => {
                    let line = String::from_utf8_lossy(&line);
                    log.info(&format!("{name}: {}", line.trim_end()));
                }
                Ok(_) if number == LINES => log.warn(&format!("{name} writes more than is logged")),
                Ok(_) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::log_format::Format;

    fn ended(command: &str, timeout: Duration, stop: &Stop) -> Ended {
        let log = JobLog::new("j", Format::Text);
        let around = Around { timeout, stop, log: &log };
        run("PRE_BACKUP", command, &vec![("BM_JOB", "a b".into())], &around)
    }

    #[test]
    fn a_command_ends_well_is_put_off_or_fails() {
        let failed = |what: &str| Ended::Failed(what.to_owned());
        for (command, expected) in [
            ("[ \"$BM_JOB\" = 'a b' ] && [ \"$BM_HOOK\" = PRE_BACKUP ]", Ended::Well),
            ("exit 75", Ended::PutOff),
            ("exit 3", failed("PRE_BACKUP failed with exit code 3")),
            ("kill -9 $$", failed("PRE_BACKUP was ended by signal 9")),
            ("no-such-program", failed("PRE_BACKUP failed with exit code 127")),
        ] {
            assert_eq!(
                ended(command, Duration::from_secs(9), &Stop::default()),
                expected,
                "{command}"
            );
        }
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_what_it_started() {
        let began = Instant::now();
        let ended_by = |command, stop: &Stop| ended(command, Duration::from_millis(100), stop);
        let late = Ended::Failed("PRE_BACKUP took longer than 0 s (HOOK_TIMEOUT_S)".to_owned());
        assert_eq!(ended_by("sleep 60 & wait", &Stop::default()), late);
        assert_eq!(ended_by("trap '' TERM; while :; do sleep 1; done", &Stop::default()), late);
        let stop = Stop::default();
        stop.ask();
        assert_eq!(ended_by("sleep 60", &stop), Ended::Stopped);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
