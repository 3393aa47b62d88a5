//! Holds the accepted and outstanding requests, and decides what to send next. Runs no timers.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::source::{ContentSink, SourceError, Wanted};

use crate::sftp::event_loop::Scheduler;
use crate::sftp::protocol::packet::{Answer, Offers, READ_MAX, Violation};
use crate::sftp::protocol::remote_path::child;
use crate::sftp::read::command::Command;
use crate::sftp::read::delivery::{Delivery, Fetched, LISTINGS, Listed, QUEUED};
use crate::sftp::read::file::FileRead;
use crate::sftp::read::file_context::{Again, ByteCounts, FileContext};
use crate::sftp::read::listing::{FolderListing, Going};
use crate::sftp::read::location::Location;
use crate::sftp::read::purpose::{FileStep, ListingStep, Purpose, ReadChannel};
use crate::sftp::read::query::{PendingQuery, Query};
use crate::sftp::read::rate::Pace;

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

/// Maximum outstanding READs of one large file on each channel.
const READS: usize = 16;

/// Maximum number of folders listed at once, on the longest connection.
const FOLDERS: usize = 512;

/// Maximum number of large files open at once.
const READING: usize = 64;

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
    /// Folders that continue when their sinks have taken more.
    parked: Vec<u64>,
    /// Maximum number of folders that the server lists at once.
    folders_most: usize,
    files: HashMap<u64, FileRead>,
    small_waiting: VecDeque<u64>,
    large_waiting: VecDeque<u64>,
    /// Large files that are being read.
    reading: VecDeque<u64>,
    /// For each fetch request, the number of unfinished files.
    requests: HashMap<u64, usize>,
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
            parked: Vec::new(),
            folders_most: FOLDERS,
            files: HashMap::new(),
            small_waiting: VecDeque::new(),
            large_waiting: VecDeque::new(),
            reading: VecDeque::new(),
            requests: HashMap::new(),
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

    fn fetch(
        &mut self,
        folder: &Arc<[u8]>,
        real: Option<&Arc<[u8]>>,
        files: &[Wanted],
        sink: Box<dyn ContentSink>,
    ) {
        let request = self.id();
        self.delivery.fetched(request, Fetched::Begin(sink));
        for (index, wanted) in files.iter().enumerate() {
            if let Some(lost) = self.lost() {
                self.delivery.fetched(request, Fetched::FileEnd(index, Err(lost)));
                continue;
            }
            let id = self.id();
            let path = child(folder, wanted.entry.name.to_bytes());
            let mut file = FileRead::new(id, request, index, path, wanted);
            if let Some(real) = real.filter(|_| wanted.again) {
                file.require_location(Location::new(Arc::clone(folder), Arc::clone(real)));
            }
            self.queue(id, file.is_small());
            self.files.insert(id, file);
        }
        if files.is_empty() || self.lost.is_some() {
            return self.delivery.fetched(request, Fetched::End);
        }
        self.requests.insert(request, files.len());
    }

    fn queue(&mut self, id: u64, small: bool) {
        let waiting = if small { &mut self.small_waiting } else { &mut self.large_waiting };
        waiting.push_back(id);
    }

    fn lost(&self) -> Option<SourceError> {
        self.lost.clone().map(SourceError::Lost)
    }

    fn folder_answer(&mut self, number: usize, id: u64, step: ListingStep, answer: Answer<'_>) {
        let channel = &mut self.channels[number];
        let Some(folder) = self.folders.get_mut(&id) else {
            // The listing ended before OPENDIR was answered.
            if let Answer::Handle(handle) = answer {
                channel.close(handle, Purpose::Ignored);
            }
            return;
        };
        match folder.answer(step, answer, channel, &mut self.delivery) {
            Going::On if folder.is_parked() => {
                if !self.parked.contains(&id) {
                    self.parked.push(id);
                }
            }
            Going::On => {}
            Going::Ended => {
                self.folders.remove(&id);
                self.folders_most = (self.folders_most + 1).min(FOLDERS);
                self.progressed = true;
            }
            Going::Again => {
                let out = self.folders.len().saturating_sub(self.folders_waiting.len());
                self.folders_most = (out / 2).max(1);
                channel.files_most = (channel.files / 2).max(2);
                self.folders_waiting.push_back(id);
            }
        }
    }

    fn file_answer(&mut self, number: usize, id: u64, step: FileStep, answer: Answer<'_>) {
        if let FileStep::Read { length, small: false, .. } = step {
            self.counts.asked = self.counts.asked.saturating_sub(u64::from(length));
        }
        self.progressed |= matches!(answer, Answer::Data(_));
        if !self.files.contains_key(&id) {
            if let Answer::Handle(handle) = answer {
                self.channels[number].close(handle, Purpose::Ignored);
            }
            return;
        }
        self.with_file(id, |file, context| file.answer(step, answer, context));
    }

    /// Runs one step of a file and applies the result.
    fn with_file(
        &mut self,
        id: u64,
        step: impl FnOnce(&mut FileRead, &mut FileContext<'_>) -> Result<Going, Again>,
    ) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let mut context = FileContext {
            channels: &mut self.channels,
            delivery: &mut self.delivery,
            counts: &mut self.counts,
        };
        let going = step(file, &mut context);
        if matches!(going, Ok(Going::On)) {
            return;
        }
        let Some(mut file) = self.files.remove(&id) else { return };
        self.counts.small = self.counts.small.saturating_sub(file.reserve());
        if !file.is_small() {
            self.reading.retain(|reading| *reading != id);
        }
        match going {
            Ok(_) => self.file_is_through(file.request),
            Err(Again) => {
                // Late answers still carry the old number, so the file gets a new one.
                file.id = self.id();
                self.queue(file.id, file.is_small());
                self.files.insert(file.id, file);
            }
        }
    }

    fn file_is_through(&mut self, request: u64) {
        self.progressed = true;
        let Some(left) = self.requests.get_mut(&request) else { return };
        *left -= 1;
        if *left == 0 {
            self.requests.remove(&request);
            self.delivery.fetched(request, Fetched::End);
        }
    }

    fn pump_folders(&mut self) {
        let out = self.folders.len().saturating_sub(self.folders_waiting.len());
        let most = self.by_distance(64, 9, FOLDERS).min(self.folders_most);
        let mut room = most.saturating_sub(out);
        for id in std::mem::take(&mut self.parked) {
            if let Some(folder) = self.folders.get_mut(&id) {
                let channel = &mut self.channels[folder.channel()];
                folder.read(channel, &self.delivery);
                if folder.is_parked() {
                    self.parked.push(id);
                }
            }
        }
        while room > 0
            && !self.delivery.is_full_of_listings()
            && let Some(id) = self.folders_waiting.pop_front()
        {
            room -= 1;
            let least =
                self.channels.iter_mut().enumerate().min_by_key(|(_, channel)| channel.load());
            if let (Some(folder), Some((number, channel))) = (self.folders.get_mut(&id), least) {
                folder.start(number, channel);
            }
        }
    }

    fn pump_files(&mut self) {
        if self.delivery.backlog.bytes.load(Ordering::Relaxed) >= self.queued_most {
            return;
        }
        let (small, large) = self.shares();
        while self.reading.len() < READING
            && self.counts.asked + self.counts.held < large / 4 * 3
            && let Some(id) = self.large_waiting.pop_front()
        {
            self.reading.push_back(id);
            self.start(id);
        }
        // Rotate, so that each file is first in turn.
        self.reading.rotate_left(usize::from(!self.reading.is_empty()));
        let most = READS * self.channels.len();
        for id in &self.reading {
            let room = large.saturating_sub(self.counts.asked + self.counts.held);
            if room < u64::from(READ_MAX) {
                break;
            }
            if let Some(file) = self.files.get_mut(id) {
                let (channels, delivery, counts) =
                    (&mut self.channels[..], &mut self.delivery, &mut self.counts);
                // Ranges missing from earlier answers are requested even without room.
                let pieces = usize::try_from(room / u64::from(READ_MAX)).unwrap_or(most);
                file.read(most, pieces, &mut FileContext { channels, delivery, counts });
            }
        }
        let most = self.by_distance(250, 5, 500);
        while self.counts.small < small
            && self.channels.iter().any(|channel| channel.files < most.min(channel.files_most))
            && let Some(id) = self.small_waiting.pop_front()
        {
            self.counts.small += self.files.get(&id).map_or(0, FileRead::reserve);
            self.start(id);
        }
    }

    /// Maximum bytes in flight for small files and for large files on this connection.
    fn shares(&self) -> (u64, u64) {
        let small = self.pace.bytes() * SMALL / (SMALL + LARGE);
        (small, (self.pace.bytes() - small).max(READ_MAX.into()))
    }

    /// Starts a file on the channel with the most room.
    fn start(&mut self, id: u64) {
        let room = |channel: &ReadChannel| channel.files_most.saturating_sub(channel.files);
        let channels = self.channels.iter().enumerate();
        let Some((number, _)) = channels.max_by_key(|(_, channel)| room(channel)) else { return };
        if let Some(file) = self.files.get_mut(&id) {
            let (channels, delivery, counts) =
                (&mut self.channels[..], &mut self.delivery, &mut self.counts);
            file.start(number, &mut FileContext { channels, delivery, counts });
        }
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
    type Command = Command;
    type Purpose = Purpose;

    fn add_channel(&mut self, channel: ReadChannel, offers: Offers) -> usize {
        self.channels.push(channel);
        self.statvfs = offers.statvfs;
        if self.channels.len() == 1 {
            for (id, asked) in &self.queries {
                self.channels[0].ask(asked.request(), Purpose::Query(*id));
            }
        }
        self.channels.len() - 1
    }

    fn channel(&mut self, number: usize) -> &mut ReadChannel {
        &mut self.channels[number]
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::List(path, real, sink) => {
                let id = self.id();
                self.delivery.listed(id, Listed::Begin(sink));
                if let Some(lost) = self.lost() {
                    return self.delivery.listed(id, Listed::End(Err(lost)));
                }
                self.folders.insert(id, FolderListing::new(id, path, real));
                self.folders_waiting.push_back(id);
            }
            Command::Fetch(path, at, files, sink) => self.fetch(&path, at.as_ref(), &files, sink),
            Command::Ask(asked) => self.ask(asked),
            Command::UnwantedFolder(id) => {
                let started = !self.folders_waiting.contains(&id);
                let Some(mut folder) = self.folders.remove(&id) else { return };
                self.folders_waiting.retain(|waiting| *waiting != id);
                match self.channels.get_mut(folder.channel()).filter(|_| started) {
                    Some(channel) => folder.end(Ok(()), channel, &mut self.delivery),
                    None => folder.abandon(Ok(()), &mut self.delivery),
                };
            }
            Command::UnwantedFile(request, index) => {
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
        match pending.purpose {
            Purpose::Folder(id, step) => self.folder_answer(number, id, step, answer),
            Purpose::File(id, step) => self.file_answer(number, id, step, answer),
            Purpose::Query(id) => {
                if let Some(asked) = self.queries.remove(&id) {
                    asked.answer(answer);
                }
            }
            Purpose::Ignored => {}
        }
        Ok(())
    }

    fn pump(&mut self) -> io::Result<()> {
        if !self.channels.is_empty() {
            self.pump_folders();
            self.pump_files();
        }
        self.delivery.flush();
        self.channels.iter_mut().try_for_each(ReadChannel::flush)
    }

    fn is_far(&self) -> bool {
        (FAR..UNKNOWN).contains(&self.round_trip)
    }

    fn is_flooded(&self, number: usize) -> bool {
        let channel = &self.channels[number];
        self.delivery.backlog.listings.load(Ordering::Relaxed) > LISTINGS_HARD
            || channel.load() > REQUESTS_HARD
            || channel.unsent() > UNSENT_HARD
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
            self.file_is_through(file.request);
        }
        for (_, asked) in self.queries.drain() {
            asked.reply(Err(lost()));
        }
        self.folders_waiting.clear();
        self.small_waiting.clear();
        self.large_waiting.clear();
        self.delivery.flush();
    }
}
