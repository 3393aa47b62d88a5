//! Compares an entry of the source with the base and the incomplete snapshot, and decides what to do.
//! Pure: values in, a value out.

pub(crate) mod planned;

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

impl Verdict {
    /// Whether the content is another one than that of the base, or the base has no such entry.
    pub(crate) fn is_other_content(self) -> bool {
        matches!(self, Self::New | Self::Changed)
    }
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

    /// The most seconds by which two times that are equal within `window` differ.
    pub(crate) fn slack(self, window: Window) -> i64 {
        let grain = i64::from(self.granularity_ns / WHOLE_SECONDS);
        match window {
            Window::Seconds(most) => i64::from(most),
            _ => grain,
        }
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
    if rules.keep.of_snapshot {
        return Step { verdict, action: copied(entry, known, verdict, rules) };
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

/// Decides what to do about an entry of a snapshot that is copied. It never changes. What the incomplete copy holds of it is
/// from an earlier attempt to copy the same snapshot.
fn copied(
    entry: ListedEntry<'_>,
    known: KnownEntries<'_>,
    verdict: Verdict,
    rules: &CompareRules,
) -> Action {
    let file = entry.meta.kind == Kind::File;
    let id = |held: Option<&StoredEntry>| held.and_then(|held| held.meta.id);
    let is_same = verdict == Verdict::Same && known.base.is_some_and(|base| base.on_disk);
    let is_shared = entry.meta.is_shared && is_same;
    let is_of_base = id(known.here).is_some() && id(known.here) == id(known.base);
    let verdict_here = match is_shared && !is_of_base {
        // An earlier attempt had another base, or none.
        true => Verdict::New,
        false => compare(entry, known.here, rules, false),
    };
    match (verdict_here, verdict) {
        (Verdict::Same, _) if !file || known.here_durable => Action::Keep,
        (Verdict::Same, _) => Action::Check,
        // The mark of damage in the base cannot be read, so its content is read and compared.
        _ if is_shared && !(file && rules.keep.checksum) => Action::Link,
        (Verdict::Metadata, _) if file && known.here_durable && alone(known.here) => {
            Action::UpdateMetadata
        }
        _ if !file => Action::Make,
        (_, Verdict::Same | Verdict::Metadata) => Action::FetchAndCompare,
        _ => Action::Fetch,
    }
}

/// How `entry` differs from `held`, an entry of the base under another path.
pub(crate) fn verdict_of(
    entry: ListedEntry<'_>,
    held: &StoredEntry,
    rules: &CompareRules,
) -> Verdict {
    compare(entry, Some(held), rules, true)
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

#[cfg(test)]
mod tests;
