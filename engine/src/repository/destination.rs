//! Determines the capabilities of a backups folder before the first run.

use std::path::Path;

use crate::entry::escape::shown_path;
use crate::entry::human::bytes;
use crate::error::RunError;
use crate::fs::file_system::capabilities::probe;
use crate::fs::mount::of_device;
use crate::repository::backups_folder::{Repository, check_mounted};

/// The capabilities of a backups folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent ability of a file system"
)]
pub struct DestinationReport {
    /// One human-readable line: path, file system, mount point, free space.
    pub place: String,
    /// Supports hard links.
    pub hard_links: bool,
    /// The maximum link count of an inode.
    pub most_links: u64,
    /// Supports symlinks.
    pub symlinks: bool,
    /// This user can set any numeric owner.
    pub owner: bool,
    /// Stores all mode bits.
    pub mode: bool,
    /// Stores `user.` attributes.
    pub xattrs: bool,
}

/// Prepares and probes the folder as a run does: creates the folder and its `.backup_manager` when they are
/// missing, and sets `mode` (`BACKUPS_MODE`).
///
/// # Errors
/// The file system is not mounted, or the folder cannot be created or written.
pub fn examine(path: &Path, mode: Option<u32>) -> Result<DestinationReport, RunError> {
    check_mounted(path)?;
    let repository = Repository::open_or_make(path, mode)?;
    let place = describe(&repository);
    let own = repository.own.as_ref().ok_or(std::io::ErrorKind::NotFound.into());
    let able = own.and_then(probe).map_err(|error| {
        crate::error::destination("cannot write in", path, path.join(".backup_manager"), error)
    })?;
    Ok(DestinationReport {
        place,
        hard_links: able.links,
        most_links: able.most_links,
        symlinks: able.symlinks,
        owner: able.owner,
        mode: able.mode,
        xattrs: able.xattrs,
    })
}

/// One line: file system type, mount point, free space.
pub(crate) fn describe(repository: &Repository) -> String {
    let dev = repository.id.dev;
    let numbers = format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = repository.path.canonicalize().unwrap_or_else(|_| repository.path.clone());
    // One device can have several mount points, including single files. The nearest one above the path counts.
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
