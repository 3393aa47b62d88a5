//! The host of a restore: connects to it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Stop;
use engine::entry::escape::shown;
use transport::remote::{NoHelper, RemoteHelper};
use transport::remote_target::{RemoteTarget, TargetError};
use transport::ssh::connect::address::Address;
use transport::ssh::options::Options;

use crate::config::host_dir::{account, completed, fits};
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::rsync::shell::Shell;
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

impl RestoreHost {
    /// The folder `dir` on the host at `address`. If the job of `series` backs up that host, its ssh options
    /// apply here too, and also its user and port unless others are given. `line` applies to any host.
    pub(crate) fn new(address: Address, dir: Vec<u8>, line: Line, series: &Series) -> Self {
        let of_job = series.job.as_deref().and_then(|job| Some((job.remote.as_ref()?, job)));
        let same = of_job.filter(|(remote, _)| fits(&address, &remote.address));
        let mut wanted = same.map_or_else(RsyncOptions::default, |(_, job)| job.wanted.clone());
        wanted.compress |= line.compress;
        wanted.shell = line.shell.unwrap_or(wanted.shell);
        let (address, limit) = match same {
            Some((remote, _)) => (completed(&address, &remote.address), remote.answer_timeout),
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
