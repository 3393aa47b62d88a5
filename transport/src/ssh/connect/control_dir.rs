//! The private folder for the files that ssh creates for a connection: its control socket and a host key.
//!
//! The process locks the folder while it uses it. The lock distinguishes the folder of a killed process from
//! one in use, and the next connection removes abandoned folders.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, open, unlinkat};
use tempfile::TempDir;

/// The prefix of the folder's name, and the number of letters and digits after it.
const PREFIX: &str = "bm-";
const RANDOM: usize = 10;

/// The name of the socket in the folder.
const SOCKET: &str = "s";

/// A folder that is created but not yet locked looks abandoned. Younger folders than this are kept.
const YOUNG: Duration = Duration::from_secs(60);

/// Maximum length of the folder's path. `sun_path` has 108 bytes (unix(7)), and ssh appends to the socket's
/// name while it creates the socket.
const PATH_MAX: usize = 60;

/// A folder for the socket of one connection. Dropping it removes the folder.
pub(crate) struct SocketDir {
    dir: TempDir,
    _lock: File,
}

impl SocketDir {
    /// Creates a folder in the system's temporary folder, and removes the abandoned folders of the same user.
    pub(crate) fn make(now: SystemTime) -> io::Result<Self> {
        let base = std::env::temp_dir();
        let bytes = base.as_os_str().as_bytes();
        // ssh expands `%` sequences in the path.
        let fits = bytes.len() + 1 + PREFIX.len() + RANDOM < PATH_MAX && !bytes.contains(&b'%');
        Self::make_in(if fits { &base } else { Path::new("/tmp") }, now)
    }

    fn make_in(base: &Path, now: SystemTime) -> io::Result<Self> {
        remove_dead(base, now);
        let dir = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).tempdir_in(base)?;
        let lock = File::open(dir.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { dir, _lock: lock })
    }

    /// The file to which ssh may write a host key.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("s.known_hosts")
    }

    /// The script that connects to a jump host, and the file with what ssh says about it.
    pub(crate) fn jump(&self, number: usize) -> (PathBuf, PathBuf) {
        let path = |name: &str| self.dir.path().join(format!("{SOCKET}.{name}{number}"));
        (path("jump"), path("said"))
    }

    /// The path of the socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }
}

/// Removes abandoned folders. Failures are ignored: the next connection tries again.
fn remove_dead(base: &Path, now: SystemTime) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        if is_ours(entry.file_name().as_bytes()) {
            let _ = remove_if_dead(&entry.path(), now);
        }
    }
}

fn is_ours(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes()).is_some_and(|random| {
        random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric)
    })
}

fn remove_if_dead(path: &Path, now: SystemTime) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = File::from(open(path, flags, Mode::empty())?);
    let meta = dir.metadata()?;
    let own = std::os::unix::fs::MetadataExt::uid(&meta) == rustix::process::geteuid().as_raw();
    let old = now.duration_since(meta.modified()?).is_ok_and(|age| age > YOUNG);
    if !own || !old {
        return Ok(());
    }
    flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
    // The folder can contain the socket, the socket under ssh's temporary name, a host key, and files for
    // jump hosts.
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if name.as_bytes().split(|byte| *byte == b'.').next() == Some(SOCKET.as_bytes()) {
            unlinkat(&dir, &name, AtFlags::empty())?;
        }
    }
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_dead_processes_left_is_removed() {
        let base = TempDir::new().unwrap();
        let now = SystemTime::now();
        let live = SocketDir::make_in(base.path(), now).unwrap();
        let path = |name: &str| base.path().join(name);
        for name in ["bm-0123456789", "bm-abcdefghij", "bm-short", "bm-other_name", "bm-withmore00"]
        {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("s"), "").unwrap();
            fs::write(path(name).join("s.Xy12"), "").unwrap();
        }
        fs::write(path("bm-withmore00").join("photo"), "").unwrap();
        std::os::unix::fs::symlink("bm-short", path("bm-linklinkli")).unwrap();
        drop(SocketDir::make_in(base.path(), now).unwrap());
        assert!(path("bm-0123456789").exists(), "it may be of a process that just began");
        let second = SocketDir::make_in(base.path(), now + 2 * YOUNG).unwrap();
        assert!(live.dir.path().exists() && second.dir.path().exists());
        drop((live, second));
        let left = fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["bm-linklinkli", "bm-other_name", "bm-short", "bm-withmore00"]);
        assert!(path("bm-withmore00").join("photo").exists());
    }
}
