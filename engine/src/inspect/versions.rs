//! The versions of one path across snapshots: when each appeared, changed and vanished. Writes
//! nothing.

use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Time};
use crate::error::LookError;
use crate::fs::lookup::held;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::inspect::diff::diff;
use crate::inspect::disk_usage::{Usage, measure_below};
use crate::inspect::equality::{hash_of, same_content};
use crate::repository::Repository;
use crate::repository::records::report_file::report;
use crate::snapshot::name::SnapshotName;

/// How a span of snapshots begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStart {
    /// The path did not exist in the snapshot before.
    Appeared,
    /// The snapshot before has another version.
    Changed,
    /// A version that an earlier span already had.
    Returned,
}

/// A run of consecutive snapshots in which a path stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The version number, starting at 1. Spans with the same content have the same number.
    pub version: usize,
    /// How the span begins.
    pub beginning: VersionStart,
    /// The index of its first snapshot in the given list.
    pub first: usize,
    /// The index of its last snapshot.
    pub last: usize,
    /// The kind of entry.
    pub kind: Kind,
    /// Bytes of content; for a folder, of all files below it.
    pub bytes: u64,
    /// For a folder, the number of entries below it.
    pub entries: Option<u64>,
    /// Modification time.
    pub mtime: Time,
}

/// What a snapshot holds at the path.
struct VersionAt {
    held: StoredEntry,
    hash: Option<blake3::Hash>,
}

/// Returns the spans of a path in the order of `snapshots`; each snapshot is given with the path
/// inside it. Two versions are equal when they share the inode or the recorded hash; without
/// hashes, when size and time are equal. Two folders are equal when nothing below them differs.
///
/// # Errors
/// A snapshot cannot be opened, or the path in it cannot be read.
pub fn versions(
    repository: &Repository,
    snapshots: &[(SnapshotName, Vec<u8>)],
) -> Result<Vec<Span>, LookError> {
    let mut spans: Vec<Span> = Vec::new();
    // One example of each version.
    let mut known: Vec<(VersionAt, usize)> = Vec::new();
    for (index, (name, inside)) in snapshots.iter().enumerate() {
        let Some(seen) = sighting(repository, name, inside)? else { continue };
        let before = spans.last().filter(|span| span.last + 1 == index);
        let folder = seen.held.meta.kind == Kind::Folder;
        let version = if folder {
            let unchanged = match before {
                Some(span) if span.kind == Kind::Folder => {
                    let (earlier, earlier_inside) = &snapshots[span.last];
                    earlier_inside == inside && same_below(repository, earlier, name, inside)?
                }
                _ => false,
            };
            before.filter(|_| unchanged).map(|span| span.version)
        } else {
            let same = known.iter().rfind(|(version, _)| same(version, &seen));
            same.map(|(_, version)| *version)
        };
        if let (Some(version), Some(before)) = (version, before)
            && before.version == version
        {
            if let Some(span) = spans.last_mut() {
                span.last = index;
            }
            continue;
        }
        let beginning = match (version, before) {
            (Some(_), _) => VersionStart::Returned,
            (None, Some(_)) => VersionStart::Changed,
            (None, None) => VersionStart::Appeared,
        };
        let Usage { entries, bytes, .. } = match folder {
            true => measure_below(repository, name, inside)?,
            false => Usage { bytes: seen.held.meta.size, ..Usage::default() },
        };
        let (kind, mtime) = (seen.held.meta.kind, seen.held.meta.mtime);
        let version = version.unwrap_or_else(|| {
            known.push((seen, known.len() + 1));
            known.len()
        });
        spans.push(Span {
            version,
            beginning,
            first: index,
            last: index,
            kind,
            bytes: if kind == Kind::File || folder { bytes } else { 0 },
            entries: folder.then_some(entries),
            mtime,
        });
    }
    Ok(spans)
}

/// The path inside the base under which the base has the entry that is at `inside` in `snapshot`, if the report says that it
/// was renamed, and the base.
///
/// # Errors
/// A snapshot cannot be opened, or a path in it cannot be read.
pub fn renamed_from(
    repository: &Repository,
    snapshot: &SnapshotName,
    inside: &[u8],
) -> Result<Option<(SnapshotName, Vec<u8>)>, LookError> {
    let Some(report) = report(repository, snapshot) else { return Ok(None) };
    let Some(base) = report.base.and_then(|base| SnapshotName::parse_any(base.as_bytes())) else {
        return Ok(None);
    };
    let origins = report.renamed.iter().filter_map(|renamed| renamed.origin_of(inside));
    for origin in origins {
        // The base may be removed meanwhile.
        let Ok(Some(before)) = sighting(repository, &base, &origin) else { continue };
        let Some(now) = sighting(repository, snapshot, inside)? else { return Ok(None) };
        let are_folders = [&before, &now].iter().all(|it| it.held.meta.kind == Kind::Folder);
        if are_folders || same(&before, &now) {
            return Ok(Some((base, origin)));
        }
    }
    Ok(None)
}

fn sighting(
    repository: &Repository,
    name: &SnapshotName,
    inside: &[u8],
) -> Result<Option<VersionAt>, LookError> {
    let failed = |error| LookError { action: "cannot read", path: repository.path_of(name), error };
    let top = repository.top(name)?;
    let kept = repository.kept(name)?;
    let mut dir = top;
    let mut place = TreePath::top(None);
    let mut names = inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    while let Some(component) = names.next() {
        let Ok(component) = crate::entry::c_name(component) else { return Ok(None) };
        if names.peek().is_some() {
            match dir.child(&component) {
                Ok(child) => dir = child,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(failed(error)),
            }
            place = place.child(&component, None);
            continue;
        }
        let records = kept.load(&place).map_err(failed)?;
        let asked = XattrSelection { xattrs: false, acls: false };
        let held = held(&dir, &component, &records, asked).map_err(failed)?;
        let hash = |held: &StoredEntry| match held.meta.kind {
            Kind::File if held.on_disk => hash_of(&dir, &component),
            _ => None,
        };
        return Ok(held.map(|held| VersionAt { hash: hash(&held), held }));
    }
    let meta = dir.meta().map_err(failed)?;
    let held = StoredEntry { meta, target: None, xattrs: Vec::new(), on_disk: true };
    Ok(Some(VersionAt { held, hash: None }))
}

/// Whether the error means that the path does not exist, or that a component of it is not a folder.
fn is_absent(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
    )
}

fn same(one: &VersionAt, other: &VersionAt) -> bool {
    same_content(&one.held, &other.held, || [one.hash, other.hash])
}

fn same_below(
    repository: &Repository,
    one: &SnapshotName,
    other: &SnapshotName,
    inside: &[u8],
) -> Result<bool, LookError> {
    let mut differs = false;
    let found = diff((repository, one), (repository, other), inside, &mut |_| {
        differs = true;
        std::ops::ControlFlow::Break(())
    })?;
    Ok(!differs && found.is_none() && found.unread.is_empty())
}
