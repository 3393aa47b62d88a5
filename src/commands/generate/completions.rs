//! `completions SHELL`: prints the completion script of a shell.

use clap::Command;
use clap_complete::{Shell, generate};

use crate::exit::Exit;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Complete in this shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut Command) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, command, "backup_manager", &mut script);
    crate::term::print::print(&script)
}
