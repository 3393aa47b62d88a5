//! `man`: prints the manual page in troff format.

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
        Ok(()) => crate::term::print::print(&page),
        Err(_) => Exit::Failed,
    }
}

/// Renders one page for the program and the options of its main commands.
fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone().disable_help_subcommand(true));
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    let mut verbs = Vec::new();
    man.render_subcommands_section(&mut verbs)?;
    // The commands have no pages of their own.
    let verbs = String::from_utf8_lossy(&verbs).replace("\\-", "-");
    page.extend(verbs.replace("backup_manager-", "").replace("(1)\n", "\n").bytes());
    for verb in ["run", "status", "daemon"] {
        let Some(found) = command.find_subcommand(verb) else { continue };
        // All commands have the same settings, so only `run` shows them.
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
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.extend(examples(&below).bytes());
    man.render_version_section(page)
}

/// The text below the help, with a troff request per command, because troff would join the lines otherwise.
fn examples(text: &str) -> String {
    let mut page = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let shown =
            line.trim_start().replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        page += &match line.len() - line.trim_start().len() {
            0 if line == "Examples:" => ".SH EXAMPLES\n".to_owned(),
            0 => match shown.strip_prefix("Exit codes: ") {
                Some(codes) => format!(".SH \"EXIT STATUS\"\n{codes}\n"),
                None => format!("{shown}\n"),
            },
            2 => format!(".PP\n.nf\n{shown}\n.fi\n"),
            _ => format!(".RS 4\n{shown}\n.RE\n"),
        };
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_keeps_its_line() {
        let text = "Examples:\n  run -n 'x'\n      Look\n\nExit codes: 0 done;\n3 listed.";
        let page = ".SH EXAMPLES\n.PP\n.nf\nrun \\-n \\(aqx\\(aq\n.fi\n.RS 4\nLook\n.RE\n\
                    .SH \"EXIT STATUS\"\n0 done;\n3 listed.\n";
        assert_eq!(examples(text), page);
    }
}
