//! The configuration as values.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use engine::job::Job;
use engine::snapshot::name::Prefix;
use engine::snapshot::retention::Retention;
use transport::sftp::ssh::address::Address;

use crate::config::alert_channels::{Channels, Level};
use crate::config::log_format::Format;
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::setting::Key;

/// The commands of a job, and how long each may take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) pre: Option<String>,
    pub(crate) post: Option<String>,
    pub(crate) on_failure: Option<String>,
    pub(crate) timeout: Duration,
}

/// Everything that a configuration is read from.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// Settings on the command line.
    pub(crate) flags: Vec<(Key, OsString)>,
    /// rsync options on the command line.
    pub(crate) rsync_args: Vec<OsString>,
    /// `--config`.
    pub(crate) config_file: Option<PathBuf>,
    /// The jobs that were asked for; none for all.
    pub(crate) names: Vec<String>,
    /// The environment variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The folder that relative paths start from.
    pub(crate) current_dir: PathBuf,
}

/// A configuration without mistakes.
#[derive(Debug)]
pub(crate) struct Config {
    /// The jobs to do, in their order.
    pub(crate) jobs: Vec<NamedJob>,
    /// `LOG_FILE`.
    pub(crate) log_file: Option<PathBuf>,
    /// `LOG_FORMAT`.
    pub(crate) log_format: Format,
    /// `known_hosts` in the configuration's folder, if it is there: host keys beside the user's own.
    pub(crate) known_hosts: Option<PathBuf>,
    /// What looks wrong and may be right.
    pub(crate) warnings: Vec<String>,
}

/// A job and what is not the engine's business about it.
#[derive(Debug)]
pub(crate) struct NamedJob {
    /// What `run NAME` and the log call it.
    pub(crate) name: String,
    pub(crate) job: Job,
    /// The machine that the sources are on, when it is not this one.
    pub(crate) remote: Option<Remote>,
    pub(crate) alert: Alert,
    /// The effect of its rsync options, beyond what is in `job`.
    pub(crate) wanted: RsyncOptions,
    /// Which alerts are sent, and how.
    pub(crate) notify: (Level, Channels),
    pub(crate) hooks: Hooks,
    /// rsync options that were given and change nothing, with the reason.
    pub(crate) without_effect: Vec<String>,
}

/// Another machine.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) address: Address,
    /// How long an answer may take.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// Host keys beside the user's own, if there are any.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// From when on a job is called unhealthy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alert {
    /// `MAX_AGE_H`.
    pub(crate) max_age: TimeDelta,
    /// `FAILURES_BEFORE_ALERT`.
    pub(crate) failures: NonZeroUsize,
}

/// A configuration without mistakes, for the verbs that look at snapshots.
#[derive(Debug)]
pub(crate) struct SnapshotConfig {
    /// Where snapshots lie, in the order of the jobs.
    pub(crate) shelves: Vec<SnapshotPlace>,
    /// What looks wrong and may be right.
    pub(crate) warnings: Vec<String>,
}

/// The snapshots of one job, or all that lie in a folder.
#[derive(Debug)]
pub(crate) struct SnapshotPlace {
    /// What `--job NAME` calls it.
    pub(crate) name: String,
    pub(crate) backups_dir: PathBuf,
    /// Their prefix; `None` if not given, so that all snapshots in the folder are meant.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) retention: Retention,
    /// The job, when it is said what is backed up.
    pub(crate) job: Option<NamedJob>,
    /// How long an answer of another machine may take.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// Host keys beside the user's own, if there are any.
    pub(crate) known_hosts: Option<PathBuf>,
}
