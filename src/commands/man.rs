//! `man`: the manual page on stdout, in troff.

use std::io;

use clap::{Arg, Command};
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

/// One page for the program and all that its main verbs take.
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
    for verb in ["run", "status", "daemon"] {
        let Some(found) = command.find_subcommand(verb) else { continue };
        // The settings are the same for all verbs.
        let hidden = |arg: &Arg| verb != "run" && arg.get_help_heading().is_some();
        let found = found.clone().mut_args(|arg| if hidden(&arg) { arg.hide(true) } else { arg });
        let man = Man::new(found.bin_name(format!("backup_manager {verb}")));
        for render in [Man::render_synopsis_section, Man::render_options_section] {
            let mut section = Vec::new();
            render(&man, &mut section)?;
            let section = String::from_utf8_lossy(&section);
            page.extend(section.replace(".SH ", &format!(".SH {}: ", verb.to_uppercase())).bytes());
        }
    }
    let mut extra = Vec::new();
    man.render_extra_section(&mut extra)?;
    page.extend(String::from_utf8_lossy(&extra).replace(".SH EXTRA", ".SH EXAMPLES").bytes());
    man.render_version_section(page)
}
