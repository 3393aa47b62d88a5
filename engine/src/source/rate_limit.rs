//! A limit on the read rate, shared by all readers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::threads::cancel::Stop;
use crate::threads::lock::lock;

/// How far a burst may run ahead of the rate.
const BURST: Duration = Duration::from_millis(100);

/// The longest time until a waiting thread notices a stop.
const NAP: Duration = Duration::from_millis(100);

/// Computes how long bytes must wait so that no more than `rate` of them pass per second. Pure: the
/// time is an argument.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Bytes per second, at least 1.
    rate: u64,
    /// The time at which the bytes so far are paid for.
    due: Option<Instant>,
}

impl Bucket {
    /// A limit of `rate` bytes per second.
    #[must_use]
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), due: None }
    }

    /// Returns how long `bytes` must wait. Unused time is credited for at most a tenth of a second.
    pub(crate) fn pass(&mut self, bytes: u64, now: Instant) -> Duration {
        let due = self.due.unwrap_or(now);
        let start = now.checked_sub(BURST).map_or(due, |earliest| due.max(earliest));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.due = start.checked_add(takes).or(self.due);
        start.saturating_duration_since(now)
    }
}

/// A token bucket that several threads share.
#[derive(Debug)]
pub struct RateLimit {
    bucket: Mutex<Bucket>,
    stop: Arc<Stop>,
}

impl RateLimit {
    /// A limit of `rate` bytes per second. It no longer applies after `stop` was requested.
    #[must_use]
    pub fn new(rate: u64, stop: Arc<Stop>) -> Self {
        Self { bucket: Mutex::new(Bucket::new(rate)), stop }
    }

    /// Waits until `bytes` may pass.
    pub fn pass(&self, bytes: usize) {
        let now = Instant::now();
        let wait = {
            let mut bucket = lock(&self.bucket);
            bucket.pass(bytes as u64, now)
        };
        let Some(until) = now.checked_add(wait) else { return };
        while !self.stop.asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Seconds until all `pieces` passed, each requested after the one before.
    fn seconds(rate: u64, pieces: &[u64]) -> f64 {
        let mut bucket = Bucket::new(rate);
        let start = Instant::now();
        let now = pieces.iter().fold(start, |now, piece| now + bucket.pass(*piece, now));
        let end = now + bucket.pass(0, now);
        (end - start).as_secs_f64()
    }

    #[test]
    fn several_who_read_at_once_share_the_rate() {
        let mut bucket = Bucket::new(1_000_000);
        let now = Instant::now();
        let waits: Vec<u128> = (0..4).map(|_| bucket.pass(500_000, now).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500]);
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let mut bucket = Bucket::new(1_000);
        let now = Instant::now();
        bucket.pass(1_000, now);
        let later = now + Duration::from_secs(60);
        assert_eq!(bucket.pass(1_000, later), Duration::ZERO);
        assert_eq!(bucket.pass(1_000, later), Duration::from_millis(900));
    }

    #[test]
    fn extremes_are_harmless() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0);
        bucket.pass(u64::MAX, now);
        bucket.pass(u64::MAX, now);
        assert_eq!(Bucket::new(u64::MAX).pass(1, now), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn the_rate_holds_within_five_percent_over_ten_seconds(
            rate in 20_000_u64..100_000_000, sizes in proptest::collection::vec(1_u64..300_000, 1..40)
        ) {
            let total = rate * 10;
            let mut left = total;
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                let piece = (*size).min(left);
                pieces.push(piece);
                left -= piece;
                if left == 0 { break; }
            }
            let took = seconds(rate, &pieces);
            prop_assert!((9.5..=10.5).contains(&took), "{took}");
        }
    }
}
