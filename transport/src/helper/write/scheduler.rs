//! Distributes the requests of a restore over the channels, and returns the answers to the waiting threads.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::threads::lock;

use crate::helper::protocol::message::Answer;
use crate::helper::protocol::write::WriteAnswer;
use crate::helper::protocol::{CONNECTION, frame};
use crate::helper::write::channel::WriteChannel;
use crate::helper::write::fault::RequestError;
use crate::helper::write::request::{Ask, ChannelId, Event, Expected, WriteCommand};
use crate::helper::write::service::{WriteGreeting, WriteHelper};
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;

/// The round trip from which a host counts as far away.
const FAR: Duration = Duration::from_millis(10);

/// By how many requests a channel that knows the folder may be busier than the others.
const KNOWN: usize = 16;

/// The most bytes of an answer that is no listing.
const ANSWER_MAX: usize = 192 * 1024;

/// The most processes of lost connections that are remembered.
const EARLIER: usize = 64;

/// The shortest time to an answer, shared by all threads.
pub(crate) type RoundTrip = Arc<Mutex<Option<Duration>>>;

/// Everything that is requested and not answered.
pub(crate) struct WriteScheduler {
    channels: Vec<WriteChannel>,
    connection: u64,
    /// Requests that wait for a channel.
    unplaced: VecDeque<Ask>,
    /// Large files in progress: the channel of each, and the number of its request.
    files: HashMap<u64, (usize, u32)>,
    earlier: Vec<String>,
    round_trip: RoundTrip,
    progressed: bool,
    /// The number of answers. The first one of a far end waits for its disk, so its time is not the round trip.
    answers: u32,
    /// Why there will be no further connection.
    lost: Option<String>,
}

impl WriteScheduler {
    pub(crate) fn new(round_trip: RoundTrip) -> Self {
        Self {
            channels: Vec::new(),
            connection: 0,
            unplaced: VecDeque::new(),
            files: HashMap::new(),
            earlier: Vec::new(),
            round_trip,
            progressed: false,
            answers: 0,
            lost: None,
        }
    }

    fn place(&mut self, ask: Ask) {
        let cost = |number: usize| {
            let channel = &self.channels[number];
            let known = ask.folders.first().is_some_and(|folder| channel.knows(folder.number));
            (channel.load().saturating_sub(if known { KNOWN } else { 0 }), !known)
        };
        let Some(number) = (0..self.channels.len()).min_by_key(|number| cost(*number)) else {
            return self.unplaced.push_back(ask);
        };
        let (id, expected, reply) = (ask.id, ask.expected, ask.reply.clone());
        if let (Some(request), Expected::File(_)) = (self.channels[number].ask(ask), expected) {
            self.files.insert(id, (number, request));
            // The thread that asked may have ended; the same applies below.
            let _ = reply.send(Event::Placed);
        }
    }

    fn channel(&mut self, id: ChannelId) -> Option<&mut WriteChannel> {
        let is_current = id.connection == self.connection;
        self.channels.get_mut(id.number).filter(|_| is_current)
    }

    /// Processes a message that belongs to no request.
    fn notice(&mut self, number: usize, answer: &WriteAnswer) -> Result<(), Violation> {
        match answer {
            WriteAnswer::Credit(bytes) => {
                self.channels[number].granted(*bytes);
                Ok(())
            }
            WriteAnswer::Working => Ok(()),
            _ => Err(Violation("an answer to no request")),
        }
    }
}

impl Scheduler for WriteScheduler {
    type Service = WriteHelper;
    type Command = WriteCommand;

    fn add_channel(&mut self, outbox: Outbox, _: WriteGreeting, _: bool) -> usize {
        self.channels.push(WriteChannel::new(outbox, &self.earlier));
        for ask in std::mem::take(&mut self.unplaced) {
            self.place(ask);
        }
        self.channels.len() - 1
    }

    fn outbox(&mut self, number: usize) -> &mut Outbox {
        &mut self.channels[number].outbox
    }

    fn heard(&mut self, number: usize, now: Instant) {
        self.channels[number].heard(now);
    }

    fn command(&mut self, command: WriteCommand) {
        match command {
            WriteCommand::Ask(ask) => match &self.lost {
                Some(why) => {
                    drop(ask.reply.send(Event::Failed(RequestError::Ended(why.clone()))));
                }
                None => self.place(*ask),
            },
            // A file whose connection was lost is no longer here.
            WriteCommand::Part(part) => {
                if let Some((channel, number)) = self.files.get(&part.file) {
                    self.channels[*channel].part(*number, part);
                }
            }
            WriteCommand::Discard(file) => {
                if let Some((channel, number)) = self.files.remove(&file) {
                    self.channels[channel].discard(number);
                }
            }
            WriteCommand::Cancel(id) => {
                self.channels.iter_mut().for_each(|channel| channel.cancel(id));
            }
            WriteCommand::Used(channel, bytes) => {
                if let Some(channel) = self.channel(channel) {
                    channel.used(bytes as u64);
                }
            }
            WriteCommand::Forget(folder) => {
                self.channels.iter_mut().for_each(|channel| channel.forget(folder));
            }
        }
    }

    fn receive(&mut self, number: usize, frame: &[u8], now: Instant) -> Result<(), Violation> {
        let not_understood = |_| Violation("a message that is not understood");
        let (request, answer, content) = frame::read(frame).map_err(not_understood)?;
        let Answer::Write(answer) = answer else {
            return Err(Violation("an answer to another question"));
        };
        if !content.is_empty() {
            return Err(Violation("bytes behind a message"));
        }
        if request == CONNECTION {
            return self.notice(number, &answer);
        }
        let bytes = frame.len() + size_of::<u32>();
        let is_listing = matches!(
            answer,
            WriteAnswer::Looked(_) | WriteAnswer::Names(_) | WriteAnswer::Found(_)
        );
        let channel = &mut self.channels[number];
        if is_listing {
            channel.listed(bytes)?;
        } else if bytes > ANSWER_MAX {
            return Err(Violation("an answer is too long"));
        }
        if let WriteAnswer::Target(Ok(target)) = &answer {
            channel.maker = Some(target.maker.chars().take(99).collect());
        }
        let pending = channel.pending(request)?;
        let after = pending.expected.after(&answer);
        let after = after.map_err(|()| Violation("an answer to another question"))?;
        let (id, took) = (pending.id, now.saturating_duration_since(pending.asked));
        let listing =
            is_listing.then_some((ChannelId { connection: self.connection, number }, bytes));
        let delivered = match (&pending.reply, &answer) {
            (Some(reply), _) => reply.send(Event::Answer(answer, listing)).is_ok(),
            (None, _) => false,
        };
        if is_listing && !delivered {
            pending.unwanted += bytes;
        }
        match after {
            Some(after) => pending.expected = after,
            None => {
                channel.answered(request);
                self.files.remove(&id);
            }
        }
        self.progressed = true;
        self.answers = self.answers.saturating_add(1);
        let mut shortest = lock(&self.round_trip);
        *shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        self.channels.iter_mut().try_for_each(WriteChannel::pump)
    }

    fn is_far(&self) -> bool {
        self.answers > 1 && lock(&self.round_trip).is_some_and(|time| time >= FAR)
    }

    /// What a far end sends is bounded by its credit, and by one answer to each request.
    fn is_flooded(&self, _: usize) -> bool {
        false
    }

    fn stalled(&self, now: Instant, limit: Duration) -> bool {
        self.channels.iter().any(|channel| channel.stalled(now, limit))
    }

    fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    fn reset(&mut self, why: &str) {
        let why: Arc<str> = Arc::from(why);
        self.connection += 1;
        self.files.clear();
        for mut channel in std::mem::take(&mut self.channels) {
            self.earlier.extend(channel.maker.take());
            for reply in channel.waiters() {
                let _ = reply.send(Event::Failed(RequestError::Lost(Arc::clone(&why))));
            }
        }
        let forgotten = self.earlier.len().saturating_sub(EARLIER);
        self.earlier.drain(..forgotten);
    }

    fn give_up(&mut self, why: &str) {
        self.lost = Some(why.to_owned());
        self.reset(why);
        for ask in self.unplaced.drain(..) {
            let _ = ask.reply.send(Event::Failed(RequestError::Ended(why.to_owned())));
        }
    }
}
