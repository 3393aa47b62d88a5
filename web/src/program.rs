//! What the page needs of the program around it.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use engine::inspect::Look;
use engine::repository::SourceRoots;
use engine::{Prefix, Repository, SnapshotName};

/// The program around the page: it knows the configuration and the words of the verbs.
pub trait Program: Send + Sync {
    /// The jobs, in the order of the configuration. Without one, the prefixes of the backups folder.
    ///
    /// # Errors
    /// Why the backups folder cannot be read.
    fn jobs(&self) -> Result<Vec<Job>, String>;

    /// The state of each job, as `status` shows it.
    ///
    /// # Errors
    /// Why the backups folder cannot be read.
    fn states(&self) -> Result<Vec<State>, String>;

    /// The time that the clocks here show at `time`.
    fn local(&self, time: DateTime<Utc>) -> NaiveDateTime;

    /// The command that restores `path`, a path of the source, from `snapshot`.
    fn restore_command(&self, job: &Job, snapshot: &SnapshotName, path: &[u8]) -> String;

    /// The command that compares `snapshot` with the source.
    fn compare_command(&self, job: &Job, snapshot: &SnapshotName) -> String;

    /// The answer to `question` as the verbs print it with `--json`.
    ///
    /// # Errors
    /// Why there is none.
    fn answer(&self, question: &Question) -> Result<String, String>;
}

/// The snapshots of one job, or of one prefix of the folder.
#[derive(Clone)]
pub struct Job {
    /// The name for `--job`.
    pub name: String,
    /// The prefix of its snapshots.
    pub prefix: Prefix,
    /// The backups folder.
    pub repository: Arc<Repository>,
    /// The source roots of a snapshot without a report.
    pub roots: SourceRoots,
}

/// The state of one job.
pub struct State {
    /// The name of the job.
    pub job: String,
    /// What the backups folder contains, or why it could not be read.
    pub look: Result<Look, String>,
    /// Why the job is not healthy; empty if it is.
    pub complaints: Vec<String>,
    /// What the newest snapshot contains.
    pub contains: Option<String>,
    /// `MAX_BACKUPS`.
    pub max_backups: Option<usize>,
    /// The time from which a run takes a snapshot.
    pub due: Option<DateTime<Utc>>,
    /// When the crontab next starts a run after that time.
    pub starts: Option<DateTime<Utc>>,
    /// When the disk will be full.
    pub disk_full: Option<DateTime<Utc>>,
    /// Bytes that the last runs copied per day, if that is known.
    pub bytes_per_day: Option<f64>,
}

/// A question of `/api/`: the verb and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `status --json`
    Status,
    /// `list --json`; without sizes, `--no-sizes`
    List {
        /// `--job`; `None` means all.
        job: Option<String>,
        /// Whether to measure the snapshots.
        sizes: bool,
    },
    /// `history PATH --json`
    History {
        /// `--job`; `None` means all.
        job: Option<String>,
        /// A path of the source, or a pattern.
        path: Vec<u8>,
    },
    /// `find PATTERN --json`
    Find {
        /// `--job`; `None` means all.
        job: Option<String>,
        /// A pattern.
        pattern: Vec<u8>,
        /// `--ignore-case`
        ignore_case: bool,
    },
    /// `diff A B --json`
    Diff {
        /// `--job`; `None` means that the names say it.
        job: Option<String>,
        /// The first snapshot.
        first: String,
        /// The other snapshot.
        second: String,
    },
}
