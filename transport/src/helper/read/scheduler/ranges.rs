//! Requests the ranges of large files on all channels, and delivers what arrives in the order of the file.

use engine::SourceError;
use engine::entry::Meta;

use crate::delivery::ContentPart;
use crate::helper::protocol::message::Answer;
use crate::helper::read::channel::{Purpose, WRONG};
use crate::helper::read::files::FileFetch;
use crate::helper::read::ranges::{Asked, Piece, Ranges, is_as_listed};
use crate::helper::read::scheduler::{BAD_META, HelperScheduler};
use crate::ssh::framing::Violation;

/// Bytes of ranges that are requested and not delivered. What arrives before the bytes in front of it is kept in
/// memory, so this bounds it.
const AHEAD: u64 = 32 << 20;

/// Ranges of a channel without their last answer: while one arrives, the far end knows the next.
const ON_A_CHANNEL: usize = 2;

impl HelperScheduler {
    /// Queues a file that is fetched in ranges.
    pub(super) fn divide(&mut self, id: u64) {
        if let Some(file) = self.files.get_mut(&id) {
            file.divide();
            self.divided.push_back(id);
        }
    }

    /// Requests ranges, of one file after the other.
    pub(super) fn pump_ranges(&mut self) {
        let most = self.under_way.map_or(AHEAD, |bytes| bytes.min(AHEAD));
        while let Some(&id) = self.divided.front() {
            let next = self.files.get(&id).and_then(FileFetch::next_range);
            let Some((request, length)) = next else {
                self.divided.pop_front();
                continue;
            };
            if self.ahead > 0 && self.ahead + length > most {
                return;
            }
            let channels = self.channels.iter().enumerate();
            let least = channels.min_by_key(|(_, channel)| channel.ranges);
            let Some((number, _)) = least.filter(|(_, it)| it.ranges < ON_A_CHANNEL) else {
                return;
            };
            let Some(file) = self.files.get_mut(&id) else { return };
            let channel = &mut self.channels[number];
            channel.open(&file.folder);
            channel.ranges += 1;
            let asked = channel.ask(&request, Purpose::Range(id));
            if let Some(ranges) = &mut file.ranges {
                ranges.requested((number, asked), length);
            }
            self.ahead += length;
        }
    }

    /// Processes an answer about a range of the file `id`; returns whether it is the last one.
    pub(super) fn range_answer(
        &mut self,
        asked: Asked,
        id: u64,
        answer: Answer,
        content: &[u8],
    ) -> Result<bool, Violation> {
        let before = self.ahead_of(id);
        let is_last = self.arrived(asked, id, answer, content)?;
        self.deliver_ranges(id);
        if is_last {
            self.channels[asked.0].ranges -= 1;
        }
        self.ahead = self.ahead - before + self.ahead_of(id);
        self.forget_settled(id);
        Ok(is_last)
    }

    fn arrived(
        &mut self,
        asked: Asked,
        id: u64,
        answer: Answer,
        content: &[u8],
    ) -> Result<bool, Violation> {
        let Some(file) = self.files.get_mut(&id) else { return Err(WRONG) };
        let Some(ranges) = &mut file.ranges else { return Err(WRONG) };
        let channel = &mut self.channels[asked.0];
        match answer {
            Answer::Data => {
                channel.read(content.len())?;
                ranges.bytes(asked, content)?;
                Ok(false)
            }
            Answer::Hole(length) => {
                channel.read(0)?;
                ranges.hole(asked, length)?;
                Ok(false)
            }
            // The recorded hash of a snapshot's file comes with each range.
            Answer::Hashed(hash) => {
                file.recorded = Some(hash);
                Ok(false)
            }
            Answer::Read(result) => {
                let is_complete = ranges.range_ended(asked)?;
                let after: Result<Meta, SourceError> = match result {
                    Ok(sent) => Ok(sent.try_into().map_err(|_| BAD_META)?),
                    Err(error) => Err(error.into()),
                };
                let listed = file.listed();
                if is_complete && after.as_ref().is_ok_and(|after| is_as_listed(&listed, after)) {
                    file.after = after.ok();
                } else {
                    // What other ranges have may be of another state of the file.
                    self.end_divided(id, after);
                }
                Ok(true)
            }
            Answer::Undivided => {
                ranges.range_ended(asked)?;
                self.fetch_whole(id);
                Ok(true)
            }
            _ => Err(WRONG),
        }
    }

    fn ahead_of(&self, id: u64) -> u64 {
        self.files.get(&id).and_then(|file| file.ranges.as_ref()).map_or(0, Ranges::ahead)
    }

    /// Delivers what has arrived of a file, and ends it when it is whole.
    fn deliver_ranges(&mut self, id: u64) {
        let Some(file) = self.files.get_mut(&id) else { return };
        while let Some(piece) = file.take_piece() {
            let part = match piece {
                Piece::Bytes(bytes) => ContentPart::Bytes(file.index, bytes),
                Piece::Hole(length) => ContentPart::Hole(file.index, length),
            };
            self.delivery.fetched(file.request, part);
            self.progressed = true;
        }
        if file.ranges.as_ref().is_some_and(|ranges| ranges.is_settled() && !ranges.has_ended())
            && let Some(after) = file.after.take()
        {
            if let Some(hash) = file.recorded.take() {
                self.delivery.fetched(file.request, ContentPart::Hashed(file.index, hash));
            }
            self.end_divided(id, Ok(after));
        }
    }

    /// The engine wants no more of a file.
    pub(super) fn cancel_divided(&mut self, id: u64) {
        let Some(file) = self.files.get(&id) else { return };
        let (listed, before) = (file.listed(), self.ahead_of(id));
        self.end_divided(id, Ok(listed));
        self.ahead -= before;
        self.forget_settled(id);
    }

    /// Ends a file for the engine. Answers about it may still come, and are dropped.
    pub(super) fn end_divided(&mut self, id: u64, result: Result<Meta, SourceError>) {
        if self.drop_ranges(id)
            && let Some(file) = self.files.get(&id)
        {
            let part = ContentPart::FileEnd(file.index, result);
            self.delivery.fetched(file.request, part);
        }
    }

    /// Fetches what is missing of a file in one piece: its size is not known.
    fn fetch_whole(&mut self, id: u64) {
        if self.drop_ranges(id)
            && let Some(whole) = self.files.get(&id).map(FileFetch::undivided)
        {
            let id = self.id();
            self.files.insert(id, whole);
            self.start(Purpose::File(id));
        }
    }

    /// Cancels what is requested of a file. Returns whether it had not ended.
    fn drop_ranges(&mut self, id: u64) -> bool {
        let Some(file) = self.files.get_mut(&id) else { return false };
        let Some(ranges) = file.ranges.as_mut().filter(|ranges| !ranges.has_ended()) else {
            return false;
        };
        for (number, request) in ranges.outstanding() {
            if let Some(channel) = self.channels.get_mut(number) {
                channel.cancel(request);
            }
        }
        ranges.end();
        self.progressed = true;
        true
    }

    fn forget_settled(&mut self, id: u64) {
        let ranges = self.files.get(&id).and_then(|file| file.ranges.as_ref());
        if ranges.is_some_and(|ranges| ranges.has_ended() && ranges.is_settled()) {
            self.files.remove(&id);
        }
    }
}
