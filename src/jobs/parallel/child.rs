//! The process of one job, seen from the one that started it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::exit::Exit;
use crate::jobs::parallel::part::{Terms, limited};
use crate::term::terminal;

/// How long to wait for output after the process has ended: a process that it started may keep the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The hidden flag of `run` with the name of the one job of such a process.
pub(crate) const PART: &str = "part";

/// What happens to a job.
#[derive(Debug)]
pub(crate) enum PartEvent {
    /// Its progress on one line.
    Progress { job: usize, line: String },
    /// Its process ends.
    Ended { job: usize },
}

/// A job that runs.
pub(crate) struct RunningJob {
    process: Child,
    line: UnixStream,
    output: Vec<JoinHandle<()>>,
}

impl RunningJob {
    /// Starts the job called `name`, number `job`, with `words` as further arguments. Its events go to `events`.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn start(
        (job, name): (usize, &str),
        words: &[OsString],
        terms: Terms,
        events: &Sender<PartEvent>,
    ) -> io::Result<Self> {
        let (mut line, theirs) = UnixStream::pair()?;
        let from_job = line.try_clone()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("run").arg(format!("--{PART}={name}")).args(words);
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        // The signals of the terminal are for the process that started it, which passes them on.
        command.process_group(0);
        if terms.shown {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut process = command.spawn()?;
        // The command holds the other end of the socket.
        drop(command);
        // A process that has already ended is noticed by the end of the socket.
        let _ = line.write_all(terms.to_string().as_bytes());
        let output = [
            process.stdout.take().map(|pipe| forwarded(Box::new(pipe), false)),
            process.stderr.take().map(|pipe| forwarded(Box::new(pipe), true)),
        ];
        let events = events.clone();
        thread::spawn(move || {
            for line in BufReader::new(from_job).lines().map_while(Result::ok) {
                let _ = events.send(PartEvent::Progress { job, line });
            }
            let _ = events.send(PartEvent::Ended { job });
        });
        Ok(Self { process, line, output: output.into_iter().flatten().collect() })
    }

    /// Reports how many jobs with a limited rate run.
    pub(crate) fn share(&mut self, count: usize) {
        let _ = self.line.write_all(limited(count).as_bytes());
    }

    /// Asks it to stop.
    pub(crate) fn stop(&self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The process was killed, or its end is unknown.
    pub(crate) fn wait(mut self) -> Result<Exit, String> {
        let status = self.process.wait().map_err(|error| error.to_string())?;
        let deadline = Instant::now() + LAST_WORDS;
        while Instant::now() < deadline && self.output.iter().any(|reader| !reader.is_finished()) {
            thread::sleep(Duration::from_millis(5));
        }
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::of_code(code).ok_or_else(|| format!("exit code {code}")),
            (None, signal) => Err(format!("signal {}", signal.unwrap_or_default())),
        }
    }
}

/// Writes the lines of a pipe while the display is hidden.
fn forwarded(pipe: Box<dyn Read + Send>, is_error: bool) -> JoinHandle<()> {
    thread::spawn(move || {
        for mut line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            line.push(b'\n');
            terminal::suspended(|| {
                let _ = match is_error {
                    true => io::stderr().write_all(&line),
                    false => io::stdout().write_all(&line),
                };
            });
        }
    })
}
