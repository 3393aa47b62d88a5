//! Looks at the folder of another program, and at the backups folder, for a plan. Changes nothing.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::adopt::name::{ForeignName, Program};
use crate::adopt::plan::{Facts, Plan, Seen, TreeState, Zone, plan as decide, tree_in};
use crate::adopt::reason::{LeftAlone, Obstacle};
use crate::entry::{Kind, Meta, c_name};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::dir::resolve::Resolved;
use crate::fs::mount::point::{is_mount_point, is_same_mount};
use crate::repository::Repository;
use crate::repository::store::Store;
use crate::snapshot::name::{Prefix, SnapshotName, SnapshotState};

/// What to adopt, and where to.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The folder with the snapshots of the other program.
    pub from: &'a Path,
    /// The backups folder. It need not exist yet.
    pub backups_dir: &'a Path,
    /// The prefix of the new names.
    pub prefix: &'a Prefix,
    /// A folder inside rsnapshot's snapshots that is adopted instead of the whole.
    pub label: Option<&'a CStr>,
    /// The time zone of names with a local time.
    pub zone: Zone<'a>,
}

/// Plans an adoption. Changes nothing.
///
/// # Errors
/// One of the two folders cannot be opened or listed.
pub fn plan(request: &Request<'_>) -> Result<Plan, LookError> {
    let from = open_from(request.from)?;
    let destination = Destination::open(request.backups_dir)?;
    survey(request, &from, &destination)
}

/// Opens the folder of the other program.
pub(crate) fn open_from(path: &Path) -> Result<Dir, LookError> {
    let opened = Resolved::at(path).and_then(Resolved::folder);
    opened.map_err(|error| LookError { action: "cannot open", path: path.to_owned(), error })
}

/// The backups folder, or the folder above it when it does not exist yet.
pub(crate) enum Destination {
    There(Repository),
    Above(Dir),
}

impl Destination {
    fn open(path: &Path) -> Result<Self, LookError> {
        let failed = |error| LookError { action: "cannot open", path: path.to_owned(), error };
        let found = Resolved::at(path).map_err(failed)?;
        match found.missing.len() {
            0 => Ok(Self::There(Repository::open(path)?)),
            1 => Ok(Self::Above(found.node.open_folder().map_err(failed)?)),
            _ => Err(failed(Errno::NOENT.into())),
        }
    }

    fn dir(&self) -> &Dir {
        match self {
            Self::There(repository) => &repository.dir,
            Self::Above(dir) => dir,
        }
    }

    /// Why `name` cannot be used.
    fn taken(&self, name: &SnapshotName) -> Option<Obstacle> {
        let Self::There(repository) = self else { return None };
        taken(repository, name)
            .unwrap_or_else(|error| Some(Obstacle::Unreadable(error.to_string())))
    }
}

fn taken(repository: &Repository, name: &SnapshotName) -> io::Result<Option<Obstacle>> {
    for state in [SnapshotState::Complete, SnapshotState::Incomplete, SnapshotState::Deleting] {
        let text = name.with_state(state).to_string();
        if repository.dir.find(&c_name(text.as_str())?)?.is_some() {
            return Ok(Some(Obstacle::Exists(text)));
        }
    }
    for (store, ending) in Store::OF_SNAPSHOTS {
        let Some(dir) = repository.store_if_any(store)? else { continue };
        if dir.find(&c_name(format!("{name}{ending}"))?)?.is_some() {
            return Ok(Some(Obstacle::Recorded(name.to_string())));
        }
    }
    Ok(None)
}

/// Plans an adoption from `from` to `destination`.
pub(crate) fn survey(
    request: &Request<'_>,
    from: &Dir,
    destination: &Destination,
) -> Result<Plan, LookError> {
    let failed = |error| LookError { action: "cannot list", path: request.from.to_owned(), error };
    let mut names: Vec<CString> = Vec::new();
    from.names(|entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .map_err(failed)?;
    let mut seen = Vec::new();
    for name in names {
        // A name that vanishes meanwhile is not a snapshot.
        if let Some(meta) = from.find(&name).map_err(failed)? {
            seen.push(look(request, from, destination.dir(), name, &meta));
        }
    }
    let taken = |name: &SnapshotName| destination.taken(name);
    let Request { label, prefix, zone, .. } = *request;
    let mut plan = decide(&Facts { seen: &seen, label, prefix, zone, taken: &taken });
    if !plan.renames.is_empty() && !may_write(destination.dir()) {
        let path = request.backups_dir.as_os_str().as_encoded_bytes();
        plan.obstacles.push((c_name(path).map_err(failed)?, Obstacle::Unwritable));
    }
    Ok(plan)
}

fn look(request: &Request<'_>, from: &Dir, to: &Dir, name: CString, meta: &Meta) -> Seen {
    let tree = match (ForeignName::of(name.to_bytes()).program(), meta.kind) {
        (Some(program), Kind::Folder) => {
            let inside = tree_in(program, request.label);
            state(program, from, to, &name, inside.as_deref())
        }
        _ => TreeState::Fit { errors: false },
    };
    let target = match meta.kind {
        Kind::Symlink => from.read_link(&name).ok(),
        _ => None,
    };
    Seen { name, kind: meta.kind, seconds: meta.mtime.secs, target, tree }
}

/// Whether the folder `name` in `from`, or `inside` in it, can be renamed into `to`.
fn state(program: Program, from: &Dir, to: &Dir, name: &CStr, inside: Option<&CStr>) -> TreeState {
    let refused = |obstacle| TreeState::Refused(name.to_owned(), obstacle);
    let unreadable = |error: io::Error| match is_mount_point(&error) {
        true => refused(Obstacle::Mounted),
        false => refused(Obstacle::Unreadable(error.to_string())),
    };
    let folder = match from.child_here(name) {
        Ok(folder) => folder,
        Err(error) => return unreadable(error),
    };
    let Some(inside) = inside else {
        return movable(from, &folder, to).map_or(TreeState::Fit { errors: false }, refused);
    };
    match folder.find(inside).map(|found| found.map(|meta| meta.kind)) {
        Err(error) => return unreadable(error),
        Ok(None) => return TreeState::Left(LeftAlone::NoTree(inside.to_owned())),
        Ok(Some(Kind::Folder)) => {}
        Ok(Some(_)) => return TreeState::Left(LeftAlone::NoRealTree(inside.to_owned())),
    }
    let tree = match folder.child_here(inside) {
        Ok(tree) => tree,
        Err(error) => return unreadable(error),
    };
    // Back In Time marks a snapshot that it made with errors by an empty file.
    let errors =
        program == Program::BackInTime && folder.find(c"failed").is_ok_and(|found| found.is_some());
    movable(&folder, &tree, to).map_or(TreeState::Fit { errors }, refused)
}

/// What prevents renaming `tree` from its folder `above` to `to`.
fn movable(above: &Dir, tree: &Dir, to: &Dir) -> Option<Obstacle> {
    let facts = || -> io::Result<_> { Ok((above.meta()?, tree.meta()?, to.meta()?)) };
    let (above_meta, tree_meta, to_meta) = match facts() {
        Ok(facts) => facts,
        Err(error) => return Some(Obstacle::Unreadable(error.to_string())),
    };
    if tree_meta.id.map(|id| id.dev) != to_meta.id.map(|id| id.dev) {
        return Some(Obstacle::OtherFileSystem);
    }
    if !is_same_mount(tree, to).unwrap_or(false) {
        return Some(Obstacle::OtherMount);
    }
    let user = rustix::process::geteuid();
    // rename(2): a folder that gets another parent is written to, for its entry `..`.
    let writable = may_write(above) && (above_meta.id == to_meta.id || may_write(tree));
    let sticky = above_meta.mode & 0o1000 != 0
        && !user.is_root()
        && ![above_meta.uid, tree_meta.uid].contains(&user.as_raw());
    match (writable, sticky) {
        (false, _) => Some(Obstacle::Unwritable),
        (true, true) => Some(Obstacle::Sticky),
        (true, false) => None,
    }
}

/// Whether the caller may add and remove names in `dir`. Where the system cannot tell, the rename tells.
fn may_write(dir: &Dir) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    match rustix::fs::accessat(dir, c".", access, AtFlags::EACCESS) {
        Ok(()) | Err(Errno::NOSYS | Errno::INVAL) => true,
        Err(_) => false,
    }
}
