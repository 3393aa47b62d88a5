//! The table of settings, one row for each. Flags, variables, keys, help, the example file and the checks
//! derive from it.

pub(crate) mod example;
pub(crate) mod find;
pub(crate) mod row;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ::web::Listen;
use chrono::TimeDelta;
use engine::Prefix;
use engine::snapshot::ChangeBrake;
use lettre::message::Mailbox;
use transport::remote::RemoteHelper;

use crate::config::checks::value::{GivenValue, Raw, give};
use crate::config::checks::{alerts, backup, copies, limits, value, web};
use crate::config::mistake::{Mistake, SettingOrigin};
use crate::config::rsync::Param;
use crate::config::setting::row::SettingRow;
pub(crate) use crate::config::setting::row::ValueTypes;
use crate::config::values::alert_channels::{AlertLevel, Security};
use crate::config::values::io_priority::IoPriority;
use crate::config::values::log_format::Format;
use crate::schedule::timetable::Timetable;
use crate::schedule::window::Window;
use crate::secret::Secret;

/// One setting.
pub(crate) type Setting = SettingRow<Key>;

/// Generates from the rows: [`Key`], [`SETTINGS`], and [`Layer`] with a field for each setting.
macro_rules! settings {
    ($($key:ident => $field:ident: $type:ty = $check:path { $($part:ident: $value:expr,)* })*) => {
        /// Names one setting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Key {
            $($key,)*
        }

        /// All settings, in display order.
        pub(crate) const SETTINGS: &[Setting] =
            &[$(Setting { $($part: $value,)* ..Setting::plain(Key::$key) },)*];

        /// The checked values of one layer (flags, environment, file or defaults).
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Layer {
            $(pub(crate) $field: Option<GivenValue<$type>>,)*
        }

        impl Layer {
            /// Checks one value and stores it. Adds what is wrong with it to `mistakes`.
            pub(crate) fn set(
                &mut self,
                key: Key,
                raw: &Raw,
                origin: SettingOrigin,
                mistakes: &mut Vec<Mistake>,
            ) {
                match key {
                    $(Key::$key => give(&mut self.$field, $check(raw), origin, mistakes),)*
                }
            }

            /// The value of a setting as text that shows whether two values differ, and where it was given.
            pub(crate) fn given(&self, key: Key) -> Option<(String, &SettingOrigin)> {
                match key {
                    $(Key::$key => {
                        let given = self.$field.as_ref()?;
                        Some((format!("{:?}", given.value), &given.origin))
                    })*
                }
            }
        }
    };
}

// Each row: Key => field of `Layer`: type = check.
settings! {
    SrcsToBackup => sources: Vec<PathBuf> = backup::sources {
        name: "SRCS_TO_BACKUP",
        quotes: true,
        value: "PATHS",
        help: "Back up these folders and files, comma separated ('\\,' for a comma in a name); must be given",
        example: r#"["/home", "/etc"]"#,
        takes: ValueTypes::List,
    }
    BackupsDir => backups_dir: PathBuf = backup::folder {
        name: "BACKUPS_DIR",
        quotes: true,
        value: "DIR",
        help: "Keep the snapshots in this folder",
        default: Some("./backups"),
    }
    BackupsMode => backups_mode: u32 = backup::mode {
        name: "BACKUPS_MODE",
        value: "MODE",
        help: "Give that folder these permissions, for example 0755 for access by other users; unset: a new folder gets 0700",
        example: r#""0755""#,
    }
    BackupNamePrefix => prefix: Prefix = backup::prefix {
        name: "BACKUP_NAME_PREFIX",
        value: "PREFIX",
        help: "Name the snapshots PREFIX.DD-MM-YYYY_HH-MM-SS",
        default: Some("my_backup"),
    }
    LatestLink => latest_link: bool = backup::switch {
        name: "LATEST_LINK",
        value: "ON|OFF",
        help: "Keep the symlink PREFIX.latest to the newest snapshot",
        default: Some("off"),
    }
    PreviousVersions => previous_versions: bool = backup::switch {
        name: "PREVIOUS_VERSIONS",
        value: "ON|OFF",
        help: "Keep symlinks to the snapshots in .backup_manager/previous, for the previous versions of Samba",
        default: Some("off"),
    }
    RemoteSrcHost => remote: String = value::text {
        name: "REMOTE_SRC_HOST",
        value: "USER@HOST[:PORT]",
        help: "Pull the sources from this host over SSH",
        example: r#""user@host""#,
    }
    AnswerTimeoutS => answer_timeout: Duration = backup::answer_timeout {
        name: "ANSWER_TIMEOUT_S",
        value: "SECONDS",
        help: "Connect again when that host leaves a request without an answer for this long",
        default: Some("60"),
    }
    SftpChannels => sftp_channels: NonZeroUsize = backup::channels {
        name: "SFTP_CHANNELS",
        value: "COUNT",
        help: "Open this many SFTP channels to that host, 1 to 16; unset: 1, or more for OpenSSH and dropbear",
        example: "4",
    }
    RemoteHelper => remote_helper: RemoteHelper = backup::remote_helper {
        name: "REMOTE_HELPER",
        value: "auto|install|off|COMMAND",
        help: "Reach that host, and one that is restored to, through the backup_manager in its PATH, if there is one (auto), copy this one there first if there is none (install), only over SFTP (off), or through the one that COMMAND starts, such as sudo -n backup_manager",
        default: Some("auto"),
    }
    RsyncSingleParams => single_params: Vec<Param> = backup::rsync_switches {
        name: "RSYNC_SINGLE_PARAMS",
        value: "OPTIONS",
        hyphens: true,
        help: "Use these rsync switches, comma separated, instead of the default ones",
        default: Some("-a,-x,-H,--numeric-ids,--relative,--delete,--delete-excluded"),
        takes: ValueTypes::List,
    }
    RsyncDictParams => dict_params: Vec<Param> = backup::rsync_options {
        name: "RSYNC_DICT_PARAMS",
        quotes: true,
        value: "JSON",
        hyphens: true,
        help: "Add these rsync options with values, a JSON object",
        example: r#"{ "--exclude" = "*.tmp" }"#,
        takes: ValueTypes::Table,
    }
    MaxBackups => max_backups: NonZeroUsize = backup::snapshots {
        name: "MAX_BACKUPS",
        value: "COUNT",
        help: "Keep this many snapshots; a new one then replaces the oldest (with KEEP_ settings: no limit unless set)",
        default: Some("30"),
    }
    KeepLast => keep_last: u32 = backup::periods {
        name: "KEEP_LAST",
        value: "COUNT",
        help: "Keep this many of the newest; with any KEEP_ setting, a snapshot that none of them keeps is removed",
        example: "7",
    }
    KeepHourly => keep_hourly: u32 = backup::periods {
        name: "KEEP_HOURLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many hours",
        example: "24",
    }
    KeepDaily => keep_daily: u32 = backup::periods {
        name: "KEEP_DAILY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many days",
        example: "7",
    }
    KeepWeekly => keep_weekly: u32 = backup::periods {
        name: "KEEP_WEEKLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many weeks",
        example: "4",
    }
    KeepMonthly => keep_monthly: u32 = backup::periods {
        name: "KEEP_MONTHLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many months",
        example: "12",
    }
    KeepYearly => keep_yearly: u32 = backup::periods {
        name: "KEEP_YEARLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many years",
        example: "3",
    }
    CopyTo => copy_to: Vec<PathBuf> = copies::folders {
        name: "COPY_TO",
        quotes: true,
        value: "DIRS",
        help: "Copy the snapshots into these folders too, comma separated, after each run and when their disks are there",
        example: r#"["/mnt/second_disk/backups"]"#,
        takes: ValueTypes::List,
    }
    CopyMaxBackups => copy_max_backups: NonZeroUsize = backup::snapshots {
        name: "COPY_MAX_BACKUPS",
        value: "COUNT",
        help: "Keep this many snapshots in each copy; unset, and without COPY_KEEP_ settings: all that were copied",
        example: "365",
    }
    CopyKeepLast => copy_keep_last: u32 = backup::periods {
        name: "COPY_KEEP_LAST",
        value: "COUNT",
        help: "Keep this many of the newest in each copy; with any COPY_KEEP_ setting, the others are removed there",
        example: "7",
    }
    CopyKeepHourly => copy_keep_hourly: u32 = backup::periods {
        name: "COPY_KEEP_HOURLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many hours in each copy",
        example: "24",
    }
    CopyKeepDaily => copy_keep_daily: u32 = backup::periods {
        name: "COPY_KEEP_DAILY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many days in each copy",
        example: "30",
    }
    CopyKeepWeekly => copy_keep_weekly: u32 = backup::periods {
        name: "COPY_KEEP_WEEKLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many weeks in each copy",
        example: "8",
    }
    CopyKeepMonthly => copy_keep_monthly: u32 = backup::periods {
        name: "COPY_KEEP_MONTHLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many months in each copy",
        example: "24",
    }
    CopyKeepYearly => copy_keep_yearly: u32 = backup::periods {
        name: "COPY_KEEP_YEARLY",
        value: "COUNT",
        help: "Keep the newest snapshot of each of this many years in each copy",
        example: "10",
    }
    CopyMaxAgeH => copy_max_age: TimeDelta = backup::hours {
        name: "COPY_MAX_AGE_H",
        value: "HOURS",
        help: "Report a job as unhealthy when the newest snapshot of a copy is older than this",
        default: Some("192"),
    }
    MinimumTimeGuardH => minimum_time_guard: TimeDelta = backup::hours {
        name: "MINIMUM_TIME_GUARD_H",
        value: "HOURS",
        help: "Do nothing while the newest snapshot is younger than this, decimals allowed",
        default: Some("20"),
    }
    Window => window: Window = limits::window {
        name: "WINDOW",
        value: "FROM-TO",
        help: "Run only between these times of day; a run stops at the end and the next one resumes",
        example: r#""22:00-06:00""#,
    }
    Bwlimit => bwlimit: Timetable = limits::bwlimit {
        name: "BWLIMIT",
        value: "RATE",
        help: "Read at most this much content per second, KiB or with a unit (5m), or a timetable (08:00,2m 19:00,off)",
        example: r#""08:00,2m 19:00,off""#,
    }
    Nice => nice: i8 = limits::nice {
        name: "NICE",
        value: "NUMBER",
        help: "Run with this nice value, from -20 (first) to 19 (last)",
        example: "10",
    }
    Ionice => ionice: IoPriority = limits::ionice {
        name: "IONICE",
        value: "CLASS[:LEVEL]",
        help: "Run with this I/O priority: idle, best-effort, best-effort:0 (first) to best-effort:7 (last), or none",
        example: r#""best-effort:7""#,
    }
    JobsAtOnce => jobs_at_once: NonZeroUsize = limits::jobs_at_once {
        name: "JOBS_AT_ONCE",
        value: "COUNT",
        help: "Run this many jobs at the same time, never two of one host or onto one rotating disk",
        default: Some("1"),
        per_job: false,
    }
    LogFile => log_file: PathBuf = backup::log_file {
        name: "LOG_FILE",
        value: "FILE",
        help: "Write the log to this file instead of stdout; warnings go to stderr too",
        example: r#""/var/log/backup_manager.log""#,
        per_job: false,
    }
    LogFormat => log_format: Format = backup::format {
        name: "LOG_FORMAT",
        value: "FORMAT",
        help: "Log as 'text' for people or 'json' for programs",
        default: Some("text"),
        per_job: false,
    }
    MaxShrinkPercent => max_shrink_percent: f64 = backup::percent {
        name: "MAX_SHRINK_PERCENT",
        value: "PERCENT",
        help: "Fail when a source lost more than this percentage of its files",
        default: Some("90"),
    }
    ChangeBrake => change_brake: ChangeBrake = backup::change_brake {
        name: "CHANGE_BRAKE",
        value: "on|strict|off",
        help: "Freeze the removal of snapshots and warn when changes look unwanted (encryption, for example): when two signs of them coincide ('on'), at one sign ('strict'), or never ('off')",
        default: Some("on"),
    }
    RenameDetection => rename_detection: Option<u64> = backup::rename_detection {
        name: "RENAME_DETECTION",
        value: "SIZE|off",
        help: "Link a new file of at least this size to the copy that the newest snapshot has under another path, if the content is the same",
        default: Some("64K"),
    }
    Trust => trust_ctime: bool = backup::trusts_ctime {
        name: "TRUST",
        value: "TIME",
        help: "'ctime': compare the content of a file whose change time is new; 'mtime': trust size and modification time",
        default: Some("ctime"),
    }
    MaxAgeH => max_age: TimeDelta = backup::hours {
        name: "MAX_AGE_H",
        value: "HOURS",
        help: "Report a job as unhealthy when its newest snapshot is older than this; unset: MINIMUM_TIME_GUARD_H + 24",
        example: "44",
    }
    FailuresBeforeAlert => failures_before_alert: NonZeroUsize = alerts::failures {
        name: "FAILURES_BEFORE_ALERT",
        value: "COUNT",
        help: "Report a job as unhealthy when this many runs failed in a row",
        default: Some("3"),
    }
    NotifyOn => notify_on: AlertLevel = alerts::level {
        name: "NOTIFY_ON",
        value: "LEVEL",
        help: "Send an alert on 'failure' (also: too old, damaged, recovered), on each 'problem' too, or 'always'",
        default: Some("problem"),
    }
    MailTo => mail_to: Vec<Mailbox> = alerts::mailboxes {
        name: "MAIL_TO",
        quotes: true,
        value: "ADDRESSES",
        help: "Mail alerts to these, comma separated; needs SMTP_HOST",
        example: r#"["me@example.org"]"#,
        takes: ValueTypes::List,
    }
    MailFrom => mail_from: Mailbox = alerts::mailbox {
        name: "MAIL_FROM",
        quotes: true,
        value: "ADDRESS",
        help: "Send mail as this; unset: SMTP_USER or the first of MAIL_TO",
        example: r#""backups@example.org""#,
    }
    SmtpHost => smtp_host: (String, Option<u16>) = alerts::host {
        name: "SMTP_HOST",
        value: "HOST[:PORT]",
        help: "Send mail through this server",
        example: r#""mail.example.org""#,
    }
    SmtpSecurity => smtp_security: Security = alerts::security {
        name: "SMTP_SECURITY",
        value: "HOW",
        help: "Encrypt mail with 'starttls' (port 587), 'tls' (465), or not at all: 'none' (25)",
        default: Some("starttls"),
    }
    SmtpUser => smtp_user: String = value::text {
        name: "SMTP_USER",
        value: "NAME",
        help: "Log in to the mail server as this user",
        example: r#""me@example.org""#,
    }
    SmtpPassword => smtp_password: Secret = alerts::secret {
        name: "SMTP_PASSWORD",
        value: "PASSWORD",
        help: "Log in to the mail server with this password",
        example: r#""password""#,
        secret: true,
    }
    WebhookUrl => webhook_url: Secret = alerts::url {
        name: "WEBHOOK_URL",
        value: "URL",
        help: "Post alerts to this URL as JSON",
        example: r#""https://example.org/hook""#,
        secret: true,
    }
    NtfyUrl => ntfy_url: Secret = alerts::url {
        name: "NTFY_URL",
        value: "URL",
        help: "Publish alerts to this ntfy topic, for example https://ntfy.sh/topic",
        example: r#""https://ntfy.sh/topic""#,
        secret: true,
    }
    NtfyToken => ntfy_token: Secret = alerts::token {
        name: "NTFY_TOKEN",
        value: "TOKEN",
        help: "Publish to ntfy with this access token",
        example: r#""tk_example""#,
        secret: true,
    }
    PingUrl => ping_url: Secret = alerts::url {
        name: "PING_URL",
        value: "URL",
        help: "Ping this URL of healthchecks.io or a compatible service: URL/start, URL, URL/fail",
        example: r#""https://hc-ping.com/uuid""#,
        secret: true,
    }
    NotifyCa => notify_ca: String = alerts::certificates {
        name: "NOTIFY_CA",
        quotes: true,
        value: "PEM",
        help: "Trust these certificates for alerts instead of the built-in ones",
        example: r#""-----BEGIN CERTIFICATE----- (the text of the PEM file)""#,
        flag: false,
    }
    PreBackup => pre_backup: String = value::text {
        name: "PRE_BACKUP",
        quotes: true,
        value: "COMMAND",
        help: "Run this with /bin/sh before a snapshot is taken; exit code 75 postpones the run, other codes fail it",
        example: r#""pg_dumpall >/srv/dump.sql""#,
    }
    PostBackup => post_backup: String = value::text {
        name: "POST_BACKUP",
        quotes: true,
        value: "COMMAND",
        help: "Run this with /bin/sh after a snapshot was completed",
        example: r#""logger done""#,
    }
    OnFailure => on_failure: String = value::text {
        name: "ON_FAILURE",
        quotes: true,
        value: "COMMAND",
        help: "Run this with /bin/sh after a run failed",
        example: r#""logger failed""#,
    }
    HookTimeoutS => hook_timeout: Duration = alerts::hook_timeout {
        name: "HOOK_TIMEOUT_S",
        value: "SECONDS",
        help: "End such a command after this time",
        default: Some("3600"),
    }
    WebListen => web_listen: Listen = web::listen {
        name: "WEB_LISTEN",
        value: "ADDRESS",
        help: "Serve the web page of the daemon here: ADDRESS:PORT, or unix:PATH of a socket for a reverse proxy",
        example: r#""127.0.0.1:8385""#,
        per_job: false,
        flag: false,
    }
    WebUsersFile => web_users_file: PathBuf = web::users_file {
        name: "WEB_USERS_FILE",
        value: "FILE",
        help: "Let only the users of this file see the web page (web --add-user writes it); any address but loopback and a socket needs it",
        example: r#""/config/web_users""#,
        per_job: false,
        flag: false,
    }
    WebBasePath => web_base_path: String = web::base_path {
        name: "WEB_BASE_PATH",
        value: "PATH",
        help: "A reverse proxy serves the web page under this path",
        example: r#""/backups""#,
        per_job: false,
        flag: false,
    }
    WebHost => web_hosts: Vec<String> = web::hosts {
        name: "WEB_HOST",
        value: "NAMES",
        help: "A reverse proxy serves the web page under these host names, comma separated",
        example: r#"["backups.example.org"]"#,
        takes: ValueTypes::List,
        per_job: false,
        flag: false,
    }
}
