//! backup_manager: snapshot backups as plain folders.

mod cli;
mod commands;
mod config;
mod exit;
mod hint;
mod jobs;
mod log;
mod monitor;
mod series;
mod supervise;
mod ui;

fn main() -> std::process::ExitCode {
    cli::main()
}
