//! Finds out what a backups folder can hold, for those who ask before the first run.

use std::path::Path;

use crate::backups::Backups;
use crate::error::RunError;
use crate::mount::{describe, missing_mount};
use crate::probe::probe;

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
    if let Some(mount_point) = missing_mount(path) {
        return Err(RunError::NotMounted { path: path.to_owned(), mount_point });
    }
    let backups = Backups::open_or_make(path, mode)?;
    let place = describe(&backups);
    let own = backups.own.as_ref().ok_or(std::io::ErrorKind::NotFound.into());
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
