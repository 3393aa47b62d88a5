//! Distributes request batches over the channels, decides when to send them, and returns the answers to the
//! waiting threads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::threads::lock::lock;

use crate::sftp::event_loop::Talker;
use crate::sftp::protocol::channel::Channel;
use crate::sftp::protocol::packet::{Answer, Offers, Violation, closed};
use crate::sftp::write::link::error::Fault;
use crate::sftp::write::link::request_batch::{
    Answers, Lane, OwnedAnswer, RequestBatch, Requests, Via,
};

/// Maximum bytes framed ahead for a channel's pipe.
const AHEAD: usize = 1 << 20;

/// The round trip from which a host counts as far away.
const FAR: Duration = Duration::from_millis(10);

/// What is known about the server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Server {
    pub(crate) offers: Offers,
    /// Number of open channels.
    pub(crate) lanes: usize,
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
pub(crate) struct Carrier {
    lanes: Vec<WriteChannel>,
    connection: u64,
    server: Known,
    /// Batches that wait for a channel.
    unplaced: VecDeque<RequestBatch>,
    open: HashMap<u64, Open>,
    next: u64,
    progressed: bool,
    /// Why the previous connection was lost.
    why: Arc<str>,
    /// Why there will be no further connection.
    lost: Option<String>,
}

/// A channel and the batches that wait for it.
struct WriteChannel {
    line: Channel<(u64, usize)>,
    waiting: VecDeque<(u64, Arc<Requests>)>,
    /// Number of requests in the waiting batches.
    ahead: usize,
    /// Handles that the server returned and for which no CLOSE was sent.
    handles: HashSet<Box<[u8]>>,
}

/// A batch that is being answered.
struct Open {
    told: Vec<Option<OwnedAnswer>>,
    left: usize,
    lane: Lane,
    reply: SyncSender<Result<Answers, Fault>>,
}

impl Carrier {
    pub(crate) fn new(server: Known) -> Self {
        Self {
            lanes: Vec::new(),
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

    fn place(&mut self, parcel: RequestBatch) {
        let lanes = self.lanes.len();
        let number = match parcel.via {
            Via::Same(lane) if lane.connection != self.connection || lane.number >= lanes => {
                // The waiting thread may have ended; the same applies below.
                let _ = parcel.reply.send(Err(Fault::Lost(Arc::clone(&self.why))));
                return;
            }
            _ if lanes == 0 => return self.unplaced.push_back(parcel),
            Via::Same(lane) => lane.number,
            Via::Nth(number) => number % lanes,
            Via::Any => {
                let load =
                    |number: &usize| self.lanes[*number].line.load() + self.lanes[*number].ahead;
                (0..lanes).min_by_key(load).unwrap_or_default()
            }
        };
        let RequestBatch { requests, reply, .. } = parcel;
        let lane = Lane { connection: self.connection, number };
        if requests.len() == 0 {
            // An empty batch gets no answer from the server.
            let _ = reply.send(Ok(Answers::new(Vec::new(), lane)));
            return;
        }
        self.next += 1;
        let (told, left) = (vec![None; requests.len()], requests.len());
        self.open.insert(self.next, Open { told, left, lane, reply });
        self.lanes[number].ahead += requests.len();
        self.lanes[number].waiting.push_back((self.next, requests));
    }
}

impl Talker for Carrier {
    type Command = RequestBatch;
    /// The batch, and the index of the request in it.
    type Purpose = (u64, usize);

    fn add_line(&mut self, line: Channel<Self::Purpose>, offers: Offers) -> usize {
        let (waiting, handles) = (VecDeque::new(), HashSet::new());
        self.lanes.push(WriteChannel { line, waiting, ahead: 0, handles });
        let lanes = self.lanes.len();
        self.update(|server| (server.offers, server.lanes) = (offers, lanes));
        for parcel in std::mem::take(&mut self.unplaced) {
            self.place(parcel);
        }
        lanes - 1
    }

    fn line(&mut self, number: usize) -> &mut Channel<Self::Purpose> {
        &mut self.lanes[number].line
    }

    fn command(&mut self, parcel: RequestBatch) {
        match &self.lost {
            Some(why) => drop(parcel.reply.send(Err(Fault::Ended(why.clone())))),
            None => self.place(parcel),
        }
    }

    fn receive(&mut self, number: usize, frame: &[u8], now: Instant) -> Result<(), Violation> {
        let pending = self.lanes[number].line.answered(frame, now)?;
        let told = OwnedAnswer::from(Answer::read(frame, pending.expected)?);
        // Otherwise bytes for one file would be written into another.
        if let OwnedAnswer::Handle(handle) = &told
            && !self.lanes[number].handles.insert(handle.clone())
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
        open.left -= usize::from(open.told[part].replace(told).is_none());
        if open.left == 0
            && let Some(Open { told, lane, reply, .. }) = self.open.remove(&id)
        {
            let _ = reply.send(Ok(Answers::new(told.into_iter().flatten().collect(), lane)));
        }
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        for WriteChannel { line, waiting, ahead, handles } in &mut self.lanes {
            while line.unsent() < AHEAD
                && let Some((id, requests)) = waiting.pop_front()
            {
                *ahead -= requests.len();
                for (part, (frame, expected)) in requests.frames().enumerate() {
                    if let Some(handle) = closed(frame) {
                        handles.remove(handle);
                    }
                    line.pass_on(frame, expected, (id, part));
                }
            }
            line.flush()?;
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
        self.lanes.iter().any(|lane| lane.line.stalled(now, limit))
    }

    fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    fn reset(&mut self, why: &str) {
        self.lanes.clear();
        self.why = Arc::from(why);
        self.connection += 1;
        self.update(|server| server.lanes = 0);
        for (_, open) in self.open.drain() {
            let _ = open.reply.send(Err(Fault::Lost(Arc::clone(&self.why))));
        }
    }

    fn give_up(&mut self, why: &str) {
        self.lost = Some(why.to_owned());
        self.reset(why);
        for parcel in self.unplaced.drain(..) {
            let _ = parcel.reply.send(Err(Fault::Ended(why.to_owned())));
        }
    }
}
