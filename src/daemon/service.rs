//! The daemon's main loop: handles the crontab, its commands and signals. It uses one thread, so that no
//! other code in the process waits for children.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{io, thread};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::{Signal, kill_process, set_child_subreaper};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::exposed;
use crate::config::mistake::shown_path;
use crate::daemon::checks;
use crate::daemon::child_processes::{Children, ExitedProcess, How, Starter, others, shell};
use crate::daemon::config_dir::{CrontabChange, CrontabFile};
use crate::exit::Exit;
use crate::log::JobLog;
use crate::schedule::crontab::Crontab;
use crate::schedule::due::{Agenda, Due};
use crate::schedule::zone::Zone;
use crate::term::units::duration;

/// How often the daemon checks the clock and the crontab.
const LOOK: Duration = Duration::from_secs(1);
/// A start time that is noticed later than this counts as missed.
const LATE: TimeDelta = TimeDelta::seconds(90);
/// How long after its end the web page is started again.
const WEB_AGAIN: Duration = Duration::from_secs(10);
/// How long other processes of the container may take to end when the daemon ends.
const OTHERS: Duration = Duration::from_secs(3);

/// A running daemon.
pub(crate) struct Service {
    pub(crate) log: JobLog,
    /// The default zone of crontab lines.
    pub(crate) zone: Zone,
    crontab: CrontabFile,
    agenda: Agenda,
    children: Children,
    /// Environment variables that the commands get in addition to the daemon's.
    surroundings: Vec<(&'static str, OsString)>,
    /// When the web page is started; `None` while it runs, and without one.
    web: Option<Instant>,
    signals: Receiver<i32>,
}

impl Service {
    /// Starts to catch signals. The crontab is the one in the folder `config_dir`.
    ///
    /// # Errors
    /// If signals cannot be caught or threads cannot be started.
    pub(crate) fn new(
        log: JobLog,
        zone: Zone,
        config_dir: &Path,
        surroundings: Vec<(&'static str, OsString)>,
    ) -> io::Result<Self> {
        let (sender, signals) = mpsc::channel();
        let mut caught = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut caught {
                if sender.send(signal).is_err() {
                    break;
                }
            }
        })?;
        // Adopt orphans even if another process is the first one (`init: true`).
        let _ = set_child_subreaper(Some(rustix::process::getpid()));
        Ok(Self {
            log,
            zone,
            crontab: CrontabFile::new(config_dir),
            agenda: Agenda::default(),
            children: Children::default(),
            surroundings,
            web: None,
            signals,
        })
    }

    /// Starts this program with the arguments `words` as a child process.
    pub(crate) fn start_own(&mut self, words: &[OsString], what: &str) {
        self.start_as(Starter::Daemon, words, what);
    }

    /// Serves the web page from a process of its own, which is started again when it ends.
    pub(crate) fn serve_web(&mut self) {
        self.web = Some(Instant::now());
    }

    fn start_web(&mut self) {
        if self.web.is_some_and(|at| at <= Instant::now()) {
            self.web = None;
            self.start_as(Starter::WebPage, &["web".into()], "the web page");
        }
    }

    fn start_as(&mut self, starter: Starter, words: &[OsString], what: &str) {
        let mut command = Command::new("/proc/self/exe");
        command.args(words);
        command.envs(self.surroundings.iter().map(|(name, value)| (name, value)));
        if let Err(error) = self.children.start(starter, what.to_owned(), &mut command, None) {
            self.log.warn(&format!("cannot start {what}: {error}"));
        }
    }

    /// Runs the crontab until a signal stops the daemon.
    pub(crate) fn run(mut self) -> Exit {
        if !self.look_at_crontab() {
            self.log.warn(&format!(
                "cannot read {}: the crontab that it has by default holds until it can be",
                shown_path(&self.crontab.path)
            ));
            self.take(CrontabFile::default_text());
        }
        for id in self.agenda.at_start() {
            self.start(id);
        }
        loop {
            self.reap();
            self.start_web();
            for Due { id, time } in self.agenda.due(Utc::now()) {
                self.say_if_late(id, time, Utc::now());
                self.start(id);
            }
            match self.signals.recv_timeout(LOOK) {
                Ok(SIGCHLD) => {}
                // SIGHUP needs no other action: the crontab is checked anyway.
                Ok(SIGHUP) | Err(RecvTimeoutError::Timeout) => {
                    self.look_at_crontab();
                }
                Ok(signal) => return self.end(signal),
                Err(RecvTimeoutError::Disconnected) => return Exit::Failed,
            }
        }
    }

    /// Reads the crontab if it has changed. Returns whether it was read.
    fn look_at_crontab(&mut self) -> bool {
        match self.crontab.news() {
            None => false,
            Some(CrontabChange::Text(text)) => {
                self.take(&text);
                true
            }
            Some(CrontabChange::Unreadable(error)) => {
                let path = shown_path(&self.crontab.path);
                self.log.warn(&format!(
                    "cannot read {path}: {error}; its lines hold as they were read last"
                ));
                false
            }
        }
    }

    fn take(&mut self, text: &str) {
        let crontab = Crontab::read(text, self.zone);
        let (path, now) = (shown_path(&self.crontab.path), Utc::now());
        for (number, wrong) in &crontab.faults {
            self.log.warn(&format!("{path}, line {number}: {wrong}"));
        }
        self.agenda.replace(&crontab, now);
        for complaint in exposed::complaints(&self.crontab.path, exposed::names_secret(text)) {
            self.log.warn(&complaint);
        }
        self.log.info(&format!("read {path}"));
        checks::next_times(&self.agenda, now, &self.log);
    }

    fn say_if_late(&self, id: u64, time: DateTime<Utc>, now: DateTime<Utc>) {
        if let Some(line) = self.agenda.line(id).filter(|_| now - time > LATE) {
            self.log.info(&format!(
                "crontab line {} was due at {}: made up for now, once",
                line.number,
                line.zone.shown(time)
            ));
        }
    }

    fn start(&mut self, id: u64) {
        let Some(line) = self.agenda.line(id) else { return };
        let what = format!("crontab line {}", line.number);
        match self.children.runs(Starter::Line(id)) {
            Some(true) => {
                self.log.info(&format!(
                    "{what} is due and still runs: it is not started again until it has ended"
                ));
                return;
            }
            Some(false) => return,
            None => {}
        }
        let (mut command, input) = (shell(line, &self.surroundings), line.input.clone());
        let started = self.children.start(Starter::Line(id), what.clone(), &mut command, input);
        if let Err(error) = started {
            self.log
                .warn(&format!("cannot start {what}: {error}; it is tried again when it is due"));
        }
    }

    fn reap(&mut self) {
        for ExitedProcess { starter, what, how, after } in self.children.reap() {
            if starter == Starter::WebPage {
                self.web = Some(Instant::now() + WEB_AGAIN);
            }
            let after = duration(after.as_secs_f64());
            match how {
                How::Code(0) => {}
                How::Code(code) => {
                    // The shell's exit code for a command that does not exist (POSIX).
                    let hint = if code == 127 {
                        ": its first word is not a command (a user before the command is for /etc/cron.d only)"
                    } else {
                        ""
                    };
                    self.log
                        .warn(&format!("{what} ended with exit code {code} after {after}{hint}"));
                }
                How::Signal(signal) => {
                    self.log.warn(&format!("{what} was ended by signal {signal} after {after}"));
                }
            }
        }
    }

    /// Passes `signal` on, and waits until all processes have ended. A second signal ends the wait.
    fn end(mut self, signal: i32) -> Exit {
        let first = rustix::process::getpid().is_init();
        self.reap();
        if !self.children.is_empty() {
            self.log.info("stopping: waiting for what runs to end");
        }
        self.children.signal(if signal == SIGINT { Signal::INT } else { Signal::TERM });
        let asked = Instant::now();
        if first {
            for other in others() {
                let _ = kill_process(other, Signal::TERM);
            }
        }
        let wait_for_others = || first && asked.elapsed() < OTHERS && !others().is_empty();
        while !self.children.is_empty() || wait_for_others() {
            match self.signals.recv_timeout(Duration::from_millis(50)) {
                Ok(SIGTERM | SIGINT) => self.children.signal(Signal::KILL),
                Err(RecvTimeoutError::Disconnected) => break,
                _ => {}
            }
            self.reap();
        }
        self.log.info("stopped");
        Exit::Done
    }
}
