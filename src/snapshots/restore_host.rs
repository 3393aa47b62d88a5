//! The host of a restore: parses `--to user@host:DIR`, and connects to the host.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Stop;
use engine::entry::escape::shown;
use transport::remote::{NoHelper, RemoteHelper};
use transport::remote_target::{RemoteTarget, TargetError};
use transport::ssh::connect::address::{Address, BadAddress};
use transport::ssh::options::Options;

use crate::config::rsync::parsed::RsyncOptions;
use crate::config::rsync::shell::Shell;
use crate::config::types::Remote;
use crate::hint::helper::{Started, WRITES, next};
use crate::hint::step::Step;
use crate::jobs::channels::ChannelMemory;
use crate::jobs::open_source;
use crate::snapshots::open::Series;
use crate::term::print::warn;

/// Number of channels over SFTP, also to a nearby host and from the start. Each channel has its own server, which
/// waits for the disk, and disks sync for several processes at once. sshd allows 10 (`MaxSessions`).
const CHANNELS: usize = 8;

/// A folder on a remote host.
#[derive(Debug, Clone)]
pub(crate) struct RestoreHost {
    address: Address,
    dir: Vec<u8>,
    options: Options,
    /// The backups folder that stores how many channels the host accepts.
    backups_dir: PathBuf,
    sftp_channels: Option<NonZeroUsize>,
    helper: RemoteHelper,
}

/// What the command line says of the connection to the host, beside the settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// `-e`, in place of the one of the job.
    pub(crate) shell: Option<Shell>,
    /// `-z`.
    pub(crate) compress: bool,
}

/// Splits `HOST:DIR` as scp and rsync do: the colon must precede any slash. `None` for a local folder.
pub(crate) fn split(to: &[u8]) -> Option<(&[u8], &[u8])> {
    let bracket = to.iter().position(|byte| matches!(byte, b'[' | b':' | b'/'));
    let from = match bracket {
        // An IPv6 address contains colons.
        Some(at) if to[at] == b'[' => at + to[at..].iter().position(|byte| *byte == b']')?,
        _ => 0,
    };
    let at = from + to[from..].iter().position(|byte| matches!(byte, b':' | b'/'))?;
    (to[at] == b':').then_some((&to[..at], &to[at + 1..]))
}

/// The port and the folder, where `dir` is written as `PORT:DIR`, as in `REMOTE_SRC_HOST`.
pub(crate) fn port_before(dir: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = dir.iter().position(|byte| !byte.is_ascii_digit())?;
    ((1..=5).contains(&at) && dir[at] == b':').then(|| (&dir[..at], &dir[at + 1..]))
}

/// Parses the address before the colon.
///
/// # Errors
/// If it is not an address.
pub(crate) fn address(text: &[u8], port: Option<u16>) -> Result<Address, BadAddress> {
    let text = String::from_utf8_lossy(text);
    text.parse::<Address>()?.with(None, port)
}

/// Formats the user and the host of an address in the form that `--to` accepts before the colon.
pub(crate) fn account(address: &Address) -> String {
    let user = address.user().map_or_else(String::new, |user| format!("{user}@"));
    let host = address.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("{user}{host}")
}

impl RestoreHost {
    /// The folder `dir` on the host at `address`. If the job of `series` backs up that host, its ssh options
    /// apply here too, and also its user and port unless others are given. `line` applies to any host.
    pub(crate) fn new(address: Address, dir: Vec<u8>, line: Line, series: &Series) -> Self {
        let of_job = series.job.as_deref().and_then(|job| Some((job.remote.as_ref()?, job)));
        let same = of_job.filter(|(remote, _)| fits(&address, remote));
        let mut wanted = same.map_or_else(RsyncOptions::default, |(_, job)| job.wanted.clone());
        wanted.compress |= line.compress;
        wanted.shell = line.shell.unwrap_or(wanted.shell);
        let (address, limit) = match same {
            Some((remote, _)) => (completed(&address, remote), remote.answer_timeout),
            None => (address, series.answer_timeout),
        };
        // The limit of bytes in flight applies only to reading.
        let options = Options { under_way: None, ..open_source::by_rsync(&wanted, limit) };
        let known_hosts = series.known_hosts.clone();
        let helper = same.map_or(&series.helper, |(remote, _)| &remote.helper).clone();
        let (backups_dir, sftp_channels) = (series.catalog.path().to_owned(), series.sftp_channels);
        let channels_given = sftp_channels.map(NonZeroUsize::get);
        let options = Options { known_hosts, channels_given, ..options };
        Self { address, dir, options, backups_dir, sftp_channels, helper }
    }

    /// Connects, and creates the folder unless this is a dry run.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub(crate) fn open(&self, look: bool, stop: &Arc<Stop>) -> Result<RemoteTarget, TargetError> {
        let memory = ChannelMemory {
            backups_dir: &self.backups_dir,
            address: &self.address,
            setting: self.sftp_channels,
            may_write: !look,
        };
        let channel_limit = memory.limit(warn);
        let loss_report = open_source::loss_report(self.address.to_string(), warn);
        let options = Options { channel_limit, loss_report, ..self.options.clone() };
        let stop = Arc::clone(stop);
        let helper = self.helper(look);
        RemoteTarget::open(
            &self.address,
            options,
            (&helper, CHANNELS),
            (&self.dir, !look),
            move || stop.asked(),
        )
    }

    /// The helper that is started: if the restore only `looks`, nothing is copied to the host.
    fn helper(&self, looks: bool) -> RemoteHelper {
        if looks { self.helper.without_copying() } else { self.helper.clone() }
    }

    /// Whether a helper is asked for, and not only used where there is one.
    pub(crate) fn wants_helper(&self, looks: bool) -> bool {
        matches!(self.helper(looks), RemoteHelper::Install | RemoteHelper::Command(_))
    }

    /// What to do where the host starts no helper that writes, unless `why` has it.
    pub(crate) fn unstarted(&self, looks: bool, why: &NoHelper) -> Option<Step> {
        let (helper, address, options) = (&self.helper(looks), &self.address, &self.options);
        next(&Started { helper, address, options, serve: WRITES }, why)
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The user and the host, for messages.
    pub(crate) fn account(&self) -> String {
        account(&self.address)
    }

    /// Formats a path on the host for messages, in the form that `--to` accepts.
    pub(crate) fn shown(&self, path: &[u8]) -> String {
        format!("{}:{}", account(&self.address), shown(path))
    }
}

/// Whether an address may refer to the host of a job.
fn fits(address: &Address, remote: &Remote) -> bool {
    let same = |given: Option<&str>, other: Option<&str>| given.is_none() || given == other;
    address.host() == remote.address.host()
        && same(address.user(), remote.address.user())
        && (address.port().is_none() || address.port() == remote.address.port())
}

/// The address with the user and the port of the host of the job.
fn completed(address: &Address, remote: &Remote) -> Address {
    let full = address.with(remote.address.user(), remote.address.port());
    full.unwrap_or_else(|_| address.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(text: &str) -> Option<(&str, &str)> {
        let (host, dir) = split(text.as_bytes())?;
        Some((std::str::from_utf8(host).unwrap(), std::str::from_utf8(dir).unwrap()))
    }

    #[test]
    fn a_host_is_what_stands_before_a_colon_before_any_slash() {
        for (text, expected) in [
            ("host:/folder", Some(("host", "/folder"))),
            ("user@host:", Some(("user@host", ""))),
            ("user@host:a/b:c", Some(("user@host", "a/b:c"))),
            ("user@[fe80::1%eth0]:/x", Some(("user@[fe80::1%eth0]", "/x"))),
            ("[::1]:~/x", Some(("[::1]", "~/x"))),
            ("./host:/folder", None),
            ("/mnt/a:b", None),
            ("folder", None),
            ("a[b", None),
            ("[::1]/x", None),
            ("", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn the_address_is_checked_as_that_of_a_source_is() {
        assert_eq!(port_before(b"2222:/a"), Some((&b"2222"[..], &b"/a"[..])));
        for folder in [&b"2222/a"[..], b"2222", b"./2222:/a", b":/a", b"", b"123456:a", b"a:1"] {
            assert_eq!(port_before(folder), None);
        }
        assert!(address(b"user@host", Some(2222)).unwrap().port() == Some(2222));
        for bad in ["-oProxyCommand=x", "user@", "a b", "$(x)", "user@-host", "\u{1b}"] {
            assert!(address(bad.as_bytes(), None).is_err(), "{bad}");
        }
        assert!(address(b"h\xffst", None).is_ok_and(|address| address.host().contains('\u{fffd}')));
    }

    #[test]
    fn the_host_of_the_job_is_known_again() {
        let remote = |text: &str| Remote {
            address: text.parse().unwrap(),
            answer_timeout: Duration::from_secs(1),
            sftp_channels: None,
            helper: transport::remote::RemoteHelper::Off,
            without_effect_over_sftp: Vec::new(),
            known_hosts: None,
        };
        let fit = |to: &str, job: &str| fits(&to.parse().unwrap(), &remote(job));
        assert!(fit("nas", "me@nas:2222") && fit("me@nas", "me@nas:2222"));
        assert!(!fit("root@nas", "me@nas") && !fit("other", "me@nas"));
        assert!(!fit("me@nas:22", "me@nas:2222"));
    }
}
