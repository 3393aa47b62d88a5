//! Starts the commands, and waits for them and for all orphaned processes.
//!
//! The first process of a container inherits all orphans and has to wait for them. So this module waits for
//! all children, and no other code in the process may wait for a child.

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

/// What started a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Starter {
    /// The daemon itself.
    Daemon,
    /// The daemon itself, to serve the web page for as long as it runs.
    WebPage,
    /// The crontab line with this id.
    Line(u64),
}

/// A process that was started and has not ended.
#[derive(Debug)]
struct Started {
    starter: Starter,
    what: String,
    since: Instant,
    /// Whether the log already reports that the line is due again.
    warned: bool,
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExitedProcess {
    pub(crate) starter: Starter,
    pub(crate) what: String,
    pub(crate) how: How,
    pub(crate) after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Code(i32),
    Signal(i32),
}

/// All processes that this daemon started.
#[derive(Debug, Default)]
pub(crate) struct Children {
    started: BTreeMap<i32, Started>,
    /// The process groups of the started processes. A group may outlive its first process.
    groups: BTreeSet<i32>,
}

impl Children {
    /// Starts `command` in its own process group.
    ///
    /// # Errors
    /// The system's error.
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
            // A pipe accepts a limited number of bytes, and the command may not read them.
            std::thread::spawn(move || {
                let _ = stdin.write_all(input.as_bytes());
            });
        }
        let pid = child.id().cast_signed();
        self.groups.insert(pid);
        self.started.insert(pid, Started { starter, what, since: Instant::now(), warned: false });
        Ok(())
    }

    /// Whether a process of `starter` runs. Returns `Some(true)` on the first call for this process.
    pub(crate) fn runs(&mut self, starter: Starter) -> Option<bool> {
        let started = self.started.values_mut().find(|started| started.starter == starter)?;
        Some(!std::mem::replace(&mut started.warned, true))
    }

    /// Waits for every process that has ended, including orphans. Returns those that this daemon started.
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
        Some(ExitedProcess {
            starter: started.starter,
            what: started.what,
            how,
            after: started.since.elapsed(),
        })
    }

    /// Whether no started process, and no other process in its group, is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Sends a signal to all started processes and their groups.
    pub(crate) fn signal(&self, signal: Signal) {
        for group in self.groups.iter().filter_map(|group| Pid::from_raw(*group)) {
            let _ = kill_process_group(group, signal);
        }
    }
}

fn exists(group: i32) -> bool {
    Pid::from_raw(group).is_some_and(|group| test_kill_process_group(group) != Err(Errno::SRCH))
}

/// The command of a crontab line: `/bin/sh -c` with this process's environment and the line's variables.
pub(crate) fn shell(line: &CronLine, surroundings: &[(&str, OsString)]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&line.command);
    command.envs(surroundings.iter().map(|(name, value)| (name, value)));
    command.envs(line.variables.iter().map(|(name, value)| (name, value)));
    command
}

/// All other processes that this process can see. For the first process of a container, these are all
/// processes of the container, including those that `docker exec` started. They end when the first process
/// ends.
pub(crate) fn others() -> Vec<Pid> {
    let own = rustix::process::getpid();
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw).filter(|pid| *pid != own) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The state follows the name in parentheses (proc_pid_stat(5)). A zombie has already ended.
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')) {
            others.push(pid);
        }
    }
    others
}
