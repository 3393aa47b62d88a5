//! Prevents the removal of a snapshot while a process reads it.
//!
//! A reader holds a shared flock(2) lock on the snapshot's folder. A remover takes the exclusive lock right
//! before it renames the folder. The kernel releases these locks when the process ends for any reason. They
//! need only read access and write nothing, so they also work on a read-only mount. Over a network file system
//! they exclude only processes of the same machine.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::entry::FileId;
use crate::entry::escape::shown;
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::repository::backups_folder::{Repository, folder_name};
use crate::snapshot::name::SnapshotName;

/// Keeps a snapshot from removal until dropped, where the file system supports locks.
pub(crate) struct ReadLock {
    _folder: Dir,
}

/// Keeps readers from opening a snapshot until dropped.
pub(crate) struct Claim {
    _folder: Option<Dir>,
}

/// How often and at what interval a reader retries while another process renames the snapshot for removal.
const PATIENCE: (u32, Duration) = (50, Duration::from_millis(20));

/// How often and at what interval a hold retries, long enough for a slow disk.
const REMOVAL: (u32, Duration) = (500, Duration::from_millis(20));

/// Locks `snapshot` for reading.
///
/// # Errors
/// The snapshot does not exist, or no longer exists.
pub(crate) fn read(
    repository: &Repository,
    snapshot: &SnapshotName,
) -> Result<ReadLock, LookError> {
    let opened = || -> io::Result<ReadLock> {
        let name = folder_name(snapshot)?;
        let folder = repository.dir.child(&name)?;
        let (times, pause) = PATIENCE;
        for _ in 0..times {
            match flock(&folder, FlockOperation::NonBlockingLockShared) {
                Err(Errno::WOULDBLOCK) => sleep(pause),
                // Without lock support the snapshot is read unlocked. The same applies when another process
                // holds the lock for too long.
                _ => break,
            }
        }
        // Another process may have renamed the snapshot before this one locked it.
        let held = folder.meta()?.id;
        match repository.dir.find(&name)? {
            Some(now) if now.id == held => Ok(ReadLock { _folder: folder }),
            _ => Err(Errno::NOENT.into()),
        }
    };
    let path = || repository.path.join(snapshot.to_string());
    opened().map_err(|error| LookError { action: "cannot open", path: path(), error })
}

/// Prevents the removal of `snapshot` until the returned value is dropped. Waits for a removal that is about to
/// start.
///
/// # Errors
/// `EBUSY` when the remover keeps its lock; any I/O error when the snapshot does not exist, or no longer
/// exists.
pub(crate) fn keep_from_removal(
    repository: &Repository,
    snapshot: &SnapshotName,
) -> io::Result<ReadLock> {
    let name = folder_name(snapshot)?;
    let folder = repository.dir.child(&name)?;
    let mut locked = flock(&folder, FlockOperation::NonBlockingLockShared);
    for _ in 0..REMOVAL.0 {
        if locked != Err(Errno::WOULDBLOCK) {
            break;
        }
        sleep(REMOVAL.1);
        locked = flock(&folder, FlockOperation::NonBlockingLockShared);
    }
    match locked {
        Err(Errno::WOULDBLOCK) => Err(Errno::BUSY.into()),
        // Without lock support two checks remain: this one of the name, and the remover's check for holds.
        _ => match repository.dir.find(&name)? {
            Some(now) if now.id == folder.meta()?.id => Ok(ReadLock { _folder: folder }),
            _ => Err(Errno::NOENT.into()),
        },
    }
}

/// Locks a snapshot for removal. `None` when another process reads it, or when the lock state is unknown. When
/// the mode denies this user, the owner, access to the folder, no other process can be reading it.
pub(crate) fn claim(repository: &Repository, snapshot: &SnapshotName) -> Option<Claim> {
    let name = folder_name(snapshot).ok()?;
    match repository.dir.child(&name) {
        Ok(folder) => match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => None,
            // Some file systems have no locks.
            _ => Some(Claim { _folder: Some(folder) }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Claim { _folder: None }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let own = rustix::process::geteuid().as_raw();
            let closed = repository
                .dir
                .stat(&name)
                .is_ok_and(|meta| meta.uid == own && meta.mode & 0o500 != 0o500);
            closed.then_some(Claim { _folder: None })
        }
        Err(_) => None,
    }
}

/// The processes that hold a lock on a snapshot's folder, as `/proc/locks` lists them: `tar (4711) of user
/// 1000`.
pub(crate) fn holders(repository: &Repository, snapshot: &SnapshotName) -> Vec<String> {
    let found = folder_name(snapshot).and_then(|name| repository.dir.stat(&name));
    let Some(id) = found.ok().and_then(|meta| meta.id) else { return Vec::new() };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut processes: Vec<u32> = locks.lines().filter_map(|line| of_inode(line, id)).collect();
    processes.sort_unstable();
    processes.dedup();
    let described = |process: u32| {
        use std::os::unix::fs::MetadataExt;
        let folder = format!("/proc/{process}");
        let name = std::fs::read(format!("{folder}/comm")).unwrap_or_default();
        let name = shown(name.trim_ascii_end());
        match std::fs::metadata(folder) {
            Ok(meta) => format!("{name} ({process}) of user {}", meta.uid()),
            Err(_) => format!("process {process}"),
        }
    };
    processes.into_iter().map(described).collect()
}

/// The process ID in a line of `/proc/locks` (proc_locks(5)), when the line is about inode `id`. File systems
/// with several devices (btrfs) list another device there than stat(2) reports. For them only the inode number
/// is compared.
fn of_inode(line: &str, id: FileId) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", .., process, inode, _, _] = fields[..] else { return None };
    let (device, number) = inode.rsplit_once(':')?;
    let (major, minor) = device.split_once(':')?;
    let number: u64 = number.parse().ok()?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    let same = (hex(major)?, hex(minor)?) == (rustix::fs::major(id.dev), rustix::fs::minor(id.dev))
        || rustix::fs::major(id.dev) == 0;
    (number == id.ino && same).then(|| process.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_has_a_lock_is_found_by_the_inode() {
        let id = FileId { dev: rustix::fs::makedev(8, 1), ino: 42 };
        let line = "7: FLOCK  ADVISORY  READ  4711 08:01:42 0 EOF";
        assert_eq!(of_inode(line, id), Some(4711));
        assert_eq!(of_inode(&line.replace("08:01", "08:02"), id), None);
        assert_eq!(of_inode(&line.replace("42 0", "43 0"), id), None);
        assert_eq!(of_inode(&line.replace("FLOCK", "POSIX"), id), None);
    }

    #[test]
    fn a_snapshot_that_is_read_cannot_be_claimed_and_a_claimed_one_is_soon_removed() {
        let folder = tempfile::tempdir().unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        let path = folder.path().join(name.to_string());
        std::fs::create_dir(&path).unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        let reading = [read(&repository, &name).unwrap(), read(&repository, &name).unwrap()];
        let [one, other] = reading;
        drop(one);
        assert!(claim(&repository, &name).is_none(), "another one still reads it");
        drop(other);
        let claimed = claim(&repository, &name).unwrap();
        let path = path.as_path();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&repository, &name).map(drop));
            std::fs::rename(path, folder.path().join("other")).unwrap();
            drop(claimed);
            let error = reader.join().unwrap().unwrap_err();
            assert_eq!(error.error.kind(), io::ErrorKind::NotFound, "{error}");
        });
        assert!(claim(&repository, &name).is_some(), "no process reads a missing snapshot");
    }
}
