//! A folder on a host where this program runs, as a restore target: one request for each operation.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::StoredEntry;
use engine::entry::{Entry, FileId, ListedEntry};
use engine::repository::{Content, StoreError};
use engine::restore::{
    CreatorProcess, MountedFileSystem, MustStay, Shortfall, StoreOutcome, Target, TargetFacts,
    ToStore, maker,
};
use engine::threads::{Semaphore, lock};

use crate::helper::protocol::entry::{SentEntry, file_id, sent_id};
use crate::helper::protocol::write::{
    SentFault, SentFolder, WriteAnswer, WriteRequest, outcome, shortfall,
};
use crate::helper::write::folder::{FolderHandle, RestoredFolder};
use crate::helper::write::listing::NAMES_MOST;
use crate::helper::write::session::{Question, WriteSession, unexpected};
use crate::ssh::again::again;
use crate::ssh::options::ChannelLimit;

/// Memory for bytes that are read and sent, in bytes.
const MEMORY: u64 = 24 << 20;

/// The most large files that are sent at a time.
const UPLOADS: u64 = 8;

/// Number of threads nearby and on the longest connection. Each thread covers `PER_THREAD` of round trip.
const THREADS: (u128, u128) = (8, 256);
const PER_THREAD: Duration = Duration::from_micros(250);

/// Number of entries that a thread processes at a time, and the maximum size in bytes of files that are stored
/// together.
const BATCH: usize = 64;
const TOGETHER: u64 = 64 << 10;

/// A folder on a host where this program runs.
pub struct HelperTarget {
    pub(crate) session: WriteSession,
    path: Arc<[u8]>,
    /// `None` when the folder does not exist and the target is only read.
    top: Option<RestoredFolder>,
    /// The user of the far end.
    user: u32,
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    /// Held while a long list of names arrives.
    long: std::sync::Mutex<()>,
}

impl HelperTarget {
    /// The opened folder; `top` is missing if it does not exist.
    pub(crate) fn new(
        session: WriteSession,
        path: Arc<[u8]>,
        top: Option<RestoredFolder>,
        user: u32,
    ) -> Self {
        Self {
            session,
            path,
            top,
            user,
            memory: Semaphore::new(MEMORY),
            uploads: Semaphore::new(UPLOADS),
            long: std::sync::Mutex::default(),
        }
    }

    /// The path on the host, without symlinks.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The number of channels that the host was observed to accept.
    #[must_use]
    pub fn channel_limit(&self) -> &ChannelLimit {
        self.session.channel_limit()
    }

    /// Ends the connection and waits until `ssh` and all threads have ended.
    pub fn close(&self) {
        self.session.close();
    }

    /// Sends a request, again after a lost connection, and waits for its single answer.
    fn single<'a, T>(
        &self,
        folders: &[&Arc<FolderHandle>],
        request: impl Fn(bool) -> WriteRequest<'a>,
        pick: impl Fn(WriteAnswer) -> Option<Result<T, SentFault>>,
    ) -> io::Result<T> {
        let answered = again(|second| {
            let answer = self.session.ask(Question::new(folders, &request(second)))?;
            pick(answer).ok_or_else(unexpected)
        });
        answered.map_err(io::Error::from)?.map_err(io::Error::from)
    }

    fn done<'a>(
        &self,
        folders: &[&Arc<FolderHandle>],
        request: impl Fn(bool) -> WriteRequest<'a>,
    ) -> io::Result<()> {
        self.single(folders, request, |answer| match answer {
            WriteAnswer::Done(done) => Some(done),
            _ => None,
        })
    }

    fn folder_of<'a>(
        &self,
        parent: &RestoredFolder,
        request: impl Fn(bool) -> WriteRequest<'a>,
    ) -> io::Result<SentFolder> {
        self.single(&[&parent.handle], request, |answer| match answer {
            WriteAnswer::Folder(found) => Some(found),
            _ => None,
        })
    }

    fn shortfall_of<'a>(
        &self,
        folder: &RestoredFolder,
        request: impl Fn(bool) -> WriteRequest<'a>,
    ) -> io::Result<Shortfall> {
        let missing = self.single(&[&folder.handle], request, |answer| match answer {
            WriteAnswer::Shortfall(missing) => Some(missing),
            _ => None,
        });
        missing.map(shortfall)
    }
}

fn sent(entry: &Entry) -> SentEntry {
    SentEntry::from(ListedEntry::from(entry))
}

impl Target for HelperTarget {
    type Folder = RestoredFolder;

    fn facts(&self) -> TargetFacts {
        let (near, far) = THREADS;
        let threads = self.session.round_trip().as_micros() / PER_THREAD.as_micros();
        TargetFacts {
            owners: self.user == 0,
            xattrs: true,
            granularity_ns: 1,
            seconds: (i64::MIN, i64::MAX),
            threads: usize::try_from(threads.clamp(near, far)).unwrap_or(1),
            batch: BATCH,
            together: Some(TOGETHER),
        }
    }

    fn top(&self) -> io::Result<RestoredFolder> {
        let top = self.top.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(top.with_mode(top.mode))
    }

    fn enter(&self, folder: &RestoredFolder, name: &CStr) -> io::Result<RestoredFolder> {
        if let Some(made) = folder.take_made(name) {
            return Ok(folder.child(self.session.number(), name, made, true));
        }
        let found = self.folder_of(folder, |_| WriteRequest::Enter {
            folder: folder.handle.number,
            name: name.to_bytes(),
        })?;
        Ok(folder.child(self.session.number(), name, found, false))
    }

    fn look(&self, folder: &RestoredFolder, name: &CStr) -> io::Result<Option<StoredEntry>> {
        let mut found = None;
        self.look_each(folder, &[name], &mut |looked| found = Some(looked));
        found.unwrap_or_else(|| Err(unexpected().into()))
    }

    fn look_each(
        &self,
        folder: &RestoredFolder,
        names: &[&CStr],
        each: &mut dyn FnMut(io::Result<Option<StoredEntry>>),
    ) {
        // In a folder that was just made, most names are known to be missing.
        if names.iter().all(|name| folder.lacks(name)) {
            return names.iter().for_each(|_| each(Ok(None)));
        }
        let mut rest = names;
        let looked = again(|_| match self.session.look_there(folder, rest, each) {
            Ok(_) => {
                rest = &[];
                Ok(())
            }
            Err((count, error)) => {
                rest = &rest[count..];
                Err(error)
            }
        });
        if let Err(error) = looked {
            let error: io::Error = error.into();
            rest.iter().for_each(|_| each(Err(io::Error::new(error.kind(), error.to_string()))));
        }
    }

    fn creator(&self, name: &CStr) -> Option<CreatorProcess> {
        maker(name.to_bytes())?;
        let asked = || WriteRequest::Creator { name: name.to_bytes() };
        let creator = self.single(
            &[],
            |_| asked(),
            |answer| match answer {
                WriteAnswer::Creator(creator) => Some(Ok(creator)),
                _ => None,
            },
        );
        Some(match creator {
            Ok(Some(1)) => CreatorProcess::Ended,
            Ok(Some(2)) => CreatorProcess::Unknown,
            _ => CreatorProcess::Running,
        })
    }

    fn names(&self, folder: &RestoredFolder, most: usize) -> io::Result<Option<Vec<CString>>> {
        let _alone = (most > NAMES_MOST).then(|| lock(&self.long));
        Ok(again(|_| self.session.list(folder, most))?)
    }

    fn open_up(&self, folder: &RestoredFolder) -> Option<(RestoredFolder, u32)> {
        let is_owner = self.user != 0 && folder.uid == self.user;
        if !is_owner || folder.mode & 0o700 == 0o700 {
            return None;
        }
        let mode = folder.mode | 0o700;
        self.set_mode(folder, mode).ok()?;
        Some((folder.with_mode(mode), folder.mode))
    }

    fn set_mode(&self, folder: &RestoredFolder, mode: u32) -> io::Result<()> {
        let number = folder.handle.number;
        self.done(&[&folder.handle], |_| WriteRequest::SetMode { folder: number, mode })
    }

    fn id(&self, folder: &RestoredFolder) -> io::Result<Option<FileId>> {
        Ok(folder.id())
    }

    fn make_folder(&self, folder: &RestoredFolder, name: &CStr) -> io::Result<Option<FileId>> {
        folder.makes(name);
        let made = self.folder_of(folder, |again| WriteRequest::MakeFolder {
            folder: folder.handle.number,
            name: name.to_bytes(),
            again,
        })?;
        folder.made_folder(name, made);
        Ok(file_id(made.id))
    }

    fn store(
        &self,
        folder: &RestoredFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        self.store_file(folder, entry, content, replace)
    }

    fn store_all(
        &self,
        folder: &RestoredFolder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<StoreOutcome, StoreError>> {
        self.store_together(folder, files)
    }

    fn make(
        &self,
        folder: &RestoredFolder,
        entry: &Entry,
        replace: bool,
    ) -> io::Result<StoreOutcome> {
        folder.makes(&entry.name);
        let request = |again| WriteRequest::Make {
            folder: folder.handle.number,
            entry: sent(entry),
            replace,
            again,
        };
        let made = self.single(&[&folder.handle], request, |answer| match answer {
            WriteAnswer::Stored(mut stored) => stored.pop(),
            _ => None,
        });
        made.map(outcome)
    }

    fn link(
        &self,
        folder: &RestoredFolder,
        name: &CStr,
        (leading, first, id): (&RestoredFolder, &CStr, Option<FileId>),
        replace: bool,
    ) -> io::Result<()> {
        folder.makes(name);
        self.done(&[&folder.handle, &leading.handle], |again| WriteRequest::Link {
            folder: folder.handle.number,
            name: name.to_bytes(),
            to: (leading.handle.number, first.to_bytes(), id.map(sent_id)),
            replace,
            again,
        })
    }

    fn set_file_metadata(
        &self,
        folder: &RestoredFolder,
        entry: &Entry,
        id: Option<FileId>,
    ) -> io::Result<Shortfall> {
        self.shortfall_of(folder, |_| WriteRequest::FileMetadata {
            folder: folder.handle.number,
            entry: sent(entry),
            id: id.map(sent_id),
        })
    }

    fn set_folder_metadata(
        &self,
        folder: &RestoredFolder,
        entry: &Entry,
        new: bool,
    ) -> io::Result<Shortfall> {
        self.shortfall_of(folder, |_| WriteRequest::FolderMetadata {
            folder: folder.handle.number,
            entry: sent(entry),
            new,
        })
    }

    fn remove(&self, folder: &RestoredFolder, name: &CStr) -> io::Result<()> {
        self.done(&[&folder.handle], |again| WriteRequest::Remove {
            folder: folder.handle.number,
            name: name.to_bytes(),
            again,
        })
    }

    fn file_system(&self, folder: &RestoredFolder) -> io::Result<Option<MountedFileSystem>> {
        Ok(folder.file_system())
    }

    fn may_remove(
        &self,
        folder: &RestoredFolder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> io::Result<bool> {
        Ok(again(|_| self.session.explore(folder, name, spared))?)
    }

    fn remove_folder(&self, folder: &RestoredFolder, name: &CStr) -> io::Result<()> {
        self.done(&[&folder.handle], |again| WriteRequest::RemoveFolder {
            folder: folder.handle.number,
            name: name.to_bytes(),
            again,
        })
    }

    fn sync(&self) -> io::Result<()> {
        // A new process at the far end opens the folder first.
        let top: Vec<_> = self.top.iter().map(|top| &top.handle).collect();
        self.done(&top, |_| WriteRequest::Sync)
    }
}
