//! `man [COMMAND]`: prints a manual page in troff format. `man --dir DIR` writes all of them.

pub(crate) mod help_text;
mod page;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;

use crate::commands::generate::man::page::page;
use crate::exit::Exit;
use crate::term::print::{print, say};

const EXAMPLES: &str = "\
Examples:
  backup_manager man restore | man -l -
      Read the page of restore, without an installation
  backup_manager man --dir /usr/local/share/man/man1
      Install all pages";

/// Print a manual page, or write all of them to a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print the page of this command; without it that of the program
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write the pages of the program and of each command to this folder, which must exist
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, program: Command) -> Exit {
    let pages = pages(program);
    if let Some(dir) = &args.dir {
        return write(dir, &pages);
    }
    let name = match &args.command {
        Some(command) => format!("backup_manager-{command}"),
        None => "backup_manager".to_owned(),
    };
    match pages.iter().find(|(page, _)| *page == name) {
        Some((_, text)) => print(text.as_bytes()),
        None => {
            let names = pages.iter().filter_map(|(page, _)| page.strip_prefix("backup_manager-"));
            let names: Vec<_> = names.collect();
            say(&format!("there is no page {name}; there are pages of: {}", names.join(", ")));
            Exit::Usage
        }
    }
}

/// The pages of the program and of each command, with their names.
pub(crate) fn pages(program: Command) -> Vec<(String, String)> {
    let mut program = program.disable_help_subcommand(true);
    // Gives each command the program's name in front of its own.
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let all: Vec<_> = std::iter::once(&program).chain(commands).collect();
    let name = |command: &Command| {
        command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
    };
    let names: Vec<_> = all.iter().map(|command| name(command)).collect();
    let text = |(at, command): (usize, &&Command)| {
        let others = match at {
            0 => &names[1..],
            _ => &names[..1],
        };
        let text = page(command, others).expect("a Vec takes every write");
        (names[at].clone(), text)
    };
    all.iter().enumerate().map(text).collect()
}

fn write(dir: &Path, pages: &[(String, String)]) -> Exit {
    for (name, text) in pages {
        let path = dir.join(format!("{name}.1"));
        if let Err(error) = fs::write(&path, text) {
            say(&format!(
                "cannot write {}: {error}; name a folder that exists and that you may write to",
                path.display()
            ));
            return Exit::Failed;
        }
    }
    Exit::Done
}
