//! backup_manager: snapshot backups as plain folders.

mod cli;
mod commands;
mod config;
mod daemon;
mod exit;
mod explain;
mod health;
mod hint;
mod jobs;
mod log;
mod monitor;
mod schedule;
mod series;
mod sources;
mod supervise;
mod ui;

fn main() -> std::process::ExitCode {
    cli::main()
}
