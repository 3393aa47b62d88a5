//! Finds out what a backups folder can hold, for those who ask before the first run.

use std::path::Path;

use crate::entry::escape::shown_path;
use crate::entry::human::bytes;
use crate::error::RunError;
use crate::fs::capabilities::probe;
use crate::fs::mount::of_device;
use crate::repository::{Repository, check_mounted};

/// What a backups folder can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent ability of a file system"
)]
pub struct Destination {
    /// One line for people: path, file system, mount point, free space.
    pub place: String,
    /// Hard links.
    pub hard_links: bool,
    /// How many names an inode can have.
    pub most_links: u64,
    /// Symlinks.
    pub symlinks: bool,
    /// Any numeric owner, as this user.
    pub owner: bool,
    /// All mode bits.
    pub mode: bool,
    /// `user.` attributes.
    pub xattrs: bool,
}

/// Tries it as a run does: the folder and its `.backup_manager` are made when they are missing, and `mode` is set
/// (`BACKUPS_MODE`).
///
/// # Errors
/// When it is not mounted, or cannot be made or written.
pub fn examine(path: &Path, mode: Option<u32>) -> Result<Destination, RunError> {
    check_mounted(path)?;
    let repository = Repository::open_or_make(path, mode)?;
    let place = describe(&repository);
    let own = repository.own.as_ref().ok_or(std::io::ErrorKind::NotFound.into());
    let able = own.and_then(probe).map_err(|error| {
        crate::error::destination("cannot write in", path, path.join(".backup_manager"), error)
    })?;
    Ok(Destination {
        place,
        hard_links: able.links,
        most_links: able.most_links,
        symlinks: able.symlinks,
        owner: able.owner,
        mode: able.mode,
        xattrs: able.xattrs,
    })
}

/// One line: type, mount point, free space.
pub(crate) fn describe(repository: &Repository) -> String {
    let dev = repository.id.dev;
    let numbers = format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = repository.path.canonicalize().unwrap_or_else(|_| repository.path.clone());
    // One device may be mounted in many places, single files among them: the nearest above counts.
    let above = mounts.lines().filter_map(|line| of_device(line, &numbers));
    let mount =
        above.filter(|(point, _)| real.starts_with(point)).max_by_key(|(point, _)| point.len());
    let on = match mount {
        Some((point, kind)) => format!("{kind} mounted at {point}"),
        None => "an unknown file system".to_owned(),
    };
    let free = repository.free_bytes().map(|free| format!(", {} free", bytes(free)));
    let free = free.unwrap_or_default();
    format!("{} on {on}{free}", shown_path(&repository.path))
}
