//! Decides which folders become which snapshots. Pure: a listing of the other program's folder in, a plan out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Utc};

use crate::adopt::name::{ForeignName, Program};
use crate::adopt::reason::{LeftAlone, Note, Obstacle};
use crate::entry::Kind;
use crate::snapshot::history::History;
use crate::snapshot::name::{Prefix, SnapshotName, SnapshotState, Stamp};
use crate::snapshot::retention::{Candidate, Retention, surplus};

/// Which instants the clocks of a time zone show as a local time.
pub type Zone<'a> = &'a dyn Fn(NaiveDateTime) -> MappedLocalTime<DateTime<Utc>>;

/// What an adoption would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The folders that get new names, the oldest first.
    pub renames: Vec<Rename>,
    /// What stays as it is, and why, by name.
    pub left: Vec<(CString, LeftAlone)>,
    /// What prevents the adoption, by the name of the folder or file. While there is any, nothing is renamed.
    pub obstacles: Vec<(CString, Obstacle)>,
}

impl Plan {
    /// The snapshots that the retention removes in the first run after the adoption, when the backups folder
    /// has the snapshots `there` now.
    #[must_use]
    pub fn removed_by_next_run(
        &self,
        there: Vec<Candidate>,
        retention: &Retention,
        now: DateTime<Utc>,
    ) -> Vec<SnapshotName> {
        let adopted = self.renames.iter().map(|rename| rename.to.clone());
        let mut all = there;
        all.extend(adopted.map(|name| Candidate {
            name,
            held: false,
            damaged: false,
            frozen: false,
        }));
        all.sort_by_key(|candidate| candidate.name.stamp);
        let history = History::of(all.iter().map(|candidate| candidate.name.clone()));
        let prefix = all.first().map(|candidate| candidate.name.prefix.clone());
        let Some((prefix, stamp)) = prefix.zip(history.free_stamp(now)) else { return Vec::new() };
        let new = SnapshotName { prefix, stamp, state: SnapshotState::Complete };
        let (before, after) = surplus(&all, retention, history.base(now), &new);
        before.into_iter().chain(after).map(|(name, _)| name).collect()
    }
}

/// A folder that becomes a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The program that made it.
    pub program: Program,
    /// Its name in the other program's folder.
    pub folder: CString,
    /// The folder inside it that is the snapshot; `None` when it is the folder itself.
    pub inside: Option<CString>,
    /// The snapshot that it becomes.
    pub to: SnapshotName,
    /// What a user should know about it.
    pub note: Option<Note>,
}

/// An entry of the other program's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: CString,
    pub(crate) kind: Kind,
    /// The modification time, in seconds since 1970.
    pub(crate) seconds: i64,
    /// Of a symlink, where it leads.
    pub(crate) target: Option<Vec<u8>>,
    /// Of a folder with the name of a snapshot, the state of the tree in it.
    pub(crate) tree: TreeState,
}

/// Whether a folder with the name of a snapshot can be renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeState {
    /// It can, as far as can be known before.
    Fit {
        /// The other program recorded errors.
        errors: bool,
    },
    /// It has no folder of that name, or what has the name is not a folder.
    Left(LeftAlone),
    /// It cannot.
    Refused(CString, Obstacle),
}

/// The facts that a plan depends on.
pub(crate) struct Facts<'a> {
    pub(crate) seen: &'a [Seen],
    /// The folder inside rsnapshot's snapshots to adopt instead of the whole.
    pub(crate) label: Option<&'a CStr>,
    pub(crate) prefix: &'a Prefix,
    pub(crate) zone: Zone<'a>,
    /// Why a name cannot be used in the backups folder.
    pub(crate) taken: &'a dyn Fn(&SnapshotName) -> Option<Obstacle>,
}

/// The folder inside the snapshots of `program` that is the tree.
pub(crate) fn tree_in(program: Program, label: Option<&CStr>) -> Option<CString> {
    match program {
        Program::BackInTime => Some(c"backup".to_owned()),
        Program::Rsnapshot => label.map(CStr::to_owned),
        Program::RsyncTimeBackup => None,
    }
}

pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut seen: Vec<(&Seen, ForeignName)> =
        facts.seen.iter().map(|seen| (seen, ForeignName::of(seen.name.to_bytes()))).collect();
    seen.sort_by(|one, other| one.0.name.cmp(&other.0.name));
    let listing = Listing::of(&seen);
    for (seen, name) in &seen {
        match fate(facts, &listing, seen, name) {
            Fate::Ours => {}
            Fate::Stays(why) => plan.left.push((seen.name.clone(), why)),
            Fate::Refused(name, obstacle) => plan.obstacles.push((name, obstacle)),
            Fate::Becomes(rename) => plan.renames.push(rename),
        }
    }
    plan.renames.sort_by_key(|rename| (rename.to.stamp, rename.folder.clone()));
    plan.obstacles.extend(between(&plan.renames));
    plan.obstacles.extend(out_of_order(&seen, &plan.renames));
    plan
}

/// What the names in a folder say together.
struct Listing {
    /// The levels of rsnapshot that have a newest snapshot.
    levels: BTreeSet<String>,
    /// The newest snapshot of rsync-time-backup.
    newest: Option<NaiveDateTime>,
    in_progress: bool,
    /// The time in the target of `latest`.
    latest: Option<NaiveDateTime>,
}

impl Listing {
    fn of(seen: &[(&Seen, ForeignName)]) -> Self {
        let mut listing =
            Self { levels: BTreeSet::new(), newest: None, in_progress: false, latest: None };
        for (seen, name) in seen {
            match name {
                ForeignName::Rotated { level, number: 0 } if seen.kind == Kind::Folder => {
                    listing.levels.insert(level.clone());
                }
                ForeignName::Dated(Program::RsyncTimeBackup, time) if seen.kind == Kind::Folder => {
                    listing.newest = listing.newest.max(Some(*time));
                }
                ForeignName::Companion(Program::RsyncTimeBackup) => {
                    listing.in_progress |= seen.name.as_c_str() == c"backup.inprogress";
                    listing.latest = listing.latest.or(seen.target.as_deref().and_then(dated));
                }
                _ => {}
            }
        }
        listing
    }
}

fn dated(target: &[u8]) -> Option<NaiveDateTime> {
    match ForeignName::of(target.rsplit(|byte| *byte == b'/').next()?) {
        ForeignName::Dated(Program::RsyncTimeBackup, time) => Some(time),
        _ => None,
    }
}

enum Fate {
    /// A file of this program, which the plan does not mention.
    Ours,
    Stays(LeftAlone),
    Refused(CString, Obstacle),
    Becomes(Rename),
}

fn fate(facts: &Facts<'_>, listing: &Listing, seen: &Seen, name: &ForeignName) -> Fate {
    let refused = |obstacle| Fate::Refused(seen.name.clone(), obstacle);
    let program = match (name, name.program()) {
        (ForeignName::Own, _) => return Fate::Ours,
        (ForeignName::Companion(program), _) => return Fate::Stays(LeftAlone::Companion(*program)),
        (_, None) => return Fate::Stays(LeftAlone::Unknown),
        (_, Some(program)) => program,
    };
    match seen.kind {
        Kind::Folder => {}
        Kind::Symlink => return Fate::Stays(LeftAlone::Symlink),
        _ => return Fate::Stays(LeftAlone::NotAFolder),
    }
    let (stamp, repeated) = match name {
        ForeignName::Rotated { level, .. } if !listing.levels.contains(level) => {
            return Fate::Stays(LeftAlone::NoNewest(level.clone()));
        }
        ForeignName::Rotated { .. } => (DateTime::from_timestamp(seen.seconds, 0), false),
        ForeignName::Dated(Program::RsyncTimeBackup, time)
            if listing.in_progress && listing.newest == Some(*time) =>
        {
            return Fate::Stays(LeftAlone::Unfinished);
        }
        ForeignName::Dated(Program::RsyncTimeBackup, time)
            if listing.latest.is_some_and(|latest| *time > latest) =>
        {
            return Fate::Stays(LeftAlone::AfterLatest);
        }
        ForeignName::Dated(_, time) => match (facts.zone)(*time) {
            MappedLocalTime::Single(time) => (Some(time), false),
            // Always the later of the two: then the order of the names is the order of the instants.
            MappedLocalTime::Ambiguous(one, other) => (Some(one.max(other)), one != other),
            MappedLocalTime::None => return refused(Obstacle::SkippedHour),
        },
        _ => return refused(Obstacle::NoSuchTime(program)),
    };
    let errors = match &seen.tree {
        TreeState::Fit { errors } => *errors,
        TreeState::Left(why) => return Fate::Stays(why.clone()),
        TreeState::Refused(name, obstacle) => {
            return Fate::Refused(name.clone(), obstacle.clone());
        }
    };
    let Some(stamp) = stamp.and_then(Stamp::of) else { return refused(Obstacle::NoYear) };
    let to = SnapshotName { prefix: facts.prefix.clone(), stamp, state: SnapshotState::Complete };
    if let Some(obstacle) = (facts.taken)(&to) {
        return refused(obstacle);
    }
    Fate::Becomes(Rename {
        program,
        folder: seen.name.clone(),
        inside: tree_in(program, facts.label),
        to,
        note: match (errors, repeated) {
            (true, _) => Some(Note::Errors),
            (false, true) => Some(Note::RepeatedHour),
            (false, false) => None,
        },
    })
}

/// The obstacles between the renames, which are sorted by time.
fn between(renames: &[Rename]) -> Vec<(CString, Obstacle)> {
    let same = renames.windows(2).filter(|pair| pair[0].to == pair[1].to).map(|pair| {
        let (other, name) = (pair[0].folder.clone(), pair[1].to.to_string());
        let obstacle = Obstacle::SameName { other, name };
        (pair[1].folder.clone(), obstacle)
    });
    let mut found: Vec<_> = same.collect();
    let mut programs: BTreeMap<Program, &Rename> = BTreeMap::new();
    for rename in renames {
        programs.entry(rename.program).or_insert(rename);
    }
    let mut of_each = programs.values();
    if let Some(first) = of_each.next() {
        found.extend(of_each.map(|second| {
            let obstacle = Obstacle::SecondProgram(second.program, first.program);
            (second.folder.clone(), obstacle)
        }));
    }
    found
}

/// The folders of rsnapshot whose time contradicts their number: a higher number is older.
fn out_of_order(seen: &[(&Seen, ForeignName)], renames: &[Rename]) -> Vec<(CString, Obstacle)> {
    let mut levels: BTreeMap<&str, BTreeMap<u32, &Seen>> = BTreeMap::new();
    for (seen, name) in seen {
        if let ForeignName::Rotated { level, number } = name
            && renames.iter().any(|rename| rename.folder == seen.name)
        {
            levels.entry(level).or_default().insert(*number, seen);
        }
    }
    let mut found = Vec::new();
    for level in levels.values() {
        let newest_first: Vec<&&Seen> = level.values().collect();
        for pair in newest_first.windows(2).filter(|pair| pair[0].seconds < pair[1].seconds) {
            found.push((pair[0].name.clone(), Obstacle::OutOfOrder(pair[1].name.clone())));
        }
    }
    found
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
