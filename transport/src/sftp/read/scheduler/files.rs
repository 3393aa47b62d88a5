//! Starts the reads of files and processes their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::source::ContentSink;

use crate::delivery::ContentPart;
use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::{Answer, READ_MAX};
use crate::sftp::protocol::remote_path::child;
use crate::sftp::read::command::Part;
use crate::sftp::read::file::FileRead;
use crate::sftp::read::file::context::{Again, FileContext};
use crate::sftp::read::location::Location;
use crate::sftp::read::purpose::{FileStep, Purpose, StepOutcome};
use crate::sftp::read::scheduler::{LARGE, ReadScheduler, SMALL};

/// Maximum outstanding READs of one large file on each channel.
const READS: usize = 16;

/// Maximum number of large files open at once.
const READING: usize = 64;

impl ReadScheduler {
    pub(super) fn fetch(
        &mut self,
        folder: &Arc<[u8]>,
        real: Option<&Arc<[u8]>>,
        files: &[Part],
        sink: Box<dyn ContentSink>,
    ) {
        let request = self.id();
        self.delivery.fetched(request, ContentPart::Begin(sink, files.len()));
        for (index, part) in files.iter().enumerate() {
            if let Some(lost) = self.lost() {
                self.delivery.fetched(request, ContentPart::FileEnd(index, Err(lost)));
                continue;
            }
            let id = self.id();
            let path = child(folder, part.wanted.entry.name.to_bytes());
            let mut file = FileRead::new(id, request, index, path, part);
            if let Some(real) = real.filter(|_| part.wanted.again) {
                file.require_location(Location::new(Arc::clone(folder), Arc::clone(real)));
            }
            self.queue(id, file.is_small());
            self.files.insert(id, file);
        }
    }

    pub(super) fn queue(&mut self, id: u64, small: bool) {
        let waiting = if small { &mut self.small_waiting } else { &mut self.large_waiting };
        waiting.push_back(id);
    }

    pub(super) fn file_answer(
        &mut self,
        number: usize,
        id: u64,
        step: FileStep,
        answer: Answer<'_>,
    ) {
        if let FileStep::Read { length, small: false, .. } = step {
            self.counts.asked = self.counts.asked.saturating_sub(u64::from(length));
        }
        self.progressed |= matches!(answer, Answer::Data(_));
        if !self.files.contains_key(&id) {
            if let Answer::Handle(handle) = answer {
                let purpose = Purpose::Close(HandleKind::File);
                self.channels[number].close(HandleKind::File, handle, purpose);
            }
            return;
        }
        self.with_file(id, |file, context| file.answer(step, answer, context));
    }

    /// Runs one step of a file and applies the result.
    pub(super) fn with_file(
        &mut self,
        id: u64,
        step: impl FnOnce(&mut FileRead, &mut FileContext<'_>) -> Result<StepOutcome, Again>,
    ) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let mut context = FileContext {
            channels: &mut self.channels,
            delivery: &mut self.delivery,
            counts: &mut self.counts,
            handles: &mut self.handles,
        };
        let going = step(file, &mut context);
        if matches!(going, Ok(StepOutcome::Continues)) {
            return;
        }
        let Some(mut file) = self.files.remove(&id) else { return };
        self.opened_again.remove(&id);
        self.counts.small = self.counts.small.saturating_sub(file.reserve());
        if !file.is_small() {
            self.reading.retain(|reading| *reading != id);
        }
        match going {
            Ok(_) => self.progressed = true,
            Err(Again) => {
                // Late answers still carry the old number, so the file gets a new one.
                file.id = self.id();
                self.files_again.push_back(file.id);
                self.files.insert(file.id, file);
            }
        }
    }

    pub(super) fn pump_files(&mut self) {
        if self.delivery.backlog.bytes.load(Ordering::Relaxed) >= self.queued_most {
            return;
        }
        let (small, large) = self.shares();
        while self.reading.len() < READING
            && self.may_open()
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
                let handles = &mut self.handles;
                // Ranges missing from earlier answers are requested even without room.
                let pieces = usize::try_from(room / u64::from(READ_MAX)).unwrap_or(most);
                file.read(most, pieces, &mut FileContext { channels, delivery, counts, handles });
            }
        }
        let most = self.by_distance(250, 5, 500);
        while self.counts.small < small
            && self.may_open()
            && self.channels.iter().any(|channel| channel.files < most)
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

    /// Starts a file on the channel with the fewest files.
    pub(super) fn start(&mut self, id: u64) {
        let Some(number) = self.fewest_files() else { return };
        if let Some(file) = self.files.get_mut(&id) {
            let (channels, delivery, counts) =
                (&mut self.channels[..], &mut self.delivery, &mut self.counts);
            let handles = &mut self.handles;
            file.start(number, &mut FileContext { channels, delivery, counts, handles });
        }
    }
}
