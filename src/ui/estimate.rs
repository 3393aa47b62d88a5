//! How far a walk is and how long it still takes. Pure.

use engine::monitor::WalkProgress;

/// Below this share, and before this many seconds, an estimate of the remaining time is a guess.
const LEAST_SHARE: f64 = 0.005;
const LEAST_SECONDS: f64 = 2.0;

/// The work of one entry, in bytes that are copied in the same time: 0.1 to 1 ms for a name that is looked up, linked or
/// created, at 100 to 500 MB/s.
const ENTRY: u64 = 64 * 1024;

/// How much of its work a walk has done, from 0 to 1; `None` if the total is unknown.
///
/// Work is the sum of both: bytes, and [`ENTRY`] for each entry. Bytes alone stand still in a million empty files, and
/// entries alone during a large file; the smaller of the two shares stands still at 0 when one large file comes before many
/// small ones. A total that turns out too small grows with what is done.
pub(crate) fn share(walk: &WalkProgress) -> Option<f64> {
    let work =
        |entries: u64, bytes: u64| u128::from(entries) * u128::from(ENTRY) + u128::from(bytes);
    let done = work(walk.entries, walk.bytes);
    let total = work(walk.entries_expected.max(walk.entries), walk.bytes_expected.max(walk.bytes));
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = || done as f64 / total as f64;
    (walk.entries_expected > 0).then(share)
}

/// The share in whole percent. It stays at 99 until the work has ended, because only the end proves that nothing
/// is left.
pub(crate) fn percent(share: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, never below 0"
    )]
    let percent = (share * 100.0) as u8;
    percent.min(99)
}

/// The seconds until the end, if the rest takes as long in proportion as the `share` that is done; `None` where that is
/// a guess.
pub(crate) fn remaining(share: f64, elapsed: f64) -> Option<f64> {
    let known = (LEAST_SHARE..1.0).contains(&share) && elapsed >= LEAST_SECONDS;
    known.then(|| elapsed * (1.0 - share) / share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(entries: (u64, u64), bytes: (u64, u64)) -> WalkProgress {
        WalkProgress {
            entries: entries.0,
            entries_expected: entries.1,
            bytes: bytes.0,
            bytes_expected: bytes.1,
            ..WalkProgress::default()
        }
    }

    #[test]
    fn both_entries_and_bytes_are_work() {
        const MIB: u64 = 1 << 20;
        for (walk, percents) in [
            (walk((0, 0), (0, 0)), None),
            (walk((500, 0), (7, 0)), None),
            (walk((0, 100), (0, MIB)), Some(0)),
            // Only empty files.
            (walk((50, 100), (0, 0)), Some(50)),
            // One large file, then one beside many small ones.
            (walk((1, 1), (256 * MIB, 1024 * MIB)), Some(25)),
            (walk((1, 1600), (900 * MIB, 1000 * MIB)), Some(81)),
            // The large files are linked at once.
            (walk((160, 1600), (1000 * MIB, 1000 * MIB)), Some(91)),
            // More than the previous snapshot had.
            (walk((150, 100), (5 * MIB, MIB)), Some(99)),
            (walk((100, 100), (MIB, MIB)), Some(99)),
        ] {
            assert_eq!(share(&walk).map(percent), percents, "{walk:?}");
        }
    }

    #[test]
    fn the_rest_takes_as_long_in_proportion() {
        assert_eq!(remaining(0.25, 10.0), Some(30.0));
        assert_eq!(remaining(0.5, 10.0), Some(10.0));
        for (share, elapsed) in [(0.0, 10.0), (0.001, 10.0), (0.5, 1.0), (1.0, 10.0)] {
            assert_eq!(remaining(share, elapsed), None, "{share} {elapsed}");
        }
    }

    proptest! {
        #[test]
        fn work_never_lowers_the_share_of_a_known_total(
            entries in 0..200_u64, bytes in 0..2000_u64, more in 0..50_u64, total in 1..200_u64, total_bytes in 0..2000_u64,
        ) {
            let before = walk((entries, total), (bytes, total_bytes));
            let after = walk((entries + more, total), (bytes + more, total_bytes));
            let (before, after) = (share(&before).unwrap(), share(&after).unwrap());
            prop_assert!(before <= after && after <= 1.0);
            prop_assert!(percent(after) <= 99);
        }
    }
}
