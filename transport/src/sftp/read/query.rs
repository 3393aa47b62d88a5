//! Single queries of a thread that waits for the answer.

use std::sync::mpsc::SyncSender;

use engine::entry::Meta;
use engine::source::SourceError;

use crate::sftp::protocol::attributes::{meta, refusal, storable, undescribed};
use crate::sftp::protocol::packet::{Answer, Request};

/// A question.
#[derive(Debug)]
pub(crate) enum Question {
    /// What is there; a symlink is not followed.
    LStat(Vec<u8>),
    /// What a path leads to.
    Stat(Vec<u8>),
    /// Where a symlink points.
    ReadLink(Vec<u8>),
    /// A path without symlinks.
    RealPath(Vec<u8>),
    /// Which file system a path is on.
    FileSystem(Vec<u8>),
}

/// The answer to a query.
#[derive(Debug)]
pub(crate) enum QueryAnswer {
    Meta(Meta),
    Bytes(Vec<u8>),
    FileSystem(u64),
}

/// A question with the way back.
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) reply: SyncSender<Result<QueryAnswer, SourceError>>,
}

impl Asked {
    pub(crate) fn request(&self) -> Request<'_> {
        match &self.question {
            Question::LStat(path) => Request::LStat(path),
            Question::Stat(path) => Request::Stat(path),
            Question::ReadLink(path) => Request::ReadLink(path),
            Question::RealPath(path) => Request::RealPath(path),
            Question::FileSystem(path) => Request::StatVfs(path),
        }
    }

    pub(crate) fn answer(self, answer: Answer<'_>) {
        let told = match answer {
            Answer::Attrs(attrs) => {
                meta(attrs).ok_or_else(undescribed).and_then(storable).map(QueryAnswer::Meta)
            }
            Answer::Names(names) => {
                let first = names.first().map(|(name, _)| QueryAnswer::Bytes(name.to_vec()));
                first.ok_or_else(undescribed)
            }
            Answer::FileSystem(found) => Ok(QueryAnswer::FileSystem(found.id)),
            Answer::Status(status) => Err(refusal("look at", status)),
            Answer::Handle(_) | Answer::Data(_) | Answer::Limits(_) => Err(undescribed()),
        };
        self.reply(told);
    }

    pub(crate) fn reply(self, told: Result<QueryAnswer, SourceError>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(told);
    }
}
