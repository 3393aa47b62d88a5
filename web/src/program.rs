//! What the page needs of the program around it.

use std::io::Write;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use engine::inspect::{DifferenceSink, Differences, Look};
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

    /// The clocks here.
    fn clock(&self) -> Clock;

    /// The command that restores `path`, a path of the source, from `snapshot`.
    fn restore_command(&self, job: &Job, snapshot: &SnapshotName, path: &[u8]) -> String;

    /// Compares `snapshot` with the source as it is now. Several threads pass the differences to `sink`.
    ///
    /// # Errors
    /// Why the source cannot be read here.
    fn compare_with_source(
        &self,
        job: &Job,
        snapshot: &SnapshotName,
        sink: Arc<dyn DifferenceSink>,
    ) -> Result<Differences, NoSource>;

    /// Prints a complaint for whoever runs the page.
    fn complain(&self, complaint: &str);

    /// The mistakes that were found when the settings were read again. Until they are repaired, the settings from before apply.
    fn mistakes(&self) -> Vec<String>;

    /// The command that compares `snapshot` with the source.
    fn compare_command(&self, job: &Job, snapshot: &SnapshotName) -> String;

    /// Writes the answer to `question` as the verbs print it with `--json`.
    ///
    /// # Errors
    /// Why there is none, or why it is not complete.
    fn answer(&self, question: &Question, out: &mut dyn Write) -> Result<(), String>;
}

/// Converts a time to the one that the clocks here show.
pub type Clock = Arc<dyn Fn(DateTime<Utc>) -> NaiveDateTime + Send + Sync>;

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
    pub reasons: Vec<Reason>,
    /// What the newest snapshot contains.
    pub contains: Option<Contents>,
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
    /// The further copies of the snapshots.
    pub copies: Vec<Copy>,
}

/// What a snapshot contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its source roots, with commas.
    pub roots: String,
    /// Where they are.
    pub from: Origin,
}

/// The machine that the sources of a snapshot are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is not known.
    Unknown,
    /// This host.
    Host(String),
    /// The machine of the page.
    ThisMachine,
    /// Another one, which ran the job itself.
    AnotherMachine,
}

/// Why a source cannot be compared here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSource {
    /// Neither settings nor a report say where it is.
    Unknown,
    /// It is on this host. The page connects to none.
    OnHost(String),
    /// It is on another machine.
    OtherMachine,
    /// The comparison was given up because it took too long.
    TooLarge,
    /// It cannot be read: a message in English.
    Failed(String),
}

/// A further copy of the snapshots of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its folder, escaped.
    pub folder: String,
    /// When its newest snapshot was taken.
    pub newest: Option<DateTime<Utc>>,
    /// Whether it had all snapshots that it is to have when it was last made.
    pub is_whole: bool,
    /// Whether its disk was missing then.
    pub is_absent: bool,
    /// Whether its newest snapshot is older than `COPY_MAX_AGE_H`.
    pub is_late: bool,
    /// Why it could not be completed, in English.
    pub why: Option<String>,
}

/// Why a job is not healthy. The page has words for it in each language; a `why` is a message in English, of the system or
/// of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The newest snapshot is older than `MAX_AGE_H`.
    Old {
        /// Its age.
        age: TimeDelta,
        /// `MAX_AGE_H`.
        limit: TimeDelta,
    },
    /// The clock of this machine was never set. It shows this time.
    ClockNeverSet(DateTime<Utc>),
    /// The newest snapshot, which is this one, is from the future.
    FromTheFuture(SnapshotName),
    /// There is no snapshot, but runs were attempted.
    NoSnapshot,
    /// There is no snapshot, and no run has begun.
    NoRun,
    /// The first snapshot was not completed within `MAX_AGE_H`.
    NotCompleted {
        /// The time since it was expected.
        since: TimeDelta,
        /// `MAX_AGE_H`.
        limit: TimeDelta,
    },
    /// Entries could not be read for longer than `MAX_AGE_H`.
    Unread {
        /// Their number.
        number: u64,
        /// Since when the oldest could not be read.
        since: DateTime<Utc>,
        /// `MAX_AGE_H`.
        limit: TimeDelta,
        /// The snapshot whose report lists them.
        report: String,
    },
    /// The last runs failed.
    Failed {
        /// Their number.
        runs: u32,
        /// Why the last one failed; `None` if it was killed.
        why: Option<String>,
    },
    /// A snapshot cannot be removed.
    Stuck {
        /// Its name.
        snapshot: String,
        /// The path that cannot be removed, and why.
        why: String,
    },
    /// The last restore drill could not be done.
    NoDrill {
        /// When it ended.
        finished: Option<DateTime<Utc>>,
        /// What prevented it.
        why: String,
    },
    /// The last restore drill failed.
    DrillFailed {
        /// When it ended.
        finished: Option<DateTime<Utc>>,
        /// The number of entries that did not come back as they were backed up.
        failed: u64,
        /// The snapshot that was restored.
        snapshot: String,
        /// The first such entry.
        why: String,
    },
    /// The snapshots belong to other sources than this job's.
    OtherSources(String),
    /// A mass change froze the removal of snapshots.
    MassChange {
        /// Since when it goes on.
        since: Option<DateTime<Utc>>,
        /// The snapshot in which a run noticed it; empty when that is not known.
        noticed: String,
        /// The change, in English.
        what: String,
        /// The snapshot that is held; empty when none could be held.
        held: String,
        /// The commands for a change that was not wanted, and for one that was.
        commands: Option<[String; 2]>,
    },
    /// The newest snapshot of a copy is older than `COPY_MAX_AGE_H`.
    OldCopy {
        /// Its folder, escaped.
        folder: String,
        /// The age of its newest snapshot.
        age: TimeDelta,
        /// `COPY_MAX_AGE_H`.
        limit: TimeDelta,
        /// Why it is not newer, if that is known.
        why: Option<String>,
    },
    /// There was never a copy, for longer than `COPY_MAX_AGE_H`.
    NoCopy {
        /// Its folder, escaped.
        folder: String,
        /// The age of the oldest snapshot, or of the first attempt.
        age: TimeDelta,
        /// `COPY_MAX_AGE_H`.
        limit: TimeDelta,
        /// Why there is none, if that is known.
        why: Option<String>,
    },
    /// The last restore drill of a copy failed.
    CopyDrill {
        /// Its folder, escaped.
        folder: String,
        /// What is wrong.
        reason: Box<Reason>,
    },
    /// The backups folder cannot be read.
    Unreadable(String),
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
