//! The near end of a restore: a folder on a host where this program runs too, as a restore target.
//!
//! Many engine threads send requests and wait for the answers. The network thread sends them over the channels. The far
//! end carries them out on its own local target. After a lost connection a request is sent again, and says so.

pub(crate) mod channel;
pub(crate) mod content;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod listing;
pub(crate) mod request;
pub(crate) mod scheduler;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod target;

pub use crate::helper::write::folder::RestoredFolder;
pub use crate::helper::write::target::HelperTarget;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use engine::restore::PlaceError;

use crate::helper::protocol::write::{SentTarget, WriteAnswer, WriteRequest};
use crate::helper::version::Version;
use crate::helper::write::session::{Question, WriteSession, unexpected};
use crate::ssh::again::again;
use crate::ssh::options::Options;
use crate::ssh::{Address, ConnectError};

/// The longest path of the top folder, bytes (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;

/// A connected host that runs this program.
pub struct HelperHost(WriteSession);

impl HelperHost {
    /// Connects to a host and starts `command` there, a line for the login shell of the user. `stopped` is polled
    /// several times a second; when it returns true, now or later, the connection ends.
    ///
    /// # Errors
    /// No connection can be made, or the command starts no far end that writes
    /// ([`ConnectError::is_about_service`]).
    pub fn connect(
        address: Address,
        options: Options,
        command: String,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        WriteSession::connect(address, options, command, stopped).map(Self)
    }

    /// Whether both ends compress.
    pub(crate) fn is_compressed(&self) -> bool {
        self.0.is_compressed
    }

    /// Whether the far end is older than this program.
    pub(crate) fn is_older(&self) -> bool {
        self.0.version < Version::own()
    }

    /// Opens the folder `dir`, and with `make` creates it with its parents if it is missing. A relative path, or one
    /// that starts with `~/`, starts in the user's home on the host.
    ///
    /// # Errors
    /// If the folder cannot be created or opened, or is inside a backups folder.
    pub fn open(self, dir: &[u8], make: bool) -> Result<HelperTarget, PlaceError> {
        let path = || PathBuf::from(OsString::from_vec(dir.to_vec()));
        let failed = |error| PlaceError::Impossible { action: "open", path: path(), error };
        if dir.contains(&0) || dir.len() >= PATH_MAX {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        }
        let opened = again(|_| {
            let folder = self.0.number();
            let request = WriteRequest::Target { folder, path: dir, make, id: None };
            match self.0.ask(Question::new(&[], &request))? {
                WriteAnswer::Target(opened) => Ok((folder, opened)),
                _ => Err(unexpected()),
            }
        });
        let (number, opened) = opened.map_err(|error| failed(error.into()))?;
        // The first answer waited for the disk. The far end answers this one at once, so its time is the round trip.
        let asked = WriteRequest::Creator { name: b"round trip" };
        again(|_| self.0.ask(Question::new(&[], &asked))).map_err(|error| failed(error.into()))?;
        let SentTarget { path: real, folder, user, .. } =
            opened.map_err(|error| error.at(path()))?;
        if !real.starts_with(b"/") || real.len() >= 2 * PATH_MAX || real.contains(&0) {
            return Err(failed(io::Error::other("the far end reports no absolute path for it")));
        }
        let (path, forget) = (Arc::from(real), self.0.forget());
        let top = folder.map(|found| RestoredFolder::top(number, Arc::clone(&path), found, forget));
        Ok(HelperTarget::new(self.0, path, top, user))
    }
}
