//! `sync-file-system`: a run starts this command to sync its destination, so that a signal need not wait for
//! a slow disk. `syncfs(2)` cannot be interrupted, but the run can stop waiting for a child process.

use std::io;
use std::os::fd::AsFd;

use crate::exit::Exit;
use crate::jobs::sync_child::NO_NUMBER;

/// Sync the file system of the folder that is standard input (used by `run` itself).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Exit {
    match engine::fs::sync_file_system(io::stdin().as_fd()) {
        Ok(()) => Exit::Done,
        Err(error) => {
            // Linux error numbers that a file system returns are below 255 (errno(3)).
            std::process::exit(error.raw_os_error().unwrap_or(NO_NUMBER));
        }
    }
}
