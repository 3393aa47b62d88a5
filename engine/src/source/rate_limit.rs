//! A limit on the read rate, shared by all readers.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::threads::cancel::Stop;
use crate::threads::lock::lock;

/// How far a burst may run ahead of the rate.
const BURST: Duration = Duration::from_millis(100);

/// The longest time until a waiting thread notices a stop.
const NAP: Duration = Duration::from_millis(100);

/// Bytes per second; `None`: no limit.
type Rate = Option<u64>;

/// Computes how long bytes must wait so that no more than `rate` of them pass per second. Pure: the
/// time is an argument.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// The time at which the bytes so far are paid for.
    due: Option<Instant>,
}

impl Bucket {
    /// A limit of `rate`.
    #[must_use]
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, due: None }
    }

    /// Returns how long `bytes` must wait. Unused time is credited for at most a tenth of a second.
    pub(crate) fn pass(&mut self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let due = self.due.unwrap_or(now);
        let start = now.checked_sub(BURST).map_or(due, |earliest| due.max(earliest));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.due = start.checked_add(takes).or(self.due);
        start.saturating_duration_since(now)
    }

    /// Changes the limit at `now`. The bytes that are not paid for yet wait according to the new one.
    pub(crate) fn change(&mut self, rate: Rate, now: Instant) {
        if rate == self.rate {
            return;
        }
        let left = self.due.unwrap_or(now).saturating_duration_since(now);
        self.due = now.checked_add(rescaled(left, self.rate, rate));
        self.rate = rate;
    }
}

/// The time that what takes `left` at the rate `before` takes at the rate `after`.
fn rescaled(left: Duration, before: Rate, after: Rate) -> Duration {
    let (Some(before), Some(after)) = (before, after) else { return Duration::ZERO };
    let nanos =
        left.as_nanos().saturating_mul(u128::from(before.max(1))) / u128::from(after.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A token bucket that several threads share.
pub struct RateLimit {
    bucket: Mutex<Bucket>,
    rate: Box<dyn Fn() -> Rate + Send + Sync>,
    stop: Arc<Stop>,
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl RateLimit {
    /// A limit of the bytes per second that `rate` returns at each moment; `None`: no limit. It no longer applies
    /// after `stop` was requested.
    #[must_use]
    pub fn new(rate: impl Fn() -> Option<u64> + Send + Sync + 'static, stop: Arc<Stop>) -> Self {
        Self { bucket: Mutex::new(Bucket::new(rate())), rate: Box::new(rate), stop }
    }

    /// Waits until `bytes` may pass.
    pub fn pass(&self, bytes: usize) {
        let now = Instant::now();
        let mut rate = (self.rate)();
        let wait = {
            let mut bucket = lock(&self.bucket);
            bucket.change(rate, now);
            bucket.pass(bytes as u64, now)
        };
        let Some(mut until) = now.checked_add(wait) else { return };
        while !self.stop.asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(NAP));
            let (now, current) = (Instant::now(), (self.rate)());
            if current != rate {
                lock(&self.bucket).change(current, now);
                let left = until.saturating_duration_since(now);
                until = now.checked_add(rescaled(left, rate, current)).unwrap_or(now);
                rate = current;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Seconds until all `pieces` passed, each requested after the one before.
    fn seconds(rate: u64, pieces: &[u64]) -> f64 {
        let mut bucket = Bucket::new(Some(rate));
        let start = Instant::now();
        let now = pieces.iter().fold(start, |now, piece| now + bucket.pass(*piece, now));
        let end = now + bucket.pass(0, now);
        (end - start).as_secs_f64()
    }

    #[test]
    fn several_who_read_at_once_share_the_rate() {
        let mut bucket = Bucket::new(Some(1_000_000));
        let now = Instant::now();
        let waits: Vec<u128> = (0..4).map(|_| bucket.pass(500_000, now).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500]);
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let mut bucket = Bucket::new(Some(1_000));
        let now = Instant::now();
        bucket.pass(1_000, now);
        let later = now + Duration::from_secs(60);
        assert_eq!(bucket.pass(1_000, later), Duration::ZERO);
        assert_eq!(bucket.pass(1_000, later), Duration::from_millis(900));
    }

    #[test]
    fn a_limit_that_changes_holds_for_what_waits_too() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Some(1_000));
        bucket.pass(10_000, now);
        let later = now + Duration::from_secs(4);
        bucket.change(Some(2_000), later);
        assert_eq!(bucket.pass(2_000, later), Duration::from_secs(3), "6,000 bytes were left");
        bucket.change(None, later);
        assert_eq!(bucket.pass(u64::MAX, later), Duration::ZERO);
        bucket.change(Some(1_000), later);
        assert_eq!(bucket.pass(1_000, later), Duration::ZERO, "nothing was left");
        assert_eq!(bucket.pass(1_000, later), Duration::from_secs(1));
    }

    #[test]
    fn a_waiting_reader_notices_a_new_limit() {
        let rate = Arc::new(std::sync::atomic::AtomicU64::new(1));
        let current = Arc::clone(&rate);
        let rate_now = move || Some(current.load(std::sync::atomic::Ordering::Relaxed));
        let limit = Arc::new(RateLimit::new(rate_now, Arc::default()));
        // The next one would wait for eleven days.
        limit.pass(1_000_000);
        let reader = std::thread::spawn(move || limit.pass(1));
        rate.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
    }

    #[test]
    fn extremes_are_harmless() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Some(0));
        bucket.pass(u64::MAX, now);
        bucket.pass(u64::MAX, now);
        assert_eq!(Bucket::new(Some(u64::MAX)).pass(1, now), Duration::ZERO);
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
