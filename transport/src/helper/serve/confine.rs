//! Keeps the far end to the folders that its command line names.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use engine::entry::FileId;
use engine::entry::escape::shown;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError,
};

/// The kernel interface whose rights are known here (landlock(7)). An older kernel checks what it knows.
const KNOWN: ABI = ABI::V5;

/// What the near end may do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    Nothing,
    /// Look at it: it is a folder above a root. A snapshot has the folders above its sources too.
    Look,
    Read,
}

/// The folders that the near end may read; empty: all that the user may read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots(Vec<PathBuf>);

impl Roots {
    /// Resolves the roots of the command line once.
    ///
    /// # Errors
    /// A root does not exist, or is no absolute path.
    pub(crate) fn new(given: &[PathBuf]) -> io::Result<Self> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("--root {}: {error}", shown(path.as_os_str().as_bytes())),
            )
        };
        let advice = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => "create the folder, or correct the path in authorized_keys",
            io::ErrorKind::PermissionDenied => "let this user enter the folders above it",
            _ => "correct the path",
        };
        let resolve = |path: &PathBuf| match path.is_absolute() {
            true => path.canonicalize().map_err(|error| {
                let text = format!("{error}; {}", advice(&error));
                named(path, io::Error::new(error.kind(), text))
            }),
            false => {
                let text = "it must be an absolute path; write it from / on, such as --root /home";
                Err(named(path, io::Error::other(text)))
            }
        };
        Ok(Self(given.iter().map(resolve).collect::<io::Result<_>>()?))
    }

    /// Whether the near end may ask for `path`: an absolute path that names no parent folder. What it leads to is
    /// checked after it was opened, see [`Roots::allow`].
    pub(crate) fn is_plain(path: &Path) -> bool {
        let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        path.is_absolute() && path.components().all(is_plain)
    }

    /// Whether the name `path` lies in a root, or above one, without following symlinks.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        let concerned = |root: &PathBuf| path.starts_with(root) || root.starts_with(path);
        self.0.is_empty() || self.0.iter().any(concerned)
    }

    /// What the near end may do with an opened entry: `path` leads to it, and `id` is its inode. The last component
    /// of the path is not followed if it `is_symlink` itself.
    pub(crate) fn allow(&self, path: &Path, is_symlink: bool, id: Option<FileId>) -> Allowed {
        if self.0.is_empty() {
            return Allowed::Read;
        }
        let real = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if is_symlink => {
                parent.canonicalize().map(|parent| parent.join(name))
            }
            _ => path.canonicalize(),
        };
        let Ok(real) = real else { return Allowed::Nothing };
        let found = real.symlink_metadata().ok();
        let found = found.map(|found| FileId { dev: found.dev(), ino: found.ino() });
        // Another entry may have taken the place of the opened one.
        if found.is_none() || found != id {
            Allowed::Nothing
        } else if self.0.iter().any(|root| real.starts_with(root)) {
            Allowed::Read
        } else if self.0.iter().any(|root| root.starts_with(&real)) {
            Allowed::Look
        } else {
            Allowed::Nothing
        }
    }

    /// Gives up this process's rights to read anything but the roots and what the kernel says of the process
    /// itself, and to write anywhere. Threads that are started later have the same rights. A kernel without
    /// Landlock changes nothing.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn confine(&self) -> Result<(), RulesetError> {
        let every = [PathBuf::from("/")];
        let readable = if self.0.is_empty() { &every[..] } else { &self.0 };
        let own = ["/proc/self"].map(PathBuf::from);
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .create()?;
        let ruleset = readable.iter().chain(&own).try_fold(ruleset, |ruleset, path| {
            let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
            let mut rights = AccessFs::from_read(KNOWN) & !AccessFs::Execute;
            if !path.is_dir() {
                rights &= AccessFs::from_file(KNOWN);
            }
            ruleset.add_rule(PathBeneath::new(opened, rights))
        })?;
        ruleset.restrict_self().map(drop)
    }
}
