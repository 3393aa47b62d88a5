//! What the destination can do, found out by trying in `.backup_manager/`.

use std::ffi::CStr;
use std::io;

use crate::attrs;
use crate::dir::{self, Dir};
use crate::entry::{Kind, Time};

/// What the destination can hold, and as whom we write to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent ability of a file system"
)]
pub(crate) struct Abilities {
    /// The user that new inodes belong to.
    pub(crate) uid: u32,
    /// The group that new inodes belong to.
    pub(crate) gid: u32,
    /// Hard links.
    pub(crate) links: bool,
    /// Symlinks.
    pub(crate) symlinks: bool,
    /// Any numeric owner.
    pub(crate) owner: bool,
    /// All mode bits.
    pub(crate) mode: bool,
    /// `user.` attributes.
    pub(crate) xattrs: bool,
    /// Copies that share their blocks.
    pub(crate) reflinks: bool,
    /// How fine modification times are, nanoseconds.
    pub(crate) time_granularity_ns: u32,
}

const FILE: &CStr = c"probe";
const OTHER: &CStr = c"probe.other";

/// Tries everything on two small files in `dir`.
///
/// # Errors
/// When not even a file can be created there.
pub(crate) fn probe(dir: &Dir) -> io::Result<Abilities> {
    let clean = || {
        for name in [FILE, OTHER] {
            let _ = dir.unlink(name);
        }
    };
    clean();
    let file = dir.create_file(FILE, 0o640)?;
    let created = dir.stat(FILE)?;
    let root = rustix::process::geteuid().is_root();
    // 4 KiB: some file systems do not share blocks of files that fit into their inode.
    rustix::io::write(&file, &[1; 4096])?;
    let abilities = Abilities {
        uid: created.uid,
        gid: created.gid,
        links: works(dir.link(OTHER, dir, FILE)),
        symlinks: removed(dir) && works(dir.make_symlink(OTHER, b"x")),
        owner: root && dir::set_owner(&file, Some(54_321), Some(54_321)).is_ok() && is(dir, 54_321),
        mode: dir::set_mode(&file, 0o4751).is_ok() && dir.stat(FILE)?.mode == 0o4751,
        xattrs: attrs::set_hash(&file, &blake3::hash(b"x"))?,
        reflinks: removed(dir) && {
            let other = dir.create_file(OTHER, 0o600)?;
            rustix::fs::ioctl_ficlone(&other, &file).is_ok()
        },
        time_granularity_ns: granularity(dir, &file)?,
    };
    clean();
    Ok(abilities)
}

fn works(result: io::Result<()>) -> bool {
    result.is_ok()
}

fn removed(dir: &Dir) -> bool {
    match dir.unlink(OTHER) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is(dir: &Dir, owner: u32) -> bool {
    dir.stat(FILE)
        .is_ok_and(|meta| meta.uid == owner && meta.gid == owner && meta.kind == Kind::File)
}

/// Sets a time that no coarser clock can hold and looks what is left of it.
fn granularity(dir: &Dir, file: &std::fs::File) -> io::Result<u32> {
    let set = Time { secs: 1_000_000_001, nanos: 123_456_789 };
    dir::set_mtime(file, set)?;
    let held = dir.stat(FILE)?.mtime;
    Ok(if held.secs != set.secs {
        2_000_000_000
    } else {
        [1, 100, 1_000, 1_000_000, 10_000_000]
            .into_iter()
            .find(|grain| held.nanos == set.nanos - set.nanos % grain)
            .unwrap_or(1_000_000_000)
    })
}

impl Abilities {
    /// What the destination cannot hold, each as a sentence for people.
    pub(crate) fn limits(&self) -> Vec<&'static str> {
        let mut limits = Vec::new();
        let mut say = |missing: bool, what| {
            if missing {
                limits.push(what);
            }
        };
        say(
            !self.links,
            "the destination has no hard links: every snapshot is a full copy and takes its full size",
        );
        say(
            !self.symlinks,
            "the destination has no symlinks: they are kept beside the snapshot, in .backup_manager/kept",
        );
        say(
            !self.mode,
            "the destination does not hold all mode bits: they are kept beside the snapshot, in .backup_manager/kept",
        );
        say(
            !self.xattrs,
            "the destination has no extended attributes: no hash of the content can be recorded, and verify can prove nothing",
        );
        limits
    }
}
