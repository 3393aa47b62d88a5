//! Decides which alerts to send, from the earlier alerts and the current state. Does no I/O.

use chrono::{DateTime, TimeDelta, Utc};
use engine::snapshot::Freeze;
use serde::{Deserialize, Serialize};

use crate::config::types::HealthLimits;
use crate::config::values::alert_channels::AlertLevel;
use crate::health::copies::LateCopy;
use crate::health::overdue;

/// The time after which an alert is repeated while the state is unchanged.
const REMIND: TimeDelta = TimeDelta::hours(24);

/// What is stored about a job between runs. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SentMemory {
    /// When the job was first checked.
    pub(crate) since: Option<i64>,
    /// Number of consecutive failed runs.
    pub(crate) failures: u32,
    /// When the first of them failed.
    pub(crate) failing_since: Option<i64>,
    /// When the last alert reported that the job fails.
    #[serde(alias = "told_failing")]
    pub(crate) sent_failing: Option<i64>,
    /// When the last alert reported that the newest snapshot is too old.
    #[serde(alias = "told_stale")]
    pub(crate) sent_stale: Option<i64>,
    /// When the last alert reported that entries are carried forward for too long.
    #[serde(alias = "told_unread")]
    pub(crate) sent_unread: Option<i64>,
    /// The damaged snapshots that an alert has reported.
    pub(crate) damaged: Vec<String>,
    /// When the last alert reported a mass change, and in which snapshot it was noticed.
    pub(crate) sent_mass_change: Option<i64>,
    pub(crate) mass_change: String,
    /// When the last alert reported that a copy is too old.
    pub(crate) sent_copies: Option<i64>,
    /// When the failed restore drill ended that the last such alert reported.
    pub(crate) drill: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// It had nothing to do, was postponed, or was stopped.
    Nothing,
    Completed {
        snapshot: String,
        /// The number of entries that were not read well, and how many of them came from the previous
        /// snapshot.
        problems: u64,
        carried_forward: u64,
    },
    Failed {
        reason: String,
        hint: Option<String>,
    },
}

/// The state after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AfterRun {
    pub(crate) ended: RunEnd,
    /// Number of consecutive failures in the status file, which also counts killed runs.
    pub(crate) failures: u32,
    /// The newest complete snapshot.
    pub(crate) newest: Option<Newest>,
    /// The newest snapshot in which no check found damage.
    pub(crate) safe: Option<Newest>,
    /// Number of snapshots in which no check found damage.
    pub(crate) sound: usize,
    /// The snapshots in which a check found damage.
    pub(crate) damaged: Vec<String>,
    /// Since when the newest snapshot contains an older version of an entry that could not be read.
    pub(crate) unread_since: Option<DateTime<Utc>>,
    /// The mass change that froze the pruning.
    pub(crate) frozen: Option<Freeze>,
    /// The copies of the snapshots that are too old.
    pub(crate) late_copies: Vec<LateCopy>,
    /// If the last restore drill failed: when it ended, and the words for it.
    pub(crate) drill: Option<(String, String)>,
    /// Whether the backups folder could be read.
    pub(crate) seen: bool,
}

impl AfterRun {
    /// A run that ended so, beside a backups folder that could not be read.
    pub(crate) fn unseen(ended: RunEnd) -> Self {
        Self {
            ended,
            failures: 0,
            newest: None,
            safe: None,
            sound: 0,
            damaged: Vec::new(),
            unread_since: None,
            frozen: None,
            late_copies: Vec::new(),
            drill: None,
            seen: false,
        }
    }
}

/// The newest complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) name: String,
    pub(crate) time: DateTime<Utc>,
}

/// When a state leads to an alert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlertRules {
    pub(crate) level: AlertLevel,
    pub(crate) limits: HealthLimits,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alert {
    Failed { failures: u32, since: DateTime<Utc>, reminder: bool },
    Stale { since: DateTime<Utc> },
    Unread { since: DateTime<Utc> },
    Damaged { snapshots: Vec<String> },
    MassChange { reminder: bool },
    LateCopies,
    Drill,
    Recovered { since: Option<DateTime<Utc>> },
    Problems,
    Completed,
}

impl Alert {
    /// The minimum level at which the alert is sent.
    fn level(&self) -> AlertLevel {
        match self {
            Self::Failed { .. }
            | Self::Stale { .. }
            | Self::Unread { .. }
            | Self::Damaged { .. }
            | Self::MassChange { .. }
            | Self::LateCopies
            | Self::Drill
            | Self::Recovered { .. } => AlertLevel::Failure,
            Self::Problems => AlertLevel::Problem,
            Self::Completed => AlertLevel::Always,
        }
    }
}

/// The alerts to send at the time `now`, and the new state to store.
pub(crate) fn decide(
    before: &SentMemory,
    facts: &AfterRun,
    rules: &AlertRules,
    now: DateTime<Utc>,
) -> (Vec<Alert>, SentMemory) {
    let mut after = SentMemory { since: before.since.or(Some(now.timestamp())), ..before.clone() };
    let mut alerts = Vec::new();
    match &facts.ended {
        RunEnd::Completed { problems, .. } => {
            alerts.extend(completed(before, *problems));
            (after.failures, after.failing_since) = (0, None);
            (after.sent_failing, after.sent_stale) = (None, None);
        }
        RunEnd::Failed { .. } => {
            after.failures = facts.failures.max(before.failures.saturating_add(1));
            let since = *after.failing_since.get_or_insert(now.timestamp());
            let enough =
                usize::try_from(after.failures).is_ok_and(|n| n >= rules.limits.failures.get());
            if enough && due(before.sent_failing, now) {
                let reminder = before.sent_failing.is_some();
                alerts.push(Alert::Failed { failures: after.failures, since: at(since), reminder });
                after.sent_failing = Some(now.timestamp());
            }
        }
        RunEnd::Nothing => {}
    }
    // If the folder cannot be read, only the result of the run is known.
    if facts.seen {
        if let Some(since) = stale(&after, facts, rules, now)
            && after.sent_failing.is_none()
            && due(before.sent_stale, now)
        {
            alerts.push(Alert::Stale { since });
            after.sent_stale = Some(now.timestamp());
        }
        let unread = facts.unread_since.filter(|since| now - *since > rules.limits.max_age);
        match unread {
            Some(since) if due(before.sent_unread, now) => {
                alerts.push(Alert::Unread { since });
                after.sent_unread = Some(now.timestamp());
            }
            Some(_) => {}
            None => after.sent_unread = None,
        }
        let known = |name: &String| before.damaged.contains(name);
        let snapshots: Vec<_> = facts.damaged.iter().filter(|name| !known(name)).cloned().collect();
        if !snapshots.is_empty() {
            alerts.push(Alert::Damaged { snapshots });
        }
        after.damaged.clone_from(&facts.damaged);
        after.drill = facts.drill.as_ref().map(|(ended, _)| ended.clone());
        if after.drill.is_some() && after.drill != before.drill {
            alerts.push(Alert::Drill);
        }
        match &facts.frozen {
            Some(freeze) => {
                let is_known =
                    before.sent_mass_change.is_some() && before.mass_change == freeze.noticed;
                if !is_known || due(before.sent_mass_change, now) {
                    alerts.push(Alert::MassChange { reminder: is_known });
                    after.sent_mass_change = Some(now.timestamp());
                    after.mass_change.clone_from(&freeze.noticed);
                }
            }
            None => (after.sent_mass_change, after.mass_change) = (None, String::new()),
        }
        match facts.late_copies.is_empty() {
            false if due(before.sent_copies, now) => {
                alerts.push(Alert::LateCopies);
                after.sent_copies = Some(now.timestamp());
            }
            false => {}
            true => after.sent_copies = None,
        }
    }
    alerts.retain(|alert| alert.level() <= rules.level);
    (alerts, after)
}

fn completed(before: &SentMemory, problems: u64) -> Vec<Alert> {
    let mut alerts = Vec::new();
    if before.sent_failing.is_some() || before.sent_stale.is_some() {
        let since = before.failing_since.or(before.sent_stale).map(at);
        alerts.push(Alert::Recovered { since });
    } else if problems == 0 {
        alerts.push(Alert::Completed);
    }
    if problems > 0 {
        alerts.push(Alert::Problems);
    }
    alerts
}

/// Since when the newest snapshot is too old.
fn stale(
    memory: &SentMemory,
    facts: &AfterRun,
    rules: &AlertRules,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let newest = facts.newest.as_ref().map(|newest| newest.time);
    let since = newest.or(memory.since.map(at))?;
    (now > overdue(since, &rules.limits)).then_some(since)
}

/// Whether to repeat an alert that was sent at `sent`. Also true if the clock was set back.
fn due(sent: Option<i64>, now: DateTime<Utc>) -> bool {
    sent.is_none_or(|sent| !(TimeDelta::zero()..REMIND).contains(&(now - at(sent))))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
