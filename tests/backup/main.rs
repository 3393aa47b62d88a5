//! Runs: the content of a snapshot, when it is taken, and what happens after errors.

mod destination;
mod history;
mod incremental;
mod run;
mod snapshot;
mod source;
