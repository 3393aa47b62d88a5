//! Resolves a path that a user named, component by component on open handles, so that the checked
//! entry is the opened one. A symlink is followed only where no other user can have created it,
//! like the kernel's `protected_symlinks` (proc_sys_fs(5)). Otherwise the owner of a folder above a
//! source root or a restore target could redirect root to any path.

pub(crate) mod append;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::Dir;
use crate::fs::dir::node::Node;

/// The number of symlinks that the kernel follows in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A symlink that other users can redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the symlink {} is not followed: {}", crate::entry::escape::shown_path(.link), reason(.link, .at, *.uid))]
pub struct UntrustedLink {
    /// The symlink.
    pub link: PathBuf,
    /// What other users control: the symlink, or a folder on the way to it.
    pub at: PathBuf,
    /// Its owner; `None` if users other than the owner may write to it.
    pub uid: Option<u32>,
}

fn reason(link: &Path, at: &Path, uid: Option<u32>) -> String {
    let at = if at == link { "it".to_owned() } else { crate::entry::escape::shown_path(at) };
    match uid {
        Some(uid) => format!("{at} belongs to the user {uid}, who can redirect it"),
        None => format!("other users may write to {at} and redirect it"),
    }
}

/// The result of resolving a path.
#[derive(Debug)]
pub struct Resolved {
    /// The last existing component, of any type.
    pub node: Node,
    /// Its path without symlinks.
    pub real: PathBuf,
    /// The components below `node` that do not exist.
    pub missing: Vec<CString>,
    /// Whether the path itself is a symlink.
    pub is_link: bool,
    /// A folder on the way to `node` in which other users may replace entries.
    open: Option<UntrustedFolder>,
}

/// A folder in which users other than root and the caller may replace entries. The value is its
/// owner, or `None` if not only the owner may.
pub type UntrustedFolder = (PathBuf, Option<u32>);

impl Resolved {
    /// Resolves `path`. A relative path starts at the current folder.
    ///
    /// # Errors
    /// Those of `openat(2)`; `ENOENT` if the target of a symlink does not exist; an error that
    /// contains an [`UntrustedLink`].
    pub fn at(path: &Path) -> io::Result<Self> {
        let absolute = path.has_root();
        let mut walk = Resolver::begin(if absolute { c"/" } else { c"." })?;
        walk.real = if absolute { PathBuf::from("/") } else { std::env::current_dir()? };
        let mut ahead: VecDeque<PathStep> = steps(path, false)?.into();
        let (mut links, mut is_link) = (0, false);
        while let Some(step) = ahead.pop_front() {
            let name = match &step.name {
                None => {
                    walk.up()?;
                    continue;
                }
                Some(name) => name,
            };
            match walk.enter(name)? {
                OpenedComponent::Folder => {}
                OpenedComponent::Nothing if step.of_link => return Err(Errno::NOENT.into()),
                OpenedComponent::Nothing => {
                    let rest = std::iter::once(step).chain(ahead);
                    let missing = rest.map(|step| step.name.ok_or(Errno::NOENT));
                    let missing = missing.collect::<Result<_, _>>()?;
                    let Resolver { at, real, open } = walk;
                    return Ok(Self { node: at, real, missing, is_link, open });
                }
                OpenedComponent::Other(node, kind) if kind != Kind::Symlink => {
                    if !ahead.is_empty() {
                        return Err(Errno::NOTDIR.into());
                    }
                    walk.note()?;
                    let real = walk.real.join(OsStr::from_bytes(name.as_bytes()));
                    return Ok(Self { node, real, missing: Vec::new(), is_link, open: walk.open });
                }
                OpenedComponent::Other(node, _) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    walk.check(&node, name)?;
                    is_link |= ahead.is_empty() && !step.of_link;
                    let target = node.read_link()?;
                    let target = Path::new(OsStr::from_bytes(&target));
                    if target.has_root() {
                        let top = Resolver::begin(c"/")?;
                        walk = Resolver { real: PathBuf::from("/"), ..top };
                    }
                    for step in steps(target, true)?.into_iter().rev() {
                        ahead.push_front(step);
                    }
                }
            }
        }
        let Resolver { at, real, open } = walk;
        Ok(Self { node: at, real, missing: Vec::new(), is_link, open })
    }

    /// Opens the folder for reading.
    ///
    /// # Errors
    /// `ENOENT` if the path does not exist; those of `openat(2)`.
    pub fn folder(self) -> io::Result<Dir> {
        if self.missing.is_empty() { self.node.open_folder() } else { Err(Errno::NOENT.into()) }
    }

    /// The whole path without symlinks, including missing components.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let names = self.missing.iter().map(|name| OsStr::from_bytes(name.as_bytes()));
        std::iter::once(self.real.as_os_str()).chain(names).collect()
    }
}

/// Which user, other than root and the caller, may replace the file at `path`; `None` if no one
/// may. The permissions of the file itself are not considered.
///
/// # Errors
/// Those of `openat(2)`.
pub fn exchangeable(path: &Path) -> io::Result<Option<UntrustedFolder>> {
    match Resolved::at(path) {
        Ok(found) => Ok(found.open),
        Err(error) => match untrusted(&error) {
            Some(link) => Ok(Some((link.at.clone(), link.uid))),
            None => Err(error),
        },
    }
}

/// The [`UntrustedLink`] that an error contains.
#[must_use]
pub fn untrusted(error: &io::Error) -> Option<&UntrustedLink> {
    error.get_ref()?.downcast_ref()
}

/// A component of a path.
struct PathStep {
    /// `None` stands for the parent folder (`..`).
    name: Option<CString>,
    /// Whether it comes from the target of a symlink.
    of_link: bool,
}

fn steps(path: &Path, of_link: bool) -> io::Result<Vec<PathStep>> {
    let step = |component| match component {
        Component::Normal(name) => {
            Some(c_name(name.as_bytes()).map(|name| PathStep { name: Some(name), of_link }))
        }
        Component::ParentDir => Some(Ok(PathStep { name: None, of_link })),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

/// The type of a component.
enum OpenedComponent {
    Folder,
    Nothing,
    Other(Node, Kind),
}

struct Resolver {
    at: Node,
    real: PathBuf,
    /// The first folder on the way in which other users may replace entries.
    open: Option<UntrustedFolder>,
}

impl Resolver {
    fn begin(path: &CStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = Node::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
        Ok(Self { at, real: PathBuf::new(), open: None })
    }

    fn up(&mut self) -> io::Result<()> {
        self.note()?;
        self.at = self.at.enter(c"..")?;
        self.real.pop();
        Ok(())
    }

    fn enter(&mut self, name: &CString) -> io::Result<OpenedComponent> {
        match self.at.enter(name) {
            Ok(folder) => {
                self.note()?;
                self.at = folder;
                self.real.push(OsStr::from_bytes(name.as_bytes()));
                Ok(OpenedComponent::Folder)
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => Ok(OpenedComponent::Nothing),
                Some(Errno::NOTDIR | Errno::LOOP) => {
                    let node = self.at.child(name)?;
                    let kind = node.meta()?.kind;
                    Ok(OpenedComponent::Other(node, kind))
                }
                _ => Err(error),
            },
        }
    }

    /// Records whether other users may replace entries in the folder that the walk leaves.
    fn note(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            self.open = other_users(&self.at.meta()?).map(|uid| (self.real.clone(), uid));
        }
        Ok(())
    }

    /// Checks that a symlink in the current folder may be followed.
    fn check(&self, link: &Node, name: &CStr) -> io::Result<()> {
        check(&self.at, &self.real, self.open.as_ref(), link, name)
    }
}

/// Checks that the symlink `name` in the folder `at`, whose path is `real`, may be followed. `open`
/// is a folder on the way to it in which other users may replace entries.
fn check(
    at: &Node,
    real: &Path,
    open: Option<&UntrustedFolder>,
    link: &Node,
    name: &CStr,
) -> io::Result<()> {
    let (here, meta) = (at.meta()?, link.meta()?);
    let path = real.join(OsStr::from_bytes(name.to_bytes()));
    let others = open
        .cloned()
        .or_else(|| (!is_ours(meta.uid)).then(|| (path.clone(), Some(meta.uid))))
        // In a sticky folder no other user can rename our entries.
        .or_else(|| other_users(&here).map(|uid| (real.to_owned(), uid)));
    match others {
        None => Ok(()),
        Some((at, uid)) => Err(io::Error::other(UntrustedLink { link: path, at, uid })),
    }
}

fn is_ours(uid: u32) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&uid)
}

/// Which user, other than root and the caller, may replace entries of a folder: its owner, or
/// `Some(None)` for several users. In a sticky folder no one may replace entries of root or the
/// caller. The caller's own group is trusted.
#[expect(clippy::option_option, reason = "the outer one says whether, the inner one who")]
fn other_users(folder: &Meta) -> Option<Option<u32>> {
    if !is_ours(folder.uid) {
        return Some(Some(folder.uid));
    }
    (others_write(folder) && folder.mode & 0o1000 == 0).then_some(None)
}

/// Whether users other than the owner may create names in a folder.
fn others_write(folder: &Meta) -> bool {
    let own_group = [0, rustix::process::getegid().as_raw()].contains(&folder.gid);
    let others = if own_group { 0o002 } else { 0o022 };
    folder.mode & others != 0
}
