//! Processes the answers to the requests of a file.

use std::time::SystemTime;

use engine::SourceError;

use crate::delivery::ContentPart;
use crate::sftp::protocol::attributes::{meta, refusal, undescribed};
use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::{Answer, Request, StatusCode};
use crate::sftp::read::file::context::{Again, Failed, FileContext};
use crate::sftp::read::file::identity::{proves, regular, same_access, same_version};
use crate::sftp::read::file::unreadable::{
    UNSIZED_MOST, cut_short, denied, endless, is_replaced, unaskable,
};
use crate::sftp::read::file::{FileRead, PIECE};
use crate::sftp::read::handle_limit::Others;
use crate::sftp::read::purpose::{FileStep, StepOutcome};

impl FileRead {
    /// Processes an answer.
    pub(crate) fn answer(
        &mut self,
        step: FileStep,
        answer: Answer<'_>,
        context: &mut FileContext<'_>,
    ) -> Result<StepOutcome, Again> {
        match self.step(step, answer, context) {
            Ok(()) => {
                if self.is_small() {
                    self.read(1, 1, context);
                }
                Ok(self.settle(context))
            }
            Err(Failed::Again) => {
                self.close(context.channels);
                self.reset(context.counts);
                Err(Again)
            }
            Err(Failed::With(error)) => Ok(self.finish(Err(error), context)),
        }
    }

    fn step(
        &mut self,
        step: FileStep,
        answer: Answer<'_>,
        context: &mut FileContext<'_>,
    ) -> Result<(), Failed> {
        match (step, answer) {
            (FileStep::CheckFirst, Answer::Attrs(attrs)) => {
                regular(meta(attrs))?;
                self.open(self.streams[0].channel, context.channels);
            }
            (FileStep::Open(number), Answer::Handle(handle)) => {
                self.streams[number].handle = Some(handle.into());
                // The next request reads a small file whole.
                let small = self.is_small() && !self.unchecked;
                // READs after FSTAT may be sent at once, because the answer to FSTAT precedes their data.
                // Only a read that continues inside the file waits for the first FSTAT.
                self.streams[number].ready = !self.unchecked;
                if small && self.next < self.end {
                    self.read(1, 1, context);
                }
                self.stat(number, context.channels);
                self.closing = small || self.delivered == self.end;
            }
            // A large file continues without this channel.
            (FileStep::Open(number), Answer::Status(..)) if number > 0 => {}
            // Some servers report this for an existing file, for example if they cannot handle its name.
            (FileStep::Open(_), Answer::Status(StatusCode::NoSuchFile, _)) => {
                self.ask(
                    self.streams[0].channel,
                    Request::LStat(&self.path),
                    FileStep::There,
                    context.channels,
                );
            }
            (FileStep::There, Answer::Attrs(_)) => return Err(Failed::With(denied())),
            (FileStep::There, Answer::Status(status, said)) => {
                let found = match refusal("look at", status, said) {
                    SourceError::Vanished if is_replaced(&self.path) => unaskable(),
                    error => error,
                };
                return Err(Failed::With(found));
            }
            (FileStep::Open(_), Answer::Status(status, said)) => {
                let (channel, kind) = (self.streams[0].channel, HandleKind::File);
                let others = Others::at_most(context.channels, channel, kind).max(self.beside);
                if context.handles.refused(kind, status, others, &mut self.refusals) {
                    return Err(Failed::Again);
                }
                return Err(Failed::With(refusal("open", status, said)));
            }
            (FileStep::CheckFirst, Answer::Status(status, said)) => {
                return Err(Failed::With(refusal("open", status, said)));
            }
            (FileStep::Location, answer) => {
                self.location.as_mut().map_or(Ok(()), |location| location.answer(&answer))?;
            }
            (FileStep::Stat(number), Answer::Attrs(attrs)) => {
                self.stats -= 1;
                let now = regular(meta(attrs))?;
                if !same_access(&self.listed, &now) {
                    return Err(Failed::With(SourceError::Replaced));
                }
                let same = same_version(&self.listed, &now);
                if std::mem::take(&mut self.unchecked)
                    && !(same && proves(&self.listed, self.since))
                {
                    if self.size == 0 {
                        return Err(Failed::With(cut_short()));
                    }
                    // The delivered bytes and the bytes that would follow come from two different files.
                    self.end_here(context.counts);
                    self.closing = true;
                }
                // The file was listed as empty and has a size now, so it is read again with that size.
                if self.size == 0 && now.size > 0 {
                    self.end_here(context.counts);
                }
                // If any channel reports a change, that report counts.
                if !same
                    || self.after.as_ref().is_none_or(|after| same_version(&self.listed, after))
                {
                    self.after = Some(now);
                }
                self.streams[number].ready = true;
            }
            (FileStep::Stat(_), Answer::Status(status, said)) => {
                return Err(Failed::With(refusal("look at", status, said)));
            }
            (FileStep::Read { stream, offset, length, .. }, Answer::Data(bytes)) => {
                self.streams[stream].reads -= 1;
                self.reads -= 1;
                let missing = length - bytes.len() as u32;
                if missing > 0 && offset + (bytes.len() as u64) < self.end {
                    self.again.push((offset + bytes.len() as u64, missing));
                    self.closing = false;
                }
                // The bytes delivered so far were delivered before the end of the file was read.
                self.closing &= self.size > 0;
                self.take(offset, bytes, context);
                if self.size == 0 && self.delivered >= UNSIZED_MOST {
                    return Err(Failed::With(endless()));
                }
            }
            (FileStep::Read { stream, offset, .. }, Answer::Status(StatusCode::Eof, _)) => {
                self.streams[stream].reads -= 1;
                self.reads -= 1;
                self.end = self.end.min(offset.max(self.delivered));
                self.again.retain(|(offset, _)| *offset < self.end);
            }
            (FileStep::Read { .. }, Answer::Status(status, said)) => {
                return Err(Failed::With(refusal("read", status, said)));
            }
            (FileStep::Name, Answer::Attrs(attrs)) => {
                self.stats -= 1;
                regular(meta(attrs))?;
            }
            (FileStep::Name, Answer::Status(..)) => self.stats -= 1,
            _ => return Err(Failed::With(undescribed())),
        }
        Ok(())
    }

    /// Puts the bytes in order, and delivers those with no gap before them.
    fn take(&mut self, offset: u64, bytes: &[u8], context: &mut FileContext<'_>) {
        let room = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        if bytes.is_empty() {
            return;
        }
        context.counts.held += bytes.len() as u64 + PIECE;
        self.parts.insert(offset, bytes.to_vec());
        while let Some(first) = self.parts.first_entry() {
            if *first.key() != self.delivered {
                break;
            }
            let part = first.remove();
            context.counts.held -= part.len() as u64 + PIECE;
            self.delivered += part.len() as u64;
            self.since.get_or_insert_with(SystemTime::now);
            let at = self.delivered - part.len() as u64;
            context.delivery.fetched(self.request, ContentPart::Data(self.index, at, part));
        }
    }
}
