//! A scheduler with channels; the test holds their other ends.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use engine::SourceError;
use engine::entry::{Entry, Kind, Meta, Time};
use engine::source::{ContentProof, ContentSink, Wanted};
use tokio::net::unix::pipe;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::delivery::Delivery;
use crate::sftp::protocol::packet::Offers;
use crate::sftp::read::command::{Command, Part};
use crate::sftp::read::scheduler::ReadScheduler;
use crate::ssh::options::Traffic;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;

/// A scheduler with channels. The test answers in place of a server.
pub(crate) struct Bench {
    pub(crate) scheduler: ReadScheduler,
    ends: Vec<(File, Vec<u8>)>,
    threads: Vec<JoinHandle<()>>,
    _unwanted: UnboundedReceiver<Command>,
    runtime: Runtime,
}

/// A request sent on a channel.
pub(crate) struct Sent {
    pub(crate) channel: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(channels: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (commands, unwanted) = unbounded_channel();
        let (delivery, threads) = Delivery::start(&commands).unwrap();
        let (scheduler, ends, threads) = (ReadScheduler::new(delivery), Vec::new(), threads.into());
        let mut bench = Self { scheduler, ends, threads, _unwanted: unwanted, runtime };
        bench.connect(channels);
        bench
    }

    /// Replaces the channels by new ones.
    pub(crate) fn connect(&mut self, channels: usize) {
        self.ends.clear();
        let offers = Offers { statvfs: true, ..Offers::default() };
        for _ in 0..channels {
            let (to, from) = self.runtime.block_on(async {
                let (to, from) = pipe::pipe().unwrap();
                to.writable().await.unwrap();
                (to, from)
            });
            // The pipe holds everything that is sent at once, so writes never block.
            let _ = rustix::pipe::fcntl_setpipe_size(&to, 1 << 20);
            self.scheduler.add_channel(
                Outbox::new(Rc::new(to), Traffic::default(), None),
                offers,
                true,
            );
            self.ends.push((from.into_nonblocking_fd().unwrap().into(), Vec::new()));
        }
    }

    /// The requests that the scheduler sends now.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        self.scheduler.pump().unwrap();
        let mut sent = Vec::new();
        for (channel, (end, bytes)) in self.ends.iter_mut().enumerate() {
            let mut buffer = [0; 65_536];
            while let Ok(count) = end.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
            }
            let mut rest = &bytes[..];
            while let Some((length, behind)) = rest.split_first_chunk::<4>() {
                let (frame, next) = behind.split_at(u32::from_be_bytes(*length) as usize);
                sent.push(Sent { channel, bytes: frame.to_vec() });
                rest = next;
            }
            bytes.clear();
        }
        sent
    }

    /// Answers each request as a correct server does. The files are `grown` bytes larger than listed.
    pub(crate) fn answer(&mut self, requests: &[Sent], grown: i64) {
        for request in requests {
            let frame = honest(&request.bytes, grown);
            assert!(self.scheduler.receive(request.channel, &frame, Instant::now()).is_ok());
        }
    }

    /// Answers a request with SSH_FX_FAILURE.
    pub(crate) fn fail(&mut self, request: &Sent) {
        let mut frame = vec![101];
        frame.extend_from_slice(&request.bytes[1..5]);
        frame.extend_from_slice(&4_u32.to_be_bytes());
        assert!(self.scheduler.receive(request.channel, &frame, Instant::now()).is_ok());
    }

    /// Ends the bench; the sinks receive the remaining results.
    pub(crate) fn end(mut self) {
        self.scheduler.reset("");
        self.scheduler.give_up("the end");
        drop(self.scheduler);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

impl Sent {
    pub(crate) fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// Offset and length of a READ.
    pub(crate) fn read(&self) -> Option<(u64, u64)> {
        let (_, end) = self.bytes.split_last_chunk::<12>().filter(|_| self.kind() == READ)?;
        let (offset, length) = end.split_first_chunk::<8>()?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        Some((u64::from_be_bytes(*offset), length.into()))
    }
}

pub(crate) const OPEN: u8 = 3;
pub(crate) const READ: u8 = 5;
pub(crate) const LSTAT: u8 = 7;
pub(crate) const FSTAT: u8 = 8;

/// The modification time of every file.
const MTIME: u8 = 7;

/// Builds a correct answer. The name and the handle of a file are its size.
fn honest(request: &[u8], grown: i64) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&request[1..5]);
    match request[0] {
        OPEN => {
            out[0] = 102;
            // Four bytes of flags and four of attributes follow the name.
            text(&mut out, name(&request[..request.len() - 8]));
        }
        READ => {
            out[0] = 103;
            let length = request.last_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
            text(&mut out, &vec![1; length as usize]);
        }
        LSTAT | FSTAT => {
            out[0] = 105;
            let size: i64 = std::str::from_utf8(name(request)).unwrap().parse().unwrap();
            attrs(&mut out, (size + grown) as u64, 0o100_644, MTIME);
        }
        _ => {
            out[0] = 101;
            out.extend_from_slice(&[0; 4]);
        }
    }
    out
}

/// The digits at the end of the request.
fn name(request: &[u8]) -> &[u8] {
    let digits = request.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    &request[request.len() - digits..]
}

/// Appends a text with its length field.
pub(crate) fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Appends attributes: size, permissions, times.
pub(crate) fn attrs(out: &mut Vec<u8>, size: u64, mode: u32, mtime: u8) {
    out.extend_from_slice(&13_u32.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&mode.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, mtime]);
}

/// A file listed with `size`, wanted from offset `from` on.
pub(crate) fn wanted(size: u64, from: u64) -> Wanted {
    let meta = Meta {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: Time { secs: MTIME.into(), nanos: 0 },
        ctime: Time::default(),
        id: None,
        links: 1,
        rdev: 0,
        allocated: size,
        is_shared: false,
    };
    let name = std::ffi::CString::new(size.to_string()).unwrap();
    Wanted { entry: Entry { name, meta, extra: None }, from, again: false, base: None }
}

/// The number of delivered bytes of a file, and its result.
pub(crate) type FileEnd = (u64, Result<Meta, SourceError>);

/// Reports how each file ended.
struct Sink(Vec<u64>, Sender<(usize, FileEnd)>);

impl ContentSink for Sink {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.0[index] += bytes.len() as u64;
        ControlFlow::Continue(())
    }

    fn hole(&mut self, _: usize, _: u64) -> ControlFlow<()> {
        panic!("there are no zeros")
    }

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        let _ = self.1.send((index, (self.0[index], after)));
    }

    fn end(self: Box<Self>) {}
}

/// Requests files from the scheduler; returns the receiver of their results.
pub(crate) fn fetch(
    scheduler: &mut ReadScheduler,
    files: Vec<Wanted>,
) -> Receiver<(usize, FileEnd)> {
    let (ended, ends) = channel();
    let sink = Box::new(Sink(vec![0; files.len()], ended));
    let files = files.into_iter().map(Part::whole).collect();
    scheduler.command(Command::Fetch(Arc::from(&b"/folder"[..]), None, files, sink));
    ends
}
