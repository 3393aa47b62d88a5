//! The thread that builds files.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use engine::entry::Meta;
use engine::{Method, SourceError};
use tokio::sync::mpsc::UnboundedSender;

use crate::delivery::Delivery;
use crate::helper::delta::chunker::ChunkSize;
use crate::helper::delta::sums::Key;
use crate::helper::delta::{ALL_PARTS, FILES};
use crate::helper::protocol::delta::SentSums;
use crate::helper::read::command::{Command, gone};
use crate::helper::read::delta::output::Output;
use crate::helper::read::delta::session::{Session, Turn};
use crate::helper::read::delta::{DeltaCommand, DeltaFile, Event};

/// The smallest file of the base that is of use, bytes.
const SMALLEST_BASE: u64 = 64 * 1024;

/// The chunks that the indexes of all files may have, unless a single file has more. A chunk takes 36 bytes.
const CHUNKS: u64 = 256 * 1024;

/// The most chunks and steps of all files that may wait. Only files in very many pieces have more; the one that has too
/// many is fetched whole.
const PIECES: usize = 512 * 1024;

/// The messages of the network thread that are processed before each file has its turn.
const EVENTS: usize = 1024;

/// The files that are being built, and those that wait.
struct Worker {
    output: Output,
    sessions: Vec<Session>,
    waiting: VecDeque<(u64, DeltaFile, u32)>,
    random: RandomState,
}

/// Starts the thread. It ends when the sender of events is dropped and what it can build is built.
///
/// # Errors
/// The system starts no thread.
pub(crate) fn start(
    delivery: &Delivery,
    commands: UnboundedSender<Command>,
) -> io::Result<(Sender<Event>, JoinHandle<()>)> {
    let (events, received) = channel();
    let output = Output::new(delivery, commands);
    let (sessions, waiting) = (Vec::new(), VecDeque::new());
    let mut worker = Worker { output, sessions, waiting, random: RandomState::new() };
    let thread = std::thread::Builder::new().name("deltas".to_owned());
    let thread = thread.spawn(move || worker.run(&received))?;
    Ok((events, thread))
}

impl Worker {
    fn run(&mut self, events: &Receiver<Event>) {
        let mut goes = false;
        loop {
            let mut next = match goes {
                true => events.try_recv(),
                false => events.recv().map_err(|_| TryRecvError::Disconnected),
            };
            let mut left = EVENTS;
            loop {
                match next {
                    Ok(event) => {
                        self.output.took_event(event.bytes());
                        self.event(event);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.abandon(),
                }
                left -= 1;
                if left == 0 {
                    break;
                }
                next = events.try_recv();
            }
            self.admit();
            goes = self.turn() || left == 0;
        }
    }

    /// Gives every file its turn; returns whether there is more to do.
    fn turn(&mut self) -> bool {
        let awaited: usize = self.sessions.iter().map(Session::awaited).sum();
        let mut may_ask = ALL_PARTS.saturating_sub(awaited);
        let (mut goes, output) = (false, &self.output);
        self.sessions.retain_mut(|session| {
            let before = session.awaited();
            let turn = session.turn(may_ask, output);
            may_ask = may_ask.saturating_sub(session.awaited().saturating_sub(before));
            goes |= turn != Turn::Waits;
            turn != Turn::Ended
        });
        goes
    }

    /// Begins with files that wait, while there is room for them.
    fn admit(&mut self) {
        while let Some((id, file, round)) = self.waiting.pop_front() {
            let weight: u64 = self.sessions.iter().map(Session::weight).sum();
            if self.sessions.len() >= FILES || weight > CHUNKS {
                return self.waiting.push_front((id, file, round));
            }
            match self.open(&file) {
                Ok((base, meta)) => {
                    let sums = self.sums(&file.listed);
                    let base = (base, &meta);
                    self.sessions.push(Session::new(id, file, round, base, sums, &self.output));
                }
                // It cannot be read, or is too small.
                Err(_) => self.output.command(DeltaCommand::Whole { file: id }),
            }
        }
    }

    fn open(&self, file: &DeltaFile) -> io::Result<(File, Meta)> {
        let base = file.base.open()?;
        let meta = engine::fs::stat::meta(&base)?;
        match meta.size >= SMALLEST_BASE {
            true => Ok((base, meta)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn sums(&self, listed: &Meta) -> SentSums {
        let mut random = [0; 32];
        for (number, bytes) in random.chunks_mut(8).enumerate() {
            bytes.copy_from_slice(&self.random.hash_one((number, listed.size)).to_le_bytes());
        }
        let runs = Method::of(listed) == Method::Runs;
        SentSums { chunk: ChunkSize::of(listed.size), key: Key::new(random), runs }
    }

    fn event(&mut self, event: Event) {
        let output = &self.output;
        let sessions = &mut self.sessions;
        match event {
            Event::Start(id, file, round) => self.waiting.push_back((id, *file, round)),
            Event::Again(id, round) => match find(sessions, id) {
                Some(session) => session.again(round, output),
                None => {
                    let waiting = self.waiting.iter_mut().filter(|waiting| waiting.0 == id);
                    waiting.for_each(|waiting| waiting.2 = round);
                }
            },
            Event::Chunks(id, chunks) => {
                if let Some(session) = find_with_room(sessions, id, output) {
                    session.chunks(chunks);
                }
            }
            Event::Hole(id, length) => {
                if let Some(session) = find_with_room(sessions, id, output) {
                    session.hole(length);
                }
            }
            Event::Hashed(id, hash) => {
                if let Some(session) = find(sessions, id) {
                    session.hashed(hash);
                }
            }
            Event::Part(id, runs, bytes) => match find(sessions, id) {
                Some(session) => session.part(runs, bytes, output),
                None => output.taken(bytes.len()),
            },
            Event::Ended(id, asked, result) => match find(sessions, id) {
                Some(session) => session.ended(result),
                None => self.never_began(id, asked, result),
            },
            Event::Undivided(id) => {
                sessions.retain(|session| session.id != id);
                output.command(DeltaCommand::Whole { file: id });
            }
            Event::Unwanted(request, index) => {
                let asked = |file: &DeltaFile| file.request == request && file.index == index;
                if let Some(session) = sessions.iter_mut().find(|it| asked(&it.file)) {
                    session.fail(output);
                } else if let Some((id, _, round)) = self.waiting.iter().find(|it| asked(&it.1)) {
                    output.command(DeltaCommand::GiveUp { file: *id, round: *round });
                }
            }
        }
    }

    /// Ends a file that waits, or that the network thread was asked to fetch whole and no longer does.
    fn never_began(
        &mut self,
        id: u64,
        (request, index): (u64, usize),
        result: Result<Meta, SourceError>,
    ) {
        self.waiting.retain(|waiting| waiting.0 != id);
        self.output.end(request, index, [0; 32], result);
    }

    /// The network thread has ended: so do all files.
    fn abandon(&mut self) {
        for session in &mut self.sessions {
            session.abandon(&self.output);
        }
        for (_, file, _) in self.waiting.drain(..) {
            self.output.end(file.request, file.index, [0; 32], Err(gone()));
        }
    }
}

fn find(sessions: &mut [Session], id: u64) -> Option<&mut Session> {
    sessions.iter_mut().find(|session| session.id == id)
}

/// The file, which fails if too many pieces wait.
fn find_with_room<'a>(
    sessions: &'a mut [Session],
    id: u64,
    output: &Output,
) -> Option<&'a mut Session> {
    let pieces: usize = sessions.iter().map(Session::pieces).sum();
    let session = find(sessions, id)?;
    if pieces > PIECES {
        session.fail(output);
    }
    Some(session)
}
