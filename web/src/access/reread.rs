//! Files that are read again when they change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{fs, io, thread};

/// Notices changes of files, and lets a thread read them then. The thread begins before the process gives up its rights, so
/// that it can open the files; whoever asks afterwards sees only that they change.
pub struct Reread<T> {
    files: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
    ask: Sender<()>,
    read: Receiver<T>,
}

/// What changes when a file is written or replaced: inode, size, and the times of both.
type Stamp = (u64, u64, [i64; 4]);

impl<T: Send + 'static> Reread<T> {
    /// Starts the thread, which calls `read`. The caller reads the files for the first time after this: a change meanwhile
    /// is seen later.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn new(
        files: Vec<PathBuf>,
        mut read: impl FnMut() -> T + Send + 'static,
    ) -> io::Result<Self> {
        let seen = stamps(&files);
        let (ask, asked) = channel();
        let (send, answers) = channel();
        let work = move || while asked.recv().is_ok() && send.send(read()).is_ok() {};
        thread::Builder::new().name("settings".to_owned()).spawn(work)?;
        Ok(Self { files, seen, ask, read: answers })
    }

    /// What the thread read, if a file has changed since it was read. `Some(None)` if the thread has ended.
    pub fn changed(&mut self) -> Option<Option<T>> {
        let now = stamps(&self.files);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(self.ask.send(()).ok().and_then(|()| self.read.recv().ok()))
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
    Some((meta.ino(), meta.size(), times))
}
