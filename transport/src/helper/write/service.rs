//! How ssh starts the far end of a restore, and how both ends greet each other.

use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::write::WRITES;
use crate::helper::protocol::{CONNECTION, PREAMBLE, PROTOCOL, frame};
use crate::ssh::framing::Violation;
use crate::ssh::service::{Service, Start};

/// What the far end said of itself: whether it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteGreeting {
    pub(crate) writes: bool,
}

/// The far end: the command that starts it.
pub(crate) struct WriteHelper {
    pub(crate) command: String,
}

impl Service for WriteHelper {
    const PROTOCOL: &'static str = "backup_manager";

    type Offers = WriteGreeting;

    fn start(&self) -> Start<'_> {
        Start::Command(&self.command)
    }

    fn hello(&self, out: &mut Vec<u8>) {
        let protocols = (PROTOCOL, PROTOCOL);
        let hello = Hello { protocols, features: WRITES, ..Hello::default() };
        out.extend_from_slice(PREAMBLE);
        // It is far shorter than a frame.
        let _ = frame::append(out, CONNECTION, &Request::Hello(hello), &[]);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<WriteGreeting, Violation> {
        match frame::read(frame) {
            Ok((CONNECTION, Answer::Hello { protocol: PROTOCOL, features, .. }, [])) => {
                Ok(WriteGreeting { writes: features & WRITES != 0 })
            }
            Ok((CONNECTION, Answer::Hello { .. }, [])) => {
                Err(Violation("it speaks another version of the protocol"))
            }
            _ => Err(Violation("it is no helper")),
        }
    }

    /// Each channel starts the command once more.
    fn keeps_channels_apart(&self, _: Option<&str>, _: &WriteGreeting) -> bool {
        true
    }
}
