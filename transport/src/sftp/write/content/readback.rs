//! Reads files back from a server that is not known to keep channels apart, and compares their hashes. Size,
//! owner, mode and time can be correct although the server wrote the bytes of another file (proftpd issue
//! 1897).

use crate::sftp::protocol::packet::{Request, StatusCode};
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{ChannelId, OwnedAnswer, Requests, Via};
use crate::sftp::write::target::SftpTarget;

/// Bytes in one READ that every server returns (the draft, section 3), and the maximum number of outstanding
/// READs. There are few, because no limit counts the answers and the reading thread already holds memory.
const READ: u32 = 32 * 1024;
const OUT: u64 = 4;

impl SftpTarget {
    /// Whether stored files must be read back.
    pub(crate) fn reads_back(&self) -> bool {
        !self.offers().apart
    }

    /// Compares the file at `path` of `length` bytes with the sent bytes.
    ///
    /// # Errors
    /// [`RequestError::Garbled`] if the content differs.
    pub(crate) fn read_back(
        &self,
        channel: ChannelId,
        path: &[u8],
        (length, hash): (u64, blake3::Hash),
    ) -> Result<(), RequestError> {
        let requester = &self.session.requester;
        let open = Requests::new().ask(Request::Open(path));
        let handle = requester.ask(Via::Same(channel), open)?.next().handle()?;
        let read = self.hash_of(channel, &handle, length);
        let close = std::sync::Arc::new(Requests::new().ask(Request::Close(&handle)));
        // Its answer is ignored.
        drop(requester.send(Via::Same(channel), &close));
        if read? == Some(hash) { Ok(()) } else { Err(RequestError::Garbled) }
    }

    /// The hash of a file; `None` if it is shorter than `length`.
    fn hash_of(
        &self,
        channel: ChannelId,
        handle: &[u8],
        length: u64,
    ) -> Result<Option<blake3::Hash>, RequestError> {
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < length {
            let starts = (0..OUT).map(|number| at + number * u64::from(READ));
            let ask =
                starts.take_while(|start| *start < length).fold(Requests::new(), |ask, offset| {
                    let length = (length - offset).min(u64::from(READ)) as u32;
                    ask.ask(Request::Read { handle, offset, length })
                });
            let asked = ask.len();
            let mut answers = self.session.requester.ask(Via::Same(channel), ask)?;
            for _ in 0..asked {
                let most = (length - at).min(u64::from(READ));
                match answers.next() {
                    OwnedAnswer::Data(bytes) => {
                        hasher.update(&bytes);
                        at += bytes.len() as u64;
                        if (bytes.len() as u64) < most {
                            // The answer is short: request the rest again from there.
                            break;
                        }
                    }
                    OwnedAnswer::Status(StatusCode::Eof) => return Ok(None),
                    answer => return answer.done().map(|()| None),
                }
            }
        }
        Ok(Some(hasher.finalize()))
    }
}
