//! What an error of the destination means. No errno is trusted without a second look: ext4 says `ENOSPC` for attributes
//! that do not fit beside an inode, GlusterFS for one link too many, and servers say `EPERM` or `ENOENT` for a name.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::fs::dir::Dir;
use crate::fs::file_system::syncs_as_a_whole;
use crate::fs::temporary::probe_name;

/// What an error of the destination means for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The disk, its inodes or a quota are used up.
    Full,
    /// The destination works; it refuses this entry or this value. The run goes on without it.
    Entry,
    /// The destination fails, is gone or refuses everything. The run ends.
    Broken,
}

/// What is tried a second time, under a plain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// A small file with content.
    File,
    /// A folder.
    Folder,
}

/// With less room than this a disk counts as full, bytes. The second write is as large.
const LITTLE: u64 = 1 << 20;
/// With fewer free inodes than this a disk counts as full.
const FEW: u64 = 8;
/// What one `write(2)` of the second write asks for.
static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];

/// What `error` means that came up in the folder `dir` of the destination.
pub(crate) fn classify(error: &io::Error, dir: &Dir, tried: Tried) -> Refusal {
    let Some(errno) = Errno::from_io_error(error) else { return Refusal::Broken };
    decide(errno, &|| has_no_room(dir), &mut || try_again(dir, tried))
}

/// Whether the disk is full, when `error` says so.
pub(crate) fn is_full(error: &io::Error, dir: &Dir) -> bool {
    says_full(error) && classify(error, dir, Tried::File) == Refusal::Full
}

/// Whether `error` is one that a full disk or a used up quota causes, among other things.
pub(crate) fn says_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether a name cannot be looked for because the file system has no such names: nothing is there.
pub(crate) fn is_no_name(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::ILSEQ | Errno::NAMETOOLONG | Errno::INVAL)
    )
}

/// The decision: `no_room` asks the file system, `again` tries something plain in the same place.
fn decide(
    errno: Errno,
    no_room: &dyn Fn() -> bool,
    again: &mut dyn FnMut() -> Result<(), Errno>,
) -> Refusal {
    match errno {
        Errno::NOSPC | Errno::DQUOT if no_room() => Refusal::Full,
        // Another entry has the name: the file system does not tell the two apart.
        Errno::EXIST => Refusal::Entry,
        Errno::NOSPC
        | Errno::DQUOT
        | Errno::NAMETOOLONG
        | Errno::INVAL
        | Errno::ILSEQ
        | Errno::FBIG
        | Errno::TOOBIG
        | Errno::RANGE
        | Errno::OVERFLOW
        | Errno::NOTSUP
        | Errno::NOSYS
        | Errno::MLINK
        | Errno::PERM
        | Errno::ACCESS
        // SMB servers say so of names that they do not take (fs/smb/client, STATUS_OBJECT_NAME_INVALID).
        | Errno::NOENT => match again() {
            // A limit of the process on the size of files is none of the disk.
            Ok(()) | Err(Errno::FBIG) => Refusal::Entry,
            Err(Errno::NOSPC | Errno::DQUOT) => Refusal::Full,
            Err(_) => Refusal::Broken,
        },
        _ => Refusal::Broken,
    }
}

/// Whether the file system says that it has no room. CephFS without its manager says so of 0 blocks in all.
pub(crate) fn has_no_room(fd: impl AsFd) -> bool {
    rustix::fs::fstatvfs(fd).is_ok_and(|space| {
        let little = space.f_blocks > 0 && space.f_bavail * space.f_frsize < LITTLE;
        little || (space.f_files > 0 && space.f_favail < FEW)
    })
}

/// Makes something plain in `dir` and removes it again.
fn try_again(dir: &Dir, tried: Tried) -> Result<(), Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let name = probe_name().map_err(errno)?;
    if tried == Tried::Folder {
        dir.make_folder(&name, 0o700).map_err(errno)?;
        return dir.remove_folder(&name).map_err(errno);
    }
    let written = dir.create_file(&name, 0o600).and_then(|mut file| {
        let whole = syncs_as_a_whole(dir);
        (0..LITTLE / PIECE.len() as u64).try_for_each(|_| file.write_all(&PIECE))?;
        // Network file systems tell a full disk when they write, not when they are asked to.
        if whole { Ok(()) } else { file.sync_all() }
    });
    let removed = match dir.unlink(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    written.and(removed).map_err(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_only_when_something_else_says_so_too() {
        use Refusal::Broken;
        use Refusal::Entry;
        use Refusal::Full;
        for (errno, no_room, again, means) in [
            (Errno::NOSPC, true, Ok(()), Full),
            (Errno::NOSPC, false, Ok(()), Entry),
            (Errno::NOSPC, false, Err(Errno::NOSPC), Full),
            (Errno::DQUOT, false, Err(Errno::DQUOT), Full),
            (Errno::DQUOT, false, Ok(()), Entry),
            (Errno::NOSPC, false, Err(Errno::IO), Broken),
            (Errno::PERM, true, Ok(()), Entry),
            (Errno::PERM, false, Err(Errno::PERM), Broken),
            (Errno::ACCESS, false, Err(Errno::NOSPC), Full),
            (Errno::ILSEQ, false, Ok(()), Entry),
            (Errno::FBIG, false, Err(Errno::FBIG), Entry),
            (Errno::EXIST, false, Err(Errno::IO), Entry),
            (Errno::IO, false, Ok(()), Broken),
            (Errno::ROFS, false, Ok(()), Broken),
            (Errno::STALE, false, Ok(()), Broken),
            (Errno::MFILE, false, Ok(()), Broken),
        ] {
            assert_eq!(decide(errno, &|| no_room, &mut || again), means, "{errno:?} {again:?}");
        }
    }

    #[test]
    fn nothing_stays_of_a_second_try() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::at(temp.path()).unwrap();
        for tried in [Tried::File, Tried::Folder] {
            assert_eq!(classify(&Errno::NOSPC.into(), &dir, tried), Refusal::Entry);
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        assert!(!is_full(&Errno::DQUOT.into(), &dir));
        std::fs::remove_dir(temp.path()).unwrap();
        assert_eq!(classify(&Errno::PERM.into(), &dir, Tried::File), Refusal::Broken);
    }
}
