//! Writes one manual page: of the program, or of one of its commands.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::commands::generate::man::help_text::HelpText;
use crate::commands::generate::man::tables::{files, reads_configuration, settings, variables};
use crate::config::setting::Setting;
use crate::exit::MEANINGS;

/// The page of `command`, which is the program or, with the program's name in front, one of its commands. `others`
/// are the pages of SEE ALSO.
///
/// # Errors
/// None in practice: the page is written to memory.
pub(super) fn page(command: &Command, others: &[String]) -> io::Result<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let help = HelpText::parse(&help);
    let man = Man::new(command.clone());
    let mut page = title(command).into_bytes();
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    notes(&help).to_writer(&mut page)?;
    page.extend(options(&man)?.bytes());
    if command.has_subcommands() {
        commands(command).to_writer(&mut page)?;
    }
    listed("FILES", files(command).map(|(name, text)| (name.to_owned(), text.to_owned())))
        .to_writer(&mut page)?;
    environment(command).to_writer(&mut page)?;
    exit_status(command, &help).to_writer(&mut page)?;
    examples(&help).to_writer(&mut page)?;
    see_also(others).to_writer(&mut page)?;
    // roff writes a backslash as "\\\\", which is none in groff_man(7).
    Ok(String::from_utf8_lossy(&page).replace("\\\\", "\\e"))
}

/// The title without a date, so that the same version always gives the same page. [`Roff`] leaves out an empty date,
/// and the version would be shown as the date.
fn title(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).replace('-', "\\-");
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {name} 1 \"\" \"backup_manager {version}\" \"User Commands\"\n")
}

/// The usage as in the help: that of clap_mangen lists the flag of every setting.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(name), roman(usage.strip_prefix(name).unwrap_or(usage))]);
    roff
}

/// The further paragraphs of DESCRIPTION.
fn notes(help: &HelpText) -> Roff {
    let mut roff = Roff::new();
    for note in &help.notes {
        roff.control("PP", []).text([roman(note)]);
    }
    roff
}

/// OPTIONS, with the flags of the settings as a part of it.
fn options(man: &Man) -> io::Result<String> {
    let mut section = Vec::new();
    man.render_options_section(&mut section)?;
    let mut text = String::new();
    for line in String::from_utf8_lossy(&section).lines() {
        match line.strip_prefix(".SH ") {
            Some(heading) if heading.starts_with("\"SETTINGS") => {
                text += ".SS \"Settings (in brackets: the variable and key)\"";
            }
            _ => text += line,
        }
        text.push('\n');
    }
    // clap_mangen separates the possible values by an empty line between two breaks, of which one is superfluous.
    Ok(text.replace("\n.br\n\n.br\n", "\n.sp\n"))
}

/// COMMANDS, each with the name of its page.
fn commands(program: &Command) -> Roff {
    let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
    let entry = |command: &Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        (format!("backup_manager-{}(1)", command.get_name()), about)
    };
    listed("COMMANDS", shown.map(entry))
}

/// A section of names with their explanations.
fn listed(heading: &str, rows: impl Iterator<Item = (String, String)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, text) in rows {
        entry(&mut roff, &name, vec![roman(text)]);
    }
    roff
}

fn entry(roff: &mut Roff, name: &str, text: Vec<Inline>) {
    roff.control("TP", []).text([bold(name)]).text(text);
}

/// ENVIRONMENT: the settings that the command reads, from the table of settings, and the other variables.
fn environment(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    let mut settings = settings(command).peekable();
    let mut others = variables(command).peekable();
    if settings.peek().is_none() && others.peek().is_none() {
        roff.text([roman("This command reads no setting.")]);
        return roff;
    }
    roff.text([
        roman("A flag wins over a variable, a variable over the config file. For each setting "),
        italic("NAME"),
        roman(", the variable "),
        italic("NAME"),
        bold("_FILE"),
        roman(" can name a file that contains the value."),
    ]);
    for setting in settings {
        entry(&mut roff, setting.name, vec![roman(described(setting))]);
    }
    for (name, text) in others {
        entry(&mut roff, name, vec![roman(text)]);
    }
    roff
}

fn described(setting: &Setting) -> String {
    match setting.default {
        Some(default) => format!("{}. Default: {default}", setting.help),
        None => setting.help.to_owned(),
    }
}

/// EXIT STATUS: what each code means for the command, else in general. A command that reads no configuration only
/// prints text, so it has the first three.
fn exit_status(command: &Command, help: &HelpText) -> Roff {
    let count = if reads_configuration(command) { MEANINGS.len() } else { 3 };
    let own = |codes: &str| help.exit_codes.iter().find(|(own, _)| own == codes);
    let row = |(codes, meaning): &(&str, &str)| {
        let meaning = own(codes).map_or(*meaning, |(_, meaning)| meaning.as_str());
        ((*codes).to_owned(), meaning.to_owned())
    };
    listed("EXIT STATUS", MEANINGS[..count].iter().map(row))
}

fn examples(help: &HelpText) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (number, example) in help.examples.iter().enumerate() {
        // A paragraph directly below a heading is superfluous (mandoc(1), DIAGNOSTICS).
        if number > 0 {
            roff.control("PP", []);
        }
        // troff would join the lines of a command.
        roff.control("nf", []);
        for line in &example.command {
            roff.text([bold(line)]);
        }
        roff.control("fi", []);
        if !example.explanation.is_empty() {
            roff.control("RS", ["4"]).text([roman(&example.explanation)]).control("RE", []);
        }
    }
    roff
}

fn see_also(others: &[String]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for name in others {
        line.extend([bold(name), roman("(1), ")]);
    }
    line.extend([bold("rsync"), roman("(1), "), bold("ssh_config"), roman("(5)")]);
    roff.text(line);
    roff.control("PP", []).text([roman(env!("CARGO_PKG_REPOSITORY"))]);
    roff
}
