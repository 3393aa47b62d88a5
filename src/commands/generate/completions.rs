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

pub(crate) fn run(args: &Args, command: &Command) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, &mut without_hidden(command), "backup_manager", &mut script);
    crate::term::print::print(&script)
}

/// The command without what `--help` hides. The generators list hidden options.
fn without_hidden(command: &Command) -> Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let subcommands = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut plain = Command::new(command.get_name().to_owned())
        .args(args.cloned())
        .subcommands(subcommands.map(without_hidden));
    if let Some(about) = command.get_about() {
        plain = plain.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        plain = plain.version(version.to_owned());
    }
    plain
}
