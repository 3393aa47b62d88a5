//! Fetches files, and delivers what arrives of those that are sent whole or of which only the hash is asked for.

use std::sync::Arc;

use engine::SourceError;
use engine::entry::Meta;
use engine::source::{ContentProof, ContentSink, Wanted};

use crate::delivery::{ContentPart, Unwanted};
use crate::helper::protocol::entry::SentMeta;
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::message::Answer;
use crate::helper::read::channel::{Purpose, WRONG};
use crate::helper::read::delta::Event;
use crate::helper::read::files::FileFetch;
use crate::helper::read::folder::FolderHandle;
use crate::helper::read::scheduler::{BAD_META, HelperScheduler};
use crate::ssh::framing::Violation;

const NOTHING: Violation = Violation("nothing of a file");

impl HelperScheduler {
    pub(super) fn fetch(
        &mut self,
        folder: &Arc<FolderHandle>,
        files: Vec<Wanted>,
        mut sink: Box<dyn ContentSink>,
    ) {
        if let Some(lost) = self.lost() {
            (0..files.len()).for_each(|index| sink.file_end(index, Err(lost.again())));
            return sink.end();
        }
        let request = self.id();
        self.delivery.fetched(request, ContentPart::Begin(sink, files.len()));
        // The sink is known before another thread sends anything to it.
        self.delivery.flush();
        for (index, wanted) in files.into_iter().enumerate() {
            let (id, deltas) = (self.id(), !self.asked.whole_files);
            self.files.insert(id, FileFetch::new(request, index, folder, wanted, deltas));
            self.start(Purpose::File(id));
        }
    }

    pub(super) fn file_end(&mut self, file: &FileFetch, result: Result<Meta, SourceError>) {
        self.delivery.fetched(file.request, ContentPart::FileEnd(file.index, result));
    }

    /// Ends a listing or a file of which the engine wants no more. It does not wait for the far end, which may go on without end.
    pub(super) fn cancel(&mut self, unwanted: Unwanted) {
        let (request, index) = match unwanted {
            Unwanted::Folder(id) => return self.end_listing(id, Ok(())),
            Unwanted::File(request, index) => (request, index),
        };
        self.event(Event::Unwanted(request, index));
        let mut files = self.files.iter();
        let is_this = |file: &FileFetch| file.request == request && file.index == index;
        let Some((&id, file)) = files.find(|(_, file)| is_this(file)) else { return };
        match file.ranges {
            Some(_) => self.cancel_divided(id),
            None => self.end_unwanted(id),
        }
    }

    /// Ends a file of which nothing more is wanted, and drops what still comes of it.
    pub(super) fn end_unwanted(&mut self, id: u64) {
        let Some(file) = self.files.remove(&id) else { return };
        self.abandon(file.asked);
        match file.delta {
            Some(_) => {
                let asked = (file.request, file.index);
                self.event(Event::Ended(id, asked, Ok(file.listed())));
            }
            None => self.file_end(&file, Ok(file.listed())),
        }
    }

    pub(super) fn abandon(&mut self, asked: Option<(usize, u32)>) {
        if let Some((channel, request)) = asked
            && let Some(channel) = self.channels.get_mut(channel)
        {
            channel.abandon(request);
        }
    }

    /// Processes an answer about the file `id`; returns whether it is the last one.
    pub(super) fn file_answer(
        &mut self,
        channel: usize,
        id: u64,
        answer: Answer,
        (content, bytes): (&[u8], usize),
    ) -> Result<bool, Violation> {
        let Some(file) = self.files.get_mut(&id) else { return Err(WRONG) };
        if file.delta.is_some() {
            return self.delta_answer(channel, id, answer, (content, bytes));
        }
        if file.may_be_same() {
            return self.hash_answer(id, answer);
        }
        match answer {
            Answer::Data if content.is_empty() => Err(NOTHING),
            Answer::Hole(0) => Err(NOTHING),
            Answer::Data => {
                self.channels[channel].read(content.len())?;
                file.delivered(content.len() as u64)?;
                self.progressed = true;
                let part = ContentPart::Bytes(file.index, content.to_vec());
                self.delivery.fetched(file.request, part);
                Ok(false)
            }
            Answer::Hole(length) => {
                self.channels[channel].read(0)?;
                file.delivered(length)?;
                self.delivery.fetched(file.request, ContentPart::Hole(file.index, length));
                Ok(false)
            }
            // The recorded hash of a snapshot's file.
            Answer::Hashed(hash) => {
                file.has_hash()?;
                self.delivery.fetched(file.request, ContentPart::Hashed(file.index, hash));
                Ok(false)
            }
            Answer::Read(result) => self.read_to_end(id, result).map(|()| true),
            _ => Err(WRONG),
        }
    }

    /// Processes an answer about the file `id`, whose hash was asked for; returns whether it is the last one.
    fn hash_answer(&mut self, id: u64, answer: Answer) -> Result<bool, Violation> {
        let Some(file) = self.files.get_mut(&id) else { return Err(WRONG) };
        match answer {
            // The far end is still hashing.
            Answer::Chunks(none) if none.is_empty() => Ok(false),
            Answer::Hashed(hash) => {
                file.has_hash()?;
                let part = ContentPart::Same(file.index, ContentProof::Hash(hash));
                self.delivery.fetched(file.request, part);
                Ok(false)
            }
            Answer::Undivided => {
                file.fetch_content();
                self.start(Purpose::File(id));
                Ok(true)
            }
            Answer::Read(result) => self.read_to_end(id, result).map(|()| true),
            _ => Err(WRONG),
        }
    }

    /// Ends the file `id` with the metadata of its handle after the last byte.
    fn read_to_end(
        &mut self,
        id: u64,
        result: Result<SentMeta, SentError>,
    ) -> Result<(), Violation> {
        let result = match result {
            Ok(sent) => Ok(sent.try_into().map_err(|_| BAD_META)?),
            Err(error) => Err(error.into()),
        };
        if let Some(file) = self.files.remove(&id) {
            self.file_end(&file, result);
        }
        Ok(())
    }
}
