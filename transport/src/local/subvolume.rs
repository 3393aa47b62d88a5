//! btrfs subvolumes: whether two folders are on the same file system, and what kind of subvolume a folder is.
//!
//! A subvolume has its own device number and its own `f_fsid`, and no line in `/proc/self/mountinfo`. Only
//! the file system can distinguish it from a mount point (btrfs-ioctl(2), BTRFS_IOC_GET_SUBVOL_INFO, since
//! Linux 4.18, also for unprivileged users).

use engine::fs::Dir;
use engine::source::Subvolume;
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

/// `struct btrfs_ioctl_get_subvol_info_args` of linux/btrfs.h.
#[repr(C)]
struct Info {
    id: u64,
    name: [u8; 256],
    parent_id: u64,
    folder: u64,
    generation: u64,
    flags: u64,
    uuid: [u8; 16],
    parent_uuid: [u8; 16],
    received_uuid: [u8; 16],
    transactions: [u64; 4],
    times: [(u64, u64); 4],
    reserved: [u64; 8],
}

const GET_SUBVOL_INFO: Opcode = opcode::read::<Info>(0x94, 60);

/// `BTRFS_ROOT_SUBVOL_RDONLY` of linux/btrfs_tree.h.
const READ_ONLY: u64 = 1;

/// `BTRFS_FS_TREE_OBJECTID` of linux/btrfs_tree.h: the top-level subvolume.
const TOP: u64 = 5;

/// `BTRFS_SUPER_MAGIC` of linux/magic.h.
const BTRFS: u64 = 0x9123_683E;

fn info(folder: &Dir) -> Option<Info> {
    let kind = rustix::fs::fstatfs(folder).ok()?.f_type as u64;
    (kind == BTRFS).then(|| get(folder)).flatten()
}

#[expect(unsafe_code, reason = "rustix knows ioctls by number only")]
fn get(folder: &Dir) -> Option<Info> {
    // SAFETY: the request number and the layout match linux/btrfs.h. `Info` has only plain integer fields, so
    // every bit pattern that the kernel writes is a valid value.
    let request = unsafe { Getter::<GET_SUBVOL_INFO, Info>::new() };
    // SAFETY: the kernel writes one `Info` and nothing else. The folder is on btrfs, where the request number
    // has this meaning.
    unsafe { ioctl(folder, request) }.ok()
}

/// Identifies the whole file system: `f_fsid` without the subvolume number that the kernel mixes in
/// (btrfs_statfs in fs/btrfs/super.c).
fn file_system(folder: &Dir, info: &Info) -> Option<u64> {
    let id = rustix::fs::fstatvfs(folder).ok()?.f_fsid;
    Some(id ^ info.id.rotate_left(32))
}

/// Describes the subvolume that starts at `folder`, if it is on the same file system as `parent`.
pub(crate) fn subvolume(parent: &Dir, folder: &Dir) -> Option<Subvolume> {
    let (above, here) = (info(parent)?, info(folder)?);
    if file_system(parent, &above)? != file_system(folder, &here)? {
        return None;
    }
    Some(Subvolume {
        read_only: here.flags & READ_ONLY != 0,
        snapshot: here.parent_uuid != [0; 16],
        encloses: here.id == TOP || here.id == above.id || here.id == above.parent_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_kernel() {
        assert_eq!(std::mem::size_of::<Info>(), 504);
        assert_eq!(std::mem::offset_of!(Info, flags), 288);
        assert_eq!(std::mem::offset_of!(Info, parent_uuid), 312);
    }
}
