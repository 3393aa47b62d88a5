//! Keeps a snapshot that somebody reads from being removed meanwhile.
//!
//! Who reads it holds a shared lock on its folder, who removes it asks for the exclusive one right before. The system takes such locks
//! back when their process ends, in whatever way (flock(2)); they ask for no right but to read, and write nothing: they hold on a folder
//! that is mounted read-only too. Over a network they bind the processes of one machine.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::backups::{Backups, folder_name};
use crate::dir::Dir;
use crate::error::LookError;
use crate::name::SnapshotName;

/// A snapshot stays while this value lives, where the file system has locks.
pub(crate) struct Reading {
    _folder: Dir,
}

/// Nobody begins to read a snapshot while this value lives.
pub(crate) struct Claim {
    _folder: Option<Dir>,
}

/// How long a reader waits for somebody who is about to remove the snapshot: that is a rename.
const PATIENCE: (u32, Duration) = (50, Duration::from_millis(20));

/// From now on `snapshot` is read.
///
/// # Errors
/// When it is not there (any more).
pub(crate) fn read(backups: &Backups, snapshot: &SnapshotName) -> Result<Reading, LookError> {
    let opened = || -> io::Result<Reading> {
        let name = folder_name(snapshot)?;
        let folder = backups.dir.child(&name)?;
        let (times, pause) = PATIENCE;
        for _ in 0..times {
            match flock(&folder, FlockOperation::NonBlockingLockShared) {
                Err(Errno::WOULDBLOCK) => sleep(pause),
                // Without locks it is read all the same. So it is when a stranger holds one for long.
                _ => break,
            }
        }
        // It may have been taken out of the history before it was locked.
        let held = folder.meta()?.id;
        match backups.dir.find(&name)? {
            Some(now) if now.id == held => Ok(Reading { _folder: folder }),
            _ => Err(Errno::NOENT.into()),
        }
    };
    let path = || backups.path.join(snapshot.to_string());
    opened().map_err(|error| LookError { action: "cannot open", path: path(), error })
}

/// Asks for a snapshot that is to be removed; `None` when somebody reads it.
pub(crate) fn claim(backups: &Backups, snapshot: &SnapshotName) -> Option<Claim> {
    let folder = folder_name(snapshot).and_then(|name| backups.dir.child(&name)).ok();
    let locked = folder.as_ref().map(|dir| flock(dir, FlockOperation::NonBlockingLockExclusive));
    (locked != Some(Err(Errno::WOULDBLOCK))).then_some(Claim { _folder: folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_cannot_be_claimed_and_what_is_claimed_is_soon_gone() {
        let folder = tempfile::tempdir().unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        let path = folder.path().join(name.to_string());
        std::fs::create_dir(&path).unwrap();
        let backups = Backups::open(folder.path()).unwrap();
        let reading = [read(&backups, &name).unwrap(), read(&backups, &name).unwrap()];
        let [one, other] = reading;
        drop(one);
        assert!(claim(&backups, &name).is_none(), "another one still reads it");
        drop(other);
        let claimed = claim(&backups, &name).unwrap();
        let path = path.as_path();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&backups, &name).map(drop));
            std::fs::rename(path, folder.path().join("other")).unwrap();
            drop(claimed);
            let error = reader.join().unwrap().unwrap_err();
            assert_eq!(error.error.kind(), io::ErrorKind::NotFound, "{error}");
        });
        assert!(claim(&backups, &name).is_some(), "what is not there is read by nobody");
    }
}
