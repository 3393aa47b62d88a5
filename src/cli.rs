//! The command line: the commands, and one flag for each setting.

use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser, Subcommand};

use crate::args::foreign::hint;
use crate::commands::generate::{completions, man, rsync_options};
use crate::commands::internal::{sync_file_system, try_hosts};
use crate::commands::{
    adopt, daemon, diff, doctor, find, history, hold, list, prune, restore, run, status, verify,
};
use crate::term::print::say;

const EXAMPLES: &str = "\
Examples:
  backup_manager run --srcs-to-backup /home,/etc --backups-dir /backups
      Take a snapshot of two folders; run it again and again, for example from cron
  SRCS_TO_BACKUP=/home backup_manager run --dry-run
      Show what would be copied and deleted, and write nothing
  backup_manager status
      Tell how old the newest snapshot is, how the last run ended, and when the disk will be full
  backup_manager daemon
      Run the crontab in /config, as the container does
  backup_manager list --backups-dir /backups
      Show all snapshots, how large each is and what it alone holds
  backup_manager restore yesterday /home/uname/thesis.odt --to /tmp/back
      Bring a file back as it was
  backup_manager verify --rolling 30d --backups-dir /backups
      Read a part of all backups each day and prove it by the recorded hashes
  backup_manager adopt /mnt/disk/rsync-time-backup --backups-dir /mnt/disk/backups
      Show which names the snapshots of rsnapshot, Back In Time or rsync-time-backup get; --yes renames them
  backup_manager doctor --notify-test
      Check ssh, sources, destination and alerts, and say how to correct what is wrong
  backup_manager completions bash > /etc/bash_completion.d/backup_manager
      Complete its flags in the shell

Exit codes: 0 done or nothing to do; 1 failed, try again later; 2 usage or configuration; \
3 completed, but some files could not be read; 4 damage found in the backups; 129, 130, 143 stopped by a signal, the next run resumes.";

/// Take snapshots of folders as plain folders; what did not change is a hard link to the one before.
#[derive(Debug, Parser)]
#[command(name = "backup_manager", version, after_help = EXAMPLES)]
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
    Prune(prune::Args),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
    Adopt(adopt::Args),
    RsyncOptions(rsync_options::Args),
    Completions(completions::Args),
    Man(man::Args),
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
        Ok(Cli { verb: Verb::Prune(args) }) => prune::run(args),
        Ok(Cli { verb: Verb::Hold(args) }) => hold::hold(args),
        Ok(Cli { verb: Verb::Release(args) }) => hold::let_go(args),
        Ok(Cli { verb: Verb::Adopt(args) }) => adopt::run(args),
        Ok(Cli { verb: Verb::Completions(args) }) => completions::run(&args, &mut command()),
        Ok(Cli { verb: Verb::Man(args) }) => man::run(&args, &command()),
        Ok(Cli { verb: Verb::SyncFileSystem(args) }) => sync_file_system::run(&args),
        Err(error) => {
            let _ = error.print();
            let words: Vec<_> = std::env::args_os().collect();
            if let Some(hint) = hint(&error, &words) {
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
    use crate::config::setting::SETTINGS;

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
