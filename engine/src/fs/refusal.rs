//! Classifies errors of the destination. No errno is trusted without a second check: ext4 returns
//! `ENOSPC` for attributes that do not fit beside an inode, GlusterFS for one link too many, and
//! servers return `EPERM` or `ENOENT` for a name.

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::fs::dir::Dir;
use crate::fs::file_system::space::Space;
use crate::fs::file_system::syncs_as_a_whole;
use crate::fs::temporary::probe_name;

/// The meaning of an error of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Blocks, inodes or a quota are used up.
    Full,
    /// The destination works but refuses this entry or value. The run continues without it.
    Entry,
    /// The destination fails, is gone, or refuses everything. The run ends.
    Broken,
}

/// What the second attempt creates, under a plain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    /// A small file with content.
    File,
    /// A folder.
    Folder,
}

/// A disk with less free space than this counts as full, bytes. The second attempt writes as much.
const LITTLE: u64 = 1 << 20;
/// A disk with fewer free inodes than this counts as full.
const FEW: u64 = 8;
/// The data of one `write(2)` of the second attempt.
static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];

/// Classifies `error`, which occurred in the folder `dir` of the destination.
pub(crate) fn classify(error: &io::Error, dir: &Dir, tried: ProbeKind) -> Refusal {
    let Some(errno) = Errno::from_io_error(error) else { return Refusal::Broken };
    decide(errno, &|| has_no_room(dir), &mut || try_again(dir, tried))
}

/// Whether the disk is full, given an `error` that may say so.
pub(crate) fn is_full(error: &io::Error, dir: &Dir) -> bool {
    says_full(error) && classify(error, dir, ProbeKind::File) == Refusal::Full
}

/// Whether `error` is one that a full disk or quota causes, among other causes.
pub(crate) fn says_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether a lookup failed because the file system cannot have such a name, so the entry does not
/// exist.
pub(crate) fn is_no_name(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::ILSEQ | Errno::NAMETOOLONG | Errno::INVAL)
    )
}

/// Whether the destination refuses `name` itself, as `error` may say: an empty file cannot have that name in `dir` either.
fn refuses_name(dir: &Dir, name: &CStr, error: &io::Error) -> bool {
    let may_be = |error: &io::Error| {
        let denied = matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS));
        denied || is_no_name(error)
    };
    if !may_be(error) {
        return false;
    }
    match dir.create_file(name, 0o600) {
        Ok(_) => {
            // The name was free before, so it is free again.
            let _ = dir.unlink(name);
            false
        }
        Err(error) => may_be(&error),
    }
}

/// Gives the entry `name` a stored name if `error` says that the destination refuses its own, and a second attempt agrees.
/// Returns whether the caller can try again.
///
/// # Errors
/// The stored name cannot be recorded.
pub(crate) fn store_elsewhere(here: &Dir, name: &CStr, error: &io::Error) -> io::Result<bool> {
    Ok(!here.stores_elsewhere(name)?
        && refuses_name(here, name, error)
        && here.give_stored_name(name)?)
}

/// The decision. `no_room` checks the file system; `again` creates something plain in the same
/// folder.
fn decide(
    errno: Errno,
    no_room: &dyn Fn() -> bool,
    again: &mut dyn FnMut() -> Result<(), Errno>,
) -> Refusal {
    match errno {
        Errno::NOSPC | Errno::DQUOT if no_room() => Refusal::Full,
        // Another entry has the name: the file system does not distinguish the two.
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
        // SMB servers return it for names that they do not accept (fs/smb/client,
        // STATUS_OBJECT_NAME_INVALID).
        | Errno::NOENT => match again() {
            // The file size limit of the process is not a limit of the disk.
            Ok(()) | Err(Errno::FBIG) => Refusal::Entry,
            Err(Errno::NOSPC | Errno::DQUOT) => Refusal::Full,
            Err(_) => Refusal::Broken,
        },
        _ => Refusal::Broken,
    }
}

/// Whether statvfs reports no free space. CephFS without its manager reports 0 blocks in total.
pub(crate) fn has_no_room(fd: impl AsFd) -> bool {
    Space::of(fd).is_ok_and(|space| {
        let little = space.total_bytes > 0 && space.free_bytes < LITTLE;
        little || space.free_inodes.is_some_and(|free| free < FEW)
    })
}

/// Creates something plain in `dir` and removes it.
fn try_again(dir: &Dir, tried: ProbeKind) -> Result<(), Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let name = probe_name().map_err(errno)?;
    if tried == ProbeKind::Folder {
        dir.make_folder(&name, 0o700).map_err(errno)?;
        return dir.remove_folder(&name).map_err(errno);
    }
    let written = dir.create_file(&name, 0o600).and_then(|mut file| {
        let whole = syncs_as_a_whole(dir);
        (0..LITTLE / PIECE.len() as u64).try_for_each(|_| file.write_all(&PIECE))?;
        // Network file systems report a full disk at write-back, not at write(2).
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
    fn a_disk_is_full_only_when_a_second_check_confirms_it() {
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
    fn a_second_attempt_leaves_no_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::at(temp.path()).unwrap();
        for tried in [ProbeKind::File, ProbeKind::Folder] {
            assert_eq!(classify(&Errno::NOSPC.into(), &dir, tried), Refusal::Entry);
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        assert!(!is_full(&Errno::DQUOT.into(), &dir));
        std::fs::remove_dir(temp.path()).unwrap();
        assert_eq!(classify(&Errno::PERM.into(), &dir, ProbeKind::File), Refusal::Broken);
    }
}
