//! backup_manager: snapshot backups as plain folders.

mod around;
mod cli;
mod commands;
mod config;
mod exit;
mod hint;
mod hooks;
mod jobs;
mod log;
mod metrics;
mod monitor;
mod notify;
mod secret;
mod series;
mod supervise;
mod ui;

fn main() -> std::process::ExitCode {
    cli::main()
}
