//! Finds the lines that are due: those with a start time since the last check. If several start times were
//! missed while the machine slept or the clock jumped, they count as one.

use chrono::{DateTime, TimeDelta, Utc};

use crate::schedule::crontab::{CronLine, Crontab};

/// After the clock is set back by up to this, the daemon waits, so that no time occurs twice. A clock that is
/// set back further was wrong before, and lines must not wait for hours or years until it reaches that time
/// again.
const SET_BACK: TimeDelta = TimeDelta::minutes(5);

/// The lines of a crontab, and the time up to which each was processed.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: Vec<Entry>,
    /// The id of the next new line.
    id: u64,
}

#[derive(Debug)]
struct Entry {
    /// Stays the same when the crontab is read again.
    id: u64,
    line: CronLine,
    seen: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
}

/// A line that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The id of the line; see [`Agenda::line`].
    pub(crate) id: u64,
    /// The first start time since the last check.
    pub(crate) time: DateTime<Utc>,
}

impl Agenda {
    /// Replaces the lines by those of `crontab`. An unchanged line keeps its state; a new line waits for its
    /// first start time after `now`.
    pub(crate) fn replace(&mut self, crontab: &Crontab, now: DateTime<Utc>) {
        let mut before = std::mem::take(&mut self.entries);
        for line in &crontab.lines {
            let known = before.iter().position(|entry| entry.line.says_the_same(line));
            let (id, seen) = match known.map(|index| before.swap_remove(index)) {
                Some(entry) => (entry.id, entry.seen),
                None => {
                    self.id += 1;
                    (self.id, now)
                }
            };
            let next = line.next(seen);
            self.entries.push(Entry { id, line: line.clone(), seen, next });
        }
    }

    /// The lines that are due at `now`, in the order of the file. They count as processed afterwards.
    pub(crate) fn due(&mut self, now: DateTime<Utc>) -> Vec<Due> {
        let mut due = Vec::new();
        for entry in &mut self.entries {
            if now < entry.seen - SET_BACK {
                entry.see(now);
            }
            match entry.next {
                Some(time) if time <= now => {
                    due.push(Due { id: entry.id, time });
                    entry.see(now);
                }
                _ => {}
            }
        }
        due
    }

    /// The lines that run when the daemon starts.
    pub(crate) fn at_start(&self) -> Vec<u64> {
        let entries = self.entries.iter().filter(|entry| entry.line.at_start());
        entries.map(|entry| entry.id).collect()
    }

    /// The line with this id.
    pub(crate) fn line(&self, id: u64) -> Option<&CronLine> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| &entry.line)
    }

    /// All lines with their next times.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&CronLine, Option<DateTime<Utc>>)> {
        self.entries.iter().map(|entry| (&entry.line, entry.next))
    }
}

impl Entry {
    fn see(&mut self, now: DateTime<Utc>) {
        self.seen = now;
        self.next = self.line.next(now);
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::zone::Zone;

    fn at(seconds: i64) -> DateTime<Utc> {
        // Midnight UTC.
        DateTime::from_timestamp(1_704_067_200 + seconds, 0).unwrap()
    }

    fn crontab(text: &str) -> Crontab {
        Crontab::read(text, Zone::Named(Tz::UTC))
    }

    fn agenda(text: &str, now: i64) -> Agenda {
        let mut agenda = Agenda::default();
        agenda.replace(&crontab(text), at(now));
        agenda
    }

    /// Which lines are due at each of the `moments`.
    fn due(agenda: &mut Agenda, moments: &[i64]) -> Vec<Vec<u64>> {
        let ids = |moment: &i64| agenda.due(at(*moment)).iter().map(|due| due.id).collect();
        moments.iter().map(ids).collect()
    }

    #[test]
    fn a_time_is_due_once() {
        let mut agenda = agenda("* * * * * a\n*/2 * * * * b\n", 30);
        let seen = due(&mut agenda, &[30, 59, 60, 61, 119, 121, 180]);
        assert_eq!(seen, [vec![], vec![], vec![1], vec![], vec![], vec![1, 2], vec![1]]);
    }

    #[test]
    fn times_missed_in_a_sleep_are_made_up_once() {
        let mut agenda = agenda("* * * * * a\n0 0 * * * b\n0 12 10 * * c\n", 30);
        // The clock jumps five days ahead.
        assert_eq!(agenda.due(at(5 * 86_400 + 10))[1], Due { id: 2, time: at(86_400) });
        assert_eq!(due(&mut agenda, &[5 * 86_400 + 11, 5 * 86_400 + 60]), [vec![], vec![1]]);
    }

    #[test]
    fn a_clock_that_is_put_back_a_little_repeats_nothing_and_one_put_back_far_stops_nothing() {
        let mut agenda = agenda("* * * * * a\n", 600);
        let seen = due(&mut agenda, &[660, 500, 600, 660, 720]);
        assert_eq!(seen, [vec![1], vec![], vec![], vec![], vec![1]]);
        assert_eq!(due(&mut agenda, &[-86_400 * 365, -86_400 * 365 + 60]), [vec![], vec![1]]);
    }

    #[test]
    fn a_line_that_stays_goes_on_and_a_new_one_starts() {
        let mut agenda = agenda("@reboot x\n* * * * * a\n0 * * * * gone\n", 0);
        assert_eq!(agenda.at_start(), [1]);
        agenda.replace(&crontab("\n* * * * * a\n* * * * * b\n@reboot y\n"), at(61));
        assert_eq!(due(&mut agenda, &[62, 120]), [vec![2], vec![2, 4]]);
        assert_eq!(agenda.line(2).unwrap().number, 2);
        assert!(agenda.line(3).is_none());
    }

    proptest! {
        #[test]
        fn however_often_one_looks_each_time_counts_once(
            steps in proptest::collection::vec(0_i64..4000, 1..60),
            minutes in 1_u32..59,
        ) {
            let mut agenda = agenda(&format!("*/{minutes} * * * * a\n"), 0);
            let line = agenda.line(1).unwrap().clone();
            let (mut now, mut last) = (0, at(0));
            for step in steps {
                now += step;
                let expected = line.next(last).is_some_and(|time| time <= at(now));
                prop_assert_eq!(agenda.due(at(now)).len(), usize::from(expected));
                last = at(now);
            }
        }
    }
}
