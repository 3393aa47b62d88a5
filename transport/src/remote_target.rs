//! A folder on a remote host to restore to, in the best way that the host offers: through this program at the far end,
//! or over SFTP.

use std::time::SystemTime;

use engine::restore::PlaceError;

use crate::helper::install::binaries::Binaries;
use crate::helper::write::{HelperHost, HelperTarget};
use crate::remote::{Installed, NoHelper, RemoteHelper, found, installed, neither};
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
    Sftp(Box<SftpTarget>, Option<String>),
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
        let host = host.map_err(|error| neither(why_not.as_deref(), error));
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
    let line = match helper {
        RemoteHelper::Install => found(&Binaries::find().names().collect::<Vec<_>>(), SERVE),
        helper => helper.line(SERVE)?,
    };
    let options = Options { channels: 1, channels_first: 1, ..options.compressed_by_ssh() };
    Some(HelperHost::connect(address.clone(), options, line, stopped).map(drop))
}

/// Where a host has the helper, for a line that starts it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelperPlace {
    /// The program, as the shell of the user understands it.
    Program(String),
    /// Neither the `PATH` of the user nor the folder for helpers has one.
    Missing,
    /// The host does not tell, such as for a key with a forced command.
    Unknown,
}

/// What the shell of a host says of the helper in front of its place.
const MARK: &str = "helper-at:";

/// Asks the shell of a host where the helper is that it starts for [`RemoteHelper::Auto`] or, if `install`, for
/// [`RemoteHelper::Install`]. `stopped` as above.
pub fn look_for_helper_place(
    address: &Address,
    options: &Options,
    install: bool,
    stopped: impl Fn() -> bool + Send + 'static,
) -> HelperPlace {
    let names = if install { Binaries::find().names().collect() } else { Vec::new() };
    let options = Options { channels: 1, channels_first: 1, ..options.compressed_by_ssh() };
    match HelperHost::connect(address.clone(), options, place_line(&names), stopped) {
        Ok(_) => HelperPlace::Unknown,
        Err(error) => place(&error.to_string()),
    }
}

/// The line for the login shell that says where the helper is. It looks in the order in which [`found`] does.
fn place_line(names: &[String]) -> String {
    let copies: String = names.iter().map(|name| format!("\"$d/{name}\" ")).collect();
    format!(
        "sh -c 'd=$HOME/.cache/backup_manager; b=backup_manager; p=; for f in {copies}; do \
         [ -x \"$f\" ] && p=${{f##*/}} && break; done; [ $p ] || if command -v $b >/dev/null; then p=PATH; else \
         for f in \"$d\"/$b-* \"$d/$b\"; do [ -x \"$f\" ] && p=${{f##*/}}; done; fi; echo {MARK}$p >&2; exit 1'"
    )
}

/// Reads what the shell says. Whatever the host answers, the place is a plain path.
fn place(said: &str) -> HelperPlace {
    let Some((_, rest)) = said.rsplit_once(MARK) else { return HelperPlace::Unknown };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    match rest.split([' ', ';']).next().unwrap_or_default() {
        "" => HelperPlace::Missing,
        "PATH" => HelperPlace::Program("backup_manager".to_owned()),
        name if name.starts_with("backup_manager") && name.chars().all(plain) => {
            HelperPlace::Program(format!("~/.cache/backup_manager/{name}"))
        }
        _ => HelperPlace::Unknown,
    }
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
        _ => connect(line).map_err(NoHelper::Connect),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_a_plain_path_whatever_the_host_says() {
        let of =
            |said: &str| place(&format!("the command on the host failed: {said} (exit status 1)"));
        let at = |path: &str| HelperPlace::Program(path.to_owned());
        assert_eq!(of("helper-at:PATH"), at("backup_manager"));
        assert_eq!(
            of("hello; helper-at:backup_manager-1.2.3-0f"),
            at("~/.cache/backup_manager/backup_manager-1.2.3-0f")
        );
        assert_eq!(of("helper-at:"), HelperPlace::Missing);
        for strange in
            ["", "helper-at:backup_manager$(id)", "helper-at:../x", "helper-at:backup_manager/../x"]
        {
            assert_eq!(of(strange), HelperPlace::Unknown, "{strange}");
        }
        // csh(1) expands `!` also in quotes.
        let line = place_line(&["backup_manager-1.2.3-0f".to_owned()]);
        assert!(line.matches('\'').count() == 2 && !line.contains(['!', '\n', '\\']), "{line}");
    }
}
