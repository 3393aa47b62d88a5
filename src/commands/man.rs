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

/// One page for the program and all that `run` takes.
fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone().disable_help_subcommand(true));
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    let mut verbs = Vec::new();
    man.render_subcommands_section(&mut verbs)?;
    // There is no page for each verb.
    let verbs = String::from_utf8_lossy(&verbs).replace("\\-", "-");
    page.extend(verbs.replace("backup_manager-", "").replace("(1)\n", "\n").bytes());
    if let Some(run) = command.find_subcommand("run") {
        let run = Man::new(run.clone().bin_name("backup_manager run"));
        for render in [Man::render_synopsis_section, Man::render_options_section] {
            let mut section = Vec::new();
            render(&run, &mut section)?;
            let section = String::from_utf8_lossy(&section).replace(".SH ", ".SH RUN: ");
            page.extend(section.bytes());
        }
    }
    let mut extra = Vec::new();
    man.render_extra_section(&mut extra)?;
    page.extend(String::from_utf8_lossy(&extra).replace(".SH EXTRA", ".SH EXAMPLES").bytes());
    man.render_version_section(page)
}
