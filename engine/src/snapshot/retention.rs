//! Decides which complete snapshots stay: by count, by periods, by what is noted of them. Pure.
//!
//! Hours, days, weeks (from Monday) and so on are those of UTC, as in the names: no summer time moves a
//! snapshot into another day. Of a period its newest snapshot stays.

use std::fmt;
use std::num::NonZeroUsize;

use chrono::{Datelike, Timelike};

use crate::snapshot::name::{SnapshotName, Stamp};

/// How much of a history stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// At most so many, the newest ones (`MAX_BACKUPS`).
    pub max: Option<NonZeroUsize>,
    /// Those of so many periods; when any is asked for, what belongs to none goes.
    pub keep: Periods,
}

/// Of how many of the last hours, days and so on that have a snapshot one stays. 0: that rule keeps none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Periods {
    /// So many of the newest (`KEEP_LAST`).
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

/// A complete snapshot and what is noted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The snapshot.
    pub name: SnapshotName,
    /// Pinned: it stays, and on top of what the rules keep.
    pub held: bool,
    /// Found damaged: it satisfies no rule, and goes as soon as it would sound, and all sound ones that stay are newer.
    pub damaged: bool,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody pinned it.
    Held,
    /// The newest sound one always stays.
    Newest,
    /// One of the newest so many.
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
    /// The history has room for it.
    Room,
    /// Damaged, but not older than all sound ones: it may hold what no other does.
    Damaged,
    /// Damaged, but sound it would have stayed.
    Spared,
}

/// Why a snapshot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The history holds only so many.
    Count(NonZeroUsize),
    /// It belongs to no period that is kept.
    NoPeriod,
    /// Damaged, all sound ones that stay are newer, and the rules would not keep it if it were sound.
    Damaged,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for at least one reason.
    Stays(Vec<Reason>),
    /// It goes.
    Goes(Cause),
}

impl fmt::Display for Reason {
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
            Self::Damaged => "damaged, but it may hold what no other does",
            Self::Spared => "damaged, but sound it would stay",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(max) => write!(f, "the history holds {max} (MAX_BACKUPS)"),
            Self::NoPeriod => f.write_str("no KEEP_ rule keeps it"),
            Self::Damaged => f.write_str("damaged, and all sound ones that are kept are newer"),
        }
    }
}

/// The number of the period that a time lies in.
type Period = fn(Stamp) -> i64;

impl Periods {
    /// Whether any rule is asked for.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }

    fn rules(self) -> [(u32, Reason, Period); 6] {
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
            (self.last, Reason::Last, |stamp| stamp.time().timestamp()),
            (self.hourly, Reason::Hourly, hour),
            (self.daily, Reason::Daily, day),
            (self.weekly, Reason::Weekly, week),
            (self.monthly, Reason::Monthly, month),
            (self.yearly, Reason::Yearly, |stamp| i64::from(stamp.time().year())),
        ]
    }
}

/// What becomes of each of `candidates`, in their order, which is that of their times. `new` is the one
/// that a run completes: it counts as the newest, whatever the clock said when the others were taken.
#[must_use]
pub fn judge(
    candidates: &[Candidate],
    retention: &Retention,
    new: Option<&SnapshotName>,
) -> Vec<Fate> {
    let mut fates = by_rules(candidates, retention, new, |one| !one.damaged);
    // One bad file that all share must not cost the whole history: damage spends nobody's place, but
    // a damaged one goes no earlier than it would have gone sound.
    let as_if_sound = by_rules(candidates, retention, new, |_| true);
    let stays = |fate: &Fate| matches!(fate, Fate::Stays(_));
    let sound = candidates.iter().map(|one| !one.held && !one.damaged);
    let oldest_kept = sound.zip(&fates).position(|(sound, fate)| sound && stays(fate)).unwrap_or(0);
    for (index, Candidate { held, damaged, .. }) in candidates.iter().enumerate() {
        fates[index] = match (held, damaged) {
            (true, _) => Fate::Stays(vec![Reason::Held]),
            (false, false) => continue,
            (false, true) if index >= oldest_kept => Fate::Stays(vec![Reason::Damaged]),
            (false, true) if stays(&as_if_sound[index]) => Fate::Stays(vec![Reason::Spared]),
            (false, true) => Fate::Goes(Cause::Damaged),
        };
    }
    fates
}

/// What the rules say of those that are not held and that `counts` takes in; of the others nothing that counts.
fn by_rules(
    candidates: &[Candidate],
    retention: &Retention,
    new: Option<&SnapshotName>,
    counts: impl Fn(&Candidate) -> bool,
) -> Vec<Fate> {
    let is_new = |index: &usize| Some(&candidates[*index].name) == new;
    let counted = |index: &usize| !candidates[*index].held && counts(&candidates[*index]);
    let mut order: Vec<usize> = (0..candidates.len()).rev().filter(counted).collect();
    order.sort_by_key(|index| !is_new(index));
    let mut reasons = vec![Vec::new(); candidates.len()];
    if let Some(newest) = order.first() {
        reasons[*newest].push(Reason::Newest);
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
        order.iter().for_each(|index| reasons[*index].push(Reason::Room));
    }
    let mut fates: Vec<Fate> = reasons
        .into_iter()
        .map(|reasons| match reasons.is_empty() {
            true => Fate::Goes(Cause::NoPeriod),
            false => Fate::Stays(reasons),
        })
        .collect();
    if let Some(max) = retention.max {
        let kept = order.iter().filter(|index| matches!(fates[**index], Fate::Stays(_)));
        for index in kept.skip(max.get()).copied().collect::<Vec<_>>() {
            fates[index] = Fate::Goes(Cause::Count(max));
        }
    }
    fates
}

/// A snapshot that goes, and why.
pub type Leaving = (SnapshotName, Cause);

/// What goes of `candidates` (all complete snapshots) when a run completes `new`: first what goes before
/// that one gets its name, then what may go only afterwards (`base` and the newest).
#[must_use]
pub fn surplus(
    candidates: &[Candidate],
    retention: &Retention,
    base: Option<&SnapshotName>,
    new: &SnapshotName,
) -> (Vec<Leaving>, Vec<Leaving>) {
    let mut all = candidates.to_vec();
    all.push(Candidate { name: new.clone(), held: false, damaged: false });
    all.sort_by_key(|candidate| candidate.name.stamp);
    let newest = candidates.last().map(|candidate| &candidate.name);
    let needed = |name: &SnapshotName| Some(name) == base || Some(name) == newest;
    let fates = judge(&all, retention, Some(new));
    all.into_iter()
        .zip(fates)
        .filter_map(|(candidate, fate)| match fate {
            Fate::Goes(cause) => Some((candidate.name, cause)),
            Fate::Stays(_) => None,
        })
        .partition(|(name, _)| !needed(name))
}

/// Why a snapshot that was named must not be removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is pinned.
    #[error("{0} is held")]
    Held(SnapshotName),
    /// Nothing sound would be left.
    #[error("{0} is the last sound complete snapshot")]
    Last(SnapshotName),
}

/// Checks that the snapshots `named` may be removed by hand.
///
/// # Errors
/// The first that may not.
pub fn may_go(candidates: &[Candidate], named: &[SnapshotName]) -> Result<(), Refusal> {
    let of = |candidate: &&Candidate| named.contains(&candidate.name);
    if let Some(held) = candidates.iter().filter(of).find(|candidate| candidate.held) {
        return Err(Refusal::Held(held.name.clone()));
    }
    let sound = |candidate: &&Candidate| !candidate.damaged;
    let last = candidates.iter().filter(of).rfind(sound);
    match last {
        Some(last) if candidates.iter().filter(sound).all(|candidate| of(&candidate)) => {
            Err(Refusal::Last(last.name.clone()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
