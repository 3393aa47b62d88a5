//! The command line: verbs, and one flag for each setting.

use std::ffi::OsString;
use std::marker::PhantomData;
use std::process::ExitCode;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    completions, daemon, diff, doctor, find, history, hold, list, man, prune, restore,
    rsync_options, run, status, sync_file_system, try_hosts, verify,
};
use crate::config::setting::{Key, SETTINGS, Setting};

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
  backup_manager doctor --notify-test
      Check ssh, sources, destination and alerts, and say what mends what is wrong
  backup_manager completions bash > /etc/bash_completion.d/backup_manager
      Complete its flags in the shell

Exit codes: 0 done or nothing to do; 1 failed, try again later; 2 usage or configuration; \
3 completed, but some entries are listed; 4 damage found in the backups; 129, 130, 143 stopped by a signal, the next run resumes.";

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
    RsyncOptions(rsync_options::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    SyncFileSystem(sync_file_system::Args),
    #[command(hide = true)]
    TryHosts(try_hosts::Args),
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    // Before there are other threads: to ask for it sets it for a moment.
    let _ = engine::access::own_umask();
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
        Ok(Cli { verb: Verb::Completions(args) }) => completions::run(&args, &mut command()),
        Ok(Cli { verb: Verb::Man(args) }) => man::run(&args, &command()),
        Ok(Cli { verb: Verb::SyncFileSystem(args) }) => sync_file_system::run(&args),
        Err(error) => {
            let _ = error.print();
            // clap: 0 for --help and --version, 2 for mistakes.
            return if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    ExitCode::from(exit.code())
}

fn command() -> Command {
    Cli::command()
}

/// Which settings a verb takes as flags.
pub(crate) trait Flags {
    /// Their keys; empty for all.
    const KEYS: &'static [Key];
    /// How their help is headed.
    const HEADING: &'static str = "Settings (in brackets: the variable and key)";
}

/// All settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct All;

impl Flags for All {
    const KEYS: &'static [Key] = &[];
}

/// Where snapshots lie and how they are called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places;

impl Flags for Places {
    const KEYS: &'static [Key] = &[Key::BackupsDir, Key::BackupNamePrefix];
}

/// The same, and how long another machine may take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restoring;

impl Flags for Restoring {
    const KEYS: &'static [Key] =
        &[Key::BackupsDir, Key::BackupNamePrefix, Key::AnswerTimeoutS, Key::SftpChannels];
}

/// The settings that stand on a command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags<F = All> {
    pub(crate) given: Vec<(Key, OsString)>,
    of: PhantomData<F>,
}

fn settings<F: Flags>() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| {
        setting.has_flag() && (F::KEYS.is_empty() || F::KEYS.contains(&setting.key))
    })
}

impl<F: Flags> FromArgMatches for SettingFlags<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |setting: &Setting| {
            matches.get_one::<OsString>(setting.name).map(|value| (setting.key, value.clone()))
        };
        Ok(Self { given: settings::<F>().filter_map(value).collect(), of: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<F: Flags> Args for SettingFlags<F> {
    fn augment_args(command: Command) -> Command {
        settings::<F>()
            .fold(command, |command, setting| command.arg(flag(setting).help_heading(F::HEADING)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|default| format!(", default {default}"));
    let flag = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.value)
        .value_parser(OsStringValueParser::new())
        .help(format!("{} [{}{}]", setting.help, setting.name, default.unwrap_or_default()));
    match setting.key {
        Key::RsyncSingleParams | Key::RsyncDictParams => flag.allow_hyphen_values(true),
        // A number below zero gets a message of ours.
        _ => flag.allow_negative_numbers(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for secret in SETTINGS.iter().filter(|setting| setting.is_secret()) {
            let flag = format!("--{}=x", secret.flag());
            assert!(Cli::try_parse_from(["backup_manager", "run", &flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn json_is_for_dry_runs() {
        assert!(Cli::try_parse_from(["backup_manager", "run", "--json"]).is_err());
        assert!(Cli::try_parse_from(["backup_manager", "run", "--json", "-n"]).is_ok());
    }
}
