//! Checks where a folder is. SFTP has no folder handles in which names could be opened, and a path follows
//! any symlink that replaced one of its folders. An answer by path counts only if the server reports, before
//! it and after it, that the folder is still at its place. A server answers the requests of one channel in
//! order.

use std::sync::Arc;

use engine::SourceError;

use crate::sftp::protocol::packet::{Answer, Request, StatusCode};
use crate::sftp::protocol::remote_path::is_at;

/// A folder, and the real path that the server must report for it.
pub(crate) struct Location {
    path: Arc<[u8]>,
    real: Arc<[u8]>,
    unanswered: usize,
}

impl Location {
    pub(crate) fn new(path: Arc<[u8]>, real: Arc<[u8]>) -> Self {
        Self { path, real, unanswered: 0 }
    }

    /// The REALPATH request for the folder; the caller sends it now.
    pub(crate) fn query(&mut self) -> Request<'_> {
        self.unanswered += 1;
        Request::RealPath(&self.path)
    }

    /// Processes an answer.
    ///
    /// # Errors
    /// If the folder is elsewhere now, or gone.
    pub(crate) fn answer(&mut self, answer: &Answer<'_>) -> Result<(), SourceError> {
        self.unanswered = self.unanswered.saturating_sub(1);
        match answer {
            Answer::Names(names) => {
                is_at(names.first().map_or(&[][..], |(reported, _)| reported), &self.real)
            }
            Answer::Status(StatusCode::NoSuchFile, _) => Err(SourceError::Vanished),
            // A server may refuse REALPATH; that proves nothing.
            _ => Ok(()),
        }
    }

    /// Whether every request was answered.
    pub(crate) fn is_known(&self) -> bool {
        self.unanswered == 0
    }

    /// Discards the requests that a lost connection left unanswered.
    pub(crate) fn reset(&mut self) {
        self.unanswered = 0;
    }
}
