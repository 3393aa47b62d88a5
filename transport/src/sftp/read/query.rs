//! Single queries from threads that wait for the answer.

use std::sync::mpsc::SyncSender;

use engine::SourceError;
use engine::entry::Meta;

use crate::sftp::protocol::attributes::{meta, refusal, storable, undescribed};
use crate::sftp::protocol::packet::{Answer, Request};

/// A query to the server.
#[derive(Debug)]
pub(crate) enum Query {
    /// The attributes at a path, without following a symlink.
    LStat(Vec<u8>),
    /// The attributes at a path, following symlinks.
    Stat(Vec<u8>),
    /// The target of a symlink.
    ReadLink(Vec<u8>),
    /// The real path, without symlinks.
    RealPath(Vec<u8>),
    /// The file system of a path.
    FileSystem(Vec<u8>),
}

/// The answer to a query.
#[derive(Debug)]
pub(crate) enum QueryAnswer {
    Meta(Meta),
    Bytes(Vec<u8>),
    FileSystem(u64),
}

/// A query with the channel for its answer.
pub(crate) struct PendingQuery {
    pub(crate) query: Query,
    pub(crate) reply: SyncSender<Result<QueryAnswer, SourceError>>,
}

impl PendingQuery {
    pub(crate) fn request(&self) -> Request<'_> {
        match &self.query {
            Query::LStat(path) => Request::LStat(path),
            Query::Stat(path) => Request::Stat(path),
            Query::ReadLink(path) => Request::ReadLink(path),
            Query::RealPath(path) => Request::RealPath(path),
            Query::FileSystem(path) => Request::StatVfs(path),
        }
    }

    pub(crate) fn answer(self, answer: Answer<'_>) {
        let result = match answer {
            Answer::Attrs(attrs) => {
                meta(attrs).ok_or_else(undescribed).and_then(storable).map(QueryAnswer::Meta)
            }
            Answer::Names(names) => {
                let first = names.first().map(|(name, _)| QueryAnswer::Bytes(name.to_vec()));
                first.ok_or_else(undescribed)
            }
            Answer::FileSystem(found) => Ok(QueryAnswer::FileSystem(found.id)),
            Answer::Status(status, said) => Err(refusal("look at", status, said)),
            Answer::Handle(_) | Answer::Data(_) | Answer::Limits(_) => Err(undescribed()),
        };
        self.reply(result);
    }

    pub(crate) fn reply(self, result: Result<QueryAnswer, SourceError>) {
        // The waiting thread may have ended.
        let _ = self.reply.send(result);
    }
}
