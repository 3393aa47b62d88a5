//! Decides which alerts to send, from the earlier alerts and the current state. Does no I/O.

use chrono::{DateTime, TimeDelta, Utc};
use engine::snapshot::Freeze;
use serde::{Deserialize, Serialize};

use crate::config::alert_channels::AlertLevel;
use crate::config::types::HealthLimits;
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
    /// Whether the backups folder could be read.
    pub(crate) seen: bool,
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
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    const T0: i64 = 1_700_000_000;

    fn hour(hours: i64) -> DateTime<Utc> {
        at(T0 + hours * 3600)
    }

    fn rules(level: AlertLevel) -> AlertRules {
        let failures = NonZeroUsize::new(3).unwrap();
        let (max_age, guard) = (TimeDelta::hours(44), TimeDelta::hours(20));
        AlertRules { level, limits: HealthLimits { max_age, guard, hours: None, failures } }
    }

    fn good() -> RunEnd {
        RunEnd::Completed { snapshot: "p.x".to_owned(), problems: 0, carried_forward: 0 }
    }

    fn listed() -> RunEnd {
        RunEnd::Completed { snapshot: "p.x".to_owned(), problems: 2, carried_forward: 1 }
    }

    fn bad() -> RunEnd {
        RunEnd::Failed { reason: "no".to_owned(), hint: None }
    }

    /// Simulates runs, given as `(hour, how it ended)`. The newest snapshot is the last completed one.
    fn story(level: AlertLevel, runs: &[(i64, RunEnd)]) -> Vec<Vec<&'static str>> {
        let (mut memory, mut newest, mut failures) = (SentMemory::default(), None, 0);
        let mut sent = Vec::new();
        for (time, ended) in runs {
            match ended {
                RunEnd::Completed { .. } => {
                    (newest, failures) =
                        (Some(Newest { name: "p.x".to_owned(), time: hour(*time) }), 0);
                }
                RunEnd::Failed { .. } => failures += 1,
                RunEnd::Nothing => {}
            }
            let facts = AfterRun {
                ended: ended.clone(),
                failures,
                newest: newest.clone(),
                safe: newest.clone(),
                sound: 1,
                damaged: Vec::new(),
                unread_since: None,
                frozen: None,
                seen: true,
            };
            let (alerts, after) = decide(&memory, &facts, &rules(level), hour(*time));
            memory = after;
            sent.push(alerts.iter().map(word).collect());
        }
        sent
    }

    fn word(alert: &Alert) -> &'static str {
        match alert {
            Alert::Failed { reminder: false, .. } => "failed",
            Alert::Failed { reminder: true, .. } => "still failing",
            Alert::Stale { .. } => "stale",
            Alert::Unread { .. } => "unread",
            Alert::Damaged { .. } => "damaged",
            Alert::MassChange { .. } => "mass change",
            Alert::Recovered { .. } => "recovered",
            Alert::Problems => "problems",
            Alert::Completed => "completed",
        }
    }

    #[test]
    fn each_sequence_of_runs_sends_its_alerts() {
        use AlertLevel::Always;
        use AlertLevel::Failure;
        use AlertLevel::Problem;
        use RunEnd::Nothing;
        type Run = (i64, RunEnd, &'static [&'static str]);
        let stories: [(&str, AlertLevel, Vec<Run>); 7] = [
            ("a good job is silent", Problem, vec![(0, good(), &[]), (24, good(), &[])]),
            ("unless all is wanted", Always, vec![(0, good(), &["completed"]), (1, Nothing, &[])]),
            (
                "an alert at the third failure, again a day later, and at the recovery",
                Problem,
                vec![
                    (0, good(), &[]),
                    (20, bad(), &[]),
                    (21, bad(), &[]),
                    (22, bad(), &["failed"]),
                    (23, bad(), &[]),
                    (45, bad(), &[]),
                    (46, bad(), &["still failing"]),
                    (47, Nothing, &[]),
                    (48, good(), &["recovered"]),
                    (72, good(), &[]),
                ],
            ),
            (
                "two failures are nobody's business",
                Problem,
                vec![(0, bad(), &[]), (1, bad(), &[]), (2, good(), &[]), (3, bad(), &[])],
            ),
            (
                "no snapshot for too long, whatever the runs say",
                Failure,
                vec![
                    (0, good(), &[]),
                    (44, Nothing, &[]),
                    (45, Nothing, &["stale"]),
                    (46, bad(), &[]),
                    (69, Nothing, &["stale"]),
                    (70, good(), &["recovered"]),
                ],
            ),
            (
                "a job that never had one is given as long",
                Failure,
                vec![(0, Nothing, &[]), (44, Nothing, &[]), (45, Nothing, &["stale"])],
            ),
            (
                "entries that are missing",
                Problem,
                vec![(0, listed(), &["problems"]), (24, listed(), &["problems"])],
            ),
        ];
        for (name, level, runs) in stories {
            let (given, expected): (Vec<_>, Vec<_>) = runs
                .into_iter()
                .map(|(hour, ended, alerts)| ((hour, ended), alerts.to_vec()))
                .unzip();
            assert_eq!(story(level, &given), expected, "{name}");
        }
        assert_eq!(story(Failure, &[(0, listed())]), [Vec::<&str>::new()]);
    }

    #[test]
    fn entries_carried_forward_for_too_long_send_an_alert_and_reminders() {
        let mut facts = AfterRun {
            ended: listed(),
            failures: 0,
            newest: None,
            safe: None,
            sound: 1,
            damaged: Vec::new(),
            unread_since: Some(hour(0)),
            frozen: None,
            seen: true,
        };
        let mut memory = SentMemory::default();
        let mut alerts_at = |hours: i64, facts: &mut AfterRun| {
            let newest = Newest { name: "p.x".to_owned(), time: hour(hours) };
            facts.newest = Some(newest);
            let (alerts, after) = decide(&memory, facts, &rules(AlertLevel::Failure), hour(hours));
            memory = after;
            alerts.iter().map(word).collect::<Vec<_>>()
        };
        for (hours, expected) in [(24, &[][..]), (45, &["unread"]), (60, &[]), (70, &["unread"])] {
            assert_eq!(alerts_at(hours, &mut facts), expected, "{hours}");
        }
        facts.unread_since = None;
        assert!(alerts_at(80, &mut facts).is_empty());
        facts.unread_since = Some(hour(0));
        assert_eq!(alerts_at(81, &mut facts), ["unread"]);
    }

    #[test]
    fn damage_sends_one_alert_for_each_snapshot() {
        let mut facts = AfterRun {
            ended: RunEnd::Nothing,
            failures: 0,
            newest: Some(Newest { name: "p.b".to_owned(), time: hour(0) }),
            safe: None,
            sound: 0,
            damaged: vec!["p.a".to_owned()],
            unread_since: None,
            frozen: None,
            seen: true,
        };
        let rules = rules(AlertLevel::Failure);
        let damage_of = |names: &[&str]| {
            vec![Alert::Damaged {
                snapshots: names.iter().map(|name| (*name).to_owned()).collect(),
            }]
        };
        let (alerts, memory) = decide(&SentMemory::default(), &facts, &rules, hour(0));
        assert_eq!(alerts, damage_of(&["p.a"]));
        assert_eq!(
            decide(&memory, &facts, &rules, hour(99)).0.iter().map(word).next(),
            Some("stale")
        );
        facts.damaged.push("p.b".to_owned());
        let (alerts, memory) = decide(&memory, &facts, &rules, hour(1));
        assert_eq!(alerts, damage_of(&["p.b"]));
        facts.seen = false;
        facts.damaged.clear();
        assert_eq!(decide(&memory, &facts, &rules, hour(2)), (Vec::new(), memory));
    }

    #[test]
    fn a_run_that_left_no_status_counts_all_the_same() {
        let facts = AfterRun {
            ended: bad(),
            failures: 0,
            newest: None,
            safe: None,
            sound: 0,
            damaged: Vec::new(),
            unread_since: None,
            frozen: None,
            seen: false,
        };
        let mut memory = SentMemory::default();
        for expected in [0, 0, 1, 0] {
            let (alerts, after) = decide(&memory, &facts, &rules(AlertLevel::Problem), hour(0));
            assert_eq!(alerts.len(), expected);
            memory = after;
        }
        assert_eq!((memory.failures, memory.failing_since), (4, Some(T0)));
        // A clock that was set back must not silence a job for years.
        let (alerts, _) = decide(&memory, &facts, &rules(AlertLevel::Problem), hour(-24 * 365));
        assert_eq!(alerts.len(), 1);
    }

    #[test]
    fn a_mass_change_sends_an_alert_and_reminders_until_it_is_released() {
        let freeze =
            |noticed: &str| Some(Freeze { noticed: noticed.to_owned(), ..Freeze::default() });
        let mut facts = AfterRun {
            ended: RunEnd::Nothing,
            failures: 0,
            newest: Some(Newest { name: "p.b".to_owned(), time: hour(0) }),
            safe: None,
            sound: 1,
            damaged: Vec::new(),
            unread_since: None,
            frozen: freeze("p.b"),
            seen: true,
        };
        let mut memory = SentMemory::default();
        let mut reminders = |facts: &AfterRun, hours| {
            let (alerts, after) = decide(&memory, facts, &rules(AlertLevel::Failure), hour(hours));
            memory = after;
            alerts
                .iter()
                .filter_map(|alert| match alert {
                    Alert::MassChange { reminder } => Some(*reminder),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(reminders(&facts, 1), [false]);
        assert_eq!(reminders(&facts, 2), [true; 0]);
        assert_eq!(reminders(&facts, 26), [true]);
        facts.frozen = None;
        assert_eq!(reminders(&facts, 27), [true; 0]);
        facts.frozen = freeze("p.c");
        assert_eq!(reminders(&facts, 28), [false]);
    }
}
