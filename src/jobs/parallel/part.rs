//! The side of a process that runs one of several jobs. Its standard input is a socket to the process that started it.
//!
//! That process writes lines of `KEY=NUMBER` words. This one answers with its progress, a line each. When the socket
//! ends, the other process is gone, and this one stops as by SIGTERM.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use engine::threads::{lock, share_memory};
use rustix::process::{Signal, getpid, kill_process};

use crate::ui::progress::PassOn;

/// How many jobs with a limited rate run.
const LIMITED: &str = "limited";
/// How many jobs share the memory.
const MEMORY: &str = "memory";
/// Whether the progress is shown by the other process: 1.
const SHOWN: &str = "shown";

/// How long a write of the progress waits: the other process may be stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a job that runs beside others has to know at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) limited: usize,
    pub(crate) memory: NonZeroUsize,
    pub(crate) shown: bool,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limited, memory, shown } = self;
        writeln!(f, "{MEMORY}={memory} {SHOWN}={} {LIMITED}={limited}", u8::from(*shown))
    }
}

impl Terms {
    fn read(line: &str) -> Option<Self> {
        Some(Self {
            limited: number(line, LIMITED)?,
            memory: NonZeroUsize::new(number(line, MEMORY)?)?,
            shown: number(line, SHOWN)? != 0,
        })
    }
}

/// The line for another number of jobs with a limited rate.
pub(crate) fn limited(count: usize) -> String {
    format!("{LIMITED}={count}\n")
}

fn number(line: &str, key: &str) -> Option<usize> {
    let words = line.split_whitespace().filter_map(|word| word.split_once('='));
    words.filter(|(name, _)| *name == key).find_map(|(_, value)| value.parse().ok())
}

/// The connection to the process that started this one.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// How many jobs with a limited rate run.
    pub(crate) limited: Arc<AtomicUsize>,
    shown: Option<Arc<Mutex<UnixStream>>>,
}

impl Part {
    /// Reads the terms from standard input, and follows what comes later.
    ///
    /// # Errors
    /// Standard input is no such socket.
    pub(crate) fn join() -> io::Result<Self> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        let terms = Terms::read(&first).ok_or(io::ErrorKind::InvalidData)?;
        share_memory(terms.memory);
        let limited = Arc::new(AtomicUsize::new(terms.limited));
        let current = Arc::clone(&limited);
        thread::Builder::new().name("part".to_owned()).spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(count) = number(&line, LIMITED) {
                    current.store(count, Ordering::Relaxed);
                }
            }
            let _ = kill_process(getpid(), Signal::TERM);
        })?;
        Ok(Self { limited, shown: terms.shown.then(|| Arc::new(Mutex::new(stream))) })
    }

    /// Passes the progress on to the process that shows it, if it does.
    pub(crate) fn progress(&self) -> Option<PassOn> {
        let stream = Arc::clone(self.shown.as_ref()?);
        Some(Arc::new(move |line: &str| {
            let _ = lock(&stream).write_all(format!("{line}\n").as_bytes());
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_they_are_written() {
        for shown in [false, true] {
            let terms = Terms { limited: 3, memory: NonZeroUsize::new(4).unwrap(), shown };
            assert_eq!(Terms::read(&terms.to_string()), Some(terms));
        }
        assert_eq!(Terms::read(""), None);
        assert_eq!(Terms::read("memory=0 shown=1 limited=1"), None);
        assert_eq!(number(&limited(7), LIMITED), Some(7));
    }
}
