//! Distributes request batches over the channels, decides when to send them, and returns the answers to the
//! waiting threads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::threads::lock;

use crate::sftp::protocol::channel::Channel;
use crate::sftp::protocol::packet::{Answer, Offers, closed};
use crate::sftp::protocol::service::Sftp;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{
    Answers, ChannelId, OwnedAnswer, RequestBatch, Requests, Via,
};
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;

/// Maximum bytes framed ahead for a channel's pipe.
const AHEAD: usize = 1 << 20;

/// The round trip from which a host counts as far away.
const FAR: Duration = Duration::from_millis(10);

/// What is known about the server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Server {
    pub(crate) offers: Offers,
    /// Number of open channels.
    pub(crate) channels: usize,
    /// The shortest time to an answer.
    pub(crate) round_trip: Option<Duration>,
}

/// The server's state, shared by all threads.
pub(crate) type Known = Arc<Mutex<Server>>;

/// A copy of the state.
pub(crate) fn known(server: &Known) -> Server {
    *lock(server)
}

/// Everything that is requested and not answered.
pub(crate) struct WriteScheduler {
    channels: Vec<WriteChannel>,
    connection: u64,
    server: Known,
    /// Batches that wait for a channel.
    unplaced: VecDeque<RequestBatch>,
    open: HashMap<u64, OpenBatch>,
    next: u64,
    progressed: bool,
    /// Why the previous connection was lost.
    why: Arc<str>,
    /// Why there will be no further connection.
    lost: Option<String>,
}

/// A channel and the batches that wait for it.
struct WriteChannel {
    /// A request is identified by its batch and its index in it.
    channel: Channel<(u64, usize)>,
    waiting: VecDeque<(u64, Arc<Requests>)>,
    /// Number of requests in the waiting batches.
    ahead: usize,
    /// Handles that the server returned and for which no CLOSE was sent.
    handles: HashSet<Box<[u8]>>,
}

/// A batch that is being answered.
struct OpenBatch {
    answer: Vec<Option<OwnedAnswer>>,
    left: usize,
    channel: ChannelId,
    reply: SyncSender<Result<Answers, RequestError>>,
}

impl WriteScheduler {
    pub(crate) fn new(server: Known) -> Self {
        Self {
            channels: Vec::new(),
            connection: 0,
            server,
            unplaced: VecDeque::new(),
            open: HashMap::new(),
            next: 0,
            progressed: false,
            why: Arc::from("it was lost"),
            lost: None,
        }
    }

    fn update(&self, change: impl FnOnce(&mut Server)) {
        change(&mut lock(&self.server));
    }

    fn rename(&mut self, batch: RequestBatch) {
        let channels = self.channels.len();
        let number = match batch.via {
            Via::Same(channel)
                if channel.connection != self.connection || channel.number >= channels =>
            {
                // The waiting thread may have ended; the same applies below.
                let _ = batch.reply.send(Err(RequestError::Lost(Arc::clone(&self.why))));
                return;
            }
            _ if channels == 0 => return self.unplaced.push_back(batch),
            Via::Same(channel) => channel.number,
            Via::Nth(number) => number % channels,
            Via::Any => {
                let load = |number: &usize| {
                    self.channels[*number].channel.load() + self.channels[*number].ahead
                };
                (0..channels).min_by_key(load).unwrap_or_default()
            }
        };
        let RequestBatch { requests, reply, .. } = batch;
        let channel = ChannelId { connection: self.connection, number };
        if requests.len() == 0 {
            // An empty batch gets no answer from the server.
            let _ = reply.send(Ok(Answers::new(Vec::new(), channel)));
            return;
        }
        self.next += 1;
        let (answer, left) = (vec![None; requests.len()], requests.len());
        self.open.insert(self.next, OpenBatch { answer, left, channel, reply });
        self.channels[number].ahead += requests.len();
        self.channels[number].waiting.push_back((self.next, requests));
    }
}

impl Scheduler for WriteScheduler {
    type Service = Sftp;
    type Command = RequestBatch;

    fn add_channel(&mut self, outbox: Outbox, offers: Offers, apart: bool) -> usize {
        let (channel, offers) = (Channel::new(outbox), Offers { apart, ..offers });
        let (waiting, handles) = (VecDeque::new(), HashSet::new());
        self.channels.push(WriteChannel { channel, waiting, ahead: 0, handles });
        let channels = self.channels.len();
        self.update(|server| (server.offers, server.channels) = (offers, channels));
        for batch in std::mem::take(&mut self.unplaced) {
            self.rename(batch);
        }
        channels - 1
    }

    fn outbox(&mut self, number: usize) -> &mut Outbox {
        &mut self.channels[number].channel.outbox
    }

    fn heard(&mut self, number: usize, now: Instant) {
        self.channels[number].channel.heard(now);
    }

    fn command(&mut self, batch: RequestBatch) {
        match &self.lost {
            Some(why) => drop(batch.reply.send(Err(RequestError::Ended(why.clone())))),
            None => self.rename(batch),
        }
    }

    fn receive(&mut self, number: usize, frame: &[u8], now: Instant) -> Result<(), Violation> {
        let pending = self.channels[number].channel.answered(frame, now)?;
        let answer = OwnedAnswer::from(Answer::read(frame, pending.expected)?);
        // Otherwise bytes for one file would be written into another.
        if let OwnedAnswer::Handle(handle) = &answer
            && !self.channels[number].handles.insert(handle.clone())
        {
            return Err(Violation("the same handle for two files"));
        }
        self.progressed = true;
        let took = now.saturating_duration_since(pending.asked);
        self.update(|server| {
            server.round_trip = Some(server.round_trip.map_or(took, |shortest| shortest.min(took)));
        });
        let (id, part) = pending.purpose;
        let Some(open) = self.open.get_mut(&id) else { return Ok(()) };
        open.left -= usize::from(open.answer[part].replace(answer).is_none());
        if open.left == 0
            && let Some(OpenBatch { answer, channel, reply, .. }) = self.open.remove(&id)
        {
            let _ = reply.send(Ok(Answers::new(answer.into_iter().flatten().collect(), channel)));
        }
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        for WriteChannel { channel, waiting, ahead, handles } in &mut self.channels {
            while channel.outbox.unsent() < AHEAD
                && let Some((id, requests)) = waiting.pop_front()
            {
                *ahead -= requests.len();
                for (part, (frame, expected)) in requests.frames().enumerate() {
                    if let Some(handle) = closed(frame) {
                        handles.remove(handle);
                    }
                    channel.pass_on(frame, expected, (id, part));
                }
            }
            channel.outbox.flush()?;
        }
        Ok(())
    }

    fn is_far(&self) -> bool {
        known(&self.server).round_trip.is_some_and(|time| time >= FAR)
    }

    /// Each thread waits for its answers, so few answers are held.
    fn is_flooded(&self, _: usize) -> bool {
        false
    }

    fn stalled(&self, now: Instant, limit: Duration) -> bool {
        self.channels.iter().any(|channel| channel.channel.stalled(now, limit))
    }

    fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    fn reset(&mut self, why: &str) {
        self.channels.clear();
        self.why = Arc::from(why);
        self.connection += 1;
        self.update(|server| server.channels = 0);
        for (_, open) in self.open.drain() {
            let _ = open.reply.send(Err(RequestError::Lost(Arc::clone(&self.why))));
        }
    }

    fn give_up(&mut self, why: &str) {
        self.lost = Some(why.to_owned());
        self.reset(why);
        for batch in self.unplaced.drain(..) {
            let _ = batch.reply.send(Err(RequestError::Ended(why.to_owned())));
        }
    }
}
