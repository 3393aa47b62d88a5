//! The commands that run, and everything else that ends below this process.
//!
//! Whoever is the first process of a container inherits the orphans of all others and has to wait for
//! them. So one place waits for all children; nothing else in this process may
//! wait for one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process_group, test_kill_process_group, wait,
};

use crate::schedule::crontab::CronLine;

/// Who has started a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Starter {
    /// The daemon itself.
    Daemon,
    /// The crontab line of that id.
    Line(u64),
}

/// A process that was started and has not ended.
#[derive(Debug)]
struct Started {
    starter: Starter,
    what: String,
    since: Instant,
    /// Whether it was said that its line is due again already.
    told: bool,
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExitedProcess {
    pub(crate) what: String,
    pub(crate) how: How,
    pub(crate) after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Code(i32),
    Signal(i32),
}

/// All that was started here.
#[derive(Debug, Default)]
pub(crate) struct Children {
    started: BTreeMap<i32, Started>,
    /// The process groups of what was started; a group may outlive the process that began it.
    groups: BTreeSet<i32>,
}

impl Children {
    /// Starts `command` in a process group of its own.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(
        &mut self,
        starter: Starter,
        what: String,
        command: &mut Command,
        input: Option<String>,
    ) -> io::Result<()> {
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = command.stdin(stdin).process_group(0).spawn()?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A pipe takes only so much at once, and the command need not read it.
            std::thread::spawn(move || {
                let _ = stdin.write_all(input.as_bytes());
            });
        }
        let pid = child.id().cast_signed();
        self.groups.insert(pid);
        self.started.insert(pid, Started { starter, what, since: Instant::now(), told: false });
        Ok(())
    }

    /// Whether something of `starter` runs. `Some(true)` the first time that this is asked of it.
    pub(crate) fn runs(&mut self, starter: Starter) -> Option<bool> {
        let started = self.started.values_mut().find(|started| started.starter == starter)?;
        Some(!std::mem::replace(&mut started.told, true))
    }

    /// Waits for everything that has ended, orphans of others included; returns what was started here.
    pub(crate) fn reap(&mut self) -> Vec<ExitedProcess> {
        let mut ended = Vec::new();
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => ended.extend(self.ended(pid, status)),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.groups.retain(|group| exists(*group));
        ended
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<ExitedProcess> {
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => How::Code(code),
            (None, Some(signal)) => How::Signal(signal),
            (None, None) => return None,
        };
        let started = self.started.remove(&pid.as_raw_nonzero().get())?;
        Some(ExitedProcess { what: started.what, how, after: started.since.elapsed() })
    }

    /// Whether nothing that was started here is left, nor what it has started in its group.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Passes a signal on to all that was started here.
    pub(crate) fn signal(&self, signal: Signal) {
        for group in self.groups.iter().filter_map(|group| Pid::from_raw(*group)) {
            let _ = kill_process_group(group, signal);
        }
    }
}

fn exists(group: i32) -> bool {
    Pid::from_raw(group).is_some_and(|group| test_kill_process_group(group) != Err(Errno::SRCH))
}

/// The command of a crontab line: `/bin/sh -c`, with this process's environment and the line's variables.
pub(crate) fn shell(line: &CronLine, surroundings: &[(&str, OsString)]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&line.command);
    command.envs(surroundings.iter().map(|(name, value)| (name, value)));
    command.envs(line.variables.iter().map(|(name, value)| (name, value)));
    command
}

/// All other processes that this one can see. For the first process of a container these are the
/// container's, those that `docker exec` started included, and they end when it does.
pub(crate) fn others() -> Vec<Pid> {
    let own = rustix::process::getpid();
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| *pid != own) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The state follows the name in brackets (proc_pid_stat(5)); a zombie has ended.
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')) {
            others.push(pid);
        }
    }
    others
}
