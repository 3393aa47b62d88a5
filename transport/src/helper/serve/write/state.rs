//! The folder that a restore writes to, its open folders, and what the near end may still send.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use engine::SourceError;
use engine::entry::{Entry, FileId, c_name};
use engine::fs::Dir;
use engine::restore::{LocalTarget, Target, name_by};
use engine::threads::lock;
use rustix::io::Errno;

use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::entry::{SentEntry, sent_id};
use crate::helper::protocol::message::Answer;
use crate::helper::protocol::write::{REQUESTS, SentFolder, WINDOW, WriteAnswer};
use crate::helper::serve::folders::{Folders, NamedFolder, Opener, Violation, checked};
use crate::helper::serve::send::sinks::{Line, Reply};
use crate::helper::serve::write::tasks::Tasks;

impl Opener for LocalTarget {
    type Folder = Dir;

    fn open_child(
        &self,
        parent: &Dir,
        name: &CStr,
        id: Option<FileId>,
    ) -> Result<Dir, SourceError> {
        let opened = self.enter(parent, name).and_then(|dir| Ok((dir.meta()?.id, dir)));
        match opened {
            Ok((found, _)) if id.is_some() && found != id => Err(SourceError::Replaced),
            Ok((_, dir)) => Ok(dir),
            Err(error) => Err(SourceError::Unreadable { action: "open", error }),
        }
    }
}

/// What the requests of a restore share.
pub(crate) struct WriteState {
    pub(crate) target: OnceLock<LocalTarget>,
    pub(crate) folders: Folders<LocalTarget>,
    /// Processes of lost connections of this restore.
    pub(crate) earlier: Mutex<Vec<String>>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) line: Arc<Line>,
    /// The number of large files in progress.
    pub(crate) files: AtomicUsize,
    credit: Mutex<Credit>,
    /// Bytes of the requests that have no answer yet, beside content.
    requests: AtomicUsize,
}

/// The content that the near end may send.
struct Credit {
    allowed: i64,
    /// Bytes that are written and not granted again yet.
    written: u64,
}

/// The bytes of a request while it has no answer.
pub(crate) struct Held(Arc<WriteState>, usize);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl WriteState {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self {
            target: OnceLock::new(),
            folders: Folders::default(),
            earlier: Mutex::default(),
            tasks: Arc::default(),
            line,
            files: AtomicUsize::new(0),
            credit: Mutex::new(Credit { allowed: 0, written: WINDOW.unsigned_abs() }),
            requests: AtomicUsize::new(0),
        }
    }

    /// Counts the bytes of a request.
    ///
    /// # Errors
    /// The near end sends more than it waits for.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Violation> {
        let before = self.requests.fetch_add(bytes, Ordering::Relaxed);
        let held = Held(Arc::clone(self), bytes);
        if before > REQUESTS { Err(Violation("too many requests at a time")) } else { Ok(held) }
    }

    /// Counts content that arrived.
    ///
    /// # Errors
    /// More than was granted. A single message may exceed what is left.
    pub(crate) fn took(&self, bytes: usize) -> Result<(), Violation> {
        let mut credit = lock(&self.credit);
        if credit.allowed <= 0 {
            return Err(Violation("more content than was allowed"));
        }
        credit.allowed -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(())
    }

    /// Grants content that was written once more. Small amounts are saved up.
    pub(crate) fn written(&self, bytes: usize) {
        let mut credit = lock(&self.credit);
        credit.written += bytes as u64;
        if credit.written < WINDOW.unsigned_abs() / 8 {
            return;
        }
        let bytes = std::mem::take(&mut credit.written);
        credit.allowed = credit.allowed.saturating_add_unsigned(bytes);
        drop(credit);
        self.send(CONNECTION, WriteAnswer::Credit(bytes));
    }

    /// Sends an answer. An error means that the connection has ended, which the reader of requests notices.
    pub(crate) fn send(&self, number: u32, answer: WriteAnswer) {
        let _ = self.line.outbox.answer(number, &Answer::Write(answer));
    }

    /// Runs `work` on a folder. When the process has too many open handles, closes those that no request uses and
    /// runs it again.
    pub(crate) fn on<T>(
        &self,
        folder: &NamedFolder<LocalTarget>,
        mut work: impl FnMut(&LocalTarget, &Dir) -> io::Result<T>,
    ) -> io::Result<T> {
        let target = self.target.get().ok_or(io::ErrorKind::NotFound)?;
        let mut attempt = || {
            let dir = self.folders.open(folder, target).map_err(|error| match error {
                SourceError::Unreadable { error, .. } => error,
                other => io::Error::other(other.to_string()),
            })?;
            work(target, &dir)
        };
        match attempt() {
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) =>
            {
                self.folders.close_all();
                attempt()
            }
            done => done,
        }
    }

    /// Removes what processes of lost connections left of the entry `name`.
    pub(crate) fn clear(&self, target: &LocalTarget, dir: &Dir, name: &CStr) {
        for maker in &*lock(&self.earlier) {
            let Some(left) = name_by(name, maker) else { continue };
            match target.remove(dir, &left) {
                // A folder in which an entry was made.
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    let _ = target.remove_folder(dir, &left);
                }
                _ => {}
            }
        }
    }
}

impl Reply {
    /// Sends the answer to a request of a restore.
    pub(crate) fn write(&self, answer: WriteAnswer) {
        self.answer(&Answer::Write(answer));
    }
}

/// Describes an open folder.
pub(crate) fn described(target: &LocalTarget, dir: &Dir) -> io::Result<SentFolder> {
    let meta = dir.meta()?;
    let file_system = target.file_system(dir)?.map(|found| (found.device, found.mount));
    Ok(SentFolder { id: meta.id.map(sent_id), mode: meta.mode, uid: meta.uid, file_system })
}

/// An entry that the near end sent.
///
/// # Errors
/// It is none that can exist.
pub(crate) fn received(sent: SentEntry) -> Result<Entry, Violation> {
    const NONE: Violation = Violation("an entry that cannot exist");
    checked(&sent.name)?;
    let name = c_name(sent.name.clone()).map_err(|_| NONE)?;
    sent.entry(name, |_| true).map_err(|_| NONE)
}
