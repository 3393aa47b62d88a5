//! The near end of a restore: a folder on a host where this program runs too, as a restore target.
//!
//! Many engine threads send requests and wait for the answers. The network thread sends them over the channels. The far
//! end carries them out on its own local target. After a lost connection a request is sent again, and says so.

pub(crate) mod channel;
pub(crate) mod content;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod request;
pub(crate) mod scheduler;
pub(crate) mod service;
pub(crate) mod session;

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::StoredEntry;
use engine::entry::{Entry, FileId, ListedEntry, c_name, check_name};
use engine::repository::{Content, StoreError};
use engine::restore::{
    CreatorProcess, MountedFileSystem, MustStay, PlaceError, Shortfall, StoreOutcome, Target,
    TargetFacts, ToStore, maker,
};
use engine::threads::{Semaphore, lock};

use crate::helper::protocol::entry::{SentEntry, sent_id};
use crate::helper::protocol::write::{
    SentFault, SentFolder, SentTarget, WriteAnswer, WriteRequest, outcome, shortfall,
};
use crate::helper::write::fault::{RequestError, again};
use crate::helper::write::folder::FolderHandle;
use crate::helper::write::session::{Question, WriteSession, unexpected};
use crate::ssh::options::{ChannelLimit, Options};
use crate::ssh::{Address, ConnectError};

pub use crate::helper::write::folder::RestoredFolder;

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

/// The most names, and bytes of names, of one folder. Above it, a far end that sends names without end is more likely.
const NAMES_MOST: usize = 1_000_000;
const NAME_BYTES_MOST: usize = 64 << 20;

/// The longest path of the top folder, bytes (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;

/// A connected host that runs this program.
pub struct HelperHost(WriteSession);

impl HelperHost {
    /// Connects to a host and starts `command` there, a line for the login shell of the user. `stopped` is polled
    /// several times a second; when it returns true, now or later, the connection ends.
    ///
    /// # Errors
    /// No connection can be made, or the command starts no far end that writes
    /// ([`ConnectError::is_about_service`]).
    pub fn connect(
        address: Address,
        options: Options,
        command: String,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        WriteSession::connect(address, options, command, stopped).map(Self)
    }

    /// Opens the folder `dir`, and with `make` creates it with its parents if it is missing. A relative path, or one
    /// that starts with `~/`, starts in the user's home on the host.
    ///
    /// # Errors
    /// If the folder cannot be created or opened, or is inside a backups folder.
    pub fn open(self, dir: &[u8], make: bool) -> Result<HelperTarget, PlaceError> {
        let path = || PathBuf::from(OsString::from_vec(dir.to_vec()));
        let failed = |error| PlaceError::Impossible { action: "open", path: path(), error };
        if dir.contains(&0) || dir.len() >= PATH_MAX {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        }
        let opened = again(|_| {
            let folder = self.0.number();
            let request = WriteRequest::Target { folder, path: dir, make, id: None };
            match self.0.ask(Question::new(&[], &request))? {
                WriteAnswer::Target(opened) => Ok((folder, opened)),
                _ => Err(unexpected()),
            }
        });
        let (number, opened) = opened.map_err(|error| failed(error.into()))?;
        // The first answer waited for the disk. The far end answers this one at once, which tells the round trip.
        let asked = WriteRequest::Creator { name: b"round trip" };
        again(|_| self.0.ask(Question::new(&[], &asked))).map_err(|error| failed(error.into()))?;
        let SentTarget { path: real, folder, user, .. } =
            opened.map_err(|error| error.at(path()))?;
        if !real.starts_with(b"/") || real.len() >= 2 * PATH_MAX || real.contains(&0) {
            return Err(failed(io::Error::other("the far end reports no absolute path for it")));
        }
        let (path, forget) = (Arc::from(real), self.0.forget());
        let top = folder.map(|found| RestoredFolder::top(number, Arc::clone(&path), found, forget));
        Ok(HelperTarget {
            session: self.0,
            path,
            top,
            user,
            memory: Semaphore::new(MEMORY),
            uploads: Semaphore::new(UPLOADS),
            long: std::sync::Mutex::default(),
        })
    }
}

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

    /// Looks at names whose entries the far end has to tell. Stops after a lost connection.
    fn look_there(
        &self,
        folder: &RestoredFolder,
        names: &[&CStr],
        each: &mut dyn FnMut(io::Result<Option<StoredEntry>>),
    ) -> Result<usize, (usize, RequestError)> {
        let request = WriteRequest::Look {
            folder: folder.handle.number,
            names: names.iter().map(|name| name.to_bytes()).collect(),
        };
        let mut looked = 0;
        let mut look = || {
            let pending = self.session.send(Question::new(&[&folder.handle], &request))?;
            while looked < names.len() {
                let WriteAnswer::Looked(some) = pending.next()? else { return Err(unexpected()) };
                if some.is_empty() {
                    return Err(unexpected());
                }
                for (found, name) in some.into_iter().zip(&names[looked..]) {
                    looked += 1;
                    each(match found {
                        Ok(None) => Ok(None),
                        Ok(Some(sent)) => stored(name, sent).map(Some),
                        Err(fault) => Err(fault.into()),
                    });
                }
            }
            Ok(())
        };
        let result = look();
        result.map(|()| looked).map_err(|error| (looked, error))
    }

    fn list(
        &self,
        folder: &RestoredFolder,
        most: usize,
    ) -> Result<Option<Vec<CString>>, RequestError> {
        let asked = u64::try_from(most).unwrap_or(u64::MAX);
        let request = WriteRequest::Names { folder: folder.handle.number, most: asked };
        let pending = self.session.send(Question::new(&[&folder.handle], &request))?;
        let (mut names, mut bytes) = (Vec::new(), 0);
        loop {
            match pending.next()? {
                WriteAnswer::Names(some) => {
                    bytes += some.iter().map(|name| name.len() + 16).sum::<usize>();
                    if names.len() + some.len() > most.min(NAMES_MOST) || bytes > NAME_BYTES_MOST {
                        self.session.cancel(pending.id);
                        let endless = io::Error::other("its listing does not end");
                        return Err(RequestError::Refused(endless));
                    }
                    for name in some {
                        check_name(&name).map_err(|_| no_entry())?;
                        names.push(c_name(name).map_err(|_| no_entry())?);
                    }
                }
                WriteAnswer::Ended(Ok(all)) => return Ok(all.then_some(names)),
                WriteAnswer::Ended(Err(fault)) => return Err(RequestError::Refused(fault.into())),
                _ => return Err(unexpected()),
            }
        }
    }

    fn explore(
        &self,
        folder: &RestoredFolder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> Result<bool, RequestError> {
        let request = WriteRequest::Explore { folder: folder.handle.number, name: name.to_bytes() };
        let pending = self.session.send(Question::new(&[&folder.handle], &request))?;
        let mut stays = false;
        loop {
            match pending.next()? {
                WriteAnswer::Found(found) => {
                    for (path, entry) in found {
                        if !stays && must_stay(&path, entry, spared)? {
                            stays = true;
                            self.session.cancel(pending.id);
                        }
                    }
                }
                WriteAnswer::Ended(Ok(removable)) => return Ok(removable && !stays),
                WriteAnswer::Ended(Err(fault)) => return Err(RequestError::Refused(fault.into())),
                _ => return Err(unexpected()),
            }
        }
    }
}

fn no_entry() -> RequestError {
    RequestError::Refused(io::Error::other("the far end described no entry that can exist"))
}

/// An entry of the target, as the far end sent it.
fn stored(name: &CStr, sent: SentEntry) -> io::Result<StoredEntry> {
    let (_, meta, extra) = sent.parts(|_| true).map_err(|_| no_entry())?;
    let extra = extra.map(|extra| *extra).unwrap_or_default();
    let _ = name;
    Ok(StoredEntry { meta, target: extra.target, xattrs: extra.xattrs, on_disk: true })
}

/// Whether an entry below a folder that may be removed must stay.
fn must_stay(path: &[u8], sent: SentEntry, spared: &MustStay<'_>) -> Result<bool, RequestError> {
    let mut names = path.split(|byte| *byte == b'/');
    if !names.all(|name| check_name(name).is_ok()) {
        return Err(no_entry());
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = c_name(name).map_err(|_| no_entry())?;
    let entry = sent.entry(name, |_| true).map_err(|_| no_entry())?;
    Ok(spared(path, ListedEntry::from(&entry)))
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
        let looked = again(|_| match self.look_there(folder, rest, each) {
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
        Ok(again(|_| self.list(folder, most))?)
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
        Ok(crate::helper::protocol::entry::file_id(made.id))
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
        Ok(again(|_| self.explore(folder, name, spared))?)
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
