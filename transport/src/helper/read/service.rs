//! How ssh starts the far end, and how both ends greet each other.

use std::sync::Arc;

use crate::compress::Level;
use crate::helper::protocol::features::{COPIES, HASHES, ONLY_ADDS, agreed, asking};
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::{CONNECTION, PREAMBLE, PROTOCOL, begins_greeting, frame};
use crate::helper::read::asked::Asked;
use crate::helper::version::Version;
use crate::ssh::framing::Violation;
use crate::ssh::service::{Service, Start};

/// What the far end said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) version: Version,
    /// The level by which both ends compress.
    pub(crate) compression: Option<Level>,
    /// Whether it answers `Hash`.
    pub(crate) hashes: bool,
    /// Whether it answers the requests of a copy.
    pub(crate) copies: bool,
    /// Whether it only receives snapshots.
    pub(crate) only_adds: bool,
}

/// The far end: the command that starts it, and what is asked of it.
pub(crate) struct Helper {
    pub(crate) command: String,
    pub(crate) asked: Arc<Asked>,
    /// The compression that is asked for.
    pub(crate) compression: Option<Level>,
}

impl Service for Helper {
    const PROTOCOL: &'static str = "backup_manager";

    type Offers = Greeting;

    fn start(&self) -> Start<'_> {
        Start::Command(&self.command)
    }

    fn hello(&self, out: &mut Vec<u8>) {
        use std::os::unix::ffi::OsStrExt;
        let Asked { selection, follow, depths, .. } = &*self.asked;
        let depths = depths.iter().map(|(path, depth)| {
            (path.as_os_str().as_bytes().to_vec(), u32::try_from(*depth).unwrap_or(u32::MAX))
        });
        let hello = Hello {
            protocols: (PROTOCOL, PROTOCOL),
            features: asking(self.compression),
            xattrs: selection.xattrs,
            acls: selection.acls,
            follow: (follow.all, follow.unsafe_ones, follow.folders),
            depths: depths.collect(),
        };
        out.extend_from_slice(PREAMBLE);
        // Thousands of source roots would not fit. The far end then receives no greeting and ends.
        let _ = frame::append(out, CONNECTION, &Request::Hello(hello), &[]);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<Greeting, Violation> {
        match frame::read(frame) {
            Ok((CONNECTION, Answer::Hello { protocol: PROTOCOL, features, version }, [])) => {
                let compression = agreed(self.compression, features);
                let (version, hashes) = (Version::read(&version), features & HASHES != 0);
                let (copies, only_adds) = (features & COPIES != 0, features & ONLY_ADDS != 0);
                Ok(Greeting { version, compression, hashes, copies, only_adds })
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

    fn compression(&self, offers: &Greeting) -> Option<Level> {
        offers.compression
    }

    /// Each channel starts the command once more.
    fn keeps_channels_apart(&self, _: Option<&str>, _: &Greeting) -> bool {
        true
    }
}
