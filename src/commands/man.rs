//! `man`: the manual page on stdout, in troff.

use std::io;

use clap::Command;
use clap_mangen::Man;

use crate::exit::Exit;

/// Print the manual page (try: backup_manager man | man -l -)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, command: &Command) -> Exit {
    let mut page = Vec::new();
    match render(command, &mut page) {
        Ok(()) => super::print(&page),
        Err(_) => Exit::Failed,
    }
}

/// The page of the program, and below it the flags of `run`.
fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    man.render_subcommands_section(page)?;
    if let Some(run) = command.find_subcommand("run") {
        let run = Man::new(run.clone().bin_name("backup_manager run"));
        run.render_synopsis_section(page)?;
        run.render_options_section(page)?;
        run.render_extra_section(page)?;
    }
    man.render_extra_section(page)?;
    man.render_version_section(page)
}
