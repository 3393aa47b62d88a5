//! Decides whether the changes below a source root are suspicious, by those that earlier runs recorded. Pure.
//!
//! A run is suspicious when two of four signs coincide. Each sign counts files of the base that were replaced or vanished,
//! because new files alone destroy nothing. The same signs, without the largest run, are also looked for in the sum of the
//! last runs: that finds changes that spread over many runs, and a single large run does not count twice.

use crate::snapshot::changes::{ChangeBrake, ExtensionChanges, RootChanges, Sign, Suspicion};

/// What one run found below a source root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RootRun {
    /// The snapshot that the run was compared with.
    pub(crate) base: Option<String>,
    /// When the run began. RFC 3339, UTC.
    pub(crate) began: String,
    /// Files below the root in the base.
    pub(crate) files: u64,
    pub(crate) changes: RootChanges,
    /// Whether the run was suspicious.
    pub(crate) suspicious: bool,
}

/// The number of earlier runs that matter.
pub(crate) const HISTORY: usize = 60;

/// The smallest number of files in the base that is judged, and the smallest number of files for a sign.
const FEW: u64 = 20;

/// The smallest number of files for the sign of the content, which hardly occurs in ordinary work.
const FEW_RANDOM: u64 = 10;

/// Of so many lost files, one at least looks random for the sign of the content.
const NOTICEABLE: u64 = 10;

/// With fewer earlier runs, no usual number is known.
const ENOUGH_RUNS: usize = 5;

/// How many runs count as one slow change.
const WINDOW: usize = 15;

/// How many times the usual number is a sign.
const UNUSUAL: f64 = 5.0;

/// Shares of the files of the base: each the smallest for a sign.
mod share {
    /// Changed or vanished.
    pub(super) const LOST: f64 = 0.03;
    /// Changed or vanished, while no usual number is known, and in a window.
    pub(super) const LOST_UNKNOWN: f64 = 0.10;
    /// Changed after a long time.
    pub(super) const OLD: f64 = 0.01;
    /// Changed after a long time, while no usual number is known.
    pub(super) const OLD_UNKNOWN: f64 = 0.03;
    /// Changed after a long time, in a window.
    pub(super) const OLD_SLOWLY: f64 = 0.05;
    /// Looks random.
    pub(super) const RANDOM: f64 = 0.005;
    /// Looks random, in a window.
    pub(super) const RANDOM_SLOWLY: f64 = 0.01;
    /// Has a new extension.
    pub(super) const EXTENSION: f64 = 0.01;
    /// Changed within ten minutes.
    pub(super) const BURST: f64 = 0.10;
}

/// The part of the earlier runs whose numbers are usual for one run, and the same for fewer than [`MANY_RUNS`].
const MOST: f64 = 0.9;
const MOST_OF_FEW: f64 = 0.75;
const MANY_RUNS: usize = 20;

/// The same for a window: single large runs do not count in it.
const HALF: f64 = 0.5;

/// How many times the usual sum is a sign in a window.
const UNUSUAL_SLOWLY: f64 = 2.0;

/// Judges the run `now` by `past`, oldest first. The path of the result is empty.
#[must_use]
pub(crate) fn judge(now: &RootRun, past: &[RootRun], brake: ChangeBrake) -> Option<Suspicion> {
    let enough = match brake {
        ChangeBrake::Off => return None,
        ChangeBrake::On => 2,
        ChangeBrake::Strict => 1,
    };
    if now.files < FEW || !is_worth_judging(&now.changes) {
        return None;
    }
    let signs = signs_of_run(now, past);
    if signs.len() >= enough {
        let began = signs.iter().find_map(|sign| match sign {
            Sign::Burst { began, .. } => began.clone(),
            _ => None,
        });
        // Without a burst, it is known only that the change is younger than the run before.
        let before = past.last().map(|run| run.began.clone());
        return Some(Suspicion {
            path: String::new(),
            files: now.files,
            signs,
            since: began.or(before).unwrap_or_else(|| now.began.clone()),
            runs: 1,
            good: now.base.clone(),
            examples: now.changes.examples.clone(),
        });
    }
    slowly(now, past, enough)
}

/// Whether a run can be part of a suspicious change at all. Most runs cannot, and need no history.
#[must_use]
pub(crate) fn is_worth_judging(changes: &RootChanges) -> bool {
    let lost = changes.lost();
    changes.scrambled() > 0 || lost >= FEW || (lost > 0 && !changes.extensions.is_empty())
}

/// A number that a run recorded.
type Number = fn(&RootChanges) -> u64;

/// The share of the files of the base that `number` does not exceed in the part `most` of `runs`.
fn usual(runs: &[RootRun], number: Number, most: f64) -> f64 {
    let mut shares: Vec<f64> =
        runs.iter().map(|run| part(number(&run.changes), run.files)).collect();
    shares.sort_by(f64::total_cmp);
    // With few runs, the largest is not usual.
    let index = (as_float(shares.len().saturating_sub(1) as u64) * most) as usize;
    shares.get(index).copied().unwrap_or(0.0)
}

/// The signs in one run.
fn signs_of_run(now: &RootRun, past: &[RootRun]) -> Vec<Sign> {
    let RootRun { changes, files, .. } = now;
    let files = *files;
    let most = if past.len() < MANY_RUNS { MOST_OF_FEW } else { MOST };
    // The number in this run and the usual one, if it is unusual and at least `few` and the share `least`.
    let unusual = |number: Number, few: u64, least: f64| {
        let (found, usual) = (number(changes), usual(past, number, most));
        let is_sign = found >= few && part(found, files) >= (UNUSUAL * usual).max(least);
        is_sign.then(|| (found, whole(usual, files)))
    };
    let (least, least_old) = match past.len() < ENOUGH_RUNS {
        true => (share::LOST_UNKNOWN, share::OLD_UNKNOWN),
        false => (share::LOST, share::OLD),
    };
    let lost =
        unusual(RootChanges::lost, FEW, least).map(|(files, usual)| Sign::Share { files, usual });
    let old = || {
        let found = unusual(|changes| changes.changed_old, FEW, least_old);
        found.map(|(files, usual)| Sign::Old { files, usual })
    };
    let content = unusual(RootChanges::scrambled, FEW_RANDOM, share::RANDOM)
        .filter(|(files, _)| *files >= changes.lost() / NOTICEABLE)
        .map(|(files, usual)| Sign::Content { files, usual });
    // In some folders, programs write all files at once each day. Without history this would count as two signs.
    let is_known = !past.is_empty();
    let burst = unusual(RootChanges::replaced_in_burst, FEW, share::BURST)
        .filter(|(files, _)| is_known && *files >= changes.lost() / 2)
        .map(|(files, _)| Sign::Burst { files, began: changes.burst_began.clone() });
    let extension = new_extension(changes, files, past);
    [lost.or_else(old), content, extension, burst].into_iter().flatten().collect()
}

/// An extension that so many new files have that they can have replaced what vanished, and that hardly any file had before.
fn new_extension(changes: &RootChanges, files: u64, past: &[RootRun]) -> Option<Sign> {
    let before = |extension: &str| {
        let of = past.iter().flat_map(|run| &run.changes.extensions);
        of.filter(|of| of.extension == extension).map(|of| of.new.max(of.gone)).max().unwrap_or(0)
    };
    let is_new = |new: u64, gone: u64, extension: &str| {
        new >= FEW
            && part(new, files) >= share::EXTENSION
            && gone <= new / 10
            && changes.lost() >= new / 2
            && new >= changes.lost() / 2
            && before(extension) <= new / 5
    };
    let mut extensions = changes.extensions.iter();
    let found = extensions.find(|of| is_new(of.new, of.gone, &of.extension))?;
    Some(Sign::Extension { files: found.new, extension: found.extension.clone() })
}

/// A change that spreads over the last runs since the last suspicious one.
fn slowly(now: &RootRun, past: &[RootRun], enough: usize) -> Option<Suspicion> {
    let after = past.iter().rposition(|run| run.suspicious).map_or(0, |last| last + 1);
    let (older, recent) = past.split_at((past.len() - (WINDOW - 1).min(past.len() / 2)).max(after));
    let window: Vec<&RootRun> = recent.iter().chain([now]).collect();
    if window.len() < 3 {
        return None;
    }
    // The sum without the largest run and the usual sum, if it is unusual and at least `few` and the share
    // `least`.
    let unusual = |number: Number, few: u64, least: f64| {
        let all = window.iter().map(|run| number(&run.changes));
        let found = all.clone().sum::<u64>() - all.max().unwrap_or(0);
        let usual = usual(older, number, HALF) * as_float(window.len() as u64 - 1);
        let is_sign = found >= few && part(found, now.files) >= (UNUSUAL_SLOWLY * usual).max(least);
        is_sign.then(|| (found, whole(usual, now.files)))
    };
    let lost = unusual(RootChanges::lost, FEW, share::LOST_UNKNOWN)
        .map(|(files, usual)| Sign::Share { files, usual });
    let old = || {
        let found = unusual(|changes| changes.changed_old, FEW, share::OLD_SLOWLY);
        found.map(|(files, usual)| Sign::Old { files, usual })
    };
    let all_lost: u64 = window.iter().map(|run| run.changes.lost()).sum();
    let content = unusual(RootChanges::scrambled, FEW_RANDOM, share::RANDOM_SLOWLY)
        .filter(|(files, _)| *files >= all_lost / NOTICEABLE)
        .map(|(files, usual)| Sign::Content { files, usual });
    let extension = slowly_new_extension(&window, older, now.files);
    let signs: Vec<Sign> = [lost.or_else(old), content, extension].into_iter().flatten().collect();
    if signs.len() < enough {
        return None;
    }
    let changed = since_first(&past[after..], &window);
    let first = changed[0];
    let examples = changed.iter().rev().flat_map(|run| &run.changes.examples);
    Some(Suspicion {
        path: String::new(),
        files: now.files,
        signs,
        since: first.began.clone(),
        runs: changed.len() as u64,
        good: first.base.clone(),
        examples: examples.take(EXAMPLES).cloned().collect(),
    })
}

/// How many examples a suspicion names.
pub(crate) const EXAMPLES: usize = 5;

/// The runs from the first one with a noticeable part of a slow change on. The change may be older than the window. An
/// earlier run than necessary does no harm.
fn since_first<'a>(past: &'a [RootRun], window: &[&'a RootRun]) -> Vec<&'a RootRun> {
    let random = |run: &&RootRun| run.changes.scrambled();
    let lost = |run: &&RootRun| run.changes.lost();
    let by_content = window.iter().any(|run| random(run) > 0);
    let number: &dyn Fn(&&RootRun) -> u64 = if by_content { &random } else { &lost };
    let few = window.iter().map(number).sum::<u64>() / window.len() as u64 / 4;
    let from = match by_content {
        true => past.len().saturating_sub(2 * WINDOW),
        false => past.len() + 1 - window.len(),
    };
    let all = past[from..].iter().chain(window.last().copied());
    let found: Vec<&RootRun> = all.skip_while(|run| number(run) <= few).collect();
    if found.is_empty() { window.to_vec() } else { found }
}

/// An extension that the runs of a window brought, and no older run.
fn slowly_new_extension(window: &[&RootRun], older: &[RootRun], files: u64) -> Option<Sign> {
    if older.len() < ENOUGH_RUNS {
        return None;
    }
    // New and gone files with an extension, and the most new ones in one run.
    let add = |(new, gone, most): (u64, u64, u64), of: &ExtensionChanges| {
        (new + of.new, gone + of.gone, most.max(of.new))
    };
    let lost: u64 = window.iter().map(|run| run.changes.lost()).sum();
    let mut extensions = window.last()?.changes.extensions.iter();
    extensions.find_map(|ExtensionChanges { extension, .. }| {
        let has_it = |of: &&ExtensionChanges| of.extension == *extension;
        let all = window.iter().flat_map(|run| &run.changes.extensions);
        let (new, gone, most) = all.filter(has_it).fold((0, 0, 0), add);
        let all = older.iter().flat_map(|run| &run.changes.extensions);
        let known = all.filter(has_it).fold((0, 0, 0), add);
        let new = new - most;
        let is_new = new >= FEW
            && part(new, files) >= share::EXTENSION
            && gone <= new / 10
            && lost >= new / 2
            && known.0 + known.1 <= new / 20;
        is_new.then(|| Sign::Extension { files: new, extension: extension.clone() })
    })
}

/// The share of `number` in `all`.
fn part(number: u64, all: u64) -> f64 {
    as_float(number) / as_float(all.max(1))
}

/// The number that is the share `part` of `all`.
fn whole(part: f64, all: u64) -> u64 {
    (part * as_float(all)).round() as u64
}

fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: u64 = 1000;

    fn run(number: u64, change: impl FnOnce(&mut RootChanges)) -> RootRun {
        let mut changes = RootChanges { changed: 2, burst: 2, ..RootChanges::default() };
        change(&mut changes);
        let (base, began) = (Some(format!("base {number}")), format!("began {number}"));
        RootRun { base, began, files: FILES, changes, suspicious: false }
    }

    fn quiet(runs: u64) -> Vec<RootRun> {
        (0..runs).map(|number| run(number, |_| {})).collect()
    }

    fn encrypted(changes: &mut RootChanges) {
        (changes.changed, changes.turned_random, changes.burst) = (500, 400, 3);
    }

    #[test]
    fn two_signs_make_a_run_suspicious_and_one_does_if_strict() {
        let past = quiet(10);
        let both = run(10, encrypted);
        let one = run(10, |changes| changes.changed = 500);
        let small = RootRun { files: 19, ..both.clone() };
        for (now, brake, expected) in [
            (&both, ChangeBrake::On, Some(2)),
            (&both, ChangeBrake::Strict, Some(2)),
            (&both, ChangeBrake::Off, None),
            (&one, ChangeBrake::On, None),
            (&one, ChangeBrake::Strict, Some(1)),
            (&small, ChangeBrake::Strict, None),
        ] {
            let found = judge(now, &past, brake);
            assert_eq!(found.map(|found| found.signs.len()), expected, "{now:?} {brake:?}");
        }
    }

    #[test]
    fn a_suspicion_says_what_since_when_and_which_snapshot_is_good() {
        let found = judge(&run(10, encrypted), &quiet(10), ChangeBrake::On).unwrap();
        let share = Sign::Share { files: 500, usual: 2 };
        assert_eq!(found.signs, [share, Sign::Content { files: 400, usual: 0 }]);
        assert_eq!((found.since.as_str(), found.good.as_deref()), ("began 9", Some("base 10")));
        let with_burst = run(10, |changes| {
            encrypted(changes);
            (changes.burst, changes.burst_began) = (450, Some("noon".to_owned()));
        });
        assert_eq!(judge(&with_burst, &quiet(10), ChangeBrake::On).unwrap().since, "noon");
    }

    #[test]
    fn renamed_and_new_files_are_no_sign() {
        let moved = run(10, |changes| {
            (changes.new, changes.gone, changes.renamed) = (900, 900, 895);
            (changes.burst, changes.new_random) = (900, 900);
        });
        assert_eq!(judge(&moved, &quiet(10), ChangeBrake::Strict), None);
        let imported = run(10, |changes| (changes.new, changes.burst) = (5000, 5000));
        assert_eq!(judge(&imported, &quiet(10), ChangeBrake::Strict), None);
    }

    #[test]
    fn what_a_job_does_each_day_is_usual() {
        let all = |changes: &mut RootChanges| (changes.changed, changes.burst) = (FILES, FILES);
        let past: Vec<_> = (0..10).map(|number| run(number, all)).collect();
        assert_eq!(judge(&run(10, all), &past, ChangeBrake::Strict), None);
        // The second run of all has no history: all at once is one sign.
        let found = judge(&run(0, all), &[], ChangeBrake::Strict).unwrap();
        assert_eq!(found.signs.len(), 1);
    }

    #[test]
    fn a_slow_change_is_found_in_the_sum_and_the_snapshot_before_its_first_run_is_good() {
        let slow = |changes: &mut RootChanges| (changes.changed, changes.turned_random) = (20, 20);
        let mut past = quiet(20);
        let noticed = (20..40).find_map(|number| {
            let now = run(number, slow);
            let found = judge(&now, &past, ChangeBrake::On);
            past.push(now);
            found.map(|found| (number, found))
        });
        let (number, found) = noticed.unwrap();
        assert!(number < 30, "{number}");
        assert_eq!(found.good.as_deref(), Some("base 20"), "{found:?}");
        assert_eq!((found.since.as_str(), found.runs), ("began 20", number - 19));
        // After a suspicious run the sum begins anew.
        past.last_mut().unwrap().suspicious = true;
        assert_eq!(judge(&run(number + 1, slow), &past, ChangeBrake::On), None);
    }
}
