//! Describes changes with rsync's letters (`--itemize-changes`).

use std::ffi::CStr;

use crate::backup::plan::planned::Planned;
use crate::backup::plan::{CompareRules, Verdict};
use crate::backup::walk::folder::WalkFolder;
use crate::entry::escape::shown;
use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, ListedEntry};
use crate::monitor::items::{ItemizedChange, Items};
use crate::threads::lock::lock;

/// The line about an entry; `None` for an unchanged entry when `items` does not list those.
pub(crate) fn item<F>(
    items: &Items,
    folder: &WalkFolder<F>,
    planned: &Planned<'_>,
    rules: &CompareRules,
) -> Option<ItemizedChange> {
    let (entry, base) = (planned.entry, planned.base.as_ref());
    let mut letters = letters(entry, base, planned.step.verdict, rules);
    let slash = if entry.meta.kind == Kind::Folder { "/" } else { "" };
    let path = shown(&folder.place.inside_of(entry.name)) + slash;
    let first = first_name(items, entry, &path, rules);
    let unchanged = letters.ends_with("         ");
    if unchanged && !items.unchanged {
        return None;
    }
    if first.is_some() {
        letters.replace_range(..1, "h");
    }
    let hard_link = first.is_some();
    let target = || entry.extra.and_then(|extra| extra.target.as_deref()).map(shown);
    Some(ItemizedChange { letters, path, leads_to: first.or_else(target), hard_link })
}

/// The first name of the entry's inode, when the entry is a further name of it. Records a first name.
fn first_name(
    items: &Items,
    entry: ListedEntry<'_>,
    path: &str,
    rules: &CompareRules,
) -> Option<String> {
    let meta = entry.meta;
    let several = rules.keep.hard_links && meta.links > 1 && meta.kind != Kind::Folder;
    let id = meta.id.filter(|_| several)?;
    let mut first = lock(&items.first);
    match first.get(&id) {
        // The walk may look at the first name a second time: it stays the first name.
        Some(name) if name != path => Some(name.clone()),
        Some(_) => None,
        None => {
            first.insert(id, path.to_owned());
            None
        }
    }
}

/// Reports a name that the source no longer has.
pub(crate) fn deleted<F>(items: &Items, folder: &WalkFolder<F>, name: &CStr, is_folder: bool) {
    let path = shown(&folder.place.inside_of(name)) + if is_folder { "/" } else { "" };
    let letters = "*deleting  ".to_owned();
    items.sink.items(&[ItemizedChange { letters, path, leads_to: None, hard_link: false }]);
}

/// The letters of rsync(1), `--itemize-changes`, that `rsync --link-dest` prints for `entry` when its base holds
/// `base` (tried with rsync 3.5).
#[must_use]
pub(crate) fn letters(
    entry: ListedEntry<'_>,
    base: Option<&StoredEntry>,
    verdict: Verdict,
    rules: &CompareRules,
) -> String {
    let (new, keep) = (entry.meta, rules.keep);
    let class = class(new.kind);
    let file = new.kind == Kind::File;
    let Some(held) = base.filter(|held| crate::backup::itemize::class(held.meta.kind) == class)
    else {
        return format!("{}{class}+++++++++", if file { '>' } else { 'c' });
    };
    let old = &held.meta;
    let changed = verdict == Verdict::Changed;
    let kept = keep.times_of(new.kind);
    let later = !rules.time.same(new.mtime, old.mtime, true, keep.window);
    let target = entry.extra.and_then(|extra| extra.target.as_deref());
    let retargeted = new.kind == Kind::Symlink && target != held.target.as_deref();
    let (acl, xattr) = attributes(entry, held);
    let mut flags = [
        ('c', file && changed && keep.checksum || retargeted),
        ('s', file && new.size != old.size),
        (
            if kept { 't' } else { 'T' },
            if kept { later } else { changed && new.kind != Kind::Folder },
        ),
        ('p', keep.mode && new.kind != Kind::Symlink && new.mode != old.mode),
        ('o', keep.owner && new.uid != old.uid),
        ('g', keep.group && new.gid != old.gid),
        ('u', false),
        ('a', acl),
        ('x', xattr),
    ];
    let differs = changed || flags.iter().any(|(_, on)| *on);
    // rsync creates an entry that is neither a file nor a folder again for any difference.
    flags[0].1 |= differs && !file && new.kind != Kind::Folder;
    let first = match (file, changed, differs, new.kind) {
        (true, true, ..) => '>',
        (_, _, false, kind) if kind != Kind::Folder => 'h',
        _ => 'c',
    };
    let rest: String = match differs {
        true => flags.iter().map(|(letter, on)| if *on { *letter } else { '.' }).collect(),
        false => " ".repeat(flags.len()),
    };
    format!("{first}{class}{rest}")
}

fn class(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Folder => 'd',
        Kind::Symlink => 'L',
        Kind::BlockDevice | Kind::CharDevice => 'D',
        Kind::Fifo | Kind::Socket => 'S',
    }
}

/// Whether the ACLs differ, and whether the other extended attributes differ.
fn attributes(entry: ListedEntry<'_>, held: &StoredEntry) -> (bool, bool) {
    let new = entry.extra.map_or(&[][..], |extra| &extra.xattrs);
    let is_acl =
        |(name, _): &&(Vec<u8>, Vec<u8>)| name.starts_with(crate::fs::metadata::xattrs::ACL);
    let acls = new.iter().filter(is_acl).eq(held.xattrs.iter().filter(is_acl));
    let others = |all: &(Vec<u8>, Vec<u8>)| !is_acl(&all);
    let rest =
        new.iter().filter(|all| others(all)).eq(held.xattrs.iter().filter(|all| others(all)));
    (!acls, !rest)
}
