//! Runs the user's commands before and after a run.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::Stop;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::setting::find::secret_variables;
use crate::log::JobLog;

/// EX_TEMPFAIL of sysexits.h, "try again later".
const PUT_OFF: i32 = 75;
/// How long a command may take to end after SIGTERM. It is less than the whole program has.
const GRACE: Duration = Duration::from_millis(1000);
/// How long to wait for output after the command has ended: a child of it may keep the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Maximum length of a logged line, in bytes.
const LINE: u64 = 4096;
/// Maximum number of logged lines per command.
const LINES: usize = 500;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HookEnd {
    Well,
    /// It ended with exit code 75.
    PutOff,
    /// The reason of the failure.
    Failed(String),
    /// The program was stopped while the command ran.
    Stopped,
}

/// The environment variables for a command.
pub(crate) type HookVariables = Vec<(&'static str, OsString)>;

/// The context in which a command runs.
pub(crate) struct HookContext<'a> {
    pub(crate) timeout: Duration,
    pub(crate) stop: &'a Stop,
    pub(crate) log: &'a JobLog,
}

/// Runs `command` of the setting `name` with `/bin/sh -c`, and logs its output.
pub(crate) fn run(
    name: &'static str,
    command: &str,
    variables: &HookVariables,
    context: &HookContext<'_>,
) -> HookEnd {
    context.log.info(&format!("{name} begins"));
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    // In its own process group, the command can be ended together with the processes that it starts.
    shell.process_group(0);
    for secret in secret_variables() {
        shell.env_remove(secret);
    }
    shell.env("BM_HOOK", name).envs(variables.iter().map(|(key, value)| (key, value)));
    let mut child = match shell.spawn() {
        Ok(child) => child,
        Err(error) => return HookEnd::Failed(format!("{name} cannot be started: {error}")),
    };
    let output: Vec<JoinHandle<()>> = [
        child.stdout.take().map(|pipe| logged(name, Box::new(pipe), context.log)),
        child.stderr.take().map(|pipe| logged(name, Box::new(pipe), context.log)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let ended = wait(name, &mut child, context);
    let deadline = Instant::now() + LAST_WORDS;
    while Instant::now() < deadline && output.iter().any(|reader| !reader.is_finished()) {
        thread::sleep(Duration::from_millis(5));
    }
    ended
}

fn wait(name: &str, child: &mut Child, context: &HookContext<'_>) -> HookEnd {
    let deadline = Instant::now() + context.timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return judged(name, status),
            Ok(None) => {}
            Err(error) => return HookEnd::Failed(format!("{name} cannot be waited for: {error}")),
        }
        let stopped = context.stop.asked();
        if stopped || Instant::now() >= deadline {
            end(child);
            if stopped {
                return HookEnd::Stopped;
            }
            let seconds = context.timeout.as_secs();
            return HookEnd::Failed(format!(
                "{name} took longer than {seconds} s (HOOK_TIMEOUT_S)"
            ));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends a command and its process group: first with SIGTERM, then with SIGKILL.
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

fn judged(name: &str, status: ExitStatus) -> HookEnd {
    match (status.code(), status.signal()) {
        (Some(0), _) => HookEnd::Well,
        (Some(PUT_OFF), _) => HookEnd::PutOff,
        (Some(code), _) => HookEnd::Failed(format!("{name} failed with exit code {code}")),
        (None, signal) => {
            HookEnd::Failed(format!("{name} was ended by signal {}", signal.unwrap_or_default()))
        }
    }
}

/// Logs the lines of a pipe.
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
    use crate::config::values::log_format::Format;

    fn ended(command: &str, timeout: Duration, stop: &Stop) -> HookEnd {
        let log = JobLog::new("j", Format::Text);
        let context = HookContext { timeout, stop, log: &log };
        run("PRE_BACKUP", command, &vec![("BM_JOB", "a b".into())], &context)
    }

    #[test]
    fn a_command_ends_well_is_put_off_or_fails() {
        let failed = |what: &str| HookEnd::Failed(what.to_owned());
        for (command, expected) in [
            ("[ \"$BM_JOB\" = 'a b' ] && [ \"$BM_HOOK\" = PRE_BACKUP ]", HookEnd::Well),
            ("exit 75", HookEnd::PutOff),
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
        let late = HookEnd::Failed("PRE_BACKUP took longer than 0 s (HOOK_TIMEOUT_S)".to_owned());
        assert_eq!(ended_by("sleep 60 & wait", &Stop::default()), late);
        assert_eq!(ended_by("trap '' TERM; while :; do sleep 1; done", &Stop::default()), late);
        let stop = Stop::default();
        stop.ask();
        assert_eq!(ended_by("sleep 60", &stop), HookEnd::Stopped);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
