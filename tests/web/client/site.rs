//! A running page over the snapshots of a test.

use std::net::TcpStream;
use std::path::Path;

use fixtures::reserved_port::ReservedPort;
use fixtures::run::{Done, Run, Running};
use fixtures::stage::Stage;
use rustix::process::Signal;

use crate::client::http::{Answer, over_tcp, request};

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A page that is served until it is dropped or ended.
pub(crate) struct Site {
    running: Running,
    _port: ReservedPort,
    pub(crate) address: String,
}

/// `backup_manager web` over the snapshots of a stage.
pub(crate) fn web(stage: &Stage) -> Run {
    stage.look("web")
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
        let port = ReservedPort::any();
        let address = port.address();
        let run = run.clone().arg("--listen").arg(&address);
        let running = started(&run, || TcpStream::connect(&address).is_ok());
        Self { running, _port: port, address }
    }

    /// The same on all addresses.
    #[track_caller]
    pub(crate) fn start_open(run: &Run) -> Self {
        let port = ReservedPort::any();
        let address = port.address();
        let run = run.clone().arg("--listen").arg(address.replace("127.0.0.1", "0.0.0.0"));
        let running = started(&run, || TcpStream::connect(&address).is_ok());
        Self { running, _port: port, address }
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

/// Lets a user log in with this password.
pub(crate) fn add(stage: &Stage, users: &Path, name: &str, password: &str) {
    let script = format!(
        "printf '%s\\n' '{password}' | WEB_USERS_FILE={} {BIN} web --add-user {name} --backups-dir {}",
        users.display(),
        stage.backups.display()
    );
    stage.sh(&script);
}
