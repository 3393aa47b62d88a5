//! User output: progress, summaries, the lines of a dry run, tables, the state of a job.

pub(crate) mod dry_run;
pub(crate) mod estimate;
pub(crate) mod explain;
pub(crate) mod itemize;
pub(crate) mod job_state;
pub(crate) mod mass_change;
pub(crate) mod parts;
pub(crate) mod progress;
pub(crate) mod progress_line;
pub(crate) mod restore;
pub(crate) mod stats;
pub(crate) mod summary;
