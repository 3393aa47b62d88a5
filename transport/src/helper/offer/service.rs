//! How ssh starts a far end that accepts snapshots, and how both ends greet each other.

use crate::helper::protocol::features::{COPIES, ONLY_ADDS, RECEIVES, WRITES};
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::{CONNECTION, PREAMBLE, PROTOCOL, begins_greeting, frame};
use crate::helper::version::Version;
use crate::ssh::framing::Violation;
use crate::ssh::service::{Service, Start};

/// What the far end said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfferGreeting {
    pub(crate) version: Version,
    /// Whether it accepts snapshots.
    pub(crate) receives: bool,
    /// Whether it keeps all of them.
    pub(crate) only_adds: bool,
    /// Whether it is a far end that only reads.
    pub(crate) reads: bool,
}

/// The far end: the command that starts it, and what is sent together with the greeting.
pub(crate) struct Offering {
    pub(crate) command: String,
    pub(crate) announcement: Vec<u8>,
}

impl Service for Offering {
    const PROTOCOL: &'static str = "backup_manager";

    type Offers = OfferGreeting;

    fn start(&self) -> Start<'_> {
        Start::Command(&self.command)
    }

    /// Without compression: the ends agree on it when they have exchanged their roles.
    fn hello(&self, out: &mut Vec<u8>) {
        let protocols = (PROTOCOL, PROTOCOL);
        let hello = Hello { protocols, features: WRITES | RECEIVES, ..Hello::default() };
        out.extend_from_slice(PREAMBLE);
        // It is far shorter than a frame.
        let _ = frame::append(out, CONNECTION, &Request::Hello(hello), &[]);
        out.extend_from_slice(&self.announcement);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<OfferGreeting, Violation> {
        match frame::read(frame) {
            Ok((CONNECTION, Answer::Hello { protocol: PROTOCOL, features, version }, [])) => {
                let has = |bit| features & bit != 0;
                Ok(OfferGreeting {
                    version: Version::read(&version),
                    receives: has(RECEIVES),
                    only_adds: has(ONLY_ADDS),
                    reads: has(COPIES) && !has(WRITES),
                })
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

    fn keeps_channels_apart(&self, _: Option<&str>, _: &OfferGreeting) -> bool {
        true
    }
}
