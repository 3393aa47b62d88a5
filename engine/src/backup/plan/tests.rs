//! Tests of `plan`.

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
        is_shared: false,
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
    assert_eq!(planned(&file, Some(&other_mode), Some(&shared), true).action, Action::CopyLocally);
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
