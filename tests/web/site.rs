//! A running page over the snapshots of a test.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use fixtures::run::{Done, Run, Running};
use fixtures::stage::Stage;
use rustix::process::Signal;

use crate::http::{Answer, over_tcp, request};

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A page that is served until it is dropped or ended.
pub(crate) struct Site {
    running: Running,
    pub(crate) address: String,
}

/// `backup_manager web` over the snapshots of a stage.
pub(crate) fn web(stage: &Stage) -> Run {
    stage.look("web")
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("its address").to_string()
}

/// Starts `run`, and waits until `answers`.
pub(crate) fn started(run: &Run, mut answers: impl FnMut() -> bool) -> Running {
    let mut running = run.start();
    assert!(running.until(&mut answers), "the page does not listen: {}", running.wait().said());
    running
}

impl Site {
    /// The page over the snapshots of `stage`.
    #[track_caller]
    pub(crate) fn of(stage: &Stage) -> Self {
        Self::start(&web(stage))
    }

    /// The page of `run`, on a port of its own.
    #[track_caller]
    pub(crate) fn start(run: &Run) -> Self {
        let address = free_address();
        let run = run.clone().arg("--listen").arg(&address);
        let running = started(&run, || TcpStream::connect(&address).is_ok());
        Self { running, address }
    }

    /// The same on all addresses.
    #[track_caller]
    pub(crate) fn start_open(run: &Run) -> Self {
        let address = free_address();
        let run = run.clone().arg("--listen").arg(address.replace("127.0.0.1", "0.0.0.0"));
        let running = started(&run, || TcpStream::connect(&address).is_ok());
        Self { running, address }
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    pub(crate) fn get_with(&self, target: &str, headers: &str) -> Answer {
        self.send(&request("GET", target, headers, ""))
    }

    pub(crate) fn send(&self, request: &[u8]) -> Answer {
        over_tcp(&self.address, request)
    }

    /// The page at `target`.
    #[track_caller]
    pub(crate) fn page(&self, target: &str) -> Answer {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert!(answer.whole, "{target}");
        answer
    }

    /// Ends it, and returns what it printed.
    pub(crate) fn end(mut self) -> Done {
        self.running.signal(Signal::TERM);
        self.running.wait()
    }
}

/// The path in URLs of the source of `stage`, after the name of the job.
pub(crate) fn path_of(stage: &Stage) -> String {
    stage.source.display().to_string()
}

/// The name of a snapshot.
pub(crate) fn name(snapshot: &Path) -> String {
    snapshot.file_name().expect("a name").to_string_lossy().into_owned()
}
