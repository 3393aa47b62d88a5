//! Holds what is requested and not answered, and distributes it over the channels.

mod deltas;
mod files;
mod flood;
mod listings;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use engine::SourceError;

use crate::delivery::{Delivery, ListingPart, QUEUED};
use crate::helper::protocol::copy::CopyAnswer;
use crate::helper::protocol::message::Answer;
use crate::helper::protocol::{CONNECTION, frame};
use crate::helper::read::asked::Asked;
use crate::helper::read::channel::{HelperChannel, Purpose, WRONG};
use crate::helper::read::command::{Command, PendingQuery};
use crate::helper::read::delta::{DeltaCommand, Event};
use crate::helper::read::files::FileFetch;
use crate::helper::read::folder::FolderHandle;
use crate::helper::read::listing::{ENTRIES_MAX, FolderListing};
use crate::helper::read::service::{Greeting, Helper};
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;

/// The round trip from which a host counts as far away, and the value while it is unknown.
const FAR: Duration = Duration::from_millis(10);
const UNKNOWN: Duration = Duration::from_secs(3600);

/// The size from which a file counts as a large one, bytes. It goes to the channel with the least work.
pub(super) const LARGE: u64 = 1 << 20;

/// Everything that is requested and not answered.
pub(crate) struct HelperScheduler {
    asked: Arc<Asked>,
    under_way: Option<u64>,
    channels: Vec<HelperChannel>,
    delivery: Delivery,
    next_id: u64,
    queries: HashMap<u64, PendingQuery>,
    listings: HashMap<u64, FolderListing>,
    files: HashMap<u64, FileFetch>,
    /// The thread that builds files from those of the base.
    deltas: Sender<Event>,
    /// What it asks for, as long as the far ends have too much of what is not wanted any more.
    waiting_deltas: VecDeque<DeltaCommand>,
    /// The files that are fetched in ranges and of which some are to be requested.
    divided: VecDeque<u64>,
    /// Bytes of ranges that are requested and not delivered.
    ahead: u64,
    /// Messages with names so far, and the most names in all listings.
    names: usize,
    most_names: usize,
    /// What waits for a connection.
    waiting: VecDeque<Purpose>,
    round_trip: Duration,
    progressed: bool,
    /// The own disk was behind when that was last looked at.
    was_behind: bool,
    lost: Option<String>,
    /// Whether the far end answers `Hash`.
    hashes: bool,
}

impl HelperScheduler {
    /// `under_way` limits the bytes of content that are sent ahead and that wait for the sinks.
    pub(crate) fn new(
        asked: Arc<Asked>,
        delivery: Delivery,
        deltas: Sender<Event>,
        under_way: Option<u64>,
    ) -> Self {
        Self {
            asked,
            under_way,
            channels: Vec::new(),
            delivery,
            next_id: 0,
            queries: HashMap::new(),
            listings: HashMap::new(),
            files: HashMap::new(),
            deltas,
            waiting_deltas: VecDeque::new(),
            divided: VecDeque::new(),
            ahead: 0,
            names: 0,
            most_names: ENTRIES_MAX,
            waiting: VecDeque::new(),
            round_trip: UNKNOWN,
            progressed: false,
            was_behind: false,
            lost: None,
            hashes: false,
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn lost(&self) -> Option<SourceError> {
        self.lost.clone().map(SourceError::Lost)
    }

    /// The channel for work on a folder: one that knows it, unless another one has much less to do.
    fn channel_for(&self, folder: Option<&FolderHandle>, large: bool) -> Option<usize> {
        let cost = |number: usize| {
            let channel = &self.channels[number];
            let known = folder.is_some_and(|folder| channel.knows(folder.number));
            let bonus = if known && !large { KNOWN } else { 0 };
            (channel.load().saturating_sub(bonus), !known)
        };
        (0..self.channels.len()).min_by_key(|number| cost(*number))
    }

    /// Sends the request that belongs to `purpose`, now or when there is a connection.
    fn start(&mut self, purpose: Purpose) {
        if self.channels.is_empty() {
            return self.waiting.push_back(purpose);
        }
        match purpose {
            Purpose::Query(id) => self.start_query(id),
            Purpose::Listing(id) => {
                let Some(listing) = self.listings.get(&id) else { return };
                let (folder, (request, terms)) = (Arc::clone(&listing.folder), listing.request());
                let Some(number) = self.channel_for(Some(&folder), false) else { return };
                self.channels[number].open(&folder);
                self.channels[number].agree(terms);
                let asked = self.channels[number].ask(&request, purpose);
                if let Some(listing) = self.listings.get_mut(&id) {
                    listing.asked = Some((number, asked));
                }
            }
            Purpose::File(id) => {
                if self.build(id) {
                    return;
                }
                let Some(file) = self.files.get_mut(&id) else { return };
                if file.may_be_same() && !self.hashes {
                    file.fetch_content();
                }
                let asks_hash = file.may_be_same();
                if file.is_divisible() && !asks_hash {
                    return self.divide(id);
                }
                let request = if asks_hash { file.hash_request() } else { file.request() };
                let folder = Arc::clone(&file.folder);
                let large = file.size() >= LARGE;
                let Some(number) = self.channel_for(Some(&folder), large) else { return };
                self.channels[number].open(&folder);
                let asked = self.channels[number].ask(&request, purpose);
                if let Some(file) = self.files.get_mut(&id) {
                    file.asked = Some((number, asked));
                }
            }
            Purpose::Opening | Purpose::Range(_) | Purpose::Unwanted => {}
        }
    }

    fn start_query(&mut self, id: u64) {
        let purpose = Purpose::Query(id);
        let Some(asked) = self.queries.get(&id) else { return };
        let folder = asked.query.folder();
        let Some(number) = self.channel_for(folder.map(AsRef::as_ref), false) else { return };
        let channel = &mut self.channels[number];
        if let Some(folder) = folder {
            channel.open(folder);
        }
        let request = asked.query.request();
        match asked.query.opens() {
            Some(folder) => channel.ask_root(folder, &request, purpose),
            None => drop(channel.ask(&request, purpose)),
        }
    }

    /// Processes an answer to the query `id`; returns whether it is the last one.
    fn query_answer(&mut self, id: u64, answer: Answer) -> Result<bool, Violation> {
        let asked = self.queries.get(&id).ok_or(WRONG)?;
        let is_last = asked.query.is_last(&answer).ok_or(WRONG)?;
        if is_last && let Some(asked) = self.queries.remove(&id) {
            asked.reply(Ok(answer));
        }
        Ok(is_last)
    }
}

/// By how many requests a channel that knows the folder may be busier than the others.
const KNOWN: usize = 16;

pub(super) const BAD_META: Violation = Violation("metadata that no entry has");

#[cfg(test)]
impl HelperScheduler {
    /// Bytes that wait for the sinks and for the thread that builds files.
    pub(crate) fn waits(&self) -> usize {
        let waits = &self.delivery.backlog;
        let all = [&waits.listings, &waits.bytes, &waits.events];
        all.map(|bytes| bytes.load(Ordering::Relaxed)).iter().sum()
    }
}

impl Scheduler for HelperScheduler {
    type Service = Helper;
    type Command = Command;

    fn add_channel(&mut self, outbox: Outbox, greeting: Greeting, _: bool) -> usize {
        self.hashes = greeting.hashes;
        self.channels.push(HelperChannel::new(outbox, self.under_way));
        for purpose in std::mem::take(&mut self.waiting) {
            self.start(purpose);
        }
        self.channels.len() - 1
    }

    fn outbox(&mut self, number: usize) -> &mut Outbox {
        &mut self.channels[number].outbox
    }

    fn heard(&mut self, number: usize, now: Instant) {
        self.channels[number].heard(now);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::List(folder, awaited, sink) => {
                let id = self.id();
                self.delivery.listed(id, ListingPart::Begin(sink));
                if let Some(lost) = self.lost() {
                    return self.delivery.listed(id, ListingPart::End(Err(lost)));
                }
                self.listings.insert(id, FolderListing::new(folder, awaited));
                self.start(Purpose::Listing(id));
            }
            Command::Fetch(folder, files, sink) => self.fetch(&folder, files, sink),
            Command::Ask(asked) => {
                if let Some(lost) = self.lost() {
                    return asked.reply(Err(lost));
                }
                let id = self.id();
                self.queries.insert(id, asked);
                self.start(Purpose::Query(id));
            }
            Command::Unwanted(unwanted) => self.cancel(unwanted),
            Command::Delta(command) => self.delta_command(command),
            Command::Forget(folder) => {
                self.channels.iter_mut().for_each(|channel| channel.forget(folder));
            }
        }
    }

    fn receive(&mut self, number: usize, frame: &[u8], now: Instant) -> Result<(), Violation> {
        let not_understood = |_| Violation("a message that is not understood");
        let (request, answer, content) = frame::read(frame).map_err(not_understood)?;
        if !content.is_empty() && !matches!(answer, Answer::Data | Answer::Part(_)) {
            return Err(Violation("bytes behind a message"));
        }
        if request == CONNECTION {
            return Err(Violation("an answer to no request"));
        }
        let (purpose, asked) = self.channels[number].purpose(request)?;
        self.round_trip = self.round_trip.min(now.saturating_duration_since(asked));
        let bytes = frame.len() + size_of::<u32>();
        let is_last = match purpose {
            Purpose::Query(id) => self.query_answer(id, answer)?,
            Purpose::Listing(id) => self.listing_answer(number, id, answer, bytes)?,
            Purpose::File(id) => self.file_answer(number, id, answer, (content, bytes))?,
            Purpose::Range(id) => self.range_answer((number, request), id, answer, content)?,
            Purpose::Opening => match answer {
                Answer::Root(_) => true,
                Answer::Copy(CopyAnswer::Working) => false,
                _ => return Err(WRONG),
            },
            Purpose::Unwanted => {
                self.channels[number].dropped(request, &answer, (content.len(), bytes))?
            }
        };
        if is_last {
            self.channels[number].answered(request);
            // A root is opened again on each connection.
            // Nor is what is kept of a range until what precedes it arrives: it is lost with the connection.
            self.progressed |=
                matches!(purpose, Purpose::Query(_) | Purpose::Listing(_) | Purpose::File(_));
        }
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        self.excuse_silence();
        self.pump_deltas();
        self.delivery.flush();
        let most = self.under_way.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(QUEUED);
        let waiting = self.delivery.backlog.bytes.load(Ordering::Relaxed);
        let contents = waiting < most.min(QUEUED);
        let listings = !self.delivery.is_full_of_listings();
        if contents {
            self.pump_ranges();
        }
        for channel in &mut self.channels {
            channel.grant(listings, contents);
            channel.flush()?;
        }
        Ok(())
    }

    fn is_far(&self) -> bool {
        (FAR..UNKNOWN).contains(&self.round_trip)
    }

    fn is_flooded(&self, _: usize) -> bool {
        self.has_too_much()
    }

    fn stalled(&self, now: Instant, limit: Duration) -> bool {
        !self.may_have_missed() && self.channels.iter().any(|channel| channel.stalled(now, limit))
    }

    fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    fn reset(&mut self, _: &str) {
        self.channels.clear();
        self.waiting.clear();
        self.waiting_deltas.clear();
        self.listings.values_mut().for_each(FolderListing::interrupted);
        self.files.retain(|_, file| file.forget_requests());
        (self.divided, self.ahead) = (VecDeque::new(), 0);
        let queries = self.queries.keys().map(|id| Purpose::Query(*id));
        let listings = self.listings.keys().map(|id| Purpose::Listing(*id));
        let files = self.files.keys().map(|id| Purpose::File(*id));
        let mut waiting: Vec<_> = queries.chain(listings).chain(files).collect();
        waiting.sort_unstable_by_key(|purpose| match purpose {
            Purpose::Query(id) | Purpose::Listing(id) | Purpose::File(id) => *id,
            Purpose::Opening | Purpose::Range(_) | Purpose::Unwanted => 0,
        });
        self.waiting = waiting.into();
    }

    fn give_up(&mut self, why: &str) {
        self.reset(why);
        self.waiting.clear();
        self.lost = Some(why.to_owned());
        let lost = || SourceError::Lost(why.to_owned());
        for (id, _) in std::mem::take(&mut self.listings) {
            self.delivery.listed(id, ListingPart::End(Err(lost())));
        }
        for (id, file) in std::mem::take(&mut self.files) {
            match file.delta {
                Some(_) => self.event(Event::Ended(id, (file.request, file.index), Err(lost()))),
                None => self.file_end(&file, Err(lost())),
            }
        }
        for (_, asked) in self.queries.drain() {
            asked.reply(Err(lost()));
        }
        self.delivery.flush();
    }
}
