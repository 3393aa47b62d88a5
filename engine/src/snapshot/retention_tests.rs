//! Tests of retention: tables and properties.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::snapshot::name::{Prefix, SnapshotState};

fn name(stamp: Stamp) -> SnapshotName {
    SnapshotName { prefix: Prefix::new("p").unwrap(), stamp, state: SnapshotState::Complete }
}

fn at(seconds: i64) -> SnapshotName {
    name(Stamp::of(DateTime::from_timestamp(seconds, 0).unwrap()).unwrap())
}

/// Parses `2026-11-23 14:00`; a trailing `h` means held, a trailing `d` damaged.
fn candidate(text: &str) -> Candidate {
    let time = format!("{}:00Z", &text[..16]).replace(' ', "T");
    let time = DateTime::parse_from_rfc3339(&time).unwrap().to_utc();
    Candidate {
        name: name(Stamp::of(time).unwrap()),
        held: text.ends_with('h'),
        damaged: text.ends_with('d'),
        frozen: false,
    }
}

fn max(count: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(count)
}

/// Compares the decisions with rows such as `2026-11-23 14:00 = daily, weekly`.
#[track_caller]
fn assert_fates(retention: &Retention, rows: &[(&str, &str)]) {
    let candidates: Vec<Candidate> = rows.iter().map(|(text, _)| candidate(text)).collect();
    for ((text, expected), fate) in rows.iter().zip(judge(&candidates, retention, None)) {
        let said = match fate {
            RetentionDecision::Stays(reasons) => {
                reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            RetentionDecision::Goes(cause) => format!("goes: {cause}"),
        };
        assert_eq!(said, *expected, "{text}");
    }
}

#[test]
fn a_count_keeps_the_newest() {
    let retention = Retention { max: max(2), ..Retention::default() };
    let count = "goes: the history holds 2 (MAX_BACKUPS)";
    assert_fates(
        &retention,
        &[
            ("2026-11-20 02:00", count),
            ("2026-11-21 02:00 h", "held"),
            ("2026-11-22 02:00", "within MAX_BACKUPS"),
            ("2026-11-23 02:00", "newest, within MAX_BACKUPS"),
        ],
    );
    assert_fates(&Retention::default(), &[("2026-11-20 02:00", "newest, within MAX_BACKUPS")]);
}

#[test]
fn the_newest_of_each_period_stays() {
    let keep = Periods { last: 1, hourly: 2, daily: 3, weekly: 2, monthly: 2, yearly: 2 };
    let none = "goes: no KEEP_ rule keeps it";
    assert_fates(
        &Retention { max: None, keep },
        &[
            ("2024-12-31 23:59", none),
            ("2025-06-01 00:00", none),
            ("2025-12-31 23:59", "yearly"),
            ("2026-10-30 02:00", none),
            ("2026-10-31 23:59", "monthly"),
            // Sunday, the last day of its week.
            ("2026-11-22 02:00", none),
            ("2026-11-22 23:59", "daily, weekly"),
            ("2026-11-24 02:00", "daily"),
            ("2026-11-25 12:10", none),
            ("2026-11-25 12:50", "hourly"),
            ("2026-11-25 13:00", "newest, last, hourly, daily, weekly, monthly, yearly"),
        ],
    );
}

#[test]
fn a_week_goes_over_the_end_of_the_year() {
    let keep = Periods { weekly: 9, ..Periods::default() };
    assert_fates(
        &Retention { max: None, keep },
        &[
            ("2026-12-27 02:00", "weekly"),
            ("2026-12-28 02:00", "goes: no KEEP_ rule keeps it"),
            ("2027-01-03 02:00", "weekly"),
            ("2027-01-04 02:00", "newest, weekly"),
        ],
    );
}

#[test]
fn a_count_beside_periods_bounds_them() {
    let keep = Periods { yearly: 9, ..Periods::default() };
    assert_fates(
        &Retention { max: max(2), keep },
        &[
            ("2023-11-20 02:00", "goes: the history holds 2 (MAX_BACKUPS)"),
            ("2024-11-20 02:00", "yearly"),
            ("2025-11-20 02:00", "newest, yearly"),
        ],
    );
}

#[test]
fn a_damaged_snapshot_satisfies_no_rule_and_goes_when_only_newer_ones_stay() {
    let retention = Retention { max: max(2), ..Retention::default() };
    assert_fates(
        &retention,
        &[
            ("2026-11-18 02:00 d", "goes: damaged, and all intact snapshots that stay are newer"),
            ("2026-11-19 02:00", "goes: the history holds 2 (MAX_BACKUPS)"),
            ("2026-11-20 02:00", "within MAX_BACKUPS"),
            ("2026-11-21 02:00 d", "damaged, but it may contain what no other snapshot does"),
            ("2026-11-22 02:00", "newest, within MAX_BACKUPS"),
            ("2026-11-23 02:00 d", "damaged, but it may contain what no other snapshot does"),
        ],
    );
    assert_fates(
        &retention,
        &[("2026-11-23 02:00 d", "damaged, but it may contain what no other snapshot does")],
    );
}

#[test]
fn a_damaged_file_that_all_snapshots_share_does_not_cost_the_history() {
    let spared = "damaged, but it would stay if it were intact";
    let count = Retention { max: max(3), ..Retention::default() };
    assert_fates(
        &count,
        &[
            ("2026-11-18 02:00 d", "goes: damaged, and all intact snapshots that stay are newer"),
            ("2026-11-19 02:00 d", spared),
            ("2026-11-20 02:00 d", spared),
            ("2026-11-21 02:00", "newest, within MAX_BACKUPS"),
        ],
    );
    let daily = Retention { max: None, keep: Periods { daily: 2, ..Periods::default() } };
    assert_fates(
        &daily,
        &[
            ("2026-11-18 02:00 d", "goes: damaged, and all intact snapshots that stay are newer"),
            ("2026-11-19 02:00 d", "goes: damaged, and all intact snapshots that stay are newer"),
            ("2026-11-19 12:00 d", spared),
            ("2026-11-20 02:00", "newest, daily"),
        ],
    );
}

#[test]
fn the_oldest_goes_and_the_newest_only_afterwards() {
    for (snapshots, count, before, after) in [
        (&[1, 2, 3][..], 4, &[][..], &[][..]),
        (&[1, 2, 3], 3, &[1], &[]),
        (&[1, 2, 3], 1, &[1, 2], &[3]),
        (&[1], 1, &[], &[1]),
        (&[], 1, &[], &[]),
        // A snapshot from the future has a later name than the new one, which stays nevertheless.
        (&[1, 99], 1, &[1], &[99]),
        (&[1, 99], 2, &[1], &[]),
    ] {
        let candidates: Vec<Candidate> = snapshots
            .iter()
            .map(|seconds| Candidate {
                name: at(*seconds),
                held: false,
                damaged: false,
                frozen: false,
            })
            .collect();
        let base = candidates.last().map(|candidate| candidate.name.clone());
        let retention = Retention { max: max(count), ..Retention::default() };
        let surplus = surplus(&candidates, &retention, base.as_ref(), &at(9));
        let names = |leaving: &[Expiring]| -> Vec<SnapshotName> {
            leaving.iter().map(|(name, _)| name.clone()).collect()
        };
        let expected =
            |list: &[i64]| -> Vec<SnapshotName> { list.iter().map(|s| at(*s)).collect() };
        assert_eq!(names(&surplus.0), expected(before), "{snapshots:?} {count}");
        assert_eq!(names(&surplus.1), expected(after), "{snapshots:?} {count}");
    }
}

#[test]
fn held_snapshots_and_the_last_intact_one_cannot_be_removed_by_hand() {
    let all: Vec<Candidate> =
        ["2026-11-20 02:00", "2026-11-21 02:00 h", "2026-11-22 02:00", "2026-11-23 02:00 d"]
            .map(candidate)
            .into();
    let names = |indices: &[usize]| -> Vec<SnapshotName> {
        indices.iter().map(|index| all[*index].name.clone()).collect()
    };
    assert_eq!(may_go(&all, &names(&[0, 2, 3])), Ok(()), "the held one is intact too");
    assert_eq!(may_go(&all, &names(&[1])), Err(PruneRefusal::Held(all[1].name.clone())));
    let some = [all[0].clone(), all[2].clone(), all[3].clone()];
    assert_eq!(may_go(&some, &names(&[0, 2])), Err(PruneRefusal::Last(all[2].name.clone())));
    assert_eq!(may_go(&some, &names(&[0, 3])), Ok(()));
    assert_eq!(may_go(&all[3..], &names(&[3])), Ok(()), "a damaged one may always be removed");
}

fn any_retention() -> impl Strategy<Value = Retention> {
    (0..6_usize, prop::array::uniform6(0..4_u32)).prop_map(|(count, n)| Retention {
        max: max(count),
        keep: Periods {
            last: n[0],
            hourly: n[1],
            daily: n[2],
            weekly: n[3],
            monthly: n[4],
            yearly: n[5],
        },
    })
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    // Times from minutes to years apart.
    let steps = prop::collection::vec((0..9_u32, 1..60_i64, 0..6_u8), 0..14);
    steps.prop_map(|steps| {
        let mut seconds = 1_600_000_000;
        let candidates = steps.into_iter().map(|(scale, step, note)| {
            seconds += step * 6_i64.pow(scale);
            Candidate { name: at(seconds), held: note == 4, damaged: note == 5, frozen: false }
        });
        candidates.collect()
    })
}

fn kept(candidates: &[Candidate], retention: &Retention) -> Vec<Candidate> {
    let fates = judge(candidates, retention, None);
    let stays = candidates
        .iter()
        .zip(fates)
        .filter(|(_, fate)| matches!(fate, RetentionDecision::Stays(_)));
    stays.map(|(candidate, _)| candidate.clone()).collect()
}

proptest! {
    #[test]
    fn the_newest_and_what_is_held_never_go(all in any_candidates(), retention in any_retention()) {
        let kept = kept(&all, &retention);
        prop_assert_eq!(all.last(), kept.last());
        let newest = all.iter().rfind(|one| !one.damaged && !one.held);
        prop_assert!(newest.is_none_or(|newest| kept.contains(newest)));
        prop_assert!(all.iter().all(|one| !one.held || kept.contains(one)));
    }

    #[test]
    fn a_snapshot_that_stays_once_stays_again(all in any_candidates(), retention in any_retention()) {
        let once = kept(&all, &retention);
        prop_assert_eq!(kept(&once, &retention), once);
    }

    #[test]
    fn a_new_snapshot_brings_none_back_and_removes_at_most_one_per_rule(
        all in any_candidates(), retention in any_retention(), later in 1_i64..100_000_000,
    ) {
        // With both a count and periods, the count has room again when a period keeps less.
        let max = retention.max.filter(|_| !retention.keep.any());
        let retention = Retention { max, ..retention };
        let before = kept(&all, &retention);
        let mut more = all.clone();
        let last = all.last().map_or(1_600_000_000, |last| last.name.stamp.time().timestamp());
        let new = Candidate { name: at(last + later), held: false, damaged: false, frozen: false };
        more.push(new.clone());
        let after = kept(&more, &retention);
        let extra: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
        // A removed damaged snapshot has no reason to come back.
        prop_assert_eq!(extra, [&new]);
        let lost = before.iter().filter(|one| !after.contains(one) && !one.damaged).count();
        prop_assert!(lost <= 7, "{}", lost);
    }

    #[test]
    fn a_more_generous_rule_loses_none(
        all in any_candidates(), retention in any_retention(), which in 0..6_usize,
    ) {
        let retention = Retention { max: None, ..retention };
        prop_assume!(retention.keep.any());
        let mut keep = retention.keep;
        let rules = [
            &mut keep.last, &mut keep.hourly, &mut keep.daily,
            &mut keep.weekly, &mut keep.monthly, &mut keep.yearly,
        ];
        *rules.into_iter().nth(which).unwrap() += 1;
        let more = kept(&all, &Retention { keep, ..retention.clone() });
        prop_assert!(kept(&all, &retention).iter().all(|one| one.damaged || more.contains(one)));
    }

    #[test]
    fn a_count_is_kept_and_the_base_goes_only_afterwards(
        all in any_candidates(), retention in any_retention(), base in 0..14_usize, later in 1_i64..1000,
    ) {
        let last = all.last().map_or(1_600_000_000, |last| last.name.stamp.time().timestamp());
        let new = at(last + later);
        let base = all.get(base).map(|one| &one.name);
        let (before, after) = surplus(&all, &retention, base, &new);
        let leaving: Vec<_> = before.iter().chain(&after).map(|(name, _)| name).collect();
        prop_assert!(!leaving.contains(&&new));
        prop_assert!(before.iter().all(|(name, _)| Some(name) != base));
        let left = all.iter().filter(|one| !leaving.contains(&&one.name));
        let sound = left.filter(|one| !one.held && !one.damaged).count() + 1;
        prop_assert!(retention.max.is_none_or(|max| sound <= max.get()));
    }
}
