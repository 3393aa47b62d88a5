//! backup_manager: snapshot backups as plain folders.

mod around;
mod channels;
mod cli;
mod commands;
mod config;
mod daemon;
mod doctor;
mod exit;
mod explain;
mod health;
mod hint;
mod hooks;
mod hosts;
mod jobs;
mod log;
mod metrics;
mod monitor;
mod notify;
mod schedule;
mod secret;
mod series;
mod sources;
mod supervise;
mod ui;

fn main() -> std::process::ExitCode {
    cli::main()
}
