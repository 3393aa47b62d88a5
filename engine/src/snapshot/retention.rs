//! Decides which complete snapshots stay: by count, by period, and by their marks (held, damaged).
//! Pure.
//!
//! Hours, days, weeks (from Monday) and so on are in UTC, like the names, so summer time does not
//! move a snapshot into another day. The newest snapshot of a period stays.

use std::fmt;
use std::num::NonZeroUsize;

use chrono::{Datelike, Timelike};

use crate::snapshot::name::{SnapshotName, Stamp};

/// The retention rules of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// The highest number of snapshots (`MAX_BACKUPS`). The newest ones stay.
    pub max: Option<NonZeroUsize>,
    /// The periods to keep. If any is set, snapshots that no period keeps go.
    pub keep: Periods,
}

/// How many of the newest hours, days and so on that have a snapshot keep one. 0 disables the rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Periods {
    /// The number of newest snapshots (`KEEP_LAST`).
    pub last: u32,
    /// `KEEP_HOURLY`.
    pub hourly: u32,
    /// `KEEP_DAILY`.
    pub daily: u32,
    /// `KEEP_WEEKLY`.
    pub weekly: u32,
    /// `KEEP_MONTHLY`.
    pub monthly: u32,
    /// `KEEP_YEARLY`.
    pub yearly: u32,
}

/// A complete snapshot and its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The snapshot.
    pub name: SnapshotName,
    /// Held: it stays, and it does not count for the rules.
    pub held: bool,
    /// Found damaged: it satisfies no rule. It goes when it would go even if it were intact and all
    /// intact snapshots that stay are newer.
    pub damaged: bool,
    /// Pruning is frozen because of a mass change: it stays, and counts for the rules.
    pub frozen: bool,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// The user holds it.
    Held,
    /// The newest intact snapshot always stays.
    Newest,
    /// `KEEP_LAST`.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// `MAX_BACKUPS` is not reached.
    Room,
    /// Damaged, but not older than all intact ones: it may contain what no other snapshot does.
    Damaged,
    /// Damaged, but it would stay if it were intact.
    Spared,
    /// Pruning is frozen because of a mass change.
    Frozen,
}

/// Why a snapshot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// The history exceeds this number.
    Count(NonZeroUsize),
    /// No period keeps it.
    NoPeriod,
    /// Damaged, older than all intact ones that stay, and it would go even if it were intact.
    Damaged,
}

/// The decision about a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionDecision {
    /// It stays, for at least one reason.
    Stays(Vec<KeepReason>),
    /// It goes.
    Goes(RemovalReason),
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Newest => "newest",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Room => "within MAX_BACKUPS",
            Self::Damaged => "damaged, but it may contain what no other snapshot does",
            Self::Spared => "damaged, but it would stay if it were intact",
            Self::Frozen => "pruning is frozen after a mass change (CHANGE_BRAKE)",
        })
    }
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(max) => write!(f, "the history holds {max} (MAX_BACKUPS)"),
            Self::NoPeriod => f.write_str("no KEEP_ rule keeps it"),
            Self::Damaged => f.write_str("damaged, and all intact snapshots that stay are newer"),
        }
    }
}

/// Maps a time to the number of its period.
type Period = fn(Stamp) -> i64;

impl Periods {
    /// Whether any rule is set.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }

    fn rules(self) -> [(u32, KeepReason, Period); 6] {
        let month =
            |stamp: Stamp| i64::from(stamp.time().year()) * 12 + i64::from(stamp.time().month());
        let week = |stamp: Stamp| {
            let week = stamp.time().iso_week();
            i64::from(week.year()) * 100 + i64::from(week.week())
        };
        let day = |stamp: Stamp| i64::from(stamp.time().num_days_from_ce());
        let hour = |stamp: Stamp| {
            i64::from(stamp.time().num_days_from_ce()) * 24 + i64::from(stamp.time().hour())
        };
        [
            (self.last, KeepReason::Last, |stamp| stamp.time().timestamp()),
            (self.hourly, KeepReason::Hourly, hour),
            (self.daily, KeepReason::Daily, day),
            (self.weekly, KeepReason::Weekly, week),
            (self.monthly, KeepReason::Monthly, month),
            (self.yearly, KeepReason::Yearly, |stamp| i64::from(stamp.time().year())),
        ]
    }
}

/// Decides about each of `candidates`, which are sorted by time. `new` is the snapshot that the run
/// completes. It counts as the newest even if the clock went back.
#[must_use]
pub fn judge(
    candidates: &[Candidate],
    retention: &Retention,
    new: Option<&SnapshotName>,
) -> Vec<RetentionDecision> {
    let mut fates = by_rules(candidates, retention, new, |one| !one.damaged);
    // A damaged file that all snapshots share must not cost the whole history. So a damaged
    // snapshot takes no place of an intact one, but it goes no earlier than an intact one would.
    let as_if_sound = by_rules(candidates, retention, new, |_| true);
    let stays = |fate: &RetentionDecision| matches!(fate, RetentionDecision::Stays(_));
    let sound = candidates.iter().map(|one| !one.held && !one.damaged);
    let oldest_kept = sound.zip(&fates).position(|(sound, fate)| sound && stays(fate)).unwrap_or(0);
    for (index, Candidate { held, damaged, .. }) in candidates.iter().enumerate() {
        fates[index] = match (held, damaged) {
            (true, _) => RetentionDecision::Stays(vec![KeepReason::Held]),
            (false, false) => continue,
            (false, true) if index >= oldest_kept => {
                RetentionDecision::Stays(vec![KeepReason::Damaged])
            }
            (false, true) if stays(&as_if_sound[index]) => {
                RetentionDecision::Stays(vec![KeepReason::Spared])
            }
            (false, true) => RetentionDecision::Goes(RemovalReason::Damaged),
        };
    }
    for (fate, candidate) in fates.iter_mut().zip(candidates) {
        if candidate.frozen && !stays(fate) {
            *fate = RetentionDecision::Stays(vec![KeepReason::Frozen]);
        }
    }
    fates
}

/// Applies the rules to candidates that are not held and that `counts` accepts. The result for
/// others has no meaning.
fn by_rules(
    candidates: &[Candidate],
    retention: &Retention,
    new: Option<&SnapshotName>,
    counts: impl Fn(&Candidate) -> bool,
) -> Vec<RetentionDecision> {
    let is_new = |index: &usize| Some(&candidates[*index].name) == new;
    let counted = |index: &usize| !candidates[*index].held && counts(&candidates[*index]);
    let mut order: Vec<usize> = (0..candidates.len()).rev().filter(counted).collect();
    order.sort_by_key(|index| !is_new(index));
    let mut reasons = vec![Vec::new(); candidates.len()];
    if let Some(newest) = order.first() {
        reasons[*newest].push(KeepReason::Newest);
    }
    if retention.keep.any() {
        for (count, reason, period) in retention.keep.rules() {
            let (mut left, mut before) = (count, None);
            for index in &order {
                let now = Some(period(candidates[*index].name.stamp));
                if left > 0 && now != before {
                    reasons[*index].push(reason);
                    left -= 1;
                }
                before = now;
            }
        }
    } else {
        order.iter().for_each(|index| reasons[*index].push(KeepReason::Room));
    }
    let mut fates: Vec<RetentionDecision> = reasons
        .into_iter()
        .map(|reasons| match reasons.is_empty() {
            true => RetentionDecision::Goes(RemovalReason::NoPeriod),
            false => RetentionDecision::Stays(reasons),
        })
        .collect();
    if let Some(max) = retention.max {
        let kept =
            order.iter().filter(|index| matches!(fates[**index], RetentionDecision::Stays(_)));
        for index in kept.skip(max.get()).copied().collect::<Vec<_>>() {
            fates[index] = RetentionDecision::Goes(RemovalReason::Count(max));
        }
    }
    fates
}

/// A snapshot that goes, and why.
pub(crate) type Expiring = (SnapshotName, RemovalReason);

/// Which of `candidates` (all complete snapshots) go when a run completes `new`: first those that
/// go before the seal, then those that may go only after it (`base` and the newest).
#[must_use]
pub fn surplus(
    candidates: &[Candidate],
    retention: &Retention,
    base: Option<&SnapshotName>,
    new: &SnapshotName,
) -> (Vec<Expiring>, Vec<Expiring>) {
    let mut all = candidates.to_vec();
    all.push(Candidate { name: new.clone(), held: false, damaged: false, frozen: false });
    all.sort_by_key(|candidate| candidate.name.stamp);
    let newest = candidates.last().map(|candidate| &candidate.name);
    let needed = |name: &SnapshotName| Some(name) == base || Some(name) == newest;
    let fates = judge(&all, retention, Some(new));
    all.into_iter()
        .zip(fates)
        .filter_map(|(candidate, fate)| match fate {
            RetentionDecision::Goes(cause) => Some((candidate.name, cause)),
            RetentionDecision::Stays(_) => None,
        })
        .partition(|(name, _)| !needed(name))
}

/// Why a snapshot must not be removed by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PruneRefusal {
    /// The user holds it.
    #[error("{0} is held")]
    Held(SnapshotName),
    /// No intact snapshot would be left.
    #[error("{0} is the last intact complete snapshot")]
    Last(SnapshotName),
}

/// Checks that the snapshots `named` may be removed by hand.
///
/// # Errors
/// The first one that must stay.
pub fn may_go(candidates: &[Candidate], named: &[SnapshotName]) -> Result<(), PruneRefusal> {
    let of = |candidate: &&Candidate| named.contains(&candidate.name);
    if let Some(held) = candidates.iter().filter(of).find(|candidate| candidate.held) {
        return Err(PruneRefusal::Held(held.name.clone()));
    }
    let sound = |candidate: &&Candidate| !candidate.damaged;
    let last = candidates.iter().filter(of).rfind(sound);
    match last {
        Some(last) if candidates.iter().filter(sound).all(|candidate| of(&candidate)) => {
            Err(PruneRefusal::Last(last.name.clone()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
