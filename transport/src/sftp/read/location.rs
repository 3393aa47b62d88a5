//! Where a folder is: SFTP knows no handles of folders to open names in, and a path leads through whatever
//! symlink a folder of it turned into. An answer by path counts when the server says before it and
//! after it that the folder is where it was. A server answers the requests of one channel in order.

use std::sync::Arc;

use engine::source::SourceError;

use crate::sftp::protocol::packet::{Answer, Request, Status};
use crate::sftp::protocol::remote_path::is_at;

/// A folder, and where the server has to say that it is.
pub(crate) struct Location {
    path: Arc<[u8]>,
    real: Arc<[u8]>,
    unanswered: usize,
}

impl Location {
    pub(crate) fn new(path: Arc<[u8]>, real: Arc<[u8]>) -> Self {
        Self { path, real, unanswered: 0 }
    }

    /// The question where it is, which is asked now.
    pub(crate) fn question(&mut self) -> Request<'_> {
        self.unanswered += 1;
        Request::RealPath(&self.path)
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// When the folder is elsewhere now, or gone.
    pub(crate) fn answer(&mut self, answer: &Answer<'_>) -> Result<(), SourceError> {
        self.unanswered = self.unanswered.saturating_sub(1);
        match answer {
            Answer::Names(names) => {
                is_at(names.first().map_or(&[][..], |(told, _)| told), &self.real)
            }
            Answer::Status(Status::NoSuchFile) => Err(SourceError::Vanished),
            // The server may leave it out.
            _ => Ok(()),
        }
    }

    /// Whether every answer has arrived.
    pub(crate) fn is_known(&self) -> bool {
        self.unanswered == 0
    }

    /// Forgets the questions that a lost connection took with it.
    pub(crate) fn reset(&mut self) {
        self.unanswered = 0;
    }
}
