//! The checks at the start of the daemon. Each finding is reported; none stops the daemon.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use engine::fs::mount_of;
use rustix::process::geteuid;
use transport::ssh::connect::user_entry::{Account, account, ssh_folder};

use crate::config::mistake::shown_path;
use crate::config::types::Config;
use crate::daemon::{capabilities, keys};
use crate::log::JobLog;
use crate::schedule::crontab::CronLine;
use crate::schedule::due::Agenda;

/// Reports what the user should know before the first run.
pub(crate) fn surroundings(config: &Config, log: &JobLog) {
    let folders: BTreeSet<&Path> =
        config.jobs.iter().map(|job| job.job.backups_dir.as_path()).collect();
    for folder in folders {
        if let Some(warning) = not_a_mount(folder) {
            log.warn(&warning);
        }
    }
    let uid = geteuid().as_raw();
    let missing =
        capabilities::missing(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    if !missing.is_empty() {
        log.warn(&format!(
            "running as the user {uid}: {}; what cannot be set is kept in .backup_manager/kept",
            missing.join(", ")
        ));
    }
    if config.jobs.iter().any(|job| job.remote.is_some()) {
        ssh(uid, config, log);
    }
}

fn ssh(uid: u32, config: &Config, log: &JobLog) {
    if account() == Account::Unknown {
        log.warn(&format!(
            "the user {uid} is not in /etc/passwd, and without an entry ssh does not start; add one, or install libnss-wrapper"
        ));
    }
    for complaint in keys::complaints(&ssh_folder(), uid, keys::keyless(&config.jobs)) {
        log.warn(&complaint.to_string());
    }
    if let Some(known_hosts) = &config.known_hosts {
        log.info(&format!("host keys in {} count too", shown_path(known_hosts)));
    }
}

/// Reports a backups folder that is not on a mount: its snapshots would be removed together with the
/// container.
pub(crate) fn not_a_mount(folder: &Path) -> Option<String> {
    let mount = mount_of(folder)?;
    let folder = shown_path(folder);
    if mount.point == Path::new("/") {
        return Some(format!(
            "BACKUPS_DIR {folder} is not on a mount of its own: in a container the snapshots go away with it; mount a folder of the host there"
        ));
    }
    is_anonymous_volume(&mount.root).then(|| {
        format!("BACKUPS_DIR {folder} is an anonymous volume, which the next container does not get; mount a folder of the host there")
    })
}

/// Whether the path is that of an anonymous volume, which Docker names with 64 hexadecimal digits.
fn is_anonymous_volume(root: &Path) -> bool {
    let is_hash =
        |part: &str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    root.components().any(|part| part.as_os_str().to_str().is_some_and(is_hash))
}

/// Logs when each line of the crontab runs next.
pub(crate) fn next_times(agenda: &Agenda, now: DateTime<Utc>, log: &JobLog) {
    let mut lines = 0;
    for (line, next) in agenda.times() {
        lines += 1;
        log.info(&next_time(line, next, now));
    }
    if lines == 0 {
        log.warn("the crontab has no line that runs anything: there will be no backups");
    }
}

fn next_time(line: &CronLine, next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let CronLine { number, command, .. } = line;
    // Do not log the arguments: they may contain secrets.
    let command = first_word(command).unwrap_or("a command");
    let when = match next {
        Some(next) if next >= now => {
            format!("next at {}", line.zone.shown(next))
        }
        Some(_) => "due".to_owned(),
        None if line.at_start() => "when the daemon starts".to_owned(),
        None => "never".to_owned(),
    };
    format!("crontab line {number}, {when}: {command}")
}

/// The first word of a shell command, after its variable assignments; `None` if it is not a plain word.
fn first_word(command: &str) -> Option<&str> {
    let mut rest = command.trim_start();
    loop {
        let word = &rest[..word_end(rest)?];
        let name = word.split_once('=').map(|(name, _)| name);
        let variable = name.is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        if !variable {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
            return (!word.is_empty() && word.bytes().all(plain)).then_some(word);
        }
        rest = rest[word.len()..].trim_start();
    }
}

/// The end of the first word of `text`. White space inside quotes or after a backslash is part of the word.
/// `None` if a quote is not closed, or the word contains a command substitution.
fn word_end(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match (escaped, quote, c) {
            (true, ..) => escaped = false,
            (_, Some(open), c) if c == open => quote = None,
            (_, open, '\\') if open != Some('\'') => escaped = true,
            (_, open, '$' | '`') if open != Some('\'') => return None,
            (_, Some(_), _) => {}
            (_, None, '\'' | '"') => quote = Some(c),
            (_, None, c) if c.is_whitespace() || ";&|<>()".contains(c) => return Some(at),
            _ => {}
        }
    }
    (quote.is_none() && !escaped).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::crontab::Crontab;
    use crate::schedule::zone::Zone;

    #[test]
    fn of_a_command_only_the_program_is_shown() {
        for (command, expected) in [
            ("backup_manager run", Some("backup_manager")),
            ("  /usr/bin/x --token=hunter22", Some("/usr/bin/x")),
            ("TOKEN=hunter22 A='b c' backup_manager run", Some("backup_manager")),
            ("TOKEN=\"a \\\" b\" x y", Some("x")),
            ("TOKEN=a\\ b x y", Some("x")),
            ("TOKEN=$(cat secret file) x", None),
            ("TOKEN='hunter 22", None),
            ("TOKEN=hunter22", None),
            ("'a b' c", None),
            ("curl;x", Some("curl")),
            ("(x)", None),
            ("", None),
        ] {
            assert_eq!(first_word(command), expected, "{command}");
        }
    }

    #[test]
    fn volumes_without_a_name_are_found() {
        let hash = "0123456789abcdef".repeat(4);
        for (root, expected) in [
            (format!("/var/lib/docker/volumes/{hash}/_data"), true),
            ("/var/lib/docker/volumes/backups/_data".to_owned(), false),
            ("/".to_owned(), false),
        ] {
            assert_eq!(is_anonymous_volume(Path::new(&root)), expected, "{root}");
        }
    }

    #[test]
    fn a_line_says_when_it_comes_next() {
        let now = DateTime::from_timestamp(1_704_067_200, 0).unwrap();
        let text = "* * * * * a\nCRON_TZ=Europe/Berlin\n30 2 * * * b\n@reboot c\n";
        let utc = Zone::named("UTC").unwrap();
        let mut agenda = Agenda::default();
        agenda.replace(&Crontab::read(text, utc), now);
        let said: Vec<String> =
            agenda.times().map(|(line, next)| next_time(line, next, now)).collect();
        assert_eq!(
            said,
            [
                "crontab line 1, next at 2024-01-01 00:01 UTC: a",
                "crontab line 3, next at 2024-01-01 02:30 CET: b",
                "crontab line 4, when the daemon starts: c",
            ]
        );
    }
}
