//! Limits the content in flight to what the connection carries in one or two seconds. With more, listings and
//! queries on the same connection would wait behind it. Does no I/O: the time is an argument.

use std::time::{Duration, Instant};

/// Bytes in flight: the minimum on any connection, and the initial limit.
const LEAST: u64 = 512 << 10;
const FIRST: u64 = 8 << 20;

/// Answers faster than `QUICK` raise the limit; answers slower than `SLOW` lower it.
const QUICK: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(2);

/// The current limit of content in flight.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes: u64,
    most: u64,
    /// When the limit was last lowered. Answers to requests sent before that are not evidence against the new
    /// limit.
    lowered: Option<Instant>,
}

impl Pace {
    /// Creates a limit that never exceeds `most` bytes.
    pub(crate) fn new(most: u64) -> Self {
        Self { bytes: FIRST.min(most), most, lowered: None }
    }

    /// Maximum bytes in flight.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adjusts the limit after content arrived: at most `bytes`, requested at `asked`.
    pub(crate) fn answered(&mut self, bytes: u64, asked: Instant, now: Instant) {
        let took = now.saturating_duration_since(asked);
        if took < QUICK {
            self.bytes = self.bytes.saturating_add(bytes).min(self.most);
        } else if took > SLOW && self.lowered.is_none_or(|lowered| asked > lowered) {
            self.bytes = (self.bytes / 2).max(LEAST).min(self.most);
            self.lowered = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 255 << 10;

    /// Simulates a connection with this many bytes per second and this round trip in milliseconds.
    fn on_a_line(rate: u64, round_trip: u64) -> Pace {
        let mut pace = Pace::new(64 << 20);
        let (start, round_trip) = (Instant::now(), Duration::from_millis(round_trip));
        let mut out = std::collections::VecDeque::new();
        let (mut free, mut now) = (start, start);
        for _ in 0..5000 {
            while (out.len() as u64) * PIECE < pace.bytes() {
                free = free.max(now) + Duration::from_secs_f64(PIECE as f64 / rate as f64);
                out.push_back((now, free + round_trip));
            }
            let Some((asked, answered)) = out.pop_front() else { break };
            now = answered;
            pace.answered(PIECE, asked, now);
        }
        pace
    }

    #[test]
    fn a_fast_line_gets_all_and_a_slow_one_what_it_carries_in_about_two_seconds() {
        assert_eq!(on_a_line(100 << 20, 50).bytes(), 64 << 20);
        for rate in [256 << 10, 1 << 20, 5 << 20] {
            let seconds = on_a_line(rate, 50).bytes() as f64 / rate as f64;
            assert!((0.5..=2.5).contains(&seconds), "{rate}: {seconds}");
        }
    }

    #[test]
    fn one_slow_moment_lowers_it_once() {
        let mut pace = Pace::new(64 << 20);
        let start = Instant::now();
        let now = start + Duration::from_secs(5);
        (0..10).for_each(|_| pace.answered(PIECE, start, now));
        assert_eq!(pace.bytes(), FIRST / 2);
    }
}
