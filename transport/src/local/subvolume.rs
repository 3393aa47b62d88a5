//! Subvolumes of btrfs: whether two folders lie on one file system, and what a subvolume is.
//!
//! A subvolume has a device number and a `f_fsid` of its own and no line in `/proc/self/mountinfo`, so that
//! only the file system itself distinguishes it from a mount point (btrfs-ioctl(2), BTRFS_IOC_GET_SUBVOL_INFO, since Linux
//! 4.18, for ordinary users too).

use engine::fs::dir::Dir;
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

/// `BTRFS_FS_TREE_OBJECTID` of linux/btrfs_tree.h: the subvolume that holds all others.
const TOP: u64 = 5;

/// `BTRFS_SUPER_MAGIC` of linux/magic.h.
const BTRFS: u64 = 0x9123_683E;

fn info(folder: &Dir) -> Option<Info> {
    let kind = rustix::fs::fstatfs(folder).ok()?.f_type as u64;
    (kind == BTRFS).then(|| get(folder)).flatten()
}

#[expect(unsafe_code, reason = "rustix knows ioctls by number only")]
fn get(folder: &Dir) -> Option<Info> {
    // SAFETY: number and layout are those of linux/btrfs.h, and all of `Info` is plain integers, for which every
    // bit pattern that the kernel writes is a value.
    let request = unsafe { Getter::<GET_SUBVOL_INFO, Info>::new() };
    // SAFETY: the kernel writes one `Info` and nothing else; the folder is on a btrfs, where the number has
    // this meaning.
    unsafe { ioctl(folder, request) }.ok()
}

/// What stands for the whole file system: `f_fsid` without the number of the subvolume that the kernel puts into it
/// (btrfs_statfs in fs/btrfs/super.c).
fn file_system(folder: &Dir, info: &Info) -> Option<u64> {
    let id = rustix::fs::fstatvfs(folder).ok()?.f_fsid;
    Some(id ^ info.id.rotate_left(32))
}

/// What the subvolume that begins at `folder` is, when it is one of the file system that `parent` lies on.
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
