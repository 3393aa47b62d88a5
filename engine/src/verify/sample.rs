//! Selects the part of all files that one call reads. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The size of the number space. Each inode number maps to a fixed position in it.
const PLACES: u64 = 1 << 32;
/// For the first call of a rolling check: the assumed time since the call before.
const FIRST: TimeDelta = TimeDelta::days(1);

/// A subset of all inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// The first position, below 2^32.
    from: u64,
    /// The number of positions, up to 2^32, wrapping around at the end.
    length: u64,
    /// Permutes the positions, so that each sample differs.
    seed: u64,
}

impl Portion {
    /// All inodes.
    pub const ALL: Self = Self { from: 0, length: PLACES, seed: 0 };

    /// A random share of all inodes; `share` is between 0 and 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 2^32, which is exact enough"
    )]
    pub fn sample(share: f64, seed: u64) -> Self {
        let length = (share.clamp(0.0, 1.0) * PLACES as f64) as u64;
        Self { from: 0, length, seed }
    }

    /// Whether it contains all inodes.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.length >= PLACES
    }

    /// The part of `number` that lies in it on average.
    #[must_use]
    pub(crate) fn of(self, number: u64) -> u64 {
        let part = u128::from(number) * u128::from(self.length) / u128::from(PLACES);
        u64::try_from(part).unwrap_or(number)
    }

    /// Whether it contains the inode of this number.
    #[must_use]
    pub fn has(self, ino: u64) -> bool {
        self.is_all() || (place(ino ^ self.seed) + PLACES - self.from) % PLACES < self.length
    }
}

/// Maps adjacent numbers to distant positions (the finaliser of SplitMix64; Steele, Lea, Flood
/// 2014).
fn place(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 32
}

/// The progress of a check that is spread over many calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// The format version: 1.
    pub version: u32,
    /// The position at which the next call starts, below 2^32.
    pub position: u64,
    /// When that position was reached, seconds since 1970.
    pub reached: i64,
    /// When the current pass began, seconds since 1970.
    pub pass_began: i64,
    /// When the last complete pass ended, seconds since 1970; `null` before the first.
    pub pass_done: Option<i64>,
}

/// The portion to read now so that everything is read once per `period`, and the state after that.
#[must_use]
pub(crate) fn roll(
    state: Option<&Rolling>,
    now: DateTime<Utc>,
    period: TimeDelta,
) -> (Portion, Rolling) {
    let now = now.timestamp();
    let since = state.map_or(FIRST.num_seconds(), |state| now - state.reached).max(0);
    let share = i128::from(PLACES) * i128::from(since);
    let period = i128::from(period.num_seconds()).max(1);
    // Rounded up, so that the calls of one period cover everything.
    let length = u64::try_from((share + period - 1) / period).unwrap_or(0).min(PLACES);
    let from = state.map_or(0, |state| state.position % PLACES);
    let ends = from + length >= PLACES;
    let next = Rolling {
        version: 1,
        position: (from + length) % PLACES,
        reached: now,
        pass_began: state.filter(|_| !ends).map_or(now, |state| state.pass_began),
        pass_done: if ends { Some(now) } else { state.and_then(|state| state.pass_done) },
    };
    (Portion { from, length, seed: 0 }, next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + hours * 3600, 0).unwrap()
    }

    #[test]
    fn daily_calls_read_everything_once_in_the_period() {
        let mut state = None;
        let mut read = vec![0; 3000];
        for day in 0..30 {
            let (portion, next) = roll(state.as_ref(), at(day * 24), TimeDelta::days(30));
            for (ino, count) in read.iter_mut().enumerate() {
                *count += i32::from(portion.has(ino as u64));
            }
            let whole = day == 29;
            assert_eq!(next.pass_done.is_some(), whole, "{day}: {next:?}");
            state = Some(next);
        }
        // 30 parts of 2^32, each rounded up: the last one also reads a few positions of the next
        // pass.
        assert!(read.iter().all(|count| *count >= 1));
        assert!(read.iter().filter(|count| **count == 1).count() >= 2999);
    }

    #[test]
    fn after_a_long_pause_everything_is_read_and_after_none_nothing() {
        let (_, state) = roll(None, at(0), TimeDelta::days(30));
        let (portion, next) = roll(Some(&state), at(24 * 40), TimeDelta::days(30));
        assert!(portion.is_all() && next.pass_done == Some(at(24 * 40).timestamp()));
        let (portion, _) = roll(Some(&next), at(24 * 40), TimeDelta::days(30));
        assert!((0..1000).all(|ino| !portion.has(ino)));
        // The clock went back.
        let (portion, _) = roll(Some(&next), at(0), TimeDelta::days(30));
        assert!((0..1000).all(|ino| !portion.has(ino)));
    }

    proptest! {
        #[test]
        fn a_sample_is_about_the_share_that_was_asked_for(seed: u64, percent in 1..100_u32) {
            let portion = Portion::sample(f64::from(percent) / 100.0, seed);
            let count = (0..10_000).filter(|ino| portion.has(*ino)).count();
            prop_assert!(count.abs_diff(percent as usize * 100) < 300, "{count}");
        }

        #[test]
        fn two_parts_in_a_row_share_nothing(hours in prop::collection::vec(1..100_i64, 1..8), ino: u64) {
            let (mut state, mut hour, mut seen) = (None, 0, 0);
            for step in hours {
                hour += step;
                let (portion, next) = roll(state.as_ref(), at(hour), TimeDelta::days(60));
                seen += usize::from(portion.has(ino));
                state = Some(next);
            }
            prop_assert!(seen <= 1);
        }
    }
}
