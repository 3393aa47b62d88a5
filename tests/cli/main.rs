//! The command line: verbs, settings, output, alerts, the daemon.

mod commands;
mod config;
mod jobs;
mod output;
