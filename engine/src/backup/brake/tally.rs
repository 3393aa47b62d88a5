//! Counts what changed below each source root while a walk goes on, in bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use chrono::DateTime;

use crate::backup::brake::judge::EXAMPLES;
use crate::backup::plan::Verdict;
use crate::entry::human::rfc3339;
use crate::entry::{Kind, Meta, Time};
use crate::snapshot::changes::{ExtensionChanges, LONG, RootChanges};
use crate::threads::lock::lock;

/// The length of a step of time, in seconds. Two steps are a burst.
const STEP: i64 = 300;

/// The most steps of an area with changes that are counted: with one in each, they are two weeks.
const STEPS: usize = 4096;

/// The most extensions of an area that are counted.
const EXTENSIONS: usize = 1024;

/// The longest extension.
const LONGEST: usize = 16;

/// The most extensions that a report names, and the fewest new files for that.
const NAMED: usize = 8;
const FEWEST: u64 = 3;

/// The most paths of gone files of an area that are remembered.
const GONE: usize = 64;

/// The number of new and gone files with each extension.
type Extensions = HashMap<Box<[u8]>, (u64, u64)>;

/// What changed in a part of an area.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeCounts {
    /// The counts. Burst, extensions and examples are empty.
    numbers: RootChanges,
    /// The number of changes in each step of time.
    steps: BTreeMap<i64, u64>,
    extensions: Extensions,
    examples: Vec<String>,
    random_examples: Vec<String>,
    /// The paths of some gone files inside the base, by hashes. Those with the lowest hashes are a random sample.
    gone: BTreeMap<u64, Vec<u8>>,
    /// Only paths with lower hashes are kept.
    below: Option<u64>,
    /// The hash of the path of the first gone file. The others of the folder are hashed with it.
    folder: Option<u64>,
}

impl ChangeCounts {
    /// Counts an entry of the source by its verdict. `since` is the earliest time of a change that the base lacks, `path`
    /// makes the path of the entry.
    pub(crate) fn entry(
        &mut self,
        (name, meta): (&CStr, &Meta),
        base: Option<&Meta>,
        verdict: Verdict,
        since: Option<Time>,
        path: impl FnOnce() -> Vec<u8>,
    ) {
        if meta.kind == Kind::Folder || !verdict.is_other_content() {
            return;
        }
        let numbers = &mut self.numbers;
        // A file that was a folder is new. What was in the folder is gone.
        if let Some(base) = base.filter(|base| base.kind != Kind::Folder) {
            numbers.changed += 1;
            let is_old = since.is_some_and(|since| base.mtime.secs < since.secs - LONG);
            numbers.changed_old += u64::from(is_old);
            if self.examples.len() < EXAMPLES {
                self.examples.push(crate::entry::escape::shown(&path()));
            }
        } else {
            numbers.new += 1;
            if let Some(extension) = extension(name) {
                count(&mut self.extensions, &extension, |of| of.0 += 1);
            }
        }
        let kept_mtime = base.is_some_and(|base| base.mtime == meta.mtime);
        let time = if kept_mtime { meta.ctime } else { meta.mtime };
        if since.is_some_and(|since| time >= since) {
            let step = time.secs.div_euclid(STEP);
            if self.steps.len() < STEPS || self.steps.contains_key(&step) {
                *self.steps.entry(step).or_default() += 1;
            }
        }
    }

    /// Counts a file of the base that the source no longer has under `name`. `inside` makes its path inside the base, and is
    /// called only for a file that may be part of the sample. All files come from one folder.
    pub(crate) fn gone(&mut self, name: &CStr, inside: impl Fn() -> Vec<u8>) {
        self.numbers.gone += 1;
        let folder = *self.folder.get_or_insert_with(|| hash_of(&inside()));
        let hash = hash_of(&(folder, name));
        if self.below.is_none_or(|below| hash < below) {
            self.gone.insert(hash, inside());
            self.thin_out();
        }
        if let Some(extension) = extension(name) {
            count(&mut self.extensions, &extension, |of| of.1 += 1);
        }
    }

    /// Bounds the number of paths of gone files.
    fn thin_out(&mut self) {
        while self.gone.len() > GONE {
            self.gone.pop_last();
        }
        if self.gone.len() == GONE {
            self.below = self.gone.last_key_value().map(|(hash, _)| *hash);
        }
    }

    fn is_empty(&self) -> bool {
        self.numbers == RootChanges::default() && self.steps.is_empty()
    }

    fn add(&mut self, more: Self) {
        let Self { numbers, steps, extensions, examples, random_examples, gone, .. } = more;
        self.gone.extend(gone);
        self.thin_out();
        let sum = &mut self.numbers;
        for (sum, more) in [
            (&mut sum.changed, numbers.changed),
            (&mut sum.changed_old, numbers.changed_old),
            (&mut sum.new, numbers.new),
            (&mut sum.gone, numbers.gone),
            (&mut sum.renamed, numbers.renamed),
            (&mut sum.sampled, numbers.sampled),
            (&mut sum.turned_random, numbers.turned_random),
            (&mut sum.new_random, numbers.new_random),
        ] {
            *sum += more;
        }
        for (step, changes) in steps {
            if self.steps.len() < STEPS || self.steps.contains_key(&step) {
                *self.steps.entry(step).or_default() += changes;
            }
        }
        for (extension, (new, gone)) in extensions {
            count(&mut self.extensions, &extension, |of| *of = (of.0 + new, of.1 + gone));
        }
        self.examples.extend(examples);
        self.random_examples.extend(random_examples);
        self.examples.truncate(EXAMPLES);
        self.random_examples.truncate(EXAMPLES);
    }

    /// The changes as a report records them.
    fn recorded(self) -> RootChanges {
        let Self { numbers, steps, extensions, examples, mut random_examples, .. } = self;
        let with_next = |(step, changes): (&i64, &u64)| {
            (changes + steps.get(&(step + 1)).copied().unwrap_or(0), *step)
        };
        let (burst, began) = steps.iter().map(with_next).max().unwrap_or_default();
        let began = DateTime::from_timestamp(began * STEP, 0).filter(|_| burst > 0);
        let named = |(name, (new, gone)): (Box<[u8]>, (u64, u64))| ExtensionChanges {
            extension: String::from_utf8_lossy(&name).into_owned(),
            new,
            gone,
        };
        let mut extensions: Vec<_> = extensions.into_iter().map(named).collect();
        extensions.retain(|of| of.new >= FEWEST);
        extensions
            .sort_by(|one, other| (other.new, &one.extension).cmp(&(one.new, &other.extension)));
        extensions.truncate(NAMED);
        random_examples.extend(examples);
        random_examples.truncate(EXAMPLES);
        let burst_began = began.map(rfc3339);
        RootChanges { burst, burst_began, extensions, examples: random_examples, ..numbers }
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn count(extensions: &mut Extensions, extension: &[u8], change: impl FnOnce(&mut (u64, u64))) {
    if let Some(of) = extensions.get_mut(extension) {
        change(of);
    } else if extensions.len() < EXTENSIONS {
        change(extensions.entry(extension.into()).or_default());
    }
}

/// The extension of a name, in lower case. `None` when it has none that a program could have chosen for many files.
fn extension(name: &CStr) -> Option<Vec<u8>> {
    let (_, extension) = split_extension(name)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let is_one = (1..=LONGEST).contains(&extension.len()) && extension.iter().all(is_plain);
    is_one.then(|| extension.to_ascii_lowercase())
}

/// The name without its last extension, under which the base may have the file.
pub(crate) fn without_extension(name: &CStr) -> Option<&[u8]> {
    split_extension(name).map(|(name, _)| name)
}

/// A name without its last extension, and that extension. `None` when it has none.
fn split_extension(name: &CStr) -> Option<(&[u8], &[u8])> {
    let name = name.to_bytes();
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    Some((&name[..dot], &name[dot + 1..]))
}

/// How the first bytes of a new or changed file look, and those of the file of the base that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampled {
    /// Not random, or as random as before.
    Ordinary,
    /// Random, and the base's file was not.
    TurnedRandom,
    /// Random, and the base has no such file.
    NewRandom,
}

/// Counts what changed in each area: the source roots, and the mount points below them.
#[derive(Debug, Default)]
pub(crate) struct ChangeTally {
    areas: Mutex<BTreeMap<usize, ChangeCounts>>,
}

impl ChangeTally {
    /// Counts of a folder of `area`, to which nothing was added.
    pub(crate) fn counts(&self, area: Option<usize>) -> ChangeCounts {
        let areas = lock(&self.areas);
        let below = area.and_then(|area| areas.get(&area)?.below);
        ChangeCounts { below, ..ChangeCounts::default() }
    }

    /// Adds what changed in a part of `area`.
    pub(crate) fn add(&self, area: Option<usize>, counts: ChangeCounts) {
        if let Some(area) = area.filter(|_| !counts.is_empty()) {
            lock(&self.areas).entry(area).or_default().add(counts);
        }
    }

    /// Counts a new or changed file whose first bytes were examined.
    pub(crate) fn sampled(
        &self,
        area: Option<usize>,
        sampled: Sampled,
        path: impl FnOnce() -> Vec<u8>,
    ) {
        let mut areas = lock(&self.areas);
        let Some(counts) = area.map(|area| areas.entry(area).or_default()) else { return };
        counts.numbers.sampled += 1;
        match sampled {
            Sampled::Ordinary => return,
            Sampled::TurnedRandom => counts.numbers.turned_random += 1,
            Sampled::NewRandom => counts.numbers.new_random += 1,
        }
        if counts.random_examples.len() < EXAMPLES {
            counts.random_examples.push(crate::entry::escape::shown(&path()));
        }
    }

    /// Counts a file that the base has under another path. It was counted as new or changed before.
    pub(crate) fn renamed(&self, area: Option<usize>, from: &CStr, to: &CStr) {
        let mut areas = lock(&self.areas);
        let Some(counts) = area.map(|area| areas.entry(area).or_default()) else { return };
        counts.numbers.renamed += 1;
        if let Some(extension) = extension(to) {
            count(&mut counts.extensions, &extension, |of| of.0 = of.0.saturating_sub(1));
        }
        if let Some(extension) = extension(from) {
            count(&mut counts.extensions, &extension, |of| of.1 = of.1.saturating_sub(1));
        }
    }

    /// Takes back a file that was counted as changed and turned out to have the content of the base's file.
    pub(crate) fn is_unchanged(&self, area: Option<usize>) {
        let mut areas = lock(&self.areas);
        if let Some(counts) = area.and_then(|area| areas.get_mut(&area)) {
            counts.numbers.changed = counts.numbers.changed.saturating_sub(1);
        }
    }

    /// What changed in all of `areas`, for the report. `is_random` examines a file of the base by its path inside it; `None`
    /// when it says nothing.
    pub(crate) fn of(
        &self,
        areas: impl Iterator<Item = usize>,
        is_random: impl Fn(&[u8]) -> Option<bool>,
    ) -> RootChanges {
        let all = lock(&self.areas);
        let mut sum = ChangeCounts::default();
        for counts in areas.filter_map(|area| all.get(&area)) {
            sum.add(counts.clone());
        }
        if sum.numbers.new_random > 0 {
            let known: Vec<bool> = sum.gone.values().filter_map(|path| is_random(path)).collect();
            let random = known.iter().filter(|is_random| **is_random).count() as u64;
            sum.numbers.gone_random = sum.numbers.gone * random / (known.len() as u64).max(1);
        }
        sum.recorded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::c_name;
    use std::cell::Cell;

    const NOON: i64 = 1_700_000_000 - 1_700_000_000 % STEP;

    fn file(secs: i64, ctime: i64) -> Meta {
        let time = |secs| Time { secs, nanos: 0 };
        Meta { mtime: time(secs), ctime: time(ctime), ..Meta::of(Kind::File) }
    }

    #[test]
    fn changes_are_counted_by_extension_time_and_age() {
        let mut counts = ChangeCounts::default();
        let since = Some(Time { secs: NOON, nanos: 0 });
        let path = || b"/a".to_vec();
        let mut add = |name: &str, meta: &Meta, base: Option<&Meta>, verdict| {
            counts.entry((&c_name(name).unwrap(), meta), base, verdict, since, path);
        };
        let (old, young) = (file(NOON - LONG - 1, 0), file(NOON - 5, 0));
        add("a.odt", &file(NOON + 1, 0), Some(&old), Verdict::Changed);
        // It kept its time, so the change time counts.
        add("b.odt", &file(NOON - 5, NOON + STEP), Some(&young), Verdict::Changed);
        add("c.odt", &file(NOON - 9, NOON + 9), Some(&young), Verdict::Metadata);
        for name in ["1.LOCKED", "2.odt.locked", "x.locked", ".locked", "2,S=9:2,S", "none"] {
            add(name, &file(NOON + 2 * STEP - 1, 0), None, Verdict::New);
        }
        add("of old.jpg", &file(NOON - LONG, NOON + 1), None, Verdict::New);
        counts.gone(&c_name("2.odt").unwrap(), || b"gone".to_vec());
        let tally = ChangeTally::default();
        tally.add(Some(3), counts);
        tally.sampled(Some(3), Sampled::NewRandom, || b"/random".to_vec());
        tally.sampled(Some(3), Sampled::Ordinary, || b"/x".to_vec());
        let locked = ExtensionChanges { extension: "locked".to_owned(), new: 3, gone: 0 };
        let expected = RootChanges {
            changed: 2,
            changed_old: 1,
            new: 7,
            gone: 1,
            sampled: 2,
            new_random: 1,
            burst: 8,
            burst_began: DateTime::from_timestamp(NOON, 0).map(rfc3339),
            extensions: vec![locked.clone()],
            examples: ["/random", "/a", "/a"].map(str::to_owned).to_vec(),
            ..RootChanges::default()
        };
        assert_eq!(tally.of([0, 3].into_iter(), |_| Some(false)), expected);
        tally.renamed(Some(3), c"2.odt", c"x.locked");
        tally.is_unchanged(Some(3));
        let after = tally.of([3].into_iter(), |path| Some(path == b"gone"));
        assert_eq!((after.renamed, after.changed, after.extensions), (1, 1, Vec::new()));
        assert_eq!(after.gone_random, 1);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut counts = ChangeCounts::default();
        for number in 0..10_000 {
            let name = c_name(format!("{number}.x{number}")).unwrap();
            let meta = file(NOON + 7 * STEP * number, 0);
            counts.entry((&name, &meta), None, Verdict::New, Some(Time::default()), Vec::new);
        }
        let made = Cell::new(0);
        let gone = |counts: &mut ChangeCounts, folder: u32| {
            for number in 0..10_000_u32 {
                counts.gone(&c_name(number.to_string()).unwrap(), || {
                    made.set(made.get() + 1);
                    format!("{folder}/{number}").into_bytes()
                });
            }
        };
        gone(&mut counts, 1);
        assert_eq!((counts.steps.len(), counts.extensions.len()), (STEPS, EXTENSIONS));
        assert_eq!((counts.gone.len(), counts.numbers.gone), (GONE, 10_000));
        assert!(made.get() < 1000, "of the files that are not kept few paths are made: {made:?}");
        // The sample of all folders is that of the lowest hashes of all.
        let tally = ChangeTally::default();
        tally.add(Some(1), counts.clone());
        let mut second = tally.counts(Some(1));
        made.set(0);
        gone(&mut second, 2);
        assert!((2..200).contains(&made.get()), "{made:?}");
        let mut alone = ChangeCounts::default();
        gone(&mut alone, 2);
        let mut both: Vec<_> = counts.gone.keys().chain(alone.gone.keys()).collect();
        both.sort_unstable();
        tally.add(Some(1), second);
        assert!(lock(&tally.areas)[&1].gone.keys().eq(both.into_iter().take(GONE)));
        assert_eq!(counts.recorded().new, 10_000);
    }
}
