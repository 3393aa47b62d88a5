//! Distributes the requests to the threads.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use engine::entry;
use engine::entry::{FileId, ListedEntry, c_name, check_name};
use engine::source::{Root, Terms};
use engine::threads::lock;
use engine::{Source, SourceError};

use crate::helper::protocol::entry::{SentEntry, file_id};
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::message::{Answer, Request, SentCrossing, SentRoot};
use crate::helper::serve::confine::{Allowed, Roots};
use crate::helper::serve::confirm::confirm;
use crate::helper::serve::delta::{Delta, Deltas};
use crate::helper::serve::folders::{Folders, NamedFolder, Violation};
use crate::helper::serve::sinks::{Content, Line, Listing, Reply};
use crate::helper::serve::workers::{Kind, Workers};
use crate::local::{LocalFolder, LocalSource};

/// The most requests without an answer. A near end has fewer in flight.
const MOST: usize = 16 * 1024;

/// The size from which a file is a large one, bytes.
const LARGE: u64 = 1 << 20;

/// Requests that have no final answer yet, by their numbers.
type Running = Arc<Mutex<HashMap<u32, Arc<AtomicBool>>>>;

/// The state of a connection.
pub(crate) struct Requests {
    source: Arc<LocalSource>,
    roots: Roots,
    folders: Arc<Folders>,
    running: Running,
    line: Arc<Line>,
    deltas: Arc<Deltas>,
    workers: Workers,
    /// What holds for digests from now on.
    terms: Option<Terms>,
}

impl Requests {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn new(source: LocalSource, roots: Roots, line: Arc<Line>) -> io::Result<Self> {
        Ok(Self {
            source: Arc::new(source),
            roots,
            folders: Arc::default(),
            running: Arc::default(),
            line,
            deltas: Arc::default(),
            workers: Workers::start()?,
            terms: None,
        })
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// The near end broke the protocol.
    pub(crate) fn take(&mut self, number: u32, request: Request<'_>) -> Result<(), Violation> {
        match request {
            Request::Hello(_) => return Err(Violation("a second greeting")),
            Request::Credit { listings, contents } => {
                self.line.listings.add(listings);
                self.line.contents.add(contents);
            }
            Request::Cancel { request } => {
                if let Some(cancelled) = lock(&self.running).get(&request) {
                    cancelled.store(true, Ordering::Relaxed);
                }
                let delta = self.deltas.get(request);
                delta.filter(|delta| delta.wake()).into_iter().for_each(|it| self.step(it));
            }
            Request::Delta { folder, file, sums } => {
                let wanted = file.wanted().ok_or(NO_NAME)?;
                let folder = self.folders.get(folder)?;
                let reply = self.begin(number)?;
                let delta = self.deltas.add(Delta::new(reply, folder, wanted, sums)?)?;
                self.step(delta);
            }
            Request::Parts { request, parts, last } => {
                // The file may have ended with an error meanwhile.
                if let Some(delta) = self.deltas.get(request)
                    && delta.ask(parts, last, &self.deltas)?
                {
                    self.step(delta);
                }
            }
            Request::Folder { folder, parent, name, id } => {
                self.folders.add_child(folder, parent, checked(name)?, file_id(id))?;
            }
            Request::Forget { folder } => self.folders.forget(folder),
            Request::Root { folder, path, id } => {
                self.root(number, folder, path, file_id(id))?;
            }
            Request::Look { folder, name } => {
                let name = checked(name)?;
                self.on_folder(
                    number,
                    folder,
                    Kind::Entry,
                    move |source, folders, folder, reply| {
                        let found = folders
                            .open(folder, source)
                            .and_then(|folder| source.look(&folder, &name));
                        let found = found.as_ref().map(|entry| ListedEntry::from(entry).into());
                        reply.answer(&Answer::Look(found.map_err(SentError::from)));
                    },
                )?;
            }
            Request::Crossing { folder, name } => {
                let name = checked(name)?;
                self.on_folder(
                    number,
                    folder,
                    Kind::Entry,
                    move |source, folders, folder, reply| {
                        let opened = folders.open(folder, source).ok();
                        let found = opened.map(|folder| source.crossing(&folder, &name));
                        let found = found.unwrap_or_default();
                        reply.answer(&Answer::Crossing(SentCrossing {
                            file_system: found.file_system,
                            subvolume: found
                                .subvolume
                                .map(|it| (it.read_only, it.snapshot, it.encloses)),
                        }));
                    },
                )?;
            }
            Request::Clock => {
                let source = Arc::clone(&self.source);
                self.run(number, Kind::Entry, move |reply| {
                    reply.answer(&Answer::Clock(source.clock()));
                })?;
            }
            Request::List { folder } => {
                self.on_folder(number, folder, Kind::Listing, |source, folders, folder, reply| {
                    let sink = Box::new(Listing { reply: reply.clone() });
                    match folders.open(folder, source) {
                        Ok(folder) => source.list(&folder, sink),
                        Err(error) => reply.answer(&Answer::Listed(Err((&error).into()))),
                    }
                })?;
            }
            Request::Terms(terms) => self.terms = Some(terms.into()),
            Request::Confirm { folder, expected } => {
                let terms = self.terms.ok_or(Violation("a digest without terms"))?;
                self.on_folder(
                    number,
                    folder,
                    Kind::Listing,
                    move |source, folders, folder, reply| match folders.open(folder, source) {
                        Ok(folder) => confirm(source, &folder, &terms, &expected, reply),
                        Err(error) => reply.answer(&Answer::Listed(Err((&error).into()))),
                    },
                )?;
            }
            Request::Fetch { folder, file } => {
                let kind = if file.size() < LARGE { Kind::SmallFile } else { Kind::LargeFile };
                let wanted = file.wanted().ok_or(NO_NAME)?;
                self.on_folder(number, folder, kind, move |source, folders, folder, reply| {
                    let sink = Box::new(Content { reply: reply.clone() });
                    match folders.open(folder, source) {
                        Ok(folder) => source.fetch(&folder, vec![wanted], sink),
                        Err(error) => reply.answer(&Answer::Read(Err((&error).into()))),
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Opens a source root before the next request is read: later requests use its folder.
    fn root(
        &mut self,
        number: u32,
        folder: u64,
        path: &[u8],
        id: Option<FileId>,
    ) -> Result<(), Violation> {
        let path = Path::new(OsStr::from_bytes(path));
        let opened = self.open_root(path).and_then(|(root, allowed)| match id {
            Some(id) if root.entry.meta.id != Some(id) => Err(SourceError::Replaced),
            _ => Ok((root, allowed)),
        });
        let (answer, opened) = match opened {
            Ok((Root { entry, folder, was_link, file_system }, allowed)) => {
                let entry = SentEntry::from(ListedEntry::from(&entry));
                let folder = if allowed == Allowed::Read { Ok(folder) } else { Err(refused()) };
                (Ok(SentRoot { entry, was_link, file_system }), folder)
            }
            Err(error) => (Err((&error).into()), Err(error)),
        };
        self.folders.add_root(folder, opened)?;
        // An error means that the connection has ended.
        let _ = self.line.outbox.answer(number, &Answer::Root(answer));
        Ok(())
    }

    fn open_root(&self, path: &Path) -> Result<(Root<LocalFolder>, Allowed), SourceError> {
        if !Roots::is_plain(path) {
            return Err(refused());
        }
        let root = match self.source.root(path) {
            Err(_) if !self.roots.concerns(path) => return Err(refused()),
            root => root?,
        };
        let meta = &root.entry.meta;
        match self.roots.allow(path, meta.kind == entry::Kind::Symlink, meta.id) {
            Allowed::Nothing => Err(refused()),
            allowed => Ok((root, allowed)),
        }
    }

    fn on_folder(
        &self,
        number: u32,
        folder: u64,
        kind: Kind,
        work: impl FnOnce(&LocalSource, &Folders, &NamedFolder, &Reply) + Send + 'static,
    ) -> Result<(), Violation> {
        let folder = self.folders.get(folder)?;
        let (source, folders) = (Arc::clone(&self.source), Arc::clone(&self.folders));
        self.run(number, kind, move |reply| work(&source, &folders, &folder, reply))
    }

    /// Queues the work on a delta that can be done now.
    fn step(&self, delta: Arc<Delta>) {
        let (source, folders) = (Arc::clone(&self.source), Arc::clone(&self.folders));
        let (deltas, running) = (Arc::clone(&self.deltas), Arc::clone(&self.running));
        let work = move || {
            if delta.work(&source, &folders, &deltas) {
                deltas.remove(delta.number());
                lock(&running).remove(&delta.number());
                delta.end();
            }
        };
        self.workers.add(Kind::Delta, Box::new(work));
    }

    /// Queues the work that answers the request `number`.
    fn run(
        &self,
        number: u32,
        kind: Kind,
        work: impl FnOnce(&Reply) + Send + 'static,
    ) -> Result<(), Violation> {
        let reply = self.begin(number)?;
        let running = Arc::clone(&self.running);
        self.workers.add(
            kind,
            Box::new(move || {
                work(&reply);
                lock(&running).remove(&number);
            }),
        );
        Ok(())
    }

    /// Registers the request `number`.
    fn begin(&self, number: u32) -> Result<Reply, Violation> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut running = lock(&self.running);
        if running.len() >= MOST {
            return Err(Violation("too many requests at a time"));
        }
        if running.insert(number, Arc::clone(&cancelled)).is_some() {
            return Err(Violation("two requests with one number"));
        }
        Ok(Reply { line: Arc::clone(&self.line), number, cancelled })
    }
}

/// The error for every path outside the roots: it does not tell which of them exist.
fn refused() -> SourceError {
    let why = "the helper at the far end was started with --root for other folders; add --root with this one to its command, in ~/.ssh/authorized_keys there";
    SourceError::Unreadable { action: "open", error: io::Error::other(why) }
}

const NO_NAME: Violation = Violation("a name that no entry can have");

/// A name as a single path component.
fn checked(name: &[u8]) -> Result<std::ffi::CString, Violation> {
    check_name(name).map_err(|_| NO_NAME)?;
    c_name(name).map_err(|_| NO_NAME)
}
