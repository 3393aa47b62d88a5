//! backup_manager: takes snapshots of folders and stores them as plain folders.

pub(crate) mod args;
pub(crate) mod cli;
pub(crate) mod commands;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod doctor;
pub(crate) mod exit;
pub(crate) mod health;
pub(crate) mod hint;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod page;
pub(crate) mod schedule;
pub(crate) mod secret;
pub(crate) mod snapshots;
pub(crate) mod state;
pub(crate) mod term;
pub(crate) mod ui;

fn main() -> std::process::ExitCode {
    crate::cli::main()
}
