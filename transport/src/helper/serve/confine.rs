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

/// The error for every path outside the roots: it does not tell which of them exist.
pub(crate) const OUTSIDE: &str = "the helper at the far end was started with --root for other folders; add --root with this one to its command, in ~/.ssh/authorized_keys there";

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

    /// Whether an entry with this path, in which nothing is a symlink, lies in a root.
    pub(crate) fn hold(&self, real: &Path) -> bool {
        self.0.is_empty() || self.0.iter().any(|root| real.starts_with(root))
    }

    /// Gives up this process's rights to read anything but the roots and what the kernel says of the process
    /// itself, and to write anywhere unless it `writes`; then it may also read which disks are to be mounted. Threads that are started later have the same rights. A
    /// kernel without Landlock changes nothing; nor does one whose Landlock lets nobody move entries between
    /// folders, for a process that writes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn confine(&self, writes: bool) -> Result<(), RulesetError> {
        let every = [PathBuf::from("/")];
        let useable = if self.0.is_empty() { &every[..] } else { &self.0 };
        // A copy into a folder whose disk is not mounted is refused. One that goes on trusts what it wrote since the boot, and the
        // boot also shows that both folders are on the same machine.
        let own = ["/proc/self", "/proc/sys/kernel/random/boot_id", "/etc/fstab"];
        let own = own[..if writes { 3 } else { 2 }].iter().map(PathBuf::from);
        let own: Vec<PathBuf> = own.collect();
        let (read, all) = (AccessFs::from_read(KNOWN), AccessFs::from_all(KNOWN));
        let in_roots = if writes { all } else { read } & !AccessFs::Execute;
        let rules = useable.iter().map(|path| (path, in_roots));
        let rules = rules.chain(own.iter().map(|path| (path, read & !AccessFs::Execute)));
        // Landlock of Linux 5.13 to 5.18 refuses every move to another folder (landlock(7), LANDLOCK_ACCESS_FS_REFER).
        if writes
            && Ruleset::default()
                .set_compatibility(CompatLevel::HardRequirement)
                .handle_access(AccessFs::Refer)
                .is_err()
        {
            return Ok(());
        }
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .create()?;
        let ruleset = rules.into_iter().try_fold(ruleset, |ruleset, (path, mut rights)| {
            let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
            if !path.is_dir() {
                rights &= AccessFs::from_file(KNOWN);
            }
            ruleset.add_rule(PathBeneath::new(opened, rights))
        })?;
        ruleset.restrict_self().map(drop)
    }
}
