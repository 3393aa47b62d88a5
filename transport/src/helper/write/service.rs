//! How ssh starts the far end of a restore, and how both ends greet each other.

use crate::compress::Level;
use crate::helper::protocol::features::{WRITES, agreed, asking};
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::{CONNECTION, PREAMBLE, PROTOCOL, begins_greeting, frame};
use crate::helper::version::Version;
use crate::ssh::framing::Violation;
use crate::ssh::service::{Service, Start};

/// What the far end said of itself: its version, whether it writes, and the level by which both ends compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteGreeting {
    pub(crate) version: Version,
    pub(crate) writes: bool,
    pub(crate) compression: Option<Level>,
}

/// The far end: the command that starts it, and the compression that is asked for.
pub(crate) struct WriteHelper {
    pub(crate) command: String,
    pub(crate) compression: Option<Level>,
}

impl Service for WriteHelper {
    const PROTOCOL: &'static str = "backup_manager";

    type Offers = WriteGreeting;

    fn start(&self) -> Start<'_> {
        Start::Command(&self.command)
    }

    fn hello(&self, out: &mut Vec<u8>) {
        let protocols = (PROTOCOL, PROTOCOL);
        let features = WRITES | asking(self.compression);
        let hello = Hello { protocols, features, ..Hello::default() };
        out.extend_from_slice(PREAMBLE);
        // It is far shorter than a frame.
        let _ = frame::append(out, CONNECTION, &Request::Hello(hello), &[]);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<WriteGreeting, Violation> {
        match frame::read(frame) {
            Ok((CONNECTION, Answer::Hello { protocol: PROTOCOL, features, version }, [])) => {
                let compression = agreed(self.compression, features);
                let (version, writes) = (Version::read(&version), features & WRITES != 0);
                Ok(WriteGreeting { version, writes, compression })
            }
            Ok((CONNECTION, Answer::Hello { .. }, [])) => {
                Err(Violation("it speaks another version of the protocol"))
            }
            _ => Err(Violation("it is no helper")),
        }
    }

    fn begins_greeting(bytes: &[u8]) -> bool {
        begins_greeting(bytes)
    }

    fn compression(&self, offers: &WriteGreeting) -> Option<Level> {
        offers.compression
    }

    /// Each channel starts the command once more.
    fn keeps_channels_apart(&self, _: Option<&str>, _: &WriteGreeting) -> bool {
        true
    }
}
