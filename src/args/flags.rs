//! Flags that several commands share.

use std::ffi::OsString;
use std::marker::PhantomData;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::setting::{Key, SETTINGS, Setting};

/// The settings that a command accepts as flags.
pub(crate) trait Flags {
    /// The keys of the settings; empty means all.
    const KEYS: &'static [Key];
    /// The heading above the flags in the help.
    const HEADING: &'static str = "Settings (in brackets: the variable and key)";
}

/// All settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct All;

impl Flags for All {
    const KEYS: &'static [Key] = &[];
}

/// The settings for the location and the names of snapshots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places;

impl Flags for Places {
    const KEYS: &'static [Key] = &[Key::BackupsDir, Key::BackupNamePrefix];
}

/// The settings of [`Places`], and how a remote host is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restoring;

impl Flags for Restoring {
    const KEYS: &'static [Key] = &[
        Key::BackupsDir,
        Key::BackupNamePrefix,
        Key::AnswerTimeoutS,
        Key::SftpChannels,
        Key::RemoteHelper,
    ];
}

/// The settings given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags<F = All> {
    pub(crate) given: Vec<(Key, OsString)>,
    pub(crate) of: PhantomData<F>,
}

pub(crate) fn settings<F: Flags>() -> impl Iterator<Item = &'static Setting> {
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

pub(crate) fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|default| format!(", default {default}"));
    let flag = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.value)
        .value_parser(OsStringValueParser::new())
        .help(format!("{} [{}{}]", setting.help, setting.name, default.unwrap_or_default()));
    if setting.hyphens {
        flag.allow_hyphen_values(true)
    } else {
        // The check of the value rejects a negative number and tells the user what to write.
        flag.allow_negative_numbers(true)
    }
}
