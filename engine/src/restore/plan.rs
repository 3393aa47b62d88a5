//! Compares an entry of a snapshot with the existing target entry, and decides what to do. Pure.

use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, Time};

/// When the snapshot's version replaces an existing entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Never.
    #[default]
    Never,
    /// When the snapshot's version is newer, by modification time.
    Newer,
    /// When the content (by size and time) or the metadata differs.
    Changed,
    /// Always, without comparing.
    Always,
}

/// The properties of a target that affect the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RestoreRules {
    /// When an existing entry is replaced.
    pub overwrite: Overwrite,
    /// Whether entries that the snapshot does not contain are removed, including a folder that occupies the
    /// name of another entry.
    pub delete: bool,
    /// Whether the target can set owners. Otherwise they are not compared.
    pub owners: bool,
    /// Whether the target can set attributes. Otherwise they are not compared.
    pub xattrs: bool,
    /// The granularity of modification times, nanoseconds.
    pub granularity_ns: u32,
    /// The earliest and the latest modification time, seconds since 1970. The target clamps others to this
    /// range.
    pub seconds: (i64, i64),
}

/// The action for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestoreStep {
    /// Nothing exists: create the entry.
    Create,
    /// Keep the existing entry, which is equal.
    Keep,
    /// Keep the content: set owner, mode, times and attributes.
    SetMetadata,
    /// Create the entry and replace the existing one.
    Replace,
    /// Remove the existing folder with its content, and create the entry.
    ReplaceFolder,
    /// Leave the existing entry unchanged, and report the reason.
    Leave(&'static str),
}

/// How two entries differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RestoreVerdict {
    Same,
    Metadata,
    Changed,
}

/// Decides the action for an entry: `wanted` in the snapshot, `there` in the target.
#[must_use]
pub(crate) fn decide(
    wanted: &StoredEntry,
    there: Option<&StoredEntry>,
    rules: &RestoreRules,
) -> RestoreStep {
    let Some(there) = there else { return RestoreStep::Create };
    let folders = [wanted.meta.kind, there.meta.kind].map(|kind| kind == Kind::Folder);
    let newer = wanted.meta.mtime > there.meta.mtime
        && !same_time(wanted.meta.mtime, there.meta.mtime, rules);
    let may = match rules.overwrite {
        Overwrite::Never => false,
        Overwrite::Newer => newer,
        Overwrite::Changed | Overwrite::Always => true,
    };
    match (folders, compare(wanted, there, rules)) {
        ([true, true], RestoreVerdict::Same) => RestoreStep::Keep,
        ([true, true], _) => RestoreStep::SetMetadata,
        ([false, true], _) if may && rules.delete => RestoreStep::ReplaceFolder,
        ([false, true], _) => RestoreStep::Leave("a folder is in its place"),
        ([true, false], _) if !may => {
            RestoreStep::Leave("something that is no folder is in its place")
        }
        (_, RestoreVerdict::Same) if rules.overwrite != Overwrite::Always => RestoreStep::Keep,
        _ if !may => RestoreStep::Leave("another version is in its place"),
        (_, RestoreVerdict::Metadata) if rules.overwrite != Overwrite::Always => {
            RestoreStep::SetMetadata
        }
        _ => RestoreStep::Replace,
    }
}

fn compare(wanted: &StoredEntry, there: &StoredEntry, rules: &RestoreRules) -> RestoreVerdict {
    let (new, old) = (&wanted.meta, &there.meta);
    let times = same_time(new.mtime, old.mtime, rules);
    let content = new.kind == old.kind
        && match new.kind {
            Kind::File => new.size == old.size && times,
            Kind::Symlink => wanted.target == there.target,
            Kind::BlockDevice | Kind::CharDevice => new.rdev == old.rdev,
            Kind::Folder | Kind::Fifo | Kind::Socket => true,
        };
    if !content {
        return RestoreVerdict::Changed;
    }
    let metadata = (new.kind == Kind::Symlink || new.mode == old.mode)
        && (!rules.owners || (new.uid, new.gid) == (old.uid, old.gid))
        && times
        // A snapshot made without -X and -A has no attributes or ACLs, so they are not compared.
        && (!rules.xattrs || wanted.xattrs.is_empty() || wanted.xattrs == there.xattrs);
    if metadata { RestoreVerdict::Same } else { RestoreVerdict::Metadata }
}

/// Whether both times are equal at the granularity and in the range of the target.
fn same_time(wanted: Time, other: Time, rules: &RestoreRules) -> bool {
    let (earliest, latest) = rules.seconds;
    let held = wanted.secs.clamp(earliest, latest);
    let one = if held == wanted.secs { wanted } else { Time { secs: held, nanos: 0 } };
    let grain = rules.granularity_ns.max(1);
    if grain > 1_000_000_000 {
        return one.secs.abs_diff(other.secs) < u64::from(grain / 1_000_000_000);
    }
    one.secs == other.secs && one.nanos / grain == other.nanos / grain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::FileId;
    use crate::entry::Meta;
    use crate::entry::Xattrs;

    fn held(change: impl FnOnce(&mut StoredEntry)) -> StoredEntry {
        let meta = Meta {
            kind: Kind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 10,
            mtime: Time { secs: 1000, nanos: 500 },
            ctime: Time::default(),
            id: Some(FileId { dev: 1, ino: 1 }),
            links: 1,
            rdev: 0,
            allocated: 4096,
            is_shared: false,
        };
        let mut held = StoredEntry { meta, target: None, xattrs: Xattrs::new(), on_disk: true };
        change(&mut held);
        held
    }

    fn rules(overwrite: Overwrite, delete: bool) -> RestoreRules {
        let seconds = (i64::MIN, i64::MAX);
        RestoreRules { overwrite, delete, owners: true, xattrs: true, granularity_ns: 1, seconds }
    }

    #[test]
    fn an_existing_entry_stays_unless_it_may_be_overwritten() {
        use Overwrite::Always;
        use Overwrite::Changed;
        use Overwrite::Never;
        use Overwrite::Newer;
        let wanted = held(|_| {});
        let older = held(|held| held.meta.mtime.secs = 1);
        let newer = held(|held| held.meta.mtime.secs = 2000);
        let mode = held(|held| held.meta.mode = 0o600);
        let folder = held(|held| held.meta.kind = Kind::Folder);
        let (left, in_folder) = (
            RestoreStep::Leave("another version is in its place"),
            RestoreStep::Leave("a folder is in its place"),
        );
        for (there, overwrite, delete, step) in [
            (None, Never, false, RestoreStep::Create),
            (Some(&wanted), Never, false, RestoreStep::Keep),
            (Some(&wanted), Changed, false, RestoreStep::Keep),
            (Some(&wanted), Always, false, RestoreStep::Replace),
            (Some(&older), Never, false, left),
            (Some(&older), Newer, false, RestoreStep::Replace),
            (Some(&older), Changed, false, RestoreStep::Replace),
            (Some(&newer), Newer, false, left),
            (Some(&newer), Changed, false, RestoreStep::Replace),
            (Some(&mode), Never, false, left),
            (Some(&mode), Newer, false, left),
            (Some(&mode), Changed, false, RestoreStep::SetMetadata),
            (Some(&mode), Always, false, RestoreStep::Replace),
            (Some(&folder), Never, true, in_folder),
            (Some(&folder), Changed, false, in_folder),
            (Some(&folder), Changed, true, RestoreStep::ReplaceFolder),
        ] {
            let decided = decide(&wanted, there, &rules(overwrite, delete));
            assert_eq!(decided, step, "{there:?} {overwrite:?} {delete}");
        }
    }

    #[test]
    fn folders_are_entered_and_take_the_place_of_other_things_only_when_allowed() {
        let wanted = held(|held| held.meta.kind = Kind::Folder);
        let link = held(|held| held.meta.kind = Kind::Symlink);
        let own_folder = held(|held| (held.meta.kind, held.meta.mode) = (Kind::Folder, 0o700));
        let never = rules(Overwrite::Never, false);
        assert_eq!(decide(&wanted, Some(&wanted), &never), RestoreStep::Keep);
        assert_eq!(decide(&wanted, Some(&own_folder), &never), RestoreStep::SetMetadata);
        assert!(matches!(decide(&wanted, Some(&link), &never), RestoreStep::Leave(_)));
        let changed = rules(Overwrite::Changed, false);
        assert_eq!(decide(&wanted, Some(&link), &changed), RestoreStep::Replace);
    }

    #[test]
    fn attributes_and_owners_count_where_the_snapshot_and_the_target_know_them() {
        let coloured = |colour: &str| {
            let pair = (b"user.colour".to_vec(), colour.as_bytes().to_vec());
            held(|held| held.xattrs.push(pair))
        };
        let (none, red, blue) = (held(|_| {}), coloured("red"), coloured("blue"));
        let changed = rules(Overwrite::Changed, false);
        assert_eq!(decide(&none, Some(&red), &changed), RestoreStep::Keep);
        assert_eq!(decide(&red, Some(&blue), &changed), RestoreStep::SetMetadata);
        assert_eq!(
            decide(&red, Some(&blue), &RestoreRules { xattrs: false, ..changed }),
            RestoreStep::Keep
        );
        let other = held(|held| held.meta.uid = 9);
        assert_eq!(decide(&other, Some(&none), &changed), RestoreStep::SetMetadata);
        assert_eq!(
            decide(&other, Some(&none), &RestoreRules { owners: false, ..changed }),
            RestoreStep::Keep
        );
        let later = held(|held| held.meta.mtime.nanos = 600);
        assert_eq!(decide(&later, Some(&none), &changed), RestoreStep::Replace);
        let coarse = RestoreRules { granularity_ns: 1_000_000_000, ..changed };
        assert_eq!(decide(&later, Some(&none), &coarse), RestoreStep::Keep);
    }

    #[test]
    fn times_that_a_target_cannot_hold_are_those_that_it_holds_instead() {
        let coarse = RestoreRules {
            granularity_ns: 1_000_000_000,
            seconds: (0, u32::MAX.into()),
            ..rules(Overwrite::Newer, false)
        };
        let at = |secs| held(|held| held.meta.mtime = Time { secs, nanos: 5 });
        assert_eq!(decide(&at(-7), Some(&at(0)), &coarse), RestoreStep::Keep);
        assert_eq!(decide(&at(1 << 40), Some(&at(u32::MAX.into())), &coarse), RestoreStep::Keep);
        assert!(matches!(decide(&at(-7), Some(&at(1)), &coarse), RestoreStep::Leave(_)));
        // The sizes differ, but the times are equal at the granularity of the target.
        let other = held(|held| {
            (held.meta.mtime, held.meta.size) = (Time { secs: 1000, nanos: 0 }, 11);
        });
        assert!(matches!(decide(&at(1000), Some(&other), &coarse), RestoreStep::Leave(_)));
    }

    proptest! {
        #[test]
        fn nothing_that_is_there_is_touched_by_default(
            kind in 0..4_usize, there_kind in 0..4_usize, size in 0..2_u64, secs in 0..2_i64, delete: bool,
        ) {
            let kinds = [Kind::File, Kind::Folder, Kind::Symlink, Kind::Fifo];
            let wanted = held(|held| held.meta.kind = kinds[kind]);
            let there = held(|held| {
                held.meta.kind = kinds[there_kind];
                held.meta.size = size;
                held.meta.mtime.secs = secs;
            });
            let step = decide(&wanted, Some(&there), &rules(Overwrite::Never, delete));
            let folders = wanted.meta.kind == Kind::Folder && there.meta.kind == Kind::Folder;
            prop_assert!(matches!(step, RestoreStep::Keep | RestoreStep::Leave(_)) || folders && step == RestoreStep::SetMetadata);
        }
    }
}
