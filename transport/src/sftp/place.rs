//! Where a folder is: SFTP knows no handles of folders to open names in, and a path leads through whatever
//! symlink a folder of it turned into. What is asked for by paths counts when the server says in front of it and
//! behind it that the folder is where it was. A server answers what comes on one channel in its order.

use std::sync::Arc;

use engine::source::SourceError;

use super::wire::{Answer, Request, Status};

/// A folder, and where the server has to say that it is.
pub(super) struct Place {
    path: Arc<[u8]>,
    real: Arc<[u8]>,
    unanswered: usize,
}

impl Place {
    pub(super) fn new(path: Arc<[u8]>, real: Arc<[u8]>) -> Self {
        Self { path, real, unanswered: 0 }
    }

    /// The question where it is, which is asked now.
    pub(super) fn question(&mut self) -> Request<'_> {
        self.unanswered += 1;
        Request::RealPath(&self.path)
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// When the folder is elsewhere now, or gone.
    pub(super) fn answer(&mut self, answer: &Answer<'_>) -> Result<(), SourceError> {
        self.unanswered = self.unanswered.saturating_sub(1);
        match answer {
            Answer::Names(names) => {
                is_at(names.first().map_or(&[][..], |(told, _)| told), &self.real)
            }
            Answer::Status(Status::NoSuchFile) => Err(SourceError::Vanished),
            // It need not tell.
            _ => Ok(()),
        }
    }

    /// Whether every answer has come.
    pub(super) fn is_known(&self) -> bool {
        self.unanswered == 0
    }

    /// Forgets the questions that a lost connection took with it.
    pub(super) fn reset(&mut self) {
        self.unanswered = 0;
    }
}

/// What a server told of the place of a folder has to be `real`.
///
/// # Errors
/// When it is elsewhere.
pub(super) fn is_at(told: &[u8], real: &[u8]) -> Result<(), SourceError> {
    // Some end folders with a slash.
    fn bare(path: &[u8]) -> &[u8] {
        path.strip_suffix(b"/").unwrap_or(path)
    }
    if bare(told) == bare(real) { Ok(()) } else { Err(SourceError::Replaced) }
}

/// The path of `name` in the folder at `path`.
pub(super) fn child(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.ends_with(b"/") {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}
