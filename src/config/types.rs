//! The types of a loaded configuration.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use engine::Job;
use engine::Prefix;
use engine::Retention;
use transport::remote::RemoteHelper;
use transport::ssh::connect::address::Address;
use web::Listen;

use crate::config::rsync::parsed::RsyncOptions;
use crate::config::setting::Key;
use crate::config::values::alert_channels::{AlertLevel, Channels};
use crate::config::values::bandwidth::Bandwidth;
use crate::config::values::io_priority::IoPriority;
use crate::config::values::log_format::Format;
use crate::schedule::window::OpenHours;

/// The user's commands of a job, and their time limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) pre: Option<String>,
    pub(crate) post: Option<String>,
    pub(crate) on_failure: Option<String>,
    pub(crate) timeout: Duration,
}

/// All inputs of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// Settings on the command line.
    pub(crate) flags: Vec<(Key, OsString)>,
    /// rsync options on the command line.
    pub(crate) rsync_args: Vec<OsString>,
    /// `--config`.
    pub(crate) config_file: Option<PathBuf>,
    /// The names of the requested jobs; empty means all.
    pub(crate) names: Vec<String>,
    /// The environment variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The folder in which relative paths start.
    pub(crate) current_dir: PathBuf,
}

/// A configuration without mistakes.
#[derive(Debug)]
pub(crate) struct Config {
    /// The jobs to run, in order.
    pub(crate) jobs: Vec<NamedJob>,
    /// `JOBS_AT_ONCE`.
    pub(crate) jobs_at_once: NonZeroUsize,
    /// `LOG_FILE`.
    pub(crate) log_file: Option<PathBuf>,
    /// `LOG_FORMAT`.
    pub(crate) log_format: Format,
    /// The web page.
    pub(crate) web: WebSettings,
    /// `known_hosts` in the configuration folder, if it exists: host keys in addition to the user's own.
    pub(crate) known_hosts: Option<PathBuf>,
    /// Settings that look wrong but may be intended.
    pub(crate) warnings: Vec<String>,
    /// Which value is in force where environment and config file differ.
    pub(crate) notes: Vec<String>,
}

/// The settings of the web page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WebSettings {
    /// `WEB_LISTEN`.
    pub(crate) listen: Option<Listen>,
    /// `WEB_USERS_FILE`.
    pub(crate) users_file: Option<PathBuf>,
    /// `WEB_BASE_PATH`.
    pub(crate) base_path: String,
    /// `WEB_HOST`.
    pub(crate) hosts: Vec<String>,
}

/// A job with the settings that the engine does not use.
#[derive(Debug)]
pub(crate) struct NamedJob {
    /// The job's name for `run NAME` and in the log.
    pub(crate) name: String,
    pub(crate) job: Job,
    /// The host of the sources, if they are remote.
    pub(crate) remote: Option<Remote>,
    pub(crate) alert: HealthLimits,
    /// The effect of the rsync options that is not in `job`.
    pub(crate) wanted: RsyncOptions,
    /// The level and the channels of alerts.
    pub(crate) notify: (AlertLevel, Channels),
    pub(crate) hooks: Hooks,
    pub(crate) copies: Copies,
    pub(crate) limits: RunLimits,
    /// The given rsync options that have no effect, each with the reason.
    pub(crate) without_effect: Vec<String>,
}

/// When a job runs, how fast, and at which priority.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunLimits {
    /// `WINDOW`.
    pub(crate) hours: Option<OpenHours>,
    /// `--bwlimit`, else `BWLIMIT`, if it limits anything.
    pub(crate) bandwidth: Option<Bandwidth>,
    /// `NICE`.
    pub(crate) nice: Option<i8>,
    /// `IONICE`.
    pub(crate) ionice: Option<IoPriority>,
}

impl RunLimits {
    /// Whether the job needs a process that has another priority.
    pub(crate) fn has_priority(&self) -> bool {
        self.nice.is_some() || self.ionice.is_some()
    }
}

/// What identifies a job in its reports, and where they go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporting<'a> {
    pub(crate) name: &'a str,
    pub(crate) backups_dir: &'a Path,
    pub(crate) prefix: &'a Prefix,
    pub(crate) alert: HealthLimits,
    pub(crate) notify: &'a (AlertLevel, Channels),
    pub(crate) hooks: &'a Hooks,
    /// `COPY_TO` and its limits; `None` if they are not known.
    pub(crate) copies: Option<&'a Copies>,
}

impl NamedJob {
    pub(crate) fn reporting(&self) -> Reporting<'_> {
        Reporting {
            name: &self.name,
            backups_dir: &self.job.backups_dir,
            prefix: &self.job.prefix,
            alert: self.alert,
            notify: &self.notify,
            hooks: &self.hooks,
            copies: Some(&self.copies),
        }
    }
}

/// A job with mistakes in its settings, as far as it can report them.
#[derive(Debug)]
pub(crate) struct BrokenJob {
    pub(crate) name: String,
    pub(crate) backups_dir: PathBuf,
    pub(crate) prefix: Prefix,
    pub(crate) alert: HealthLimits,
    pub(crate) notify: (AlertLevel, Channels),
    pub(crate) hooks: Hooks,
}

impl BrokenJob {
    pub(crate) fn reporting(&self) -> Reporting<'_> {
        Reporting {
            name: &self.name,
            backups_dir: &self.backups_dir,
            prefix: &self.prefix,
            alert: self.alert,
            notify: &self.notify,
            hooks: &self.hooks,
            copies: None,
        }
    }
}

/// A configuration with mistakes, as far as it can report them.
#[derive(Debug)]
pub(crate) struct BrokenConfig {
    pub(crate) jobs: Vec<BrokenJob>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_format: Format,
}

/// A remote host.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) address: Address,
    /// The time limit for an answer.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// `REMOTE_HELPER`.
    pub(crate) helper: RemoteHelper,
    /// The given rsync options that have no effect if the host is read over SFTP, each with the reason.
    pub(crate) without_effect_over_sftp: Vec<String>,
    /// The file with host keys in addition to the user's own, if there is one.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// The further copies of a job's snapshots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies {
    /// `COPY_TO`: folders, and `user@host:DIR`.
    pub(crate) to: Vec<PathBuf>,
    /// `COPY_MAX_BACKUPS`, `COPY_KEEP_…`.
    pub(crate) retention: Retention,
    /// `COPY_MAX_AGE_H`.
    pub(crate) max_age: TimeDelta,
    /// `RENAME_DETECTION`.
    pub(crate) rename_from: Option<u64>,
    /// How the hosts among them are reached.
    pub(crate) reach: Reach,
}

/// How the hosts of copies are reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// The time limit for an answer.
    pub(crate) answer_timeout: Duration,
    /// `REMOTE_HELPER`; `None` if it is not set.
    pub(crate) helper: Option<RemoteHelper>,
    /// The file with host keys in addition to the user's own, if there is one.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// When a job counts as unhealthy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HealthLimits {
    /// `MAX_AGE_H`.
    pub(crate) max_age: TimeDelta,
    /// `MINIMUM_TIME_GUARD_H`.
    pub(crate) guard: TimeDelta,
    /// `WINDOW`.
    pub(crate) hours: Option<OpenHours>,
    /// `FAILURES_BEFORE_ALERT`.
    pub(crate) failures: NonZeroUsize,
}

/// A configuration without mistakes, for commands that only look at snapshots.
#[derive(Debug)]
pub(crate) struct SnapshotConfig {
    /// The locations of snapshots, in the order of the jobs.
    pub(crate) places: Vec<SnapshotPlace>,
    /// The web page.
    pub(crate) web: WebSettings,
    /// Settings that look wrong but may be intended.
    pub(crate) warnings: Vec<String>,
}

/// The snapshots of one job, or all snapshots in a folder.
#[derive(Debug)]
pub(crate) struct SnapshotPlace {
    /// The name for `--job NAME`.
    pub(crate) name: String,
    pub(crate) backups_dir: PathBuf,
    /// The prefix of the snapshots; `None` means all snapshots in the folder.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) retention: Retention,
    pub(crate) copies: Copies,
    /// When the snapshots count as unhealthy.
    pub(crate) alert: HealthLimits,
    /// `BACKUPS_MODE`.
    pub(crate) backups_mode: Option<u32>,
    /// The job, if the sources are configured.
    pub(crate) job: Option<NamedJob>,
    /// The time limit for an answer of a remote host.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// `REMOTE_HELPER`.
    pub(crate) helper: RemoteHelper,
    /// The file with host keys in addition to the user's own, if there is one.
    pub(crate) known_hosts: Option<PathBuf>,
}
