//! Recognizes a mount point by its handle. A part of a file system that is mounted at a second location has the
//! same device number there, and another mount ID.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, StatxFlags};

/// A folder was not opened because it is a mount point.
#[derive(Debug, thiserror::Error)]
#[error("something is mounted there")]
pub struct MountPoint;

impl From<MountPoint> for io::Error {
    fn from(mount_point: MountPoint) -> Self {
        Self::new(io::ErrorKind::CrossesDevices, mount_point)
    }
}

/// Whether `error` is a [`MountPoint`].
#[must_use]
pub fn is_mount_point(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<MountPoint>)
}

/// The mount ID of an open entry; `None` if the system does not report it.
pub(crate) fn mount_id(fd: impl AsFd) -> Option<u64> {
    // Since Linux 5.8 (statx(2)). Some sandboxes block the call.
    let asked = StatxFlags::MNT_ID;
    match rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, asked) {
        Ok(status) if status.stx_mask & asked.bits() != 0 => Some(status.stx_mnt_id),
        _ => in_fdinfo(fd),
    }
}

/// The mount ID from proc_pid_fdinfo(5), since Linux 3.15.
fn in_fdinfo(fd: impl AsFd) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// Whether two open entries are on one mount. Where the system reports no mount ID, whether they are on one file
/// system.
///
/// # Errors
/// Those of `fstat(2)`.
pub(crate) fn is_same_mount(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let same_device = rustix::fs::fstat(&one)?.st_dev == rustix::fs::fstat(&other)?.st_dev;
    Ok(same_device && mount_id(one) == mount_id(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::dir::Dir;

    #[test]
    fn both_sources_report_the_same_id() {
        let (root, proc) = (Dir::at("/".as_ref()).unwrap(), Dir::at("/proc".as_ref()).unwrap());
        for dir in [&root, &proc] {
            assert!(mount_id(dir).is_some());
            assert_eq!(mount_id(dir), in_fdinfo(dir));
        }
        assert!(!is_same_mount(&root, &proc).unwrap());
        assert!(is_same_mount(&root, &root).unwrap());
    }

    #[test]
    fn a_mount_point_is_refused_and_named() {
        let root = Dir::at("/".as_ref()).unwrap();
        for refused in [root.child_here(c"proc"), root.child_if_here(c"proc")] {
            let error = refused.unwrap_err();
            assert!(is_mount_point(&error), "{error}");
            assert_eq!(error.to_string(), "something is mounted there");
        }
        assert!(!is_mount_point(&io::Error::from(rustix::io::Errno::XDEV)));
    }
}
