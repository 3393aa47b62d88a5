//! A command as the service, over a real sshd: the program `cat`, which sends every frame back.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::{Duration, Instant};

use fixtures::need;
use fixtures::sshd::{Sshd, Subsystem};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::event_loop::{Network, Quit};
use crate::ssh::framing::Violation;
use crate::ssh::line::Way;
use crate::ssh::options::Options;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;
use crate::ssh::service::{Service, Start};

/// A command line.
struct Line(&'static str);

impl Service for Line {
    const PROTOCOL: &'static str = "echo";

    type Offers = usize;

    fn start(&self) -> Start<'_> {
        Start::Command(self.0)
    }

    fn hello(&self, out: &mut Vec<u8>) {
        frame(b"hello", out);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<usize, Violation> {
        (frame == b"hello").then_some(frame.len()).ok_or(Violation("another greeting"))
    }

    fn begins_greeting(_: &[u8]) -> bool {
        false
    }

    fn keeps_channels_apart(&self, _: Option<&str>, _: &usize) -> bool {
        true
    }
}

fn frame(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text);
}

/// Sends each command on every channel, and reports what arrives.
struct Echo {
    outboxes: Vec<Outbox>,
    arrived: Sender<(usize, Vec<u8>)>,
}

impl Scheduler for Echo {
    type Service = Line;
    type Command = &'static [u8];

    fn add_channel(&mut self, outbox: Outbox, offers: usize, apart: bool) -> usize {
        assert!(offers == 5 && apart);
        self.outboxes.push(outbox);
        let number = self.outboxes.len() - 1;
        self.arrived.send((number, Vec::new())).unwrap();
        number
    }

    fn outbox(&mut self, number: usize) -> &mut Outbox {
        &mut self.outboxes[number]
    }

    fn heard(&mut self, _: usize, _: Instant) {}

    fn command(&mut self, text: &'static [u8]) {
        self.outboxes.iter_mut().for_each(|outbox| frame(text, outbox.buffer()));
    }

    fn receive(&mut self, number: usize, frame: &[u8], _: Instant) -> Result<(), Violation> {
        self.arrived.send((number, frame.to_vec())).unwrap();
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        self.outboxes.iter_mut().try_for_each(Outbox::flush)
    }

    fn is_far(&self) -> bool {
        false
    }

    fn is_flooded(&self, _: usize) -> bool {
        false
    }

    fn stalled(&self, _: Instant, _: Duration) -> bool {
        false
    }

    fn progressed(&mut self) -> bool {
        true
    }

    fn reset(&mut self, _: &str) {
        self.outboxes.clear();
    }

    fn give_up(&mut self, _: &str) {}
}

/// A network thread that starts `line` on the server.
struct Running {
    ready: Receiver<Result<usize, ConnectError>>,
    commands: UnboundedSender<&'static [u8]>,
    arrived: Receiver<(usize, Vec<u8>)>,
}

fn run(server: &Sshd, line: &'static str, options: Options) -> Running {
    let (commands, received): (_, UnboundedReceiver<_>) = unbounded_channel();
    let (arrived, arriving) = channel();
    let (to_ready, ready) = sync_channel(1);
    let network = Network {
        way: Way::Ssh("test".parse().unwrap()),
        options: Options { config: Some(server.path("ssh_config")), ..options },
        service: Line(line),
        commands: received,
        quit: Quit { notify: Arc::default(), stopped: Box::new(|| false) },
        scheduler: Box::new(|| Echo { outboxes: Vec::new(), arrived }),
        wake: Arc::new(Notify::new()),
    };
    // The thread ends when the senders of the commands are dropped.
    std::thread::spawn(move || network.run(&to_ready, unbounded_channel().1));
    Running { ready, commands, arrived: arriving }
}

fn start(test: &str) -> Option<Sshd> {
    let server = Sshd::serving(Subsystem::Missing);
    server.map_err(|missing| need::skip(test, &missing)).ok()
}

#[test]
fn a_command_line_reaches_the_shell_unchanged_on_every_channel() {
    let Some(server) = start("a_command_line_reaches_the_shell") else { return };
    let options = Options { channels: 3, channels_first: 3, ..Options::default() };
    let line = r#"test "$(printf '%s' "a  b")" = 'a  b' && exec cat"#;
    let running = run(&server, line, options);
    assert_eq!(running.ready.recv().unwrap().unwrap(), 5);
    let next = || running.arrived.recv_timeout(Duration::from_secs(60)).unwrap();
    let added: Vec<_> = (0..3).map(|_| next()).collect();
    assert_eq!(added, [0, 1, 2].map(|number| (number, Vec::new())));
    running.commands.send(b"again").unwrap();
    let answers: BTreeSet<_> = (0..3).map(|_| next()).collect();
    assert_eq!(answers, [0, 1, 2].map(|number| (number, b"again".to_vec())).into());
}

#[test]
fn a_command_that_does_not_greet_is_told_from_no_connection() {
    let Some(server) = start("a_command_that_does_not_greet") else { return };
    for (line, said) in [
        ("no-such-program", "(exit status 127)"),
        ("echo Welcome to the host; echo again", "failed: Welcome to the host; again"),
        ("cat > /dev/null", "failed: no answer within 3 seconds"),
        ("true", "(exit status 0)"),
    ] {
        let options = Options { connect_timeout: Duration::from_secs(4), ..Options::default() };
        let failed = run(&server, line, options).ready.recv().unwrap().unwrap_err();
        let text = failed.to_string();
        assert!(failed.is_about_service() && text.contains(said), "{line}: {text}");
    }
    // A second channel was requested each time. It is not taken as the cause, so no connection is made again.
    let log = std::fs::read_to_string(server.path("log")).unwrap();
    assert_eq!(log.matches("Accepted publickey").count(), 4, "{log}");
    server.write_config("stranger", "");
    let failed = run(&server, "cat", Options::default()).ready.recv().unwrap().unwrap_err();
    assert!(!failed.is_about_service(), "{failed}");
}
