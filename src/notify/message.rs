//! The text of an alert: the event, the job, since when, which snapshots are safe, and what to do. Does no
//! I/O.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::health::mass_change::{Commands, commands};
use crate::notify::decide::{AfterRun, Alert, Newest, RunEnd};
use crate::term::local_time;
use crate::term::shell::word;
use crate::term::units::{counted, duration};

/// Maximum length of a quoted error, in characters: a message may be read on a phone.
const LONGEST_QUOTE: usize = 600;

/// An alert in the form in which it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// `failed`, `stale`, `unread`, `damaged`, `mass_change`, `late_copy`, `recovered`, `problems`, `completed`, or the event of a test
    /// or a ping.
    pub(crate) event: String,
    pub(crate) urgent: bool,
    pub(crate) job: String,
    /// The machine that runs the backup.
    pub(crate) host: String,
    /// The time in RFC 3339 format, UTC.
    pub(crate) time: String,
    pub(crate) newest_snapshot: Option<String>,
    pub(crate) title: String,
    pub(crate) body: String,
}

/// The sender of a message, and the current time.
#[derive(Debug, Clone)]
pub(crate) struct MessageSender<'a> {
    pub(crate) job: &'a str,
    /// The word that selects the job on the command line, for the next steps in the message.
    pub(crate) command: &'a str,
    pub(crate) host: &'a str,
    pub(crate) backups_dir: &'a str,
    pub(crate) now: DateTime<Utc>,
}

/// The text of `alert`.
pub(crate) fn message(alert: &Alert, facts: &AfterRun, speaker: &MessageSender<'_>) -> Message {
    let MessageSender { job, command, host, now, .. } = *speaker;
    let (event, urgent, title, rows) = match alert {
        Alert::Failed { failures, since, reminder } => (
            "failed",
            true,
            format!("backup {job} {}", if *reminder { "still fails" } else { "failed" }),
            failed(*failures, *since, facts, speaker),
        ),
        Alert::Stale { since } => (
            "stale",
            true,
            format!("backup {job} has no new snapshot"),
            vec![
                ("What", "no snapshot was completed for longer than MAX_AGE_H allows".to_owned()),
                ("Since", moment(*since, now)),
                ("To do", format!("see why no run completes: the log, and: backup_manager run{command}")),
            ],
        ),
        Alert::Unread { since } => (
            "unread",
            true,
            format!("backup {job} has not been able to read something for long"),
            vec![
                ("What", "entries that cannot be read are carried forward from older snapshots for longer than MAX_AGE_H allows".to_owned()),
                ("Since", moment(*since, now)),
                ("To do", unread(facts, speaker)),
            ],
        ),
        Alert::Damaged { snapshots } => (
            "damaged",
            true,
            format!("backup {job} has damaged snapshots"),
            vec![
                ("What", format!("a check found damage in {}", snapshots.join(", "))),
                ("To do", "check the disk (dmesg, smartctl) and do not rely on those snapshots; take a new one now, the others are listed by: backup_manager list".to_owned()),
            ],
        ),
        Alert::MassChange { reminder } => (
            "mass_change",
            true,
            match reminder {
                false => format!("backup {job} found a mass change that may be unwanted"),
                true => format!("backup {job} removes no snapshots since a mass change"),
            },
            mass_change(facts, speaker),
        ),
        Alert::LateCopies => (
            "late_copy",
            true,
            format!("backup {job} has a copy that is too old"),
            late_copies(facts, speaker),
        ),
        Alert::Drill => (
            "drill",
            true,
            format!("backup {job} did not pass its restore drill"),
            vec![
                ("What", facts.drill.as_ref().map_or_else(String::new, |(_, what)| quote(what))),
                ("To do", format!("see what is wrong: backup_manager drill --job {}, and: backup_manager verify --all", word(job.as_bytes()))),
            ],
        ),
        Alert::Recovered { since } => (
            "recovered",
            false,
            format!("backup {job} works again"),
            vec![
                ("What", "a snapshot was completed; nothing is left to do".to_owned()),
                ("Trouble", since.map_or_else(|| "over".to_owned(), |since| format!("began {}", moment(since, now)))),
            ],
        ),
        Alert::Problems => (
            "problems",
            false,
            format!("backup {job} completed, but some entries are listed"),
            problems(facts, speaker),
        ),
        Alert::Completed => (
            "completed",
            false,
            format!("backup {job} completed"),
            vec![("What", "a snapshot was completed".to_owned())],
        ),
    };
    let mut rows = rows;
    rows.push(("Safe", safe(facts, speaker)));
    let mut body = format!("{title} on {host}.\n\n");
    for (label, text) in rows {
        let label = if label.is_empty() { String::new() } else { format!("{label}:") };
        let _ = writeln!(body, "{label:<9}{text}");
    }
    let newest_snapshot = facts.newest.as_ref().map(|newest| newest.name.clone());
    Message {
        event: event.to_owned(),
        urgent,
        job: job.to_owned(),
        host: host.to_owned(),
        time: stamp(now),
        newest_snapshot,
        title: format!("{title} ({host})"),
        body,
    }
}

/// The message of `doctor --notify-test`.
pub(crate) fn test(speaker: &MessageSender<'_>) -> Message {
    let MessageSender { job, host, now, .. } = *speaker;
    Message {
        event: "test".to_owned(),
        urgent: false,
        job: job.to_owned(),
        host: host.to_owned(),
        time: stamp(now),
        newest_snapshot: None,
        title: format!("backup {job}: this is a test ({host})"),
        body: format!(
            "This is a test of the alerts of backup {job} on {host}.\nNothing is wrong.\n"
        ),
    }
}

type Row = (&'static str, String);

fn failed(
    failures: u32,
    since: DateTime<Utc>,
    facts: &AfterRun,
    speaker: &MessageSender<'_>,
) -> Vec<Row> {
    let (reason, hint) = match &facts.ended {
        RunEnd::Failed { reason, hint } => (quote(reason), hint.clone()),
        _ => ("the last run failed".to_owned(), None),
    };
    let runs = match failures {
        0 | 1 => String::new(),
        count => format!("; {count} runs in a row failed"),
    };
    let hint = hint.unwrap_or_else(|| "look into the log".to_owned());
    let command = speaker.command;
    vec![
        ("What", reason),
        ("Since", format!("{}{runs}", moment(since, speaker.now))),
        ("To do", format!("{hint}; then: backup_manager run{command}")),
    ]
}

fn problems(facts: &AfterRun, speaker: &MessageSender<'_>) -> Vec<Row> {
    let RunEnd::Completed { snapshot, problems, carried_forward } = &facts.ended else {
        return Vec::new();
    };
    let listed = counted(*problems, "entry was", "entries were");
    let carried = match carried_forward {
        0 => String::new(),
        count => format!("; {count} came from the snapshot before"),
    };
    let dir = speaker.backups_dir;
    vec![
        ("What", format!("{listed} not read well{carried}")),
        (
            "To do",
            format!(
                "see which, and why: {dir}/.backup_manager/reports/{snapshot}.json; let the user of the backup read them, or leave them out"
            ),
        ),
    ]
}

fn unread(facts: &AfterRun, speaker: &MessageSender<'_>) -> String {
    let newest = facts.newest.as_ref().map_or("SNAPSHOT", |newest| newest.name.as_str());
    let dir = speaker.backups_dir;
    format!(
        "see which, and why: {dir}/.backup_manager/reports/{newest}.json; let the user of the backup read them, or leave them out"
    )
}

fn mass_change(facts: &AfterRun, speaker: &MessageSender<'_>) -> Vec<Row> {
    let Some(freeze) = &facts.frozen else { return Vec::new() };
    let mut rows = vec![("What", quote(&freeze.what))];
    if let Ok(since) = DateTime::parse_from_rfc3339(&freeze.since) {
        let noticed = match freeze.noticed.is_empty() {
            true => String::new(),
            false => format!("; noticed in {}", freeze.noticed),
        };
        rows.push(("Since", format!("{}{noticed}", moment(since.to_utc(), speaker.now))));
    }
    if !freeze.examples.is_empty() {
        rows.push(("For one", quote(&freeze.examples.join(", "))));
    }
    let done = match freeze.held.is_empty() {
        true => "no snapshot is removed".to_owned(),
        false => {
            format!("{} is held, and no snapshot is removed until it is released", freeze.held)
        }
    };
    rows.push(("Done", done));
    if let Some(Commands { restore, release }) = commands(freeze, speaker.backups_dir.as_bytes()) {
        rows.push(("To do", "look at these files; if the change was not wanted, end what makes it, then restore them:".to_owned()));
        rows.push(("", restore));
        rows.push(("Or", "if the change was wanted:".to_owned()));
        rows.push(("", release));
    }
    rows
}

fn late_copies(facts: &AfterRun, speaker: &MessageSender<'_>) -> Vec<Row> {
    let copies = facts.late_copies.iter().enumerate();
    let label = |at: usize| if at == 0 { "What" } else { "" };
    let mut rows: Vec<Row> =
        copies.map(|(at, late)| (label(at), quote(&late.reason.to_string()))).collect();
    let command = speaker.command;
    rows.push(("To do", format!("connect the disk of the copy and mount it; the next run brings it up to date, or at once: backup_manager copy --job{command}")));
    rows
}

/// The snapshots that a restore could use.
fn safe(facts: &AfterRun, speaker: &MessageSender<'_>) -> String {
    let dir = speaker.backups_dir;
    if !facts.seen {
        return format!("unknown: {dir} could not be looked at; nothing in it was changed");
    }
    let Some(Newest { name, time }) = &facts.safe else {
        return match facts.damaged.is_empty() {
            true => format!("nothing yet: there is no complete snapshot in {dir}"),
            false => format!(
                "in part: there is damage in each complete snapshot in {dir}; verify shows which files"
            ),
        };
    };
    let newest = format!("{name}, taken {}", moment(*time, speaker.now));
    match facts.sound {
        0 | 1 => format!("{newest}, in {dir}"),
        count => format!("{newest}, and {} older, in {dir}", count - 1),
    }
}

/// Formats a time and how long ago it was.
fn moment(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of less than a century")]
    let ago = (now - time).num_seconds().max(0) as f64;
    let time = local_time::minute(time);
    if ago < 60.0 {
        format!("{time} (just now)")
    } else {
        format!("{time} ({} ago)", duration(ago))
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + hours * 3600, 0).unwrap()
    }

    fn speaker() -> MessageSender<'static> {
        let now = at(30);
        MessageSender { job: "home", command: " home", host: "nas", backups_dir: "/backups", now }
    }

    fn facts(ended: RunEnd) -> AfterRun {
        let newest = Newest { name: "home.14-11-2023_22-13-20".to_owned(), time: at(0) };
        AfterRun {
            failures: 3,
            newest: Some(newest.clone()),
            safe: Some(newest),
            sound: 14,
            drill: Some((String::new(), "3 of p.x did not come back".to_owned())),
            seen: true,
            ..AfterRun::unseen(ended)
        }
    }

    #[test]
    fn a_failure_says_what_since_when_what_is_safe_and_what_to_do() {
        let ended = RunEnd::Failed {
            reason: "no connection to the source: no answer within 20 seconds".to_owned(),
            hint: Some("check that it is up".to_owned()),
        };
        let alert = Alert::Failed { failures: 3, since: at(28), reminder: false };
        let message = message(&alert, &facts(ended), &speaker());
        assert_eq!(message.title, "backup home failed (nas)");
        let (since, taken) = (local_time::minute(at(28)), local_time::minute(at(0)));
        assert_eq!(
            message.body,
            format!(
                "backup home failed on nas.

What:    no connection to the source: no answer within 20 seconds
Since:   {since} (2 h 0 min ago); 3 runs in a row failed
To do:   check that it is up; then: backup_manager run home
Safe:    home.14-11-2023_22-13-20, taken {taken} (1 d 6 h ago), and 13 older, in /backups
"
            )
        );
        assert!(message.urgent);
        assert_eq!(message.newest_snapshot.as_deref(), Some("home.14-11-2023_22-13-20"));
    }

    #[test]
    fn each_alert_says_what_is_safe_and_none_is_empty() {
        let completed = RunEnd::Completed {
            snapshot: "home.16-11-2023_04-13-20".to_owned(),
            problems: 2,
            carried_forward: 1,
        };
        for (alert, part) in [
            (Alert::Stale { since: at(0) }, "MAX_AGE_H"),
            (Alert::Damaged { snapshots: vec!["home.x".to_owned()] }, "damage in home.x"),
            (Alert::Drill, "3 of p.x did not come back"),
            (Alert::Recovered { since: Some(at(20)) }, "works again"),
            (Alert::Problems, "2 entries were not read well; 1 came from the snapshot before"),
            (Alert::Completed, "a snapshot was completed"),
        ] {
            let message = message(&alert, &facts(completed.clone()), &speaker());
            assert!(message.body.contains(part), "{}", message.body);
            assert!(message.body.contains("Safe:    home.14-11"), "{}", message.body);
        }
        let mut unseen = facts(RunEnd::Nothing);
        (unseen.seen, unseen.newest, unseen.safe) = (false, None, None);
        assert!(
            message(&Alert::Stale { since: at(0) }, &unseen, &speaker()).body.contains("unknown")
        );
        unseen.seen = true;
        assert!(message(&Alert::Completed, &unseen, &speaker()).body.contains("nothing yet"));
        unseen.damaged.push("home.x".to_owned());
        assert!(message(&Alert::Completed, &unseen, &speaker()).body.contains("Safe:    in part:"));
    }
}
