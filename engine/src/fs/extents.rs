//! Where a file has data, and where holes (lseek(2)); its extents, the parts that each lie in one piece on the disk (FIEMAP,
//! Documentation/filesystems/fiemap.rst).

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// The offsets of the start and the end of the next data of `file` from `at` on, both in bytes and at most `size`. Both are `size` when
/// only a hole is left. Where the file system does not report holes, all is data (lseek(2): `SEEK_DATA`, `SEEK_HOLE`). Moves the
/// position of `file`.
///
/// # Errors
/// The system's error.
pub fn next_data(file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.max(at).min(size),
        // The rest is a hole.
        Err(Errno::NXIO) => return Ok((size, size)),
        // The file system does not report holes.
        Err(Errno::INVAL) => return Ok((at, size)),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(data)) {
        Ok(end) if end > data => Ok((data, end.min(size))),
        // The file changes meanwhile: go on at least.
        Ok(_) | Err(_) => Ok((data, size)),
    }
}

/// The number of extents of `file`; `None` where the file system does not report it.
pub(crate) fn count(file: &File) -> Option<u64> {
    let mut map = Map::new(0, u64::MAX, 0);
    request(file, &mut map).ok()?;
    Some(u64::from(map.head.mapped))
}

/// The bytes of `file` whose blocks other files use too; `None` where the file system does not report it.
pub(crate) fn shared_bytes(file: &File) -> Option<u64> {
    shared(file, 0, u64::MAX, u64::MAX)
}

/// Whether other files use blocks of a part of `file` too; `None` where the file system does not report it.
pub(crate) fn is_shared(file: &File, start: u64, length: u64) -> Option<bool> {
    shared(file, start, start.saturating_add(length), 1).map(|bytes| bytes > 0)
}

/// The shared bytes from `start` to `end`, or some of them, `enough` at least.
fn shared(file: &File, start: u64, end: u64, enough: u64) -> Option<u64> {
    let (mut at, mut shared) = (start, 0);
    while at < end && shared < enough {
        let mut map = Map::new(at, end - at, MOST);
        request(file, &mut map).ok()?;
        let found = &map.extents[..(map.head.mapped as usize).min(MOST as usize)];
        let lengths = found.iter().filter(|extent| extent.flags & SHARED != 0);
        shared += lengths.map(|extent| extent.length).sum::<u64>();
        let Some(last) = found.last().filter(|last| last.flags & LAST == 0) else { break };
        let next = last.logical.saturating_add(last.length);
        if next <= at {
            break;
        }
        at = next;
    }
    Some(shared)
}

/// The most extents that one call reports.
const MOST: u32 = 256;

/// `FIEMAP_EXTENT_LAST` and `FIEMAP_EXTENT_SHARED` of linux/fiemap.h.
const LAST: u32 = 1;
const SHARED: u32 = 0x2000;

/// `struct fiemap` of linux/fiemap.h.
#[repr(C)]
struct Head {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
}

/// `struct fiemap_extent` of linux/fiemap.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// A request with the space for its answer.
#[repr(C)]
struct Map {
    head: Head,
    extents: [Extent; MOST as usize],
}

impl Map {
    /// Asks for the first `count` extents in a part of the file; 0 asks for their number only.
    fn new(start: u64, length: u64, count: u32) -> Self {
        let head = Head { start, length, flags: 0, mapped: 0, count, reserved: 0 };
        Self { head, extents: [Extent::default(); MOST as usize] }
    }
}

/// `FS_IOC_FIEMAP` of linux/fs.h.
const FIEMAP: Opcode = opcode::read_write::<Head>(b'f', 11);

#[expect(unsafe_code, reason = "neither rustix nor nix has this call")]
fn request(file: &File, map: &mut Map) -> Result<(), Errno> {
    map.head.count = map.head.count.min(MOST);
    // SAFETY: the request begins with the `struct fiemap` that this code stands for. The kernel writes at most
    // `head.count` extents behind it, for which `Map` has the space, and keeps no pointer.
    unsafe { ioctl(file, Updater::<FIEMAP, Map>::new(map)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_of_two_parts_has_two_extents_that_are_not_shared() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        for at in [0, 8 << 20] {
            file.write_all_at(&[1; 4096], at).unwrap();
        }
        file.sync_all().unwrap();
        // Not all file systems answer.
        if let Some(count) = count(&file) {
            assert_eq!((count, shared_bytes(&file)), (2, Some(0)));
        }
    }
}
