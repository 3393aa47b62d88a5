//! The command line: the commands, and one flag for each setting.

use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser, Subcommand};

use crate::args::foreign::{hint, keep_own_hint};
use crate::commands::generate::{completions, man, rsync_options};
use crate::commands::internal::{own_hash, sync_file_system, try_hosts};
use crate::commands::{
    adopt, copy, daemon, diff, doctor, drill, find, history, hold, list, prune, restore, run,
    serve, status, verify, web,
};
use crate::exit::MEANINGS;
use crate::term::print::say;

const EXAMPLES: &str = "\
Examples:
  backup_manager run --srcs-to-backup /home,/etc --backups-dir /backups
      Take a snapshot of two folders; run it again and again, for example from cron
  SRCS_TO_BACKUP=/home backup_manager run --dry-run
      Show what would be copied and deleted, and write nothing
  backup_manager status
      Show the age of the newest snapshot, how the last run ended, and when the disk will be full
  backup_manager daemon
      Run the crontab in /config, as the container does
  backup_manager list --backups-dir /backups
      Show all snapshots, the size of each, and the space that only it uses
  backup_manager restore yesterday /home/uname/thesis.odt --to /tmp/back
      Bring a file back as it was
  backup_manager verify --rolling 30d --backups-dir /backups
      Read a part of all backups each day and compare it with the recorded hashes
  backup_manager drill --backups-dir /backups
      Restore a random part of the newest snapshot into a scratch folder, and compare it
  backup_manager copy --to /mnt/second_disk/backups --backups-dir /backups
      Have all snapshots a second time on another disk, with their links
  backup_manager web --backups-dir /backups
      Look at the snapshots with a browser, at http://127.0.0.1:8385/
  backup_manager adopt /snapshots --backups-dir /mnt/disk/backups
      Show which names the snapshots of rsnapshot or Back In Time get; rename with --yes
  backup_manager doctor --notify-test
      Check ssh, sources, destination and alerts, and say how to correct what is wrong
  backup_manager completions bash >/etc/bash_completion.d/backup_manager
      Complete its flags in the shell";

/// The examples and the exit codes.
fn after_help() -> String {
    let meanings =
        MEANINGS.map(|(codes, meaning)| format!("{codes} {}", meaning.replace("; ", ", ")));
    format!("{EXAMPLES}\n\nExit codes: {}.", meanings.join("; "))
}

/// Take snapshots of folders as plain folders; what did not change is a hard link to the one before.
#[derive(Debug, Parser)]
#[command(name = "backup_manager", version, after_help = after_help())]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Status(status::Args),
    Daemon(daemon::Args),
    List(list::Args),
    History(history::Args),
    Diff(diff::Args),
    Doctor(doctor::Args),
    Find(find::Args),
    Restore(restore::Args),
    Verify(verify::Args),
    Drill(drill::Args),
    Web(web::Args),
    Prune(prune::Args),
    Copy(copy::Args),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
    Adopt(adopt::Args),
    Serve(serve::Args),
    RsyncOptions(rsync_options::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    OwnHash(own_hash::Args),
    #[command(hide = true)]
    SyncFileSystem(sync_file_system::Args),
    #[command(hide = true)]
    TryHosts(try_hosts::Args),
}

/// Parses the command line and runs the command.
pub(crate) fn main() -> ExitCode {
    // Do this before any other thread starts: reading the umask changes it for a moment.
    let _ = engine::fs::own_umask();
    let exit = match Cli::try_parse() {
        Ok(Cli { verb: Verb::Run(args) }) => run::run(args),
        Ok(Cli { verb: Verb::Status(args) }) => status::run(args),
        Ok(Cli { verb: Verb::Daemon(args) }) => daemon::run(args),
        Ok(Cli { verb: Verb::TryHosts(args) }) => try_hosts::run(&args),
        Ok(Cli { verb: Verb::RsyncOptions(args) }) => rsync_options::run(&args),
        Ok(Cli { verb: Verb::List(args) }) => list::run(args),
        Ok(Cli { verb: Verb::History(args) }) => history::run(args),
        Ok(Cli { verb: Verb::Diff(args) }) => diff::run(args),
        Ok(Cli { verb: Verb::Doctor(args) }) => doctor::run(args),
        Ok(Cli { verb: Verb::Find(args) }) => find::run(args),
        Ok(Cli { verb: Verb::Restore(args) }) => restore::run(args),
        Ok(Cli { verb: Verb::Verify(args) }) => verify::run(args),
        Ok(Cli { verb: Verb::Drill(args) }) => drill::run(args),
        Ok(Cli { verb: Verb::Web(args) }) => web::run(args),
        Ok(Cli { verb: Verb::Prune(args) }) => prune::run(args),
        Ok(Cli { verb: Verb::Copy(args) }) => copy::run(args),
        Ok(Cli { verb: Verb::Hold(args) }) => hold::hold(args),
        Ok(Cli { verb: Verb::Release(args) }) => hold::let_go(args),
        Ok(Cli { verb: Verb::Adopt(args) }) => adopt::run(args),
        Ok(Cli { verb: Verb::Serve(args) }) => serve::run(args),
        Ok(Cli { verb: Verb::Completions(args) }) => completions::run(&args, &command()),
        Ok(Cli { verb: Verb::Man(args) }) => man::run(&args, command()),
        Ok(Cli { verb: Verb::OwnHash(args) }) => own_hash::run(&args),
        Ok(Cli { verb: Verb::SyncFileSystem(args) }) => sync_file_system::run(&args),
        Err(mut error) => {
            let words: Vec<_> = std::env::args_os().collect();
            let hint = hint(&error, &words);
            keep_own_hint(&mut error, hint.is_some());
            let _ = error.print();
            if let Some(hint) = hint {
                say(&format!("hint: {hint}"));
            }
            // clap's exit codes: 0 for --help and --version, 2 for mistakes.
            return if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    ExitCode::from(exit.code())
}

pub(crate) fn command() -> Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::generate::man::help_text::HelpText;
    use crate::config::setting::SETTINGS;

    /// The program and each command that is not hidden, with its name.
    fn pages() -> Vec<(String, Command)> {
        let program = command();
        let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
        let all = shown.map(|command| (command.get_name().to_owned(), command.clone()));
        all.chain([("backup_manager".to_owned(), program.clone())]).collect()
    }

    fn below_help(command: &Command) -> String {
        command.get_after_help().map(ToString::to_string).unwrap_or_default()
    }

    /// The words of a command line as a shell splits it. An unquoted operator is a word of its own.
    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, false);
        for letter in line.chars() {
            match letter {
                '\'' => {
                    quote = !quote;
                    word.get_or_insert_default();
                }
                ' ' if !quote => words.extend(word.take()),
                '|' | '>' | '&' | ';' if !quote => {
                    words.extend(word.take());
                    words.push(letter.to_string());
                }
                _ => word.get_or_insert_default().push(letter),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn each_example_is_a_command_line_that_is_accepted() {
        for (name, command) in pages() {
            let help = HelpText::parse(&below_help(&command));
            assert!(!help.examples.is_empty(), "{name} has no example");
            for example in help.examples {
                let line = example.command.join(" ").replace('\\', "");
                let words = shell_words(&line);
                // An image of the program takes the words after its name as arguments.
                let is_program =
                    |word: &String| word == "backup_manager" || word.ends_with("/backup_manager");
                let start = words.iter().rposition(is_program).expect("it calls the program");
                let operator = |word: &String| ["|", ">", "&", ";"].contains(&word.as_str());
                let ours: Vec<_> =
                    words[start..].iter().take_while(|word| !operator(word)).collect();
                if words[start].contains('/') && ours.len() == 1 {
                    continue;
                }
                let parsed = super::command().try_get_matches_from(ours);
                let error = parsed.err().map(|error| error.to_string());
                assert_eq!(error, None, "{name}: {line}");
            }
        }
    }

    #[test]
    fn text_below_the_help_is_wrapped_by_clap_alone() {
        for (name, command) in pages() {
            let text = below_help(&command);
            let lines: Vec<_> = text.lines().collect();
            for pair in lines.windows(2) {
                let is_paragraph = |line: &str| line.starts_with(|c: char| c.is_alphanumeric());
                let wrapped = is_paragraph(pair[0]) && is_paragraph(pair[1]);
                assert!(!wrapped, "{name}: a paragraph is one line: {pair:?}");
            }
            for example in HelpText::parse(&text).examples {
                for line in example.command {
                    assert!(line.chars().count() <= 78, "{name}: clap breaks this line: {line}");
                }
            }
        }
    }

    #[test]
    fn no_line_of_the_help_is_shorter_than_its_words_need() {
        for (name, command) in pages() {
            let help = command.clone().term_width(80).render_long_help().to_string();
            let lines: Vec<_> = help.lines().collect();
            for pair in lines.windows(2) {
                let indent = |line: &str| line.len() - line.trim_start().len();
                // The next line continues this one when it begins with a small letter in the same column. Two columns
                // are those of commands.
                let continues = indent(pair[0]) == indent(pair[1])
                    && indent(pair[1]) != 2
                    && pair[1].trim_start().starts_with(|c: char| c.is_ascii_lowercase());
                let next = pair[1].split_whitespace().next().unwrap_or_default();
                let fits = pair[0].chars().count() + 1 + next.chars().count() <= 80;
                assert!(!(continues && fits), "{name}: {pair:#?}");
            }
            let long =
                lines.iter().find(|line| line.chars().count() > 80 && !line.starts_with("Usage: "));
            assert_eq!(long, None, "{name}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_setting_is_a_flag_that_takes_any_value() {
        for setting in SETTINGS.iter().filter(|setting| setting.has_flag()) {
            let flag = format!("--{}", setting.flag());
            let value = if setting.name.starts_with("RSYNC") { "-x,--relative" } else { "-1" };
            let args = ["backup_manager", "run", flag.as_str(), value, "home", "--", "-H"];
            let Verb::Run(args) = Cli::try_parse_from(args).unwrap().verb else { panic!() };
            assert_eq!(args.settings.given, [(setting.key, value.into())]);
            assert_eq!(args.names, ["home"]);
            assert_eq!(args.rsync_args, ["-H"]);
        }
    }

    #[test]
    fn secrets_have_no_flag() {
        for secret in SETTINGS.iter().filter(|setting| setting.secret) {
            let flag = format!("--{}=x", secret.flag());
            assert!(Cli::try_parse_from(["backup_manager", "run", &flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn no_hint_is_about_an_option_or_command_that_exists() {
        let program = command();
        for (verbs, names) in crate::args::foreign::names() {
            let verb = |name: &&&str| program.find_subcommand(name).is_some();
            assert_eq!(names.iter().find(verb), None, "it is a command of this program");
            for verb in verbs {
                let verb = program.find_subcommand(verb).expect("a command");
                let ours = |name: &&&str| {
                    verb.get_arguments().any(|arg| match name.strip_prefix("--") {
                        Some(long) => arg.get_long() == Some(long),
                        None => arg.get_short() == name.chars().nth(1),
                    })
                };
                assert_eq!(names.iter().find(ours), None, "{}", verb.get_name());
            }
        }
    }

    #[test]
    fn json_is_for_dry_runs() {
        assert!(Cli::try_parse_from(["backup_manager", "run", "--json"]).is_err());
        assert!(Cli::try_parse_from(["backup_manager", "run", "--json", "-n"]).is_ok());
    }
}
