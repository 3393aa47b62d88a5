//! Tests of `decide`.

use std::num::NonZeroUsize;

use super::*;
use crate::health::reason::Reason;

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
            failures,
            newest: newest.clone(),
            safe: newest.clone(),
            sound: 1,
            seen: true,
            ..AfterRun::unseen(ended.clone())
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
        Alert::LateCopies => "late copies",
        Alert::Drill => "drill",
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
        let (given, expected): (Vec<_>, Vec<_>) =
            runs.into_iter().map(|(hour, ended, alerts)| ((hour, ended), alerts.to_vec())).unzip();
        assert_eq!(story(level, &given), expected, "{name}");
    }
    assert_eq!(story(Failure, &[(0, listed())]), [Vec::<&str>::new()]);
}

#[test]
fn entries_carried_forward_for_too_long_send_an_alert_and_reminders() {
    let mut facts = AfterRun {
        sound: 1,
        unread_since: Some(hour(0)),
        seen: true,
        ..AfterRun::unseen(listed())
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
        newest: Some(Newest { name: "p.b".to_owned(), time: hour(0) }),
        damaged: vec!["p.a".to_owned()],
        seen: true,
        ..AfterRun::unseen(RunEnd::Nothing)
    };
    let rules = rules(AlertLevel::Failure);
    let damage_of = |names: &[&str]| {
        vec![Alert::Damaged { snapshots: names.iter().map(|name| (*name).to_owned()).collect() }]
    };
    let (alerts, memory) = decide(&SentMemory::default(), &facts, &rules, hour(0));
    assert_eq!(alerts, damage_of(&["p.a"]));
    assert_eq!(decide(&memory, &facts, &rules, hour(99)).0.iter().map(word).next(), Some("stale"));
    facts.damaged.push("p.b".to_owned());
    let (alerts, memory) = decide(&memory, &facts, &rules, hour(1));
    assert_eq!(alerts, damage_of(&["p.b"]));
    facts.seen = false;
    facts.damaged.clear();
    assert_eq!(decide(&memory, &facts, &rules, hour(2)), (Vec::new(), memory));
}

#[test]
fn a_run_that_left_no_status_counts_all_the_same() {
    let facts = AfterRun::unseen(bad());
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
    let freeze = |noticed: &str| Some(Freeze { noticed: noticed.to_owned(), ..Freeze::default() });
    let mut facts = AfterRun {
        newest: Some(Newest { name: "p.b".to_owned(), time: hour(0) }),
        sound: 1,
        frozen: freeze("p.b"),
        seen: true,
        ..AfterRun::unseen(RunEnd::Nothing)
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

#[test]
fn a_copy_that_is_too_old_sends_an_alert_and_reminders() {
    let (folder, reason) = ("/b".to_owned(), Reason::NoSnapshot);
    let late = LateCopy { folder, since: hour(0), reason };
    let mut facts = AfterRun {
        newest: Some(Newest { name: "p.b".to_owned(), time: hour(0) }),
        sound: 1,
        late_copies: vec![late.clone()],
        seen: true,
        ..AfterRun::unseen(RunEnd::Nothing)
    };
    let mut memory = SentMemory::default();
    let mut alerts_at = |facts: &AfterRun, hours| {
        let (alerts, after) = decide(&memory, facts, &rules(AlertLevel::Failure), hour(hours));
        memory = after;
        alerts.iter().map(word).collect::<Vec<_>>()
    };
    assert_eq!(alerts_at(&facts, 1), ["late copies"]);
    assert_eq!(alerts_at(&facts, 2), [""; 0]);
    assert_eq!(alerts_at(&facts, 26), ["late copies"]);
    facts.late_copies.clear();
    assert_eq!(alerts_at(&facts, 27), [""; 0]);
    facts.late_copies.push(late);
    assert_eq!(alerts_at(&facts, 28), ["late copies"]);
}

#[test]
fn each_failed_drill_sends_one_alert() {
    let drill = |ended: &str| Some((ended.to_owned(), "failed".to_owned()));
    let mut memory = SentMemory::default();
    for (failed, expected) in [(drill("1"), 1), (drill("1"), 0), (drill("2"), 1), (None, 0)] {
        let facts = AfterRun {
            newest: Some(Newest { name: "p.b".to_owned(), time: hour(0) }),
            sound: 1,
            drill: failed,
            seen: true,
            ..AfterRun::unseen(RunEnd::Nothing)
        };
        let (alerts, after) = decide(&memory, &facts, &rules(AlertLevel::Failure), hour(1));
        memory = after;
        assert_eq!(alerts, vec![Alert::Drill; expected]);
    }
}
