//! Symlinks to complete snapshots, for other programs: `PREFIX.latest` beside the snapshots, and a folder of
//! names that Samba's module `vfs_shadow_copy2(8)` shows as previous versions. This program never follows
//! them.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;

use crate::entry::{Kind, c_name};
use crate::fs::dir::Dir;
use crate::fs::metadata::stat::set_mode;
use crate::fs::temporary::unfinished_name;
use crate::repository::backups_folder::Repository;
use crate::repository::store::Store;
use crate::snapshot::links::SnapshotLinks;
use crate::snapshot::name::{Prefix, SnapshotName, SnapshotState};

/// The start of the names that Samba recognises. They end with a time in UTC.
const GMT: &str = "@GMT-";

/// The mode of `.backup_manager` while it holds links: other users may pass, and list nothing.
const PASSABLE: u32 = 0o711;
/// The mode of the folders of the links.
const READABLE: u32 = 0o755;
/// The mode of everything else in `.backup_manager`.
const CLOSED: u32 = 0o700;

/// The warning about an error of [`update`] or [`refresh`], before the error.
pub(crate) const STALE: &str =
    "the symlinks to snapshots are not up to date; the next run tries again";

/// Makes the symlinks lead to the complete snapshots, and removes those that are not wanted. A
/// `PREFIX.latest` that is not wanted stays, because a user may have made it.
///
/// # Errors
/// The first link that could not be created or removed; the others were tried, too.
pub(crate) fn update(
    repository: &Repository,
    prefix: &Prefix,
    wanted: SnapshotLinks,
) -> io::Result<()> {
    let complete = repository.history(prefix).map_err(io::Error::other)?.complete;
    let latest = if wanted.latest { latest(repository, prefix, complete.last()) } else { Ok(()) };
    let previous = if wanted.previous_versions {
        previous_versions(repository, prefix, &complete)
    } else {
        remove_previous_versions(repository, prefix)
    };
    latest.and(previous)
}

/// Updates the symlinks that exist, after snapshots were removed.
///
/// # Errors
/// As [`update`].
pub(crate) fn refresh(repository: &Repository, prefix: &Prefix) -> io::Result<()> {
    let link = repository.dir.read_link(&c_name(format!("{prefix}.latest"))?);
    let previous =
        repository.store(Store::Previous).map(|all| all.child(&c_name(prefix.as_str())?));
    let existing = SnapshotLinks {
        latest: link.is_ok_and(|target| is_ours(prefix, &target)),
        previous_versions: previous.is_some_and(|folder| folder.is_ok()),
    };
    if existing == SnapshotLinks::default() {
        return Ok(());
    }
    update(repository, prefix, existing)
}

/// Whether a symlink beside the snapshots leads to a snapshot of `prefix`, so that this program made it or
/// could have made it.
fn is_ours(prefix: &Prefix, target: &[u8]) -> bool {
    let name = SnapshotName::parse(prefix, target);
    name.is_some_and(|name| name == name.with_state(SnapshotState::Complete))
}

/// Makes `PREFIX.latest` lead to `newest`; removes it without a snapshot.
fn latest(
    repository: &Repository,
    prefix: &Prefix,
    newest: Option<&SnapshotName>,
) -> io::Result<()> {
    let text = format!("{prefix}.latest");
    let (name, dir) = (c_name(text.as_str())?, &repository.dir);
    let target = newest.map(ToString::to_string).unwrap_or_default();
    let there = match dir.find(&name)? {
        None => None,
        Some(meta) if meta.kind == Kind::Symlink => Some(dir.read_link(&name)?),
        Some(_) => return Err(foreign(&text, "is not a symlink")),
    };
    match there {
        Some(there) if there == target.as_bytes() => return Ok(()),
        Some(there) if !is_ours(prefix, &there) => {
            return Err(foreign(&text, "does not lead to a snapshot"));
        }
        None if newest.is_none() => return Ok(()),
        Some(_) if newest.is_none() => return dir.unlink(&name),
        _ => {}
    }
    // Created in `.backup_manager`, so that no user can replace it before the rename.
    let own = repository.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let temporary = unfinished_name(&text)?;
    own.make_symlink(&temporary, target.as_bytes())?;
    let renamed = match there {
        Some(_) => own.move_to(&temporary, dir, &name),
        None => own.move_new(&temporary, dir, &name),
    };
    if renamed.is_err() {
        let _ = own.unlink(&temporary);
    }
    renamed
}

fn foreign(name: &str, what: &str) -> io::Error {
    io::Error::other(format!("{name} {what}; it stays as it is: rename it, or set LATEST_LINK=off"))
}

/// Makes one `@GMT-…` symlink for each of `complete`, and removes all others.
fn previous_versions(
    repository: &Repository,
    prefix: &Prefix,
    complete: &[SnapshotName],
) -> io::Result<()> {
    let all = repository.make_store(Store::Previous)?;
    let name = c_name(prefix.as_str())?;
    crate::fs::small_file::make_if_missing(&all, &name)?;
    let folder = all.child(&name)?;
    let mut wanted: BTreeMap<CString, String> = complete
        .iter()
        .map(|snapshot| Ok((c_name(gmt(snapshot))?, format!("../../../{snapshot}"))))
        .collect::<io::Result<_>>()?;
    let mut result = Ok(());
    for (name, target) in links(&folder)? {
        if wanted.get(&name).is_some_and(|wanted| wanted.as_bytes() == target) {
            wanted.remove(&name);
        } else {
            result = result.and(folder.unlink(&name));
        }
    }
    for (name, target) in wanted {
        result = result.and(folder.make_symlink(&name, target.as_bytes()));
    }
    // Samba passes through these folders as the user that it serves.
    let own = repository.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
    result.and(open(own, PASSABLE)).and(open(&all, READABLE)).and(open(&folder, READABLE))
}

/// Removes the `@GMT-…` symlinks of `prefix`, and closes `.backup_manager` after the last prefix.
fn remove_previous_versions(repository: &Repository, prefix: &Prefix) -> io::Result<()> {
    let Some(all) = repository.store_if_any(Store::Previous)? else { return Ok(()) };
    let name = c_name(prefix.as_str())?;
    let folder = match all.child(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folder => folder?,
    };
    for (name, _) in links(&folder)? {
        folder.unlink(&name)?;
    }
    all.remove_folder(&name)?;
    match (&repository.own, crate::fs::small_file::is_empty(&all)?) {
        (Some(own), true) => {
            own.remove_folder(Store::Previous.folder())?;
            open(own, CLOSED)
        }
        _ => Ok(()),
    }
}

fn open(folder: &Dir, mode: u32) -> io::Result<()> {
    if folder.meta()?.mode & 0o777 == mode { Ok(()) } else { set_mode(folder, mode) }
}

/// The `@GMT-…` symlinks in `folder`, with their targets.
fn links(folder: &Dir) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut names: Vec<CString> = Vec::new();
    folder.names(|entry| {
        if is_gmt(entry.name) {
            names.push(entry.name.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    let with_targets = names.into_iter().filter_map(|name| {
        let target = folder.read_link(&name).ok()?;
        Some((name, target))
    });
    Ok(with_targets.collect())
}

fn is_gmt(name: &CStr) -> bool {
    name.to_bytes().starts_with(GMT.as_bytes())
}

/// The name by which Samba recognises the snapshot.
fn gmt(snapshot: &SnapshotName) -> String {
    snapshot.stamp.time().format("@GMT-%Y.%m.%d-%H.%M.%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::{gmt, is_ours};
    use crate::snapshot::name::{Prefix, SnapshotName};

    #[test]
    fn a_link_has_the_name_that_samba_expects() {
        let prefix = Prefix::new("photos").unwrap();
        let name = SnapshotName::parse(&prefix, b"photos.07-12-2023_13-32-58").unwrap();
        assert_eq!(gmt(&name), "@GMT-2023.12.07-13.32.58");
    }

    #[test]
    fn only_a_link_to_a_complete_snapshot_beside_it_is_replaced() {
        let prefix = Prefix::new("photos").unwrap();
        for (target, ours) in [
            (&b"photos.07-12-2023_13-32-58"[..], true),
            (b"photos.07-12-2023_13-32-58.deleting", false),
            (b"/backups/photos.07-12-2023_13-32-58", false),
            (b"music.07-12-2023_13-32-58", false),
            (b"..", false),
            (b"", false),
        ] {
            assert_eq!(is_ours(&prefix, target), ours, "{target:?}");
        }
    }
}
