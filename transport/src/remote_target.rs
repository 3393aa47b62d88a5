//! A folder on a remote host to restore to, in the best way that the host offers: through this program at the far end,
//! or over SFTP.

use std::time::SystemTime;

use engine::restore::PlaceError;

use crate::helper::write::{HelperHost, HelperTarget};
use crate::remote::{Installed, NoHelper, RemoteHelper, installed, neither};
use crate::sftp::write::{SftpHost, SftpTarget};
use crate::ssh::options::Options;
use crate::ssh::{Address, ConnectError};

/// What the far end of a restore is asked to be.
const SERVE: &str = "serve";

/// A folder on a remote host to restore to.
pub enum RemoteTarget {
    /// Through this program at the far end.
    Helper(Box<HelperTarget>),
    /// Over SFTP; why not through a helper, unless that is not wanted.
    Sftp(Box<SftpTarget>, Option<NoHelper>),
}

/// Why there is no folder to restore to.
#[derive(Debug)]
pub enum TargetError {
    /// There is no connection.
    Connect(ConnectError),
    /// The folder cannot be created, or must not be written to.
    Place(PlaceError),
}

impl RemoteTarget {
    /// Connects to a host, starts the helper there, and opens the folder `dir`; with `make` it is created if it is
    /// missing. Without a helper that writes, everything goes over SFTP. `channels` is for SFTP: each of its channels
    /// waits for the disk. `stopped` is polled several times a second; when it returns true, the connection ends.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn open(
        address: &Address,
        options: Options,
        (helper, channels): (&RemoteHelper, usize),
        (dir, make): (&[u8], bool),
        stopped: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<Self, TargetError> {
        let mut why_not = None;
        match through_helper(address, &options, helper, stopped.clone()) {
            None => {}
            Some(Ok(host)) => {
                let target = host.open(dir, make).map_err(TargetError::Place)?;
                return Ok(Self::Helper(Box::new(target)));
            }
            Some(Err(no_helper)) => {
                why_not = Some(no_helper.or_sftp().map_err(TargetError::Connect)?);
            }
        }
        let options = options.compressed_by_ssh();
        let options = Options { channels, channels_first: channels, ..options };
        let host = SftpHost::connect(address.clone(), options, stopped);
        let host = host.map_err(|error| neither(why_not.as_ref(), error));
        let (host, now) = (host.map_err(TargetError::Connect)?, SystemTime::now());
        let opened = if make { host.make(dir, now) } else { host.look_at(dir, now) };
        Ok(Self::Sftp(Box::new(opened.map_err(TargetError::Place)?), why_not))
    }
}

/// Whether a host starts a helper that writes, in the way that `helper` says. Nothing is copied to the host. `None` if no
/// helper is wanted. `stopped` as above.
///
/// # Errors
/// The host starts none ([`ConnectError::is_about_service`]), or there is no connection.
pub fn look_for_writing_helper(
    address: &Address,
    options: &Options,
    helper: &RemoteHelper,
    stopped: impl Fn() -> bool + Send + 'static,
) -> Option<Result<(), ConnectError>> {
    let line = helper.without_copying().line(SERVE)?;
    let options = Options { channels: 1, channels_first: 1, ..options.compressed_by_ssh() };
    Some(HelperHost::connect(address.clone(), options, line, stopped).map(drop))
}

/// Connects to the helper of a host; copies this program there first if that is wanted and there is none, or an
/// older one. `None` if no helper is wanted.
fn through_helper(
    address: &Address,
    options: &Options,
    helper: &RemoteHelper,
    stopped: impl Fn() -> bool + Clone + Send + 'static,
) -> Option<Result<HelperHost, NoHelper>> {
    let line = helper.line(SERVE)?;
    // One process serves many requests at once. A long line gets more.
    let few = Options { channels: 1, channels_first: 1, ..options.clone() };
    let with = |options, line| HelperHost::connect(address.clone(), options, line, stopped.clone());
    let connect = |line: String| match with(few.clone(), line.clone())? {
        // A far end of an older version leaves the compression to ssh.
        host if few.compression.level().is_some() && !host.is_compressed() => {
            drop(host);
            with(few.compressed_by_ssh(), line)
        }
        host => Ok(host),
    };
    Some(match helper {
        RemoteHelper::Install => {
            let connect = (connect, HelperHost::is_older);
            let installed = installed(connect, SERVE, address, options, stopped.clone());
            installed.map(|installed| match installed {
                Installed::Before(host) | Installed::Now(host, _) | Installed::Older(host, _) => {
                    host
                }
            })
        }
        _ => connect(line).map_err(NoHelper::NotStarted),
    })
}
