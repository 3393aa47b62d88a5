//! A year of simulated days, and attacks in it: how often the brake is wrong, and how early it notices an attack.
//!
//! Each day is what the report of a run records. The numbers are drawn at random around what such work does; each test
//! runs with many seeds.

use crate::backup::brake::judge::{HISTORY, RootRun, judge};
use crate::snapshot::changes::{ChangeBrake, ExtensionChanges, RootChanges, Suspicion};

/// SplitMix64, a small generator of random numbers.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`.
    fn from(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// True in `percent` of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// From `least` to `most` percent of `number`.
    fn part(&mut self, number: u64, least: u64, most: u64) -> u64 {
        number * self.from(least * 100, most * 100) / 10_000
    }
}

/// What a source root is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Documents, mail, photos and programs' sources of a person.
    Home,
    /// An operating system.
    System,
    /// Photos and scans that hardly change.
    Archive,
    /// Dumps of databases: every file is written anew each day.
    Dumps,
}

const USES: [Use; 4] = [Use::Home, Use::System, Use::Archive, Use::Dumps];

/// A root, day by day.
#[derive(Debug, Clone)]
struct Days {
    random: Random,
    of: Use,
    files: u64,
    day: u64,
    /// The days of rare events.
    upgrade: u64,
    reorganised: [u64; 2],
    camera: &'static str,
}

impl Days {
    fn new(of: Use, seed: u64) -> Self {
        let mut random = Random(seed);
        let files = match of {
            Use::Home => random.from(3_000, 200_000),
            Use::System => random.from(60_000, 300_000),
            Use::Archive => random.from(2_000, 150_000),
            Use::Dumps => random.from(20, 400),
        };
        let (upgrade, reorganised) =
            (random.from(20, 360), [random.from(10, 180), random.from(181, 360)]);
        Self { random, of, files, day: 0, upgrade, reorganised, camera: "jpg" }
    }

    /// The changes of the next day.
    fn next(&mut self) -> RootRun {
        self.day += 1;
        let files = self.files;
        let mut changes = RootChanges::default();
        match self.of {
            Use::Home => self.home(&mut changes),
            Use::System => self.system(&mut changes),
            Use::Archive => self.archive(&mut changes),
            Use::Dumps => self.dumps(&mut changes),
        }
        changes.sampled = changes.changed + changes.new - changes.renamed;
        self.files = (files + changes.new).saturating_sub(changes.gone).max(20);
        RootRun {
            base: Some(format!("day {}", self.day - 1)),
            began: format!("day {}", self.day),
            files,
            changes,
            suspicious: false,
        }
    }

    fn home(&mut self, changes: &mut RootChanges) {
        let files = self.files;
        let random = &mut self.random;
        let weekend = self.day % 7 >= 5;
        // Office work, programs' caches and profiles.
        let busy = if weekend { 20 } else { 120 };
        work(changes, random.from(5, busy), random.from(1, busy / 2), random.from(0, busy / 3));
        changes.burst += random.from(1, 30);
        // Mail: new files, moved ones that are too small to be recognised, and deleted ones.
        let mail = random.from(0, if weekend { 30 } else { 200 });
        let moved = mail / 2;
        work(changes, random.from(1, 20), mail + moved, moved + random.from(0, mail));
        changes.burst += random.from(0, mail / 4);
        if random.chance(3) {
            // A download in parts, or a cache, whose first bytes happen to look random.
            changes.turned_random += random.from(1, 4);
            changes.new_random += random.from(0, 20);
        }
        if random.chance(8) {
            self.photos(changes, 50, 1500);
        }
        let random = &mut self.random;
        if random.chance(5) {
            // git gc: loose objects vanish, a pack appears.
            work(changes, 3, 4, random.from(200, 6_000).min(files / 12));
        }
        if random.chance(10) {
            // A checkout or a build.
            let built = random.from(20, 900).min(files / 12);
            work(changes, built / 2, built / 2, built / 4);
            changes.burst += built;
        }
        if random.chance(1) {
            // The dependencies of a program are installed anew.
            let installed = random.part(files, 1, 6);
            work(changes, installed / 3, installed, installed / 2);
            changes.burst += installed;
        }
        if random.chance(1) {
            // Tags are written into many photos or pieces of music.
            let tagged = random.part(files, 1, 6);
            work(changes, tagged, 0, 0);
            changes.changed_old += tagged * 9 / 10;
            changes.burst += tagged;
        }
        if self.reorganised.contains(&self.day) {
            self.reorganise(changes);
        }
    }

    fn system(&mut self, changes: &mut RootChanges) {
        let files = self.files;
        let random = &mut self.random;
        // Logs, state, and some days a few packages.
        work(changes, random.from(50, 300), random.from(5, 60), random.from(5, 60));
        changes.burst += random.from(5, 60);
        if random.chance(30) {
            let packages = random.from(20, 3_000).min(files / 20);
            work(changes, packages, packages / 10, packages / 10);
            changes.changed_old += packages / 2;
            changes.burst += packages / 10;
            changes.turned_random += random.from(0, 2);
        }
        if self.day == self.upgrade {
            let upgraded = random.part(files, 15, 60);
            work(changes, upgraded / 2, upgraded / 2, upgraded / 3);
            changes.changed_old += upgraded / 3;
            // Most files have the time at which their package was built.
            changes.burst += random.part(upgraded, 2, 40);
            changes.turned_random += random.from(0, 40);
            if random.chance(30) {
                let modules = random.from(1_000, 6_000);
                extension(changes, "zst", modules, 0);
            }
        }
    }

    fn archive(&mut self, changes: &mut RootChanges) {
        if self.random.chance(4) {
            self.photos(changes, 100, 3_000);
        }
        if self.random.chance(10) {
            let edited = self.random.from(1, 60);
            work(changes, edited, edited / 2, 0);
            changes.burst += edited / 3;
        }
        if self.random.chance(3) {
            // An encrypted archive is packed anew: its files looked random before.
            let packed = self.random.part(self.files, 1, 30);
            work(changes, 0, packed, packed);
            changes.new_random += packed;
            changes.gone_random += packed;
        }
        if self.reorganised.contains(&self.day) {
            self.reorganise(changes);
        }
    }

    fn dumps(&mut self, changes: &mut RootChanges) {
        let files = self.files;
        let gone = self.random.from(0, files / 20);
        work(changes, files - gone, gone, gone);
        changes.burst += self.random.part(files, 60, 100);
        // Encrypted dumps look random always, so they do not become random.
        changes.new_random += gone;
    }

    /// Photos from a camera or telephone, and some days from a new one.
    fn photos(&mut self, changes: &mut RootChanges, least: u64, most: u64) {
        let random = &mut self.random;
        let new = random.from(least, most);
        if random.chance(10) {
            self.camera = ["jpg", "heic", "cr3", "dng", "mp4"][random.from(0, 4) as usize];
        }
        changes.new += new;
        // Some programs keep the time of the photo.
        changes.burst += if random.chance(50) { new } else { 0 };
        extension(changes, self.camera, new, 0);
    }

    /// Folders are moved and renamed. Small files among them may not be recognised.
    fn reorganise(&mut self, changes: &mut RootChanges) {
        let random = &mut self.random;
        let moved = random.part(self.files, 20, 80);
        let recognised = random.part(moved, 50, 100);
        changes.new += moved;
        changes.gone += moved;
        changes.renamed += recognised;
        changes.burst += random.from(0, 50);
        extension(changes, "jpg", moved / 2, moved / 2);
    }
}

/// Adds ordinary changes. Few of the files had not changed for long.
fn work(changes: &mut RootChanges, changed: u64, new: u64, gone: u64) {
    changes.changed += changed;
    changes.changed_old += changed / 15;
    changes.new += new;
    changes.gone += gone;
    extension(changes, "txt", new / 2, gone / 2);
}

fn extension(changes: &mut RootChanges, extension: &str, new: u64, gone: u64) {
    match changes.extensions.iter_mut().find(|of| of.extension == extension) {
        Some(of) => (of.new, of.gone) = (of.new + new, of.gone + gone),
        None => {
            changes.extensions.push(ExtensionChanges { extension: extension.to_owned(), new, gone })
        }
    }
}

/// Judges a run by those before, and adds it to them.
fn run(past: &mut Vec<RootRun>, mut now: RootRun) -> Option<Suspicion> {
    let from = past.len().saturating_sub(HISTORY);
    let suspicion = judge(&now, &past[from..], ChangeBrake::On);
    now.suspicious = suspicion.is_some();
    past.push(now);
    suspicion
}

/// How an attack changes files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    InPlace,
    Renaming,
    /// The new names have nothing in common with the old ones.
    RandomNames,
    Slowly,
    SlowlyRenaming,
    Documents,
    /// Like [`Attack::Documents`], over hours.
    DocumentsInHours,
}

const ATTACKS: [Attack; 7] = [
    Attack::InPlace,
    Attack::Renaming,
    Attack::RandomNames,
    Attack::Slowly,
    Attack::SlowlyRenaming,
    Attack::Documents,
    Attack::DocumentsInHours,
];

/// The number of runs over which a slow attack spreads, and the number of snapshots in a history.
const RUNS: u64 = 30;

/// Adds what an attack does to `files` files on one day to the ordinary changes.
fn strike(attack: Attack, random: &mut Random, files: u64, changes: &mut RootChanges) {
    let hit = match attack {
        Attack::InPlace | Attack::Renaming | Attack::RandomNames => random.part(files, 70, 100),
        Attack::Slowly | Attack::SlowlyRenaming => files / RUNS,
        Attack::Documents | Attack::DocumentsInHours => random.part(files, 4, 25).max(25),
    };
    // The samples of small files say nothing.
    let random_now = random.part(hit, 60, 98);
    let in_ten_minutes = match attack {
        Attack::Slowly | Attack::SlowlyRenaming | Attack::DocumentsInHours => hit / 20,
        _ => random.part(hit, 10, 100),
    };
    changes.burst += in_ten_minutes;
    match attack {
        Attack::Renaming | Attack::SlowlyRenaming => {
            changes.gone += hit;
            changes.new += hit;
            changes.turned_random += random_now;
            extension(changes, "locked", hit, 0);
        }
        Attack::RandomNames => {
            changes.gone += hit;
            changes.new += hit;
            changes.new_random += random_now;
        }
        _ => {
            changes.changed += hit;
            changes.changed_old += random.part(hit, 50, 95);
            changes.turned_random += random_now;
        }
    }
}

/// How many runs an attack had made when the brake noticed it. `None` if it did not notice it in the [`RUNS`] runs.
fn noticed(attack: Attack, mut days: Days, past: &[RootRun]) -> Option<u64> {
    let (mut past, mut random, files) = (past.to_vec(), Random(days.files), days.files);
    (1..=RUNS).find(|number| {
        let mut day = days.next();
        if *number == 1 || matches!(attack, Attack::Slowly | Attack::SlowlyRenaming) {
            strike(attack, &mut random, files, &mut day.changes);
        }
        run(&mut past, day).is_some()
    })
}

/// How many years are simulated. The numbers in docs/brake.md are of 2,000.
const SEEDS: u64 = 40;

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn a_year_of_ordinary_days_has_at_most_two_false_alarms() {
    let mut years = [0; 3];
    for seed in 0..seeds() {
        let mut alarms = Vec::new();
        for of in USES {
            let (mut days, mut past) = (Days::new(of, seed), Vec::new());
            let year = (0..365).filter_map(|_| run(&mut past, days.next()));
            alarms.extend(year.map(|suspicion| (of, suspicion)));
        }
        assert!(alarms.len() <= 2, "{seed}: {alarms:#?}");
        years[alarms.len()] += 1;
    }
    println!("years with 0, 1 and 2 false alarms: {years:?}");
}

#[test]
fn each_attack_is_noticed_while_half_of_the_history_is_good() {
    for quiet_days in [8, 45, 200] {
        let mut latest = [0; ATTACKS.len()];
        for of in [Use::Home, Use::System, Use::Archive] {
            for seed in 0..seeds() {
                let (mut days, mut past) = (Days::new(of, seed), Vec::new());
                for _ in 0..quiet_days {
                    let day = days.next();
                    run(&mut past, day);
                }
                for (attack, latest) in ATTACKS.iter().zip(&mut latest) {
                    let of_documents =
                        matches!(attack, Attack::Documents | Attack::DocumentsInHours);
                    if of_documents && of == Use::System {
                        continue;
                    }
                    let runs = noticed(*attack, days.clone(), &past);
                    assert!(
                        runs.is_some_and(|runs| runs <= RUNS / 2),
                        "{attack:?} {of:?} {seed} after {quiet_days} days: {runs:?}"
                    );
                    *latest = (*latest).max(runs.unwrap_or(RUNS));
                }
            }
        }
        println!("after {quiet_days} days, noticed by this run: {ATTACKS:?} {latest:?}");
    }
}
