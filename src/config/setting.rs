//! The table of settings: everything else (flags, variables, keys, docs) derives from it.

use std::ffi::OsStr;

/// Names one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    SrcsToBackup,
    BackupsDir,
    BackupsMode,
    BackupNamePrefix,
    RemoteSrcHost,
    AnswerTimeoutS,
    SftpChannels,
    RsyncSingleParams,
    RsyncDictParams,
    MaxBackups,
    KeepLast,
    KeepHourly,
    KeepDaily,
    KeepWeekly,
    KeepMonthly,
    KeepYearly,
    MinimumTimeGuardH,
    LogFile,
    LogFormat,
    MaxShrinkPercent,
    Trust,
    MaxAgeH,
    FailuresBeforeAlert,
    NotifyOn,
    MailTo,
    MailFrom,
    SmtpHost,
    SmtpSecurity,
    SmtpUser,
    SmtpPassword,
    WebhookUrl,
    NtfyUrl,
    NtfyToken,
    PingUrl,
    NotifyCa,
    PreBackup,
    PostBackup,
    OnFailure,
    HookTimeoutS,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: Key,
    /// Its name as an environment variable and in the config file.
    pub(crate) name: &'static str,
    /// What stands for its value in the help.
    pub(crate) value: &'static str,
    /// One line for people.
    pub(crate) help: &'static str,
    /// Its value when nobody gives one, if it has one.
    pub(crate) default: Option<&'static str>,
    /// Whether a `[[job]]` may have its own.
    pub(crate) per_job: bool,
}

/// All settings, in the order in which they are shown.
pub(crate) const SETTINGS: [Setting; 39] = [
    Setting {
        key: Key::SrcsToBackup,
        name: "SRCS_TO_BACKUP",
        value: "PATHS",
        help: "Back up these folders and files, comma separated ('\\,' for a comma in a name); must be given",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::BackupsDir,
        name: "BACKUPS_DIR",
        value: "DIR",
        help: "Keep the snapshots in this folder",
        default: Some("./backups"),
        per_job: true,
    },
    Setting {
        key: Key::BackupsMode,
        name: "BACKUPS_MODE",
        value: "MODE",
        help: "Give that folder these permissions, for example 0755 to let others in; without it a new one is closed (0700)",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::BackupNamePrefix,
        name: "BACKUP_NAME_PREFIX",
        value: "PREFIX",
        help: "Name the snapshots PREFIX.DD-MM-YYYY_HH-MM-SS",
        default: Some("my_backup"),
        per_job: true,
    },
    Setting {
        key: Key::RemoteSrcHost,
        name: "REMOTE_SRC_HOST",
        value: "USER@HOST[:PORT]",
        help: "Pull the sources from this host over SSH",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::AnswerTimeoutS,
        name: "ANSWER_TIMEOUT_S",
        value: "SECONDS",
        help: "Connect anew when that host leaves a question without an answer for this long",
        default: Some("60"),
        per_job: true,
    },
    Setting {
        key: Key::SftpChannels,
        name: "SFTP_CHANNELS",
        value: "COUNT",
        help: "Open this many SFTP channels to that host, 1 to 16; unset: 1, or more where its server is known to keep them apart",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::RsyncSingleParams,
        name: "RSYNC_SINGLE_PARAMS",
        value: "OPTIONS",
        help: "Take these rsync switches, comma separated, in the place of the default ones",
        default: Some("-a,-x,-H,--numeric-ids,--relative,--delete,--delete-excluded"),
        per_job: true,
    },
    Setting {
        key: Key::RsyncDictParams,
        name: "RSYNC_DICT_PARAMS",
        value: "JSON",
        help: "Add these rsync options with values, a JSON object",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::MaxBackups,
        name: "MAX_BACKUPS",
        value: "COUNT",
        help: "Keep this many snapshots; a new one then replaces the oldest (with KEEP_ settings: no limit unless set)",
        default: Some("30"),
        per_job: true,
    },
    Setting {
        key: Key::KeepLast,
        name: "KEEP_LAST",
        value: "COUNT",
        help: "Keep this many of the newest; with any KEEP_ setting, what none of them keeps goes",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::KeepHourly,
        name: "KEEP_HOURLY",
        value: "COUNT",
        help: "Keep the newest snapshot of so many hours",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::KeepDaily,
        name: "KEEP_DAILY",
        value: "COUNT",
        help: "Keep the newest snapshot of so many days",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::KeepWeekly,
        name: "KEEP_WEEKLY",
        value: "COUNT",
        help: "Keep the newest snapshot of so many weeks",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::KeepMonthly,
        name: "KEEP_MONTHLY",
        value: "COUNT",
        help: "Keep the newest snapshot of so many months",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::KeepYearly,
        name: "KEEP_YEARLY",
        value: "COUNT",
        help: "Keep the newest snapshot of so many years",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::MinimumTimeGuardH,
        name: "MINIMUM_TIME_GUARD_H",
        value: "HOURS",
        help: "Do nothing while the newest snapshot is younger than this, decimals allowed",
        default: Some("20"),
        per_job: true,
    },
    Setting {
        key: Key::LogFile,
        name: "LOG_FILE",
        value: "FILE",
        help: "Write the log to this file instead of stdout; warnings go to stderr too",
        default: None,
        per_job: false,
    },
    Setting {
        key: Key::LogFormat,
        name: "LOG_FORMAT",
        value: "FORMAT",
        help: "Log as 'text' for people or 'json' for programs",
        default: Some("text"),
        per_job: false,
    },
    Setting {
        key: Key::MaxShrinkPercent,
        name: "MAX_SHRINK_PERCENT",
        value: "PERCENT",
        help: "Fail when a source lost more than this share of its files",
        default: Some("90"),
        per_job: true,
    },
    Setting {
        key: Key::Trust,
        name: "TRUST",
        value: "TIME",
        help: "Compare what looks unchanged when its 'ctime' is new; 'mtime': believe size and modification time",
        default: Some("ctime"),
        per_job: true,
    },
    Setting {
        key: Key::MaxAgeH,
        name: "MAX_AGE_H",
        value: "HOURS",
        help: "Call a job unhealthy when its newest snapshot is older than this; without it the guard and 24 hours",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::FailuresBeforeAlert,
        name: "FAILURES_BEFORE_ALERT",
        value: "COUNT",
        help: "Call a job unhealthy when this many runs failed in a row",
        default: Some("3"),
        per_job: true,
    },
    Setting {
        key: Key::NotifyOn,
        name: "NOTIFY_ON",
        value: "LEVEL",
        help: "Alert of 'failure' (also too old, damaged, well again), of each 'problem' too, or 'always'",
        default: Some("problem"),
        per_job: true,
    },
    Setting {
        key: Key::MailTo,
        name: "MAIL_TO",
        value: "ADDRESSES",
        help: "Mail alerts to these, comma separated; needs SMTP_HOST",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::MailFrom,
        name: "MAIL_FROM",
        value: "ADDRESS",
        help: "Send mail as this; without it SMTP_USER or the first of MAIL_TO",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::SmtpHost,
        name: "SMTP_HOST",
        value: "HOST[:PORT]",
        help: "Send mail through this server",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::SmtpSecurity,
        name: "SMTP_SECURITY",
        value: "HOW",
        help: "Encrypt mail with 'starttls' (port 587), 'tls' (465), or not at all: 'none' (25)",
        default: Some("starttls"),
        per_job: true,
    },
    Setting {
        key: Key::SmtpUser,
        name: "SMTP_USER",
        value: "NAME",
        help: "Log in to the mail server as this user",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::SmtpPassword,
        name: "SMTP_PASSWORD",
        value: "PASSWORD",
        help: "Log in to the mail server with this password",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::WebhookUrl,
        name: "WEBHOOK_URL",
        value: "URL",
        help: "Post alerts to this URL as JSON",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::NtfyUrl,
        name: "NTFY_URL",
        value: "URL",
        help: "Publish alerts to this ntfy topic, for example https://ntfy.sh/topic",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::NtfyToken,
        name: "NTFY_TOKEN",
        value: "TOKEN",
        help: "Publish to ntfy with this access token",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::PingUrl,
        name: "PING_URL",
        value: "URL",
        help: "Ping this URL of healthchecks.io or its like: URL/start, URL, URL/fail",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::NotifyCa,
        name: "NOTIFY_CA",
        value: "PEM",
        help: "Trust these certificates when alerts are sent, in the place of the built-in ones",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::PreBackup,
        name: "PRE_BACKUP",
        value: "COMMAND",
        help: "Run this with /bin/sh before a snapshot is taken; exit code 75 puts the run off, others fail it",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::PostBackup,
        name: "POST_BACKUP",
        value: "COMMAND",
        help: "Run this with /bin/sh after a snapshot was completed",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::OnFailure,
        name: "ON_FAILURE",
        value: "COMMAND",
        help: "Run this with /bin/sh after a run failed",
        default: None,
        per_job: true,
    },
    Setting {
        key: Key::HookTimeoutS,
        name: "HOOK_TIMEOUT_S",
        value: "SECONDS",
        help: "End such a command after this time",
        default: Some("3600"),
        per_job: true,
    },
];

/// The suffix of a variable that holds the path of a file with the value.
pub(crate) const FILE_SUFFIX: &str = "_FILE";
/// The variable that holds the path of the config file.
pub(crate) const CONFIG_FILE: &str = "CONFIG_FILE";
/// The variable that holds the folder of the config file, the crontab and pinned host keys.
pub(crate) const CONFIG_DIR: &str = "CONFIG_DIR";
/// That folder when nobody names one.
pub(crate) const CONFIG_DIR_DEFAULT: &str = "/config";
/// The config file in it, which is read when nobody names another one.
pub(crate) const CONFIG_FILE_NAME: &str = "config.toml";

/// The file in it with the keys of hosts.
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";

impl Setting {
    /// Its flag, without the dashes.
    pub(crate) fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// Whether it is a secret, or holds one: it is shown nowhere.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(
            self.key,
            Key::SmtpPassword | Key::WebhookUrl | Key::NtfyUrl | Key::NtfyToken | Key::PingUrl
        )
    }

    /// Whether it can be given on the command line, which every user of the machine may read.
    pub(crate) fn has_flag(&self) -> bool {
        !self.is_secret() && self.key != Key::NotifyCa
    }

    /// Its variable that holds a path.
    pub(crate) fn file_variable(&self) -> String {
        format!("{}{FILE_SUFFIX}", self.name)
    }
}

/// The variables that hold secrets, or the paths of files with them: commands and ssh do not get them.
pub(crate) fn secret_variables() -> impl Iterator<Item = String> {
    let secret = SETTINGS.iter().filter(|setting| setting.is_secret());
    secret.flat_map(|setting| [setting.name.to_owned(), setting.file_variable()])
}

/// The setting of that name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

/// The setting of that key.
pub(crate) fn get(key: Key) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.key == key).unwrap_or(&SETTINGS[0])
}

/// The one of `known` that `given` may have been meant to be, and how many edits it is away.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (name, strsim::damerau_levenshtein(&given, &name.to_lowercase())))
        .min_by_key(|(_, distance)| *distance)
}

/// The variable that the environment's `name` may have been meant to be.
pub(crate) fn misspelt_variable(name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    let mut known: Vec<String> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    known.extend(SETTINGS.iter().map(Setting::file_variable));
    known.extend([CONFIG_FILE.to_owned(), CONFIG_DIR.to_owned()]);
    if known.iter().any(|known| known == name) {
        return None;
    }
    let (nearest, distance) = nearest(name, known.iter().map(String::as_str))?;
    (distance <= 2).then(|| nearest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_keys() {
        for setting in &SETTINGS {
            assert_eq!(get(setting.key).name, setting.name);
        }
        assert!(SETTINGS.windows(2).all(|pair| pair[0].key < pair[1].key));
    }

    #[test]
    fn the_readme_has_the_whole_table() {
        let rows: String = SETTINGS
            .iter()
            .map(|setting| {
                let default = setting.default.map(|default| format!("`{default}`"));
                let default = default.unwrap_or_default();
                format!("| `{}` | {default} | {} |\n", setting.name, setting.help)
            })
            .collect();
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&rows), "the table of README.md has to hold:\n{rows}");
    }

    #[test]
    fn the_example_is_without_mistakes() {
        let example = include_str!("../../backup_manager.example.toml");
        let everything: String = example
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    if line.starts_with("# ") { "" } else { line.trim_start_matches('#') }
                )
            })
            .collect();
        for text in [example, &everything] {
            let mut mistakes = Vec::new();
            crate::config::layers::file::read(std::path::Path::new("x"), text, &mut mistakes);
            assert_eq!(mistakes, []);
        }
    }

    #[test]
    fn a_flag_is_the_variable_in_kebab_case() {
        assert_eq!(get(Key::MinimumTimeGuardH).flag(), "minimum-time-guard-h");
    }

    #[test]
    fn near_misses_in_the_environment_are_found() {
        for (name, meant) in [
            ("MAX_BACKUP", Some("MAX_BACKUPS")),
            ("max_backups", Some("MAX_BACKUPS")),
            ("SRC_TO_BACKUP", Some("SRCS_TO_BACKUP")),
            ("BACKUP_DIR", Some("BACKUPS_DIR")),
            ("MAX_BACKUP_FILE", Some("MAX_BACKUPS_FILE")),
            ("MAX_BACKUPS", None),
            ("MAX_BACKUPS_FILE", None),
            ("CONFIG_FILE", None),
            ("CONFIG_DIR", None),
            ("PATH", None),
            ("HOME", None),
            ("LOG_LEVEL", None),
        ] {
            assert_eq!(misspelt_variable(OsStr::new(name)).as_deref(), meant, "{name}");
        }
    }
}
