//! What is looked at when the daemon starts: nothing of it ends the daemon, all of it is said.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use engine::mount::mount_of;
use rustix::process::geteuid;
use transport::sftp::{Account, account, ssh_folder};

use crate::config::{Config, shown_path};
use crate::log::JobLog;
use crate::schedule::{Agenda, Line};

use super::{keys, rights};

/// Says what a user should know before the first run.
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
        rights::missing(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
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
    keys::complaints(&ssh_folder(), uid).iter().for_each(|complaint| log.warn(complaint));
    if let Some(known_hosts) = &config.known_hosts {
        log.info(&format!("host keys in {} count too", shown_path(known_hosts)));
    }
}

/// Snapshots that go away with a container are no backup.
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

/// Docker names a volume that nobody named by 64 hexadecimal digits.
fn is_anonymous_volume(root: &Path) -> bool {
    let is_hash =
        |part: &str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    root.components().any(|part| part.as_os_str().to_str().is_some_and(is_hash))
}

/// Says what the crontab will do next.
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

fn next_time(line: &Line, next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let Line { number, command, .. } = line;
    let when = match next {
        Some(next) if next >= now => {
            let (local, zone) = (line.zone.local(next), line.zone);
            let utc = next.format("%Y-%m-%d %H:%M UTC");
            if local == next.naive_utc() {
                format!("next at {utc}")
            } else {
                format!("next at {utc} ({}, {zone})", local.format("%H:%M"))
            }
        }
        Some(_) => "due".to_owned(),
        None if line.at_start() => "when the daemon starts".to_owned(),
        None => "never".to_owned(),
    };
    format!("crontab line {number}, {when}: {command}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Crontab, Zone};

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
                "crontab line 3, next at 2024-01-01 01:30 UTC (02:30, Europe/Berlin): b",
                "crontab line 4, when the daemon starts: c",
            ]
        );
    }
}
