//! Reads back what was stored on a server that is not known to be sound, and compares its hash: size, owner, mode
//! and time may be right where the bytes of another file were written (proftpd issue 1897).

use crate::sftp::protocol::packet::{Request, Status};
use crate::sftp::write::link::error::Fault;
use crate::sftp::write::link::request_batch::{Lane, OwnedAnswer, Requests, Via};
use crate::sftp::write::target::SftpTarget;

/// Bytes that every server gives in one READ (the draft, section 3), and how many READ are out at once: few, as
/// the answers are counted nowhere, and who reads back holds memory already.
const READ: u32 = 32 * 1024;
const OUT: u64 = 4;

impl SftpTarget {
    /// Whether what is stored has to be read back.
    pub(crate) fn reads_back(&self) -> bool {
        !self.offers().apart
    }

    /// Compares the file at `path`, `length` bytes long, with what was sent.
    ///
    /// # Errors
    /// [`Fault::Garbled`] when it holds something else.
    pub(crate) fn read_back(
        &self,
        lane: Lane,
        path: &[u8],
        (length, hash): (u64, blake3::Hash),
    ) -> Result<(), Fault> {
        let counter = &self.session.counter;
        let open = Requests::new().ask(Request::Open(path));
        let handle = counter.ask(Via::Same(lane), open)?.next().handle()?;
        let read = self.hash_of(lane, &handle, length);
        let close = std::sync::Arc::new(Requests::new().ask(Request::Close(&handle)));
        // Nobody waits for it.
        drop(counter.send(Via::Same(lane), &close));
        if read? == Some(hash) { Ok(()) } else { Err(Fault::Garbled) }
    }

    /// The hash of a file; `None` when it is shorter than `length`.
    fn hash_of(
        &self,
        lane: Lane,
        handle: &[u8],
        length: u64,
    ) -> Result<Option<blake3::Hash>, Fault> {
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
            let mut answers = self.session.counter.ask(Via::Same(lane), ask)?;
            for _ in 0..asked {
                let most = (length - at).min(u64::from(READ));
                match answers.next() {
                    OwnedAnswer::Data(bytes) => {
                        hasher.update(&bytes);
                        at += bytes.len() as u64;
                        if (bytes.len() as u64) < most {
                            // What follows is asked for again, from there on.
                            break;
                        }
                    }
                    OwnedAnswer::Status(Status::Eof) => return Ok(None),
                    told => return told.done().map(|()| None),
                }
            }
        }
        Ok(Some(hasher.finalize()))
    }
}
