//! Lists one folder: OPENDIR, READDIR ahead of the answers, READLINK for the symlinks among the entries.

pub(crate) mod unproven_entries;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use engine::SourceError;
use engine::entry::{BadName, Batch, Extra, Kind, Meta, check_name};

use crate::delivery::{Delivery, LISTINGS, ListingPart, shown_name};
use crate::sftp::protocol::attributes::{meta, refusal, storable, target, undescribed};
use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::{Answer, Attrs, Request, StatusCode};
use crate::sftp::protocol::remote_path::child;
use crate::sftp::read::handle_limit::{HandleLimit, Others, Refusals};
use crate::sftp::read::listing::unproven_entries::UnprovenEntries;
use crate::sftp::read::location::Location;
use crate::sftp::read::purpose::{ListingStep, Purpose, ReadChannel, StepOutcome};

/// Maximum number of entries in a folder. Above it, a server that sends names without end is more likely. The
/// hashes of this many names fit into 40 MiB, here and again in the engine.
const ENTRIES_MAX: u64 = 3_600_000;

/// Maximum number of consecutive answers without a new name.
const NOTHING_NEW_MAX: u32 = 1000;

/// Maximum path length for which the listing of a folder is complete. For READDIR a server calls lstat on
/// each entry by path. OpenSSH silently skips entries for which that fails, as it does from 4,096 bytes on
/// (path_resolution(7)).
const DEEPEST: usize = 4095 - 1 - 255;

/// Maximum number of impossible names reported for one folder. A correct server sends none.
const BAD_NAMES_MAX: u32 = 100;

/// Maximum number of outstanding READDIR requests in a folder with many entries.
const AHEAD: usize = 16;

/// An answer with at least this many names suggests that more follow. OpenSSH sends 100 at once.
const MANY: usize = 90;

/// With at least this many outstanding requests on a channel, nothing is requested ahead on it.
const BUSY: usize = 256;

/// With at least this many unsent bytes on a channel, requests for single entries wait. Otherwise requests
/// for all symlinks of many folders, with the longest possible paths, could cause a deadlock: the server
/// waits until we read its answers while we wait until it reads our requests.
const UNSENT: usize = 1 << 20;

/// Maximum bytes of listings that the server may send, over all folders, without the real paths of the
/// folders. A correct server sends less than this for all outstanding requests.
const UNPROVEN_MAX: usize = 48 << 20;

/// In folders nested deeper than this, the server is asked only once for the real path. For REALPATH, OpenSSH
/// checks each folder of a path by its path from the root: half a million steps at a depth of a thousand.
const SHALLOW: usize = 64;

/// A folder that is being listed.
pub(crate) struct FolderListing {
    id: u64,
    path: Arc<[u8]>,
    shallow: bool,
    channel: usize,
    handle: Option<Box<[u8]>>,
    /// Whether it is confirmed to be a folder. OPENDIR follows symlinks.
    checked: bool,
    /// Checked before and after OPENDIR, and around READDIR, for which servers look up each entry by path.
    location: Option<Location>,
    /// Number of unanswered READDIR requests, and their limit.
    reads: usize,
    ahead: usize,
    /// Number of unanswered requests for single entries, and the entries that still have to be requested.
    looks: usize,
    waiting: VecDeque<ListingStep>,
    at_end: bool,
    /// Whether `.` in it was looked up because the listing was empty.
    looked_into: bool,
    /// Entries received since the server last reported the folder's real path.
    unproven: UnprovenEntries,
    seen: u64,
    nothing_new: u32,
    bad_names: u32,
    /// Other handles that may have been open when OPENDIR was sent.
    beside: Others,
    /// How often OPENDIR was refused, and whether it must be tried again.
    refusals: Refusals,
    again: bool,
}

impl FolderListing {
    pub(crate) fn new(id: u64, path: Arc<[u8]>, real: Option<Arc<[u8]>>) -> Self {
        Self {
            id,
            location: real.map(|real| Location::new(Arc::clone(&path), real)),
            shallow: path.iter().filter(|byte| **byte == b'/').count() <= SHALLOW,
            path,
            channel: 0,
            handle: None,
            checked: false,
            reads: 0,
            ahead: 2,
            looks: 0,
            waiting: VecDeque::new(),
            at_end: false,
            looked_into: false,
            unproven: UnprovenEntries::default(),
            seen: 0,
            nothing_new: 0,
            bad_names: 0,
            beside: Others::default(),
            refusals: Refusals::default(),
            again: false,
        }
    }

    /// The channel on which it is listed.
    pub(crate) fn channel(&self) -> usize {
        self.channel
    }

    /// Starts the listing, or starts it again after a lost connection.
    pub(crate) fn start(&mut self, number: usize, channels: &mut [ReadChannel]) {
        self.channel = number;
        self.beside = Others::at_most(channels, number, HandleKind::Folder);
        let channel = &mut channels[number];
        self.ask_for_location_if_shallow(channel);
        channel.ask(Request::OpenDir(&self.path), Purpose::Folder(self.id, ListingStep::Open));
        channel.ask(Request::LStat(&self.path), Purpose::Folder(self.id, ListingStep::Check));
        self.ask_for_location(channel);
    }

    /// Requests the real path before and after a request by the folder's path, unless the folder is too deep.
    fn ask_for_location_if_shallow(&mut self, channel: &mut ReadChannel) {
        if self.shallow {
            self.ask_for_location(channel);
        }
    }

    fn ask_for_location(&mut self, channel: &mut ReadChannel) {
        if let Some(location) = &mut self.location {
            channel.ask(location.query(), Purpose::Folder(self.id, ListingStep::Real));
        }
    }

    /// Whether every location check so far was answered without a mismatch.
    fn is_location_confirmed(&self) -> bool {
        self.location.as_ref().is_none_or(Location::is_known)
    }

    /// Discards the state that is invalid after a lost connection.
    pub(crate) fn reset(&mut self) {
        (self.handle, self.checked, self.at_end) = (None, false, false);
        self.location.iter_mut().for_each(Location::reset);
        (self.reads, self.looks, self.ahead) = (0, 0, 2);
        self.waiting.clear();
        (self.seen, self.nothing_new, self.bad_names, self.again) = (0, 0, 0, false);
        self.looked_into = false;
        // Unproven entries are listed again.
        self.unproven.forget();
    }

    /// Learns from a refused OPENDIR. `others`: the handles that may be open now.
    pub(crate) fn refused(
        &mut self,
        status: StatusCode,
        others: Others,
        handles: &mut HandleLimit,
    ) {
        let others = others.max(self.beside);
        self.again = status != StatusCode::NoSuchFile
            && handles.refused(HandleKind::Folder, status, others, &mut self.refusals);
    }

    /// Processes an answer.
    pub(crate) fn answer(
        &mut self,
        step: ListingStep,
        answer: Answer<'_>,
        channel: &mut ReadChannel,
        delivery: &mut Delivery,
    ) -> StepOutcome {
        match self.step(step, answer, delivery) {
            Ok(()) => {
                self.read(channel, delivery);
                self.settle(channel, delivery)
            }
            Err(error) => self.end(Err(error), channel, delivery),
        }
    }

    /// Ends the listing and delivers the entries found so far.
    pub(crate) fn end(
        &mut self,
        result: Result<(), SourceError>,
        channel: &mut ReadChannel,
        delivery: &mut Delivery,
    ) -> StepOutcome {
        if let Some(handle) = self.handle.take() {
            channel.close(HandleKind::Folder, &handle, Purpose::Close(HandleKind::Folder));
        }
        if result.is_err() && !self.is_location_confirmed() {
            drop(self.take_unproven(delivery));
        }
        self.abandon(result, delivery)
    }

    /// Ends the listing when there is no connection any more.
    pub(crate) fn abandon(
        &mut self,
        result: Result<(), SourceError>,
        delivery: &mut Delivery,
    ) -> StepOutcome {
        self.deliver_unproven(delivery);
        delivery.listed(self.id, ListingPart::End(result));
        StepOutcome::Ended
    }

    fn step(
        &mut self,
        step: ListingStep,
        answer: Answer<'_>,
        delivery: &mut Delivery,
    ) -> Result<(), SourceError> {
        match (step, answer) {
            (ListingStep::Open, Answer::Handle(handle)) => {
                self.handle = Some(handle.into());
            }
            (ListingStep::Check, Answer::Attrs(attrs)) => match meta(attrs) {
                Some(meta) if meta.kind == Kind::Folder => self.checked = true,
                Some(_) => return Err(SourceError::Replaced),
                None => return Err(undescribed()),
            },
            (ListingStep::Real, answer) => {
                let there =
                    self.location.as_mut().map_or(Ok(()), |location| location.answer(&answer));
                // The entries received since the last location check may belong to another folder.
                there.inspect_err(|_| drop(self.take_unproven(delivery)))?;
                if self.unproven.are_many() || delivery.unproven >= LISTINGS / 2 {
                    self.deliver_unproven(delivery);
                }
            }
            (ListingStep::Open, Answer::Status(..)) if self.again => {}
            (ListingStep::Open | ListingStep::Check, Answer::Status(status, said)) => {
                return Err(refusal("list", status, said));
            }
            (ListingStep::Read, Answer::Names(names)) => {
                self.reads -= 1;
                // For most folders, the one outstanding READDIR already reports the end.
                self.ahead = if names.len() < MANY { 1 } else { (self.ahead * 2).min(AHEAD) };
                self.names(names, delivery)?;
            }
            (ListingStep::Read, Answer::Status(StatusCode::Eof, _)) => {
                self.reads -= 1;
                self.at_end = true;
            }
            // The first error ends the listing: the server would repeat it forever.
            (ListingStep::Read, Answer::Status(status, said)) => {
                return Err(refusal("list", status, said));
            }
            (ListingStep::Look(name), Answer::Attrs(attrs)) => {
                self.looks -= 1;
                match meta(attrs) {
                    Some(meta) => self.described(&name, meta, delivery),
                    None => self.unreadable(&name, undescribed(), delivery),
                }
            }
            (ListingStep::Look(name), Answer::Status(status, said)) => {
                self.looks -= 1;
                self.unreadable(&name, refusal("look at", status, said), delivery);
            }
            // A server with virtual folders may not know `.` in them.
            (ListingStep::Inside, Answer::Attrs(_) | Answer::Status(StatusCode::NoSuchFile, _)) => {
                self.looks -= 1;
            }
            (ListingStep::Inside, Answer::Status(status, said)) => {
                return Err(refusal("look into", status, said));
            }
            (ListingStep::Link(entry), answer) => {
                self.looks -= 1;
                let (name, mut meta) = *entry;
                let found = match answer {
                    Answer::Names(names) => {
                        names.first().map_or_else(|| Err(undescribed()), |(bytes, _)| target(bytes))
                    }
                    Answer::Status(status, said) => Err(refusal("read the symlink", status, said)),
                    _ => Err(undescribed()),
                };
                match found {
                    Ok(target) => {
                        meta.size = target.len() as u64;
                        let extra = Extra { target: Some(target), ..Extra::default() };
                        self.add_entry(&name, meta, Some(Box::new(extra)), delivery);
                    }
                    Err(error) => self.unreadable(&name, error, delivery),
                }
            }
            _ => return Err(undescribed()),
        }
        Ok(())
    }

    /// Whether the listing waits until its sink has taken the delivered entries, or until its channel has
    /// sent its requests. [`Folder::read`] continues it.
    pub(crate) fn is_parked(&self) -> bool {
        let unread = self.reads == 0 && !self.at_end;
        self.handle.is_some() && self.looks == 0 && (unread || !self.waiting.is_empty())
    }

    /// Sends the waiting requests, and requests more entries unless too many wait for the sinks.
    pub(crate) fn read(&mut self, channel: &mut ReadChannel, delivery: &Delivery) {
        self.look(channel);
        let Some(handle) = &self.handle else { return };
        if delivery.is_full_of_listings() || !self.waiting.is_empty() {
            return;
        }
        let handle = handle.clone();
        let more = |this: &Self, channel: &ReadChannel| {
            // On a busy channel, a folder sends its next READDIR only after the previous one is answered.
            !this.at_end && this.reads < this.ahead && (this.reads == 0 || channel.load() < BUSY)
        };
        if !more(self, channel) {
            return;
        }
        self.ask_for_location_if_shallow(channel);
        while more(self, channel) {
            channel.ask(Request::ReadDir(&handle), Purpose::Folder(self.id, ListingStep::Read));
            self.reads += 1;
        }
        self.ask_for_location_if_shallow(channel);
    }

    /// Requests single entries while the channel has room.
    fn look(&mut self, channel: &mut ReadChannel) {
        if self.waiting.is_empty() || channel.outbox.unsent() >= UNSENT {
            return;
        }
        self.ask_for_location_if_shallow(channel);
        while channel.outbox.unsent() < UNSENT
            && let Some(step) = self.waiting.pop_front()
        {
            match &step {
                ListingStep::Link(entry) => {
                    let path = self.child(&entry.0);
                    channel.ask(Request::ReadLink(&path), Purpose::Folder(self.id, step));
                }
                ListingStep::Look(name) => {
                    let path = self.child(name);
                    channel.ask(Request::LStat(&path), Purpose::Folder(self.id, step));
                }
                // No other step is ever queued here.
                _ => continue,
            }
            self.looks += 1;
        }
        self.ask_for_location_if_shallow(channel);
    }

    fn names(
        &mut self,
        names: Vec<(&[u8], Attrs)>,
        delivery: &mut Delivery,
    ) -> Result<(), SourceError> {
        self.seen += names.len() as u64;
        let before = (self.unproven.names(), self.waiting.len());
        for (name, attrs) in names {
            if matches!(name, b"." | b"..") {
                continue;
            }
            if check_name(name).is_err() {
                self.bad_name(name, delivery)?;
                continue;
            }
            match meta(attrs) {
                Some(meta) => self.described(name, meta, delivery),
                None => self.waiting.push_back(ListingStep::Look(name.into())),
            }
        }
        let new = before != (self.unproven.names(), self.waiting.len());
        self.nothing_new = if new { 0 } else { self.nothing_new + 1 };
        let endless = self.seen > ENTRIES_MAX || self.nothing_new > NOTHING_NEW_MAX;
        for (wrong, what) in [
            (endless, "its listing does not end"),
            (delivery.unproven > UNPROVEN_MAX, "the host does not say where it is"),
        ] {
            if wrong {
                let error = io::Error::other(what);
                return Err(SourceError::Unreadable { action: "list", error });
            }
        }
        Ok(())
    }

    fn described(&mut self, name: &[u8], meta: Meta, delivery: &mut Delivery) {
        let meta = match storable(meta) {
            Ok(meta) => meta,
            Err(error) => return self.unreadable(name, error, delivery),
        };
        if meta.kind == Kind::Symlink {
            self.waiting.push_back(ListingStep::Link(Box::new((name.into(), meta))));
        } else {
            self.add_entry(name, meta, None, delivery);
        }
    }

    fn add_entry(
        &mut self,
        name: &[u8],
        meta: Meta,
        extra: Option<Box<Extra>>,
        delivery: &mut Delivery,
    ) {
        if !self.unproven.is_new(name) {
            return;
        }
        delivery.unproven += self.unproven.keep(name, meta, extra);
        let is_proved = self.location.is_none() || !self.shallow && self.is_location_confirmed();
        if is_proved && self.unproven.are_many() {
            self.deliver_unproven(delivery);
        }
    }

    fn unreadable(&mut self, name: &[u8], error: SourceError, delivery: &mut Delivery) {
        if self.unproven.is_new(name) {
            delivery.listed(self.id, ListingPart::Unreadable(shown_name(name), error));
        }
    }

    /// Reports a name that no entry can have, once per name, and drops it.
    fn bad_name(&mut self, name: &[u8], delivery: &mut Delivery) -> Result<(), SourceError> {
        self.bad_names += 1;
        if self.bad_names > BAD_NAMES_MAX {
            let error = io::Error::other("it lists too many names that no entry can have");
            return Err(SourceError::Unreadable { action: "list", error });
        }
        self.unreadable(name, SourceError::BadName(BadName), delivery);
        Ok(())
    }

    fn deliver_unproven(&mut self, delivery: &mut Delivery) {
        for batch in self.take_unproven(delivery) {
            delivery.listed(self.id, ListingPart::Batch(batch));
        }
    }

    /// Takes the entries that are not passed on yet.
    fn take_unproven(&mut self, delivery: &mut Delivery) -> Vec<Batch> {
        let (batches, bytes) = self.unproven.take();
        delivery.unproven = delivery.unproven.saturating_sub(bytes);
        batches
    }

    fn settle(&mut self, channel: &mut ReadChannel, delivery: &mut Delivery) -> StepOutcome {
        if self.again && self.checked && self.is_location_confirmed() {
            self.reset();
            return StepOutcome::Restart;
        }
        let answered = self.reads == 0 && self.looks == 0 && self.waiting.is_empty();
        if self.at_end && self.checked && self.is_location_confirmed() && answered {
            // OpenSSH omits entries that it cannot stat. In a folder that may be listed but not entered, it
            // omits even `.`, so the folder would look empty.
            if self.seen == 0 && !self.looked_into {
                self.looked_into = true;
                self.looks += 1;
                let inside = self.child(b".");
                channel.ask(Request::LStat(&inside), Purpose::Folder(self.id, ListingStep::Inside));
                return StepOutcome::Continues;
            }
            return self.end(self.may_be_all(), channel, delivery);
        }
        StepOutcome::Continues
    }

    /// Checks that the server can list every name that a folder with this path can contain.
    fn may_be_all(&self) -> Result<(), SourceError> {
        if self.path.len() <= DEEPEST {
            return Ok(());
        }
        let why = "so deep, SFTP servers leave out names without a word";
        let error = io::Error::new(io::ErrorKind::InvalidFilename, why);
        Err(SourceError::Unreadable { action: "list all of", error })
    }

    fn child(&self, name: &[u8]) -> Vec<u8> {
        child(&self.path, name)
    }
}
