//! Judges whether a source root lost so many files that it is more likely broken than tidied. Pure.

/// Below this many files in the base nothing is a collapse: small folders are emptied on purpose.
const FEW: u64 = 20;

/// Whether a root that had `before` files and has `now` lost more than `percent` of them.
#[must_use]
pub fn collapsed(before: u64, now: u64, percent: f64) -> bool {
    let lost = before.saturating_sub(now);
    before >= FEW && (lost as f64) * 100.0 > (before as f64) * percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_collapses_when_more_than_the_limit_is_lost() {
        for (before, now, percent, expected) in [
            (19, 0, 90.0, false),
            (20, 0, 90.0, true),
            (20, 2, 90.0, false),
            (20, 1, 90.0, true),
            (100, 10, 90.0, false),
            (100, 9, 90.0, true),
            (100, 200, 90.0, false),
            (100, 0, 100.0, false),
            (100, 99, 0.0, true),
            (100, 100, 0.0, false),
        ] {
            assert_eq!(collapsed(before, now, percent), expected, "{before} {now} {percent}");
        }
    }
}
