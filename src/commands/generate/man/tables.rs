//! What the sections FILES and ENVIRONMENT list beside the settings.

use clap::Command;

use crate::config::names::{CONFIG_DIR, CONFIG_FILE};
use crate::config::setting::{SETTINGS, Setting};

/// The commands to whose pages a row belongs.
#[derive(Debug, Clone, Copy)]
enum Pages {
    /// The page of the program and those of all commands that read the configuration.
    Configured,
    /// The page of the program and those of these commands.
    Of(&'static [&'static str]),
}

/// A name with its explanation, and the pages on which it is.
struct Row {
    name: &'static str,
    text: &'static str,
    pages: Pages,
}

/// The commands that connect to a host.
const CONNECTING: Pages = Pages::Of(&["run", "daemon", "doctor", "diff", "restore"]);
/// The commands that read the crontab.
const SCHEDULED: Pages = Pages::Of(&["daemon", "status", "doctor"]);

const FILES: &[Row] = &[
    Row {
        name: "/config/config.toml",
        text: "The config file, if it exists. CONFIG_DIR names another folder, --config or CONFIG_FILE another file.",
        pages: Pages::Configured,
    },
    Row {
        name: "/config/crontab",
        text: "When the daemon runs what. CONFIG_DIR names another folder.",
        pages: SCHEDULED,
    },
    Row {
        name: "/config/known_hosts",
        text: "Host keys in addition to ~/.ssh/known_hosts. CONFIG_DIR names another folder.",
        pages: CONNECTING,
    },
    Row {
        name: "~/.ssh/",
        text: "The configuration, keys and known_hosts of ssh, which connects to a remote host.",
        pages: CONNECTING,
    },
    Row {
        name: "BACKUPS_DIR/PREFIX.DD-MM-YYYY_HH-MM-SS/",
        text: "A complete snapshot, named by the UTC time of its run.",
        pages: Pages::Configured,
    },
    Row {
        name: "BACKUPS_DIR/PREFIX.DD-MM-YYYY_HH-MM-SS.incomplete/",
        text: "A snapshot in progress, or one whose run was interrupted. The next run resumes it.",
        pages: Pages::Configured,
    },
    Row {
        name: "BACKUPS_DIR/PREFIX.DD-MM-YYYY_HH-MM-SS.deleting/",
        text: "A snapshot whose removal is in progress or was interrupted. Any run finishes the removal.",
        pages: Pages::Configured,
    },
    Row {
        name: "BACKUPS_DIR/.backup_manager/",
        text: "Locks, reports, hashes, holds and marks of damage.",
        pages: Pages::Configured,
    },
    Row {
        name: "~/.ssh/authorized_keys",
        text: "On the remote host: which keys may log in, and what a key may do.",
        pages: Pages::Of(&["serve"]),
    },
    Row {
        name: "/usr/share/man/man1/",
        text: "Where the packages keep the manual pages.",
        pages: Pages::Of(&["man"]),
    },
    Row {
        name: "/usr/share/bash-completion/completions/backup_manager",
        text: "Where the packages keep the completion script of bash.",
        pages: Pages::Of(&["completions"]),
    },
    Row {
        name: "docs/rsync-options.md",
        text: "The output of this command, in the documentation of the program.",
        pages: Pages::Of(&["rsync-options"]),
    },
];

const VARIABLES: &[Row] = &[
    Row {
        name: CONFIG_DIR,
        text: "The folder with config.toml, crontab and known_hosts. Default: /config.",
        pages: Pages::Configured,
    },
    Row {
        name: CONFIG_FILE,
        text: "The config file. Default: config.toml in CONFIG_DIR.",
        pages: Pages::Configured,
    },
    Row {
        name: "TZ",
        text: "The time zone of the times that are shown. Default: that of the system.",
        pages: Pages::Configured,
    },
    Row {
        name: "NO_COLOR",
        text: "Any value but an empty one switches colours off.",
        pages: Pages::Configured,
    },
    Row {
        name: "PUID",
        text: "The number of the user that the program becomes when root starts it.",
        pages: Pages::Of(&["daemon", "run"]),
    },
    Row {
        name: "PGID",
        text: "The number of the group of that user. Default: PUID.",
        pages: Pages::Of(&["daemon", "run"]),
    },
];

/// The rows of FILES on the page of `command`.
pub(super) fn files(command: &Command) -> impl Iterator<Item = (&'static str, &'static str)> {
    rows(FILES, command)
}

/// The variables that are no settings on the page of `command`.
pub(super) fn variables(command: &Command) -> impl Iterator<Item = (&'static str, &'static str)> {
    rows(VARIABLES, command)
}

fn rows(
    rows: &'static [Row],
    command: &Command,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_program = command.has_subcommands();
    let configured = reads_configuration(command);
    let name = command.get_name().to_owned();
    let is_here = move |row: &&Row| match row.pages {
        _ if of_program => !matches!(row.pages, Pages::Of([_])),
        Pages::Configured => configured,
        Pages::Of(commands) => commands.contains(&name.as_str()),
    };
    rows.iter().filter(is_here).map(|row| (row.name, row.text))
}

/// Whether it is the program, or one of the commands that read the configuration.
pub(super) fn reads_configuration(command: &Command) -> bool {
    command.has_subcommands() || command.get_arguments().any(|arg| arg.get_long() == Some("config"))
}

/// The settings that `command` reads: those it has a flag for. A command with flags for all settings also reads
/// those that have no flag. The daemon has no flags: it reads all settings from the environment and the file.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = &'static Setting> {
    let has = |setting: &Setting| command.get_arguments().any(|arg| arg.get_id() == setting.name);
    let all = command.has_subcommands()
        || command.get_name() == "daemon"
        || SETTINGS.iter().filter(|setting| setting.has_flag()).all(has);
    SETTINGS.iter().filter(move |setting| all || has(setting))
}
