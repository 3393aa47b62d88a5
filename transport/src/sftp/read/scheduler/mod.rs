//! Holds the accepted and outstanding requests, and decides what to send next. Runs no timers.

#[cfg(test)]
mod bench;
pub(crate) mod files;
pub(crate) mod folders;
pub(crate) mod open_again;
pub(crate) mod rate;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::SourceError;

use crate::delivery::{Delivery, LISTINGS, ListingPart, QUEUED, Unwanted};
use crate::sftp::protocol::packet::{Answer, Offers};
use crate::sftp::protocol::service::Sftp;
use crate::sftp::read::command::Command;
use crate::sftp::read::file::FileRead;
use crate::sftp::read::file::context::ByteCounts;
use crate::sftp::read::handle_limit::HandleLimit;
use crate::sftp::read::listing::FolderListing;
use crate::sftp::read::purpose::{FileStep, Purpose, ReadChannel};
use crate::sftp::read::query::{PendingQuery, Query};
use crate::sftp::read::scheduler::rate::Pace;
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;

/// Maximum bytes in flight for small files and for large files, and bytes that may wait for the sinks.
/// Together with what the pipes hold, they stay below 96 MiB.
pub(crate) const SMALL: u64 = 24 << 20;
pub(crate) const LARGE: u64 = 40 << 20;

/// Maximum bytes of listings that may wait for the sinks before the thread stops reading from the server.
/// Everything that a correct server still sends after the last request fits below it.
const LISTINGS_HARD: usize = 3 * LISTINGS;

/// Maximum outstanding requests and unsent bytes on one channel. No correct server leads to more.
const REQUESTS_HARD: usize = 64 * 1024;
const UNSENT_HARD: usize = 4 << 20;

/// Maximum number of folders listed at once, on the longest connection.
const FOLDERS: usize = 512;

/// The round trip from which a host counts as far away, and the value while it is unknown.
const FAR: Duration = Duration::from_millis(10);
const UNKNOWN: Duration = Duration::from_secs(3600);

/// Everything that is requested and not answered.
pub(crate) struct ReadScheduler {
    channels: Vec<ReadChannel>,
    delivery: Delivery,
    counts: ByteCounts,
    next_id: u64,
    folders: HashMap<u64, FolderListing>,
    folders_waiting: VecDeque<u64>,
    /// Folders and files that the server refused, perhaps because too many were open, and those of them that
    /// are being opened again.
    folders_again: VecDeque<u64>,
    files_again: VecDeque<u64>,
    opened_again: HashSet<u64>,
    handles: HandleLimit,
    /// Folders that continue when their sinks have taken more.
    parked: Vec<u64>,
    files: HashMap<u64, FileRead>,
    small_waiting: VecDeque<u64>,
    large_waiting: VecDeque<u64>,
    /// Large files that are being read.
    reading: VecDeque<u64>,
    queries: HashMap<u64, PendingQuery>,
    statvfs: bool,
    /// The shortest time to an answer.
    round_trip: Duration,
    pace: Pace,
    /// Maximum bytes that may wait for the sinks before no more are requested.
    queued_most: usize,
    progressed: bool,
    lost: Option<String>,
}

impl ReadScheduler {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self {
            channels: Vec::new(),
            delivery,
            counts: ByteCounts::default(),
            next_id: 0,
            folders: HashMap::new(),
            folders_waiting: VecDeque::new(),
            folders_again: VecDeque::new(),
            files_again: VecDeque::new(),
            opened_again: HashSet::new(),
            handles: HandleLimit::default(),
            parked: Vec::new(),
            files: HashMap::new(),
            small_waiting: VecDeque::new(),
            large_waiting: VecDeque::new(),
            reading: VecDeque::new(),
            queries: HashMap::new(),
            statvfs: false,
            round_trip: UNKNOWN,
            pace: Pace::new(SMALL + LARGE),
            queued_most: QUEUED,
            progressed: false,
            lost: None,
        }
    }

    /// Limits the requested bytes of content. A single request may exceed the limit.
    pub(crate) fn limited(self, under_way: Option<u64>) -> Self {
        let Some(most) = under_way else { return self };
        let queued_most = usize::try_from(most).unwrap_or(QUEUED).min(QUEUED);
        Self { pace: Pace::new(most.min(SMALL + LARGE)), queued_most, ..self }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Sends all queries on one channel, so that the server answers them in this order.
    fn ask(&mut self, asked: Vec<PendingQuery>) {
        let channels = self.channels.iter().enumerate();
        let channel = channels.min_by_key(|(_, channel)| channel.load()).map(|(number, _)| number);
        for asked in asked {
            self.ask_on(channel, asked);
        }
    }

    fn ask_on(&mut self, channel: Option<usize>, asked: PendingQuery) {
        if let Some(lost) = self.lost() {
            return asked.reply(Err(lost));
        }
        if matches!(asked.query, Query::FileSystem(_)) && !self.statvfs {
            return asked.reply(Err(SourceError::Vanished));
        }
        let id = self.id();
        if let Some(channel) = channel {
            self.channels[channel].ask(asked.request(), Purpose::Query(id));
        }
        self.queries.insert(id, asked);
    }

    fn lost(&self) -> Option<SourceError> {
        self.lost.clone().map(SourceError::Lost)
    }

    /// Returns `near` plus `more` for each millisecond of round trip, at most `far`.
    fn by_distance(&self, near: usize, more: usize, far: usize) -> usize {
        let known = Some(self.round_trip).filter(|time| *time < UNKNOWN).unwrap_or_default();
        let millis = usize::try_from(known.as_millis()).unwrap_or(far);
        millis.saturating_mul(more).saturating_add(near).min(far)
    }

    /// Bytes received out of order.
    #[cfg(test)]
    pub(crate) fn held(&self) -> u64 {
        self.counts.held
    }
}

impl Scheduler for ReadScheduler {
    type Service = Sftp;
    type Command = Command;

    fn add_channel(&mut self, outbox: Outbox, offers: Offers, _: bool) -> usize {
        self.channels.push(ReadChannel::new(outbox));
        self.statvfs = offers.statvfs;
        if self.channels.len() == 1 {
            for (id, asked) in &self.queries {
                self.channels[0].ask(asked.request(), Purpose::Query(*id));
            }
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
            Command::List(path, real, sink) => {
                let id = self.id();
                self.delivery.listed(id, ListingPart::Begin(sink));
                if let Some(lost) = self.lost() {
                    return self.delivery.listed(id, ListingPart::End(Err(lost)));
                }
                self.folders.insert(id, FolderListing::new(id, path, real));
                self.folders_waiting.push_back(id);
            }
            Command::Fetch(path, at, files, sink) => self.fetch(&path, at.as_ref(), &files, sink),
            Command::Ask(asked) => self.ask(asked),
            Command::Unwanted(Unwanted::Folder(id)) => {
                let queues = [&mut self.folders_waiting, &mut self.folders_again];
                let started = queues.iter().all(|queue| !queue.contains(&id));
                let Some(mut folder) = self.folders.remove(&id) else { return };
                queues.into_iter().for_each(|queue| queue.retain(|waiting| *waiting != id));
                self.opened_again.remove(&id);
                match self.channels.get_mut(folder.channel()).filter(|_| started) {
                    Some(channel) => folder.end(Ok(()), channel, &mut self.delivery),
                    None => folder.abandon(Ok(()), &mut self.delivery),
                };
            }
            Command::Unwanted(Unwanted::File(request, index)) => {
                let fits = |file: &FileRead| file.request == request && file.index() == index;
                let Some(id) = self.files.values().find(|file| fits(file)).map(|file| file.id)
                else {
                    return;
                };
                self.with_file(id, |file, context| Ok(file.cut(context)));
            }
        }
    }

    fn receive(&mut self, number: usize, frame: &[u8], now: Instant) -> Result<(), Violation> {
        let pending = self.channels[number].answered(frame, now)?;
        self.round_trip = self.round_trip.min(now.saturating_duration_since(pending.asked));
        if let Purpose::File(_, FileStep::Read { length, .. }) = &pending.purpose {
            self.pace.answered(u64::from(*length), pending.asked, now);
        }
        let answer = Answer::read(frame, pending.expected)?;
        self.count_handles(number, &pending.purpose, &answer);
        match pending.purpose {
            Purpose::Folder(id, step) => self.folder_answer(number, id, step, answer),
            Purpose::File(id, step) => self.file_answer(number, id, step, answer),
            Purpose::Query(id) => {
                if let Some(asked) = self.queries.remove(&id) {
                    asked.answer(answer);
                }
            }
            Purpose::Close(kind) => self.channels[number].closed(kind),
        }
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        if !self.channels.is_empty() {
            self.pump_again();
            self.pump_folders();
            self.pump_files();
        }
        self.delivery.flush();
        self.channels.iter_mut().try_for_each(|channel| channel.outbox.flush())
    }

    fn is_far(&self) -> bool {
        (FAR..UNKNOWN).contains(&self.round_trip)
    }

    fn is_flooded(&self, number: usize) -> bool {
        let channel = &self.channels[number];
        self.delivery.backlog.listings.load(Ordering::Relaxed) > LISTINGS_HARD
            || channel.load() > REQUESTS_HARD
            || channel.outbox.unsent() > UNSENT_HARD
    }

    fn stalled(&self, now: Instant, limit: Duration) -> bool {
        self.channels.iter().any(|channel| channel.stalled(now, limit))
    }

    fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Called when the connection is lost: everything that was started goes to the front of the queue.
    fn reset(&mut self, _: &str) {
        self.channels.clear();
        self.handles = HandleLimit::default();
        self.forget_again();
        let mut folders: Vec<u64> = self.folders.keys().copied().collect();
        folders.sort_unstable();
        self.folders.values_mut().for_each(FolderListing::reset);
        self.delivery.unproven = 0;
        self.folders_waiting = folders.into();
        self.parked.clear();
        let mut files: Vec<u64> = self.files.keys().copied().collect();
        files.sort_unstable();
        self.small_waiting.clear();
        self.large_waiting.clear();
        self.reading.clear();
        for id in files {
            if let Some(file) = self.files.get_mut(&id) {
                file.reset(&mut self.counts);
                let small = file.is_small();
                self.queue(id, small);
            }
        }
        self.counts = ByteCounts::default();
    }

    /// Called when there will be no further connection.
    fn give_up(&mut self, why: &str) {
        self.reset(why);
        let lost = || SourceError::Lost(why.to_owned());
        self.lost = Some(why.to_owned());
        for (_, mut folder) in self.folders.drain() {
            folder.abandon(Err(lost()), &mut self.delivery);
        }
        for (_, mut file) in std::mem::take(&mut self.files) {
            file.abandon(Err(lost()), &mut self.delivery);
        }
        for (_, asked) in self.queries.drain() {
            asked.reply(Err(lost()));
        }
        self.folders_waiting.clear();
        self.small_waiting.clear();
        self.large_waiting.clear();
        self.forget_again();
        self.delivery.flush();
    }
}
