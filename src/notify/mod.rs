//! Sends alerts when a job fails, recovers, or is too old, incomplete or damaged.
//!
//! `decide` selects the alerts, `message` writes their text, `send` sends them, and `sent_state` keeps those
//! that could not be sent yet.

pub(crate) mod decide;
pub(crate) mod message;
pub(crate) mod send;
pub(crate) mod sent_state;

use std::env;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use engine::Repository;
use engine::SnapshotName;
use engine::Stop;
use engine::inspect::look;
use engine::repository::AppFiles;

use crate::config::mistake::shown_path;
use crate::config::types::{NamedJob, Reporting};
use crate::config::values::alert_channels::Channels;
use crate::health::copies::{CopyStates, failed_drills, late};
use crate::health::{drill_complaint, unread_since};
use crate::log::{JobLog, tail};
use crate::notify::decide::{AfterRun, AlertRules, Newest, RunEnd, decide};
use crate::notify::message::{Message, MessageSender};
use crate::notify::send::{AlertMethod, send};
use crate::notify::sent_state::{SentState, StateFile, Unsent};
use crate::term::shell::word;

/// Maximum time for sending after a run: an unreachable server must not delay the next job.
const BUDGET: Duration = Duration::from_secs(45);
/// The pause before the second attempt.
const PAUSE: Duration = Duration::from_secs(2);
/// How long the program tries to send an alert, and the maximum number of waiting alerts.
const WORTH_TELLING: TimeDelta = TimeDelta::days(3);
const WAITING: usize = 50;

/// Sends the ping for the start of a run. It is tried once, because it is useless later.
pub(crate) fn begun(job: &NamedJob, log: &JobLog) {
    let (_, channels) = &job.notify;
    if channels.ping.is_none() {
        return;
    }
    let message = ping(&job.name, "start", Utc::now());
    if let Err(error) = send(AlertMethod::Ping, &message, channels) {
        log.warn(&format!("the ping at the start of this run could not be sent: {error}"));
    }
}

/// Sends the alerts after a run, and earlier alerts that could not be sent.
pub(crate) fn after(job: &Reporting<'_>, ended: RunEnd, stop: &Stop, log: &JobLog) {
    let (level, channels) = job.notify;
    let ways = ways(channels);
    if ways.is_empty() && channels.ping.is_none() {
        return;
    }
    let now = Utc::now();
    let (dir, prefix) = (job.backups_dir, job.prefix);
    let own = AppFiles::open(dir).ok();
    let place = StateFile::new(own.as_ref(), dir, prefix, &env::temp_dir());
    let mut kept = place.load();
    let facts = facts(job, ended, own.as_ref(), now);
    let rules = AlertRules { level: *level, limits: job.alert };
    let (alerts, memory) = decide(&kept.memory, &facts, &rules, now);
    kept.memory = memory;
    let (host, shown_dir) = (host(), shown_path(dir));
    let command = format!(" {}", word(job.name.as_bytes()));
    let speaker = MessageSender {
        job: job.name,
        command: &command,
        host: &host,
        backups_dir: &shown_dir,
        now,
    };
    let since = now.timestamp();
    for alert in &alerts {
        let message = crate::notify::message::message(alert, &facts, &speaker);
        for way in &ways {
            kept.unsent.push(Unsent { way: *way, since, message: message.clone() });
        }
    }
    let event = match facts.ended {
        RunEnd::Completed { .. } => Some("success"),
        RunEnd::Failed { .. } => Some("fail"),
        RunEnd::Nothing => None,
    };
    if let (Some(event), Some(_)) = (event, &channels.ping) {
        // Only the current state matters for pings, so older unsent pings are dropped.
        kept.unsent.retain(|unsent| unsent.way != AlertMethod::Ping);
        kept.unsent.push(Unsent {
            way: AlertMethod::Ping,
            since,
            message: ping(job.name, event, now),
        });
    }
    deliver(&mut kept, &place, channels, stop, log, now);
}

/// Sends the waiting alerts. Those that cannot be sent stay for the next run, even if this run is killed.
fn deliver(
    kept: &mut SentState,
    place: &StateFile<'_>,
    channels: &Channels,
    stop: &Stop,
    log: &JobLog,
    now: DateTime<Utc>,
) {
    let surplus = kept.unsent.len().saturating_sub(WAITING);
    kept.unsent.drain(..surplus);
    let old = (now - WORTH_TELLING).timestamp();
    kept.unsent.retain(|unsent| unsent.since >= old && has(channels, unsent.way));
    let store = |kept: &SentState| {
        if let Err(error) = place.store(kept) {
            log.warn(&format!(
                "the sent alerts cannot be recorded, so that they may be sent again: {error}"
            ));
        }
    };
    store(kept);
    if kept.unsent.is_empty() {
        return;
    }
    let deadline = Instant::now() + BUDGET;
    let mut down: Vec<AlertMethod> = Vec::new();
    let waiting = std::mem::take(&mut kept.unsent);
    for unsent in waiting {
        let way = unsent.way;
        if down.contains(&way) || stop.asked() || Instant::now() >= deadline {
            kept.unsent.push(unsent);
            continue;
        }
        let mut sent = send(way, &unsent.message, channels);
        if sent.is_err() && !stop.asked() {
            std::thread::sleep(PAUSE);
            sent = send(way, &unsent.message, channels);
        }
        let (name, event) = (way.name(), &unsent.message.event);
        match sent {
            Ok(()) => log.info(&format!("alert sent by {name}: {event}")),
            Err(error) => {
                log.warn(&format!(
                    "the alert '{event}' could not be sent by {name}: {error}; the next run tries again"
                ));
                down.push(way);
                kept.unsent.push(unsent);
            }
        }
    }
    store(kept);
}

/// Sends a test message through every configured channel. Returns the result of each.
pub(crate) fn test(job: &NamedJob) -> Vec<(&'static str, Result<(), String>)> {
    let (_, channels) = &job.notify;
    let (host, now) = (host(), Utc::now());
    let speaker = MessageSender { job: &job.name, command: "", host: &host, backups_dir: "", now };
    let message = crate::notify::message::test(&speaker);
    let mut ways = ways(channels);
    ways.extend(channels.ping.as_ref().map(|_| AlertMethod::Ping));
    ways.into_iter().map(|way| (way.name(), send(way, &message, channels))).collect()
}

/// The names of the configured channels, including pings.
pub(crate) fn names(job: &NamedJob) -> Vec<&'static str> {
    let (_, channels) = &job.notify;
    let ping = channels.ping.as_ref().map(|_| AlertMethod::Ping);
    ways(channels).into_iter().chain(ping).map(AlertMethod::name).collect()
}

fn facts(
    job: &Reporting<'_>,
    ended: RunEnd,
    own: Option<&AppFiles>,
    now: DateTime<Utc>,
) -> AfterRun {
    let (dir, prefix) = (job.backups_dir, job.prefix);
    let mut facts = AfterRun::unseen(ended);
    let (Some(own), Ok(catalog)) = (own, Repository::open(dir)) else { return facts };
    let Ok(history) = catalog.history(prefix) else { return facts };
    facts.failures = own.status(prefix).map_or(0, |status| status.failures_in_a_row);
    let damaged = |name: &&SnapshotName| catalog.standing(name).damaged;
    facts.damaged = history.complete.iter().filter(damaged).map(ToString::to_string).collect();
    if let Some(copies) = job.copies {
        let oldest = history.complete.first().map(|name| name.stamp.time());
        let newest = history.base(now).map(|name| name.stamp.time());
        facts.late_copies = late(now, copies, &CopyStates::load(own, prefix), (oldest, newest));
    }
    let of = |name: &SnapshotName| Newest { name: name.to_string(), time: name.stamp.time() };
    facts.newest = history.base(now).map(of);
    let mut sound = history;
    sound.complete.retain(|name| !facts.damaged.contains(&name.to_string()));
    facts.safe = sound.base(now).map(of);
    facts.sound = sound.complete.len();
    let looked = look(dir, prefix, 1).ok();
    facts.unread_since = looked.as_ref().and_then(unread_since);
    facts.drill = looked.as_ref().and_then(|looked| {
        let ended = looked.last_drill.as_ref()?.finished.clone();
        Some((ended, drill_complaint(looked)?.to_string()))
    });
    if let Some(copies) = job.copies.filter(|_| facts.drill.is_none()) {
        facts.drill = failed_drills(copies, &CopyStates::load(own, prefix))
            .into_iter()
            .next()
            .map(|(ended, reason)| (ended, reason.to_string()));
    }
    facts.frozen = looked.and_then(|looked| looked.frozen);
    facts.seen = true;
    facts
}

/// The configured channels for alerts.
fn ways(channels: &Channels) -> Vec<AlertMethod> {
    let mut ways = vec![AlertMethod::Mail, AlertMethod::Webhook, AlertMethod::Ntfy];
    ways.retain(|way| has(channels, *way));
    ways
}

fn has(channels: &Channels, way: AlertMethod) -> bool {
    match way {
        AlertMethod::Mail => channels.mail.is_some(),
        AlertMethod::Webhook => channels.webhook.is_some(),
        AlertMethod::Ntfy => channels.ntfy.is_some(),
        AlertMethod::Ping => channels.ping.is_some(),
    }
}

/// A ping with the end of the job's log.
fn ping(job: &str, event: &str, now: DateTime<Utc>) -> Message {
    Message {
        event: event.to_owned(),
        urgent: false,
        job: job.to_owned(),
        host: String::new(),
        time: now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        newest_snapshot: None,
        title: String::new(),
        body: if event == "start" { String::new() } else { tail::of(job) },
    }
}

/// The host name of this machine.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
