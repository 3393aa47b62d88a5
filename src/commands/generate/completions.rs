//! `completions SHELL`: prints the completion script of a shell.

use clap::Command;
use clap_complete::{Shell, generate};

use crate::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  backup_manager completions bash >/etc/bash_completion.d/backup_manager
  backup_manager completions zsh >~/.zfunc/_backup_manager
  backup_manager completions fish | source";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Complete in this shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut Command) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, command, "backup_manager", &mut script);
    crate::term::print::print(&script)
}
