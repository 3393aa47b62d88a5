//! Compares an entry of the source with the base and the incomplete snapshot, and decides what to do.
//! Pure: values in, a value out.

use crate::entry::preserve::{Preserve, Window};
use crate::entry::racy::may_have_changed;
use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, ListedEntry, Meta, Time};

/// How an entry of the source differs from the entry that a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The snapshot has no such entry.
    New,
    /// Other content, or another type.
    Changed,
    /// Same content, different metadata.
    Metadata,
    /// All properties that the job preserves are equal.
    Same,
}

/// What to do about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Create the folder if it is missing, and enter it.
    Enter,
    /// Leave it as the incomplete snapshot already holds it.
    Keep,
    /// The incomplete snapshot holds it, but possibly not on disk: check its hash, then keep it or copy it.
    Check,
    /// The incomplete snapshot holds its content in an inode with one name: set the metadata there.
    UpdateMetadata,
    /// Link it to the base.
    Link,
    /// Copy the content from the base, within the destination, and set the metadata.
    CopyLocally,
    /// Create the symlink, fifo, socket or device.
    Make,
    /// Read it from the source.
    Fetch,
    /// Read it from the source and compare; if the content equals the base's, use the base's file.
    FetchAndCompare,
}

/// The decision about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// How the entry differs from the base.
    pub verdict: Verdict,
    /// What to do.
    pub action: Action,
}

/// The granularity with which modification times are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeRule {
    /// The coarsest granularity of source, destination and base, in nanoseconds.
    pub granularity_ns: u32,
    /// Whether the base may hold truncated times: its source reported whole seconds only, or its granularity is
    /// unknown. A time of the base without nanoseconds then equals any time in that second.
    pub base_may_be_cut: bool,
}

/// The granularity, in nanoseconds, of a source or destination that stores whole seconds.
pub(crate) const WHOLE_SECONDS: u32 = 1_000_000_000;

impl TimeRule {
    /// The rule for a source and a destination whose coarser granularity is `granularity_ns`, and a base with the
    /// granularity `base` (nanoseconds, `None` when unknown).
    #[must_use]
    pub(crate) fn new(granularity_ns: u32, base: Option<u32>) -> Self {
        let base_may_be_cut = base.is_none_or(|base| base >= WHOLE_SECONDS);
        let base = base.filter(|base| *base != WHOLE_SECONDS).unwrap_or(1);
        Self { granularity_ns: granularity_ns.max(base), base_may_be_cut }
    }

    /// Whether two times are equal within `window`.
    pub(crate) fn same(self, source: Time, held: Time, is_base: bool, window: Window) -> bool {
        if let Window::Seconds(most) = window {
            return source.secs.abs_diff(held.secs) <= u64::from(most);
        }
        let grain = self.granularity_ns.max(1);
        // With a granularity above one second (FAT stores even seconds), the distance decides.
        if grain > WHOLE_SECONDS {
            return source.secs.abs_diff(held.secs) < u64::from(grain / WHOLE_SECONDS);
        }
        source.secs == held.secs
            && (source.nanos / grain == held.nanos / grain
                || (is_base && self.base_may_be_cut && held.nanos == 0))
    }
}

/// Which properties are compared, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompareRules {
    /// Which properties the job preserves, and so compares.
    pub keep: Preserve,
    /// How times are compared.
    pub time: TimeRule,
}

/// What the base and the incomplete snapshot say about an entry of the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownEntries<'a> {
    /// The entry that the base holds under this path.
    pub base: Option<&'a StoredEntry>,
    /// The entry that the incomplete snapshot holds under this path.
    pub here: Option<&'a StoredEntry>,
    /// Whether the entry of the incomplete snapshot is certainly on disk as it was written.
    pub here_durable: bool,
    /// The earliest timestamp of a change to the source's file that the base's copy may lack.
    pub base_since: Option<Time>,
    /// The same for the incomplete snapshot's copy.
    pub here_since: Option<Time>,
}

/// Decides what to do about `entry`.
#[must_use]
pub(crate) fn plan(entry: ListedEntry<'_>, known: KnownEntries<'_>, rules: &CompareRules) -> Step {
    let verdict = compare(entry, known.base, rules, true);
    if entry.meta.kind == Kind::Folder {
        return Step { verdict, action: Action::Enter };
    }
    let file = entry.meta.kind == Kind::File;
    let racy = |since: Option<Time>| {
        let since = since.filter(|_| file && !rules.keep.size_only);
        since.is_some_and(|since| may_have_changed(entry.meta, since, rules.keep.ctime))
    };
    let here = known.here.filter(|_| !racy(known.here_since));
    let verdict_here = compare(entry, here, rules, false);
    let action = match (verdict_here, verdict) {
        (Verdict::Same, _) if !file || known.here_durable => Action::Keep,
        (Verdict::Same, _) => Action::Check,
        (_, Verdict::Same) => Action::Link,
        (Verdict::Metadata, _) if file && known.here_durable && alone(here) => {
            Action::UpdateMetadata
        }
        _ if !file => Action::Make,
        (_, Verdict::Metadata) => Action::CopyLocally,
        (_, Verdict::Changed) if rules.keep.checksum && sizes_equal(entry, known.base) => {
            Action::FetchAndCompare
        }
        _ => Action::Fetch,
    };
    // A user with write permission on a folder can replace another user's file there by an own one of equal size and time.
    // The content that only the other user could read must not become the content of the new file.
    let taken = |held: Option<&StoredEntry>| {
        let other =
            |held: &StoredEntry| held.meta.uid != entry.meta.uid && held.meta.mode & 0o004 == 0;
        rules.keep.owner && held.is_some_and(other)
    };
    let taken = match action {
        Action::CopyLocally => taken(known.base),
        Action::UpdateMetadata => taken(here),
        _ => false,
    };
    // With --checksum and --ignore-times, equal size and time do not prove equal content.
    let of_base = matches!(action, Action::Link | Action::CopyLocally);
    let unbelieved = taken
        || rules.keep.checksum
        || rules.keep.ignore_times
        || (of_base && racy(known.base_since));
    let action = if unbelieved && file && action != Action::Fetch {
        Action::FetchAndCompare
    } else {
        action
    };
    Step { verdict, action }
}

/// Whether the inode has one name, so that no complete snapshot shares it.
fn alone(here: Option<&StoredEntry>) -> bool {
    here.is_some_and(|held| held.meta.links == 1)
}

fn sizes_equal(entry: ListedEntry<'_>, base: Option<&StoredEntry>) -> bool {
    base.is_some_and(|held| held.meta.kind == Kind::File && held.meta.size == entry.meta.size)
}

/// How `entry` differs from `held`.
fn compare(
    entry: ListedEntry<'_>,
    held: Option<&StoredEntry>,
    rules: &CompareRules,
    is_base: bool,
) -> Verdict {
    let Some(held) = held else { return Verdict::New };
    let (new, old, keep) = (entry.meta, &held.meta, rules.keep);
    let times = rules.time.same(new.mtime, old.mtime, is_base, keep.window);
    let content = new.kind == old.kind
        && match new.kind {
            Kind::File => new.size == old.size && (keep.size_only || times && keep.times),
            Kind::Symlink => {
                entry.extra.and_then(|extra| extra.target.as_ref()) == held.target.as_ref()
            }
            Kind::BlockDevice | Kind::CharDevice => new.rdev == old.rdev,
            Kind::Folder | Kind::Fifo | Kind::Socket => true,
        };
    if !content {
        return Verdict::Changed;
    }
    let xattrs = entry.extra.map_or(&[][..], |extra| &extra.xattrs);
    let unread = entry.extra.is_some_and(|extra| extra.xattrs_unread);
    // A symlink's mode is always 0777 on Linux (symlink(7)).
    let executable = |meta: &Meta| meta.mode & 0o111 != 0;
    let execution = !keep.executability || executable(new) == executable(old);
    let metadata = (!keep.mode || new.kind == Kind::Symlink || new.mode == old.mode)
        && (keep.mode || new.kind != Kind::File || execution)
        && (!keep.owner || new.uid == old.uid)
        && (!keep.group || new.gid == old.gid)
        // The time of a folder changes with its entries, and each entry has its own verdict.
        && (!keep.times_of(new.kind) || times || new.kind == Kind::Folder)
        // Attributes that cannot be read now count as those of the base.
        && (unread || xattrs == held.xattrs);
    if metadata { Verdict::Same } else { Verdict::Metadata }
}

/// An entry of the source, the entries that the snapshots hold under its path, and the step decided for it.
pub(crate) struct Planned<'a> {
    pub(crate) entry: ListedEntry<'a>,
    pub(crate) base: Option<StoredEntry>,
    pub(crate) here: Option<StoredEntry>,
    pub(crate) step: Step,
}

impl Planned<'_> {
    /// Whether the snapshot will hold another inode than the base, according to the plan.
    pub(crate) fn is_apart(&self) -> bool {
        let id = |held: &Option<StoredEntry>| held.as_ref().and_then(|held| held.meta.id);
        match self.step.action {
            Action::Link | Action::FetchAndCompare | Action::Enter => false,
            Action::Keep | Action::Check => {
                id(&self.here).is_none() || id(&self.here) != id(&self.base)
            }
            Action::UpdateMetadata | Action::CopyLocally | Action::Make | Action::Fetch => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Entry, Extra, FileId, Xattrs};

    fn meta(kind: Kind) -> Meta {
        Meta {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 10,
            mtime: Time { secs: 1000, nanos: 500 },
            ctime: Time::default(),
            id: Some(FileId { dev: 1, ino: 1 }),
            links: 1,
            rdev: 7,
            allocated: 4096,
        }
    }

    fn entry(meta: Meta) -> Entry {
        let target = (meta.kind == Kind::Symlink).then(|| b"to".to_vec());
        let extra = Some(Box::new(Extra { target, xattrs: Xattrs::new(), xattrs_unread: false }));
        Entry { name: c"x".to_owned(), meta, extra }
    }

    fn held(meta: Meta) -> StoredEntry {
        let target = (meta.kind == Kind::Symlink).then(|| b"to".to_vec());
        StoredEntry { meta, target, xattrs: Xattrs::new(), on_disk: true }
    }

    fn rules() -> CompareRules {
        CompareRules {
            keep: Preserve::default(),
            time: TimeRule { granularity_ns: 1, base_may_be_cut: false },
        }
    }

    fn known<'a>(
        base: Option<&'a StoredEntry>,
        here: Option<&'a StoredEntry>,
        here_durable: bool,
    ) -> KnownEntries<'a> {
        KnownEntries { base, here, here_durable, base_since: None, here_since: None }
    }

    fn planned(
        entry: &Entry,
        base: Option<&StoredEntry>,
        here: Option<&StoredEntry>,
        durable: bool,
    ) -> Step {
        plan(entry.into(), known(base, here, durable), &rules())
    }

    #[test]
    fn each_change_of_a_file_has_its_verdict() {
        let with = |change: fn(&mut Meta)| {
            let mut meta = meta(Kind::File);
            change(&mut meta);
            meta
        };
        for (base, verdict, action) in [
            (with(|_| {}), Verdict::Same, Action::Link),
            (with(|m| m.ctime.secs = 99), Verdict::Same, Action::Link),
            (with(|m| m.size = 11), Verdict::Changed, Action::Fetch),
            (with(|m| m.mtime.secs = 1), Verdict::Changed, Action::Fetch),
            (with(|m| m.mtime.nanos = 1), Verdict::Changed, Action::Fetch),
            (with(|m| m.kind = Kind::Symlink), Verdict::Changed, Action::Fetch),
            (with(|m| m.mode = 0o600), Verdict::Metadata, Action::CopyLocally),
            (with(|m| m.uid = 0), Verdict::Metadata, Action::CopyLocally),
            (with(|m| m.gid = 0), Verdict::Metadata, Action::CopyLocally),
            (with(|m| (m.uid, m.mode) = (0, 0o640)), Verdict::Metadata, Action::FetchAndCompare),
        ] {
            let step = planned(&entry(meta(Kind::File)), Some(&held(base.clone())), None, true);
            assert_eq!(step, Step { verdict, action }, "{base:?}");
        }
        let step = planned(&entry(meta(Kind::File)), None, None, true);
        assert_eq!(step, Step { verdict: Verdict::New, action: Action::Fetch });
    }

    #[test]
    fn options_choose_which_differences_count() {
        let with = |change: fn(&mut Preserve), base: fn(&mut Meta)| {
            let (mut rules, mut meta) = (rules(), meta(Kind::File));
            change(&mut rules.keep);
            base(&mut meta);
            let (entry, held) = (entry(crate::backup::plan::tests::meta(Kind::File)), held(meta));
            let known = known(Some(&held), None, true);
            plan(ListedEntry::from(&entry), known, &rules)
        };
        let later: fn(&mut Meta) = |m| m.mtime.secs += 2;
        for (change, base, verdict, action) in [
            (
                (|k| k.size_only = true) as fn(&mut Preserve),
                later,
                Verdict::Metadata,
                Action::CopyLocally,
            ),
            (|k| k.size_only = true, |m| m.size += 1, Verdict::Changed, Action::Fetch),
            (|k| k.ignore_times = true, |_| {}, Verdict::Same, Action::FetchAndCompare),
            (|k| k.window = Window::Seconds(2), later, Verdict::Same, Action::Link),
            (|k| k.window = Window::Seconds(1), later, Verdict::Changed, Action::Fetch),
            (|k| k.window = Window::Seconds(0), |m| m.mtime.nanos = 1, Verdict::Same, Action::Link),
            (|k| k.mode = false, |m| m.mode = 0o755, Verdict::Same, Action::Link),
            (
                |k| (k.mode, k.executability) = (false, true),
                |m| m.mode = 0o755,
                Verdict::Metadata,
                Action::CopyLocally,
            ),
        ] {
            assert_eq!(with(change, base), Step { verdict, action });
        }
    }

    #[test]
    fn files_that_an_interrupted_run_stored_are_not_stored_twice() {
        let file = entry(meta(Kind::File));
        let same = held(meta(Kind::File));
        assert_eq!(planned(&file, None, Some(&same), true).action, Action::Keep);
        assert_eq!(planned(&file, None, Some(&same), false).action, Action::Check);
        let other_mode = held(Meta { mode: 0, ..meta(Kind::File) });
        assert_eq!(planned(&file, None, Some(&other_mode), true).action, Action::UpdateMetadata);
        // The run never changes an inode in place that may not be on disk or that a complete snapshot may share.
        assert_eq!(planned(&file, None, Some(&other_mode), false).action, Action::Fetch);
        let shared = held(Meta { mode: 0, links: 2, ..meta(Kind::File) });
        assert_eq!(planned(&file, None, Some(&shared), true).action, Action::Fetch);
        assert_eq!(
            planned(&file, Some(&other_mode), Some(&shared), true).action,
            Action::CopyLocally
        );
    }

    #[test]
    fn entries_without_content_are_created_anew() {
        for kind in [Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::BlockDevice] {
            let new = entry(meta(kind));
            assert_eq!(planned(&new, None, None, true).action, Action::Make);
            assert_eq!(planned(&new, Some(&held(meta(kind))), None, true).action, Action::Link);
            let mut older = held(Meta { uid: 9, ..meta(kind) });
            assert_eq!(planned(&new, Some(&older), None, true).action, Action::Make);
            older = held(Meta { rdev: 8, ..meta(kind) });
            older.target = Some(b"elsewhere".to_vec());
            let same = matches!(kind, Kind::Fifo | Kind::Socket);
            let expected = if same { Action::Link } else { Action::Make };
            assert_eq!(planned(&new, Some(&older), None, true).action, expected, "{kind:?}");
        }
    }

    #[test]
    fn times_compare_as_finely_as_both_sides_keep_them() {
        let at = |secs, nanos| Time { secs, nanos };
        for (grain, unknown, source, base, same) in [
            (1, false, at(5, 1), at(5, 2), false),
            (1_000_000_000, false, at(5, 1), at(5, 0), true),
            (1_000_000_000, false, at(5, 1), at(6, 0), false),
            (10_000_000, false, at(5, 19_999_999), at(5, 10_000_000), true),
            (2_000_000_000, false, at(5, 1), at(4, 0), true),
            (2_000_000_000, false, at(7, 1), at(4, 0), false),
            (1, true, at(5, 1), at(5, 0), true),
            (1, true, at(5, 1), at(5, 2), false),
        ] {
            let rule = TimeRule { granularity_ns: grain, base_may_be_cut: unknown };
            assert_eq!(
                rule.same(source, base, true, Window::Exact),
                same,
                "{grain} {source:?} {base:?}"
            );
        }
    }

    #[test]
    fn finer_times_in_a_base_with_whole_seconds_are_compared() {
        let at = |nanos| Time { secs: 5, nanos };
        let rule = TimeRule::new(1, Some(WHOLE_SECONDS));
        assert!(
            rule.same(at(7), at(0), true, Window::Exact)
                && rule.same(at(7), at(7), true, Window::Exact)
        );
        assert!(!rule.same(at(7), at(8), true, Window::Exact));
        assert_eq!(rule, TimeRule::new(1, None));
        assert_eq!(TimeRule::new(1, Some(100)).granularity_ns, 100);
        let even = TimeRule::new(1, Some(2 * WHOLE_SECONDS));
        assert!(even.same(at(7), Time { secs: 4, nanos: 0 }, true, Window::Exact));
    }

    #[test]
    fn files_that_may_have_changed_after_the_read_are_compared() {
        let (file, same) = (entry(meta(Kind::File)), held(meta(Kind::File)));
        let other_mode = held(Meta { mode: 0, ..meta(Kind::File) });
        let at = |secs| Some(Time { secs, nanos: 1 });
        let planned = |base, here, base_since, here_since| {
            let known = KnownEntries { base_since, here_since, ..known(base, here, true) };
            plan((&file).into(), known, &rules()).action
        };
        // The mtime of the file is 1000 seconds and 500 nanoseconds.
        assert_eq!(planned(Some(&same), None, at(1001), None), Action::Link);
        assert_eq!(planned(Some(&same), None, at(1000), None), Action::FetchAndCompare);
        assert_eq!(planned(Some(&other_mode), None, at(1000), None), Action::FetchAndCompare);
        assert_eq!(planned(None, Some(&same), None, at(1001)), Action::Keep);
        assert_eq!(planned(None, Some(&same), None, at(1000)), Action::Fetch);
        assert_eq!(planned(Some(&same), Some(&same), at(1001), at(1000)), Action::Link);
        assert_eq!(planned(Some(&same), Some(&same), at(1000), at(1001)), Action::Keep);
    }

    #[test]
    fn with_checksum_size_and_time_prove_nothing() {
        let mut rules = rules();
        rules.keep.checksum = true;
        let base = held(meta(Kind::File));
        let known = known(Some(&base), None, true);
        for change in [0, 1] {
            let mut file = entry(meta(Kind::File));
            file.meta.mtime.secs += change;
            assert_eq!(plan((&file).into(), known, &rules).action, Action::FetchAndCompare);
        }
    }

    fn any_meta() -> impl Strategy<Value = Meta> {
        (0..3_u8, 0..2_u32, 0..2_u32, 0..2_u64, 0..2_i64, 1..3_u64).prop_map(
            |(kind, mode, uid, size, secs, links)| Meta {
                kind: [Kind::File, Kind::Symlink, Kind::Fifo][usize::from(kind)],
                mode,
                uid,
                size,
                mtime: Time { secs, nanos: 0 },
                links,
                ..meta(Kind::File)
            },
        )
    }

    proptest! {
        #[test]
        fn only_what_is_equal_is_linked_or_kept(
            source in any_meta(),
            base in proptest::option::of(any_meta()),
            here in proptest::option::of(any_meta()),
            durable: bool,
        ) {
            let source = entry(source);
            let (base, here) = (base.map(held), here.map(held));
            let step = planned(&source, base.as_ref(), here.as_ref(), durable);
            let equal = |held: &Option<StoredEntry>| held.as_ref().is_some_and(|held| {
                let (a, b) = (&source.meta, &held.meta);
                a.kind == b.kind && a.uid == b.uid && a.mtime == b.mtime
                    && (a.kind != Kind::File || a.size == b.size)
                    && (a.kind == Kind::Symlink || a.mode == b.mode)
            });
            match step.action {
                Action::Link => prop_assert!(equal(&base)),
                Action::Keep | Action::Check => prop_assert!(equal(&here)),
                Action::UpdateMetadata => prop_assert!(here.as_ref().is_some_and(|held| held.meta.links == 1)),
                Action::CopyLocally => prop_assert_eq!(step.verdict, Verdict::Metadata),
                _ => prop_assert!(!(equal(&base) || equal(&here) && durable)),
            }
        }
    }
}
