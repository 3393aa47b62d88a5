//! The command line: verbs, settings, output, alerts, the daemon.

mod adopt;
mod columns;
mod container_paths;
mod daemon;
mod diff;
mod doctor;
mod dry_run;
mod history;
mod history_of;
mod hooks;
mod limits;
mod list;
mod manual;
mod mistyped;
mod notify;
mod only_folder;
mod pasted;
mod progress;
mod recipes;
mod settings;
mod status;
mod summary;
mod terminal;
