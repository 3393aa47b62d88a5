//! Distributes the requests to the threads.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use engine::SourceError;
use engine::entry;
use engine::entry::{FileId, ListedEntry};
use engine::source::{Root, Terms, Wanted};
use engine::threads::lock;

use crate::helper::protocol::copy::{CopyAnswer, CopyRequest};
use crate::helper::protocol::entry::{SentEntry, file_id};
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::message::{Answer, Request, SentCrossing, SentRoot};
use crate::helper::serve::confine::{Allowed, OUTSIDE, Roots};
use crate::helper::serve::folders::{Folders, NO_NAME, NamedFolder, Violation, checked};
use crate::helper::serve::read::confirm::confirm;
use crate::helper::serve::read::delta::{Delta, Deltas};
use crate::helper::serve::read::hash;
use crate::helper::serve::read::range;
use crate::helper::serve::runner::Runner;
use crate::helper::serve::send::sinks::{Content, Line, Listing, Reply};
use crate::helper::serve::served::{Served, ServedFolder};
use crate::helper::serve::snapshots::{self, Copies};
use crate::helper::serve::workers::Kind;
use crate::helper::serve::write::Writer;

/// The size from which a file is a large one, bytes.
const LARGE: u64 = 1 << 20;

/// The state of a connection.
pub(crate) struct Requests {
    source: Arc<Served>,
    roots: Roots,
    folders: Arc<Folders<Served>>,
    deltas: Arc<Deltas>,
    runner: Runner,
    /// For a restore; `None` if this end only reads.
    writer: Option<Writer>,
    /// What holds for digests from now on.
    terms: Option<Terms>,
    /// The snapshots that may be copied.
    copies: Arc<Copies>,
}

impl Requests {
    /// Starts the threads. `writer` carries out the requests of a restore.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn new(
        source: Served,
        roots: Roots,
        line: Arc<Line>,
        writer: Option<Writer>,
        copies: Copies,
    ) -> io::Result<Self> {
        Ok(Self {
            source: Arc::new(source),
            roots,
            folders: Arc::default(),
            deltas: Arc::default(),
            runner: Runner::start(line)?,
            writer,
            terms: None,
            copies: Arc::new(copies),
        })
    }

    /// Accepts a request of `bytes` bytes, with the `content` behind it.
    ///
    /// # Errors
    /// The near end broke the protocol.
    pub(crate) fn take(
        &mut self,
        number: u32,
        request: Request<'_>,
        content: &[u8],
        bytes: usize,
    ) -> Result<(), Violation> {
        match (request, &mut self.writer) {
            (Request::Write(request), Some(writer)) => {
                writer.take(&self.runner, number, request, content, bytes)
            }
            (Request::Write(_), None) => {
                Err(Violation("a request to write, and this end only reads"))
            }
            (request, _) if content.is_empty() => self.read(number, request),
            _ => Err(Violation("bytes behind a message")),
        }
    }

    /// The connection has ended: waits for what is being written.
    pub(crate) fn end(self) {
        if let Some(writer) = self.writer {
            writer.end();
        }
    }

    fn read(&mut self, number: u32, request: Request<'_>) -> Result<(), Violation> {
        match request {
            Request::Write(_) => {}
            Request::Hello(_) => return Err(Violation("a second greeting")),
            Request::Copy(request) => self.copy(number, request)?,
            Request::Credit { listings, contents } => {
                self.runner.line.listings.add(listings);
                self.runner.line.contents.add(contents);
            }
            Request::Cancel { request } => {
                self.runner.cancel(request);
                let delta = self.deltas.get(request);
                delta.filter(|delta| delta.wake()).into_iter().for_each(|it| self.step(it));
            }
            Request::Delta { folder, file, sums } => {
                let wanted = file.wanted().ok_or(NO_NAME)?;
                let folder = self.folders.get(folder)?;
                let reply = self.runner.begin(number)?;
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
                self.runner.run(number, Kind::Entry, move |reply| {
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
                    let sink = Box::new(Content::new(reply.clone()));
                    match folders.open(folder, source) {
                        Ok(folder) => source.fetch(&folder, wanted, sink),
                        Err(error) => reply.answer(&Answer::Read(Err((&error).into()))),
                    }
                })?;
            }
            Request::Hash { folder, file } => {
                let kind = if file.size() < LARGE { Kind::SmallFile } else { Kind::LargeFile };
                let wanted = Wanted { again: false, from: 0, ..file.wanted().ok_or(NO_NAME)? };
                self.on_folder(number, folder, kind, move |source, folders, folder, reply| {
                    match folders.open(folder, source) {
                        Ok(folder) => hash::send(source, &folder, &wanted, reply),
                        Err(error) => reply.answer(&Answer::Read(Err((&error).into()))),
                    }
                })?;
            }
            Request::Range { folder, file, length } => {
                let wanted = Wanted { again: false, ..file.wanted().ok_or(NO_NAME)? };
                let work = move |source: &Served, folders: &Folders<_>, folder: &_, reply: &_| {
                    match folders.open(folder, source) {
                        Ok(folder) => range::send(source, &folder, &wanted, length, reply),
                        Err(error) => reply.answer(&Answer::Read(Err((&error).into()))),
                    }
                };
                self.on_folder(number, folder, Kind::Range, work)?;
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
        self.opened(number, folder, opened)
    }

    /// Answers the request that opened a root, and keeps its folder.
    fn opened(
        &mut self,
        number: u32,
        folder: u64,
        opened: Result<(Root<ServedFolder>, Allowed), SourceError>,
    ) -> Result<(), Violation> {
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
        let _ = self.runner.line.outbox.answer(number, &Answer::Root(answer));
        Ok(())
    }

    fn open_root(&self, path: &Path) -> Result<(Root<ServedFolder>, Allowed), SourceError> {
        if let Some(why) = self.copies.no_other_folders() {
            return Err(SourceError::Unreadable { action: "open", error: io::Error::other(why) });
        }
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

    /// Answers a request of a copy.
    fn copy(&mut self, number: u32, request: CopyRequest<'_>) -> Result<(), Violation> {
        let answer = |answer| Answer::Copy(answer);
        match request {
            CopyRequest::Receive(_) => return Err(Violation("snapshots that were not announced")),
            CopyRequest::Snapshots { dir, prefix } => {
                let place = self.copies.place(&self.roots, dir, prefix);
                self.runner.run(number, Kind::Entry, move |reply| {
                    let found = place.and_then(|place| place.snapshots());
                    reply.answer(&answer(CopyAnswer::Snapshots(found)));
                })?;
            }
            CopyRequest::Holds { dir, prefix, from } => {
                let place = self.copies.place(&self.roots, dir, prefix);
                self.runner.run(number, Kind::Entry, move |reply| {
                    let found = place.and_then(|place| place.holds(from));
                    reply.answer(&answer(CopyAnswer::Holds(found)));
                })?;
            }
            CopyRequest::Beside { snapshot, from } => {
                let place = self.copies.place(&self.roots, snapshot.dir, snapshot.prefix);
                let stamp = snapshot.stamp;
                self.runner.run(number, Kind::Entry, move |reply| {
                    let found = place.and_then(|place| place.beside(stamp, from));
                    reply.answer(&answer(CopyAnswer::Beside(found)));
                })?;
            }
            CopyRequest::Open { folder, snapshot, id } => {
                let place = self.copies.place(&self.roots, snapshot.dir, snapshot.prefix);
                let (outbox, offer) = (&self.runner.line.outbox, self.copies.offer());
                let opened = snapshots::while_working(
                    || place.and_then(|place| place.open(snapshot.stamp, snapshot.previous)),
                    || {
                        // An error means that the connection has ended.
                        let _ = outbox.answer(number, &answer(CopyAnswer::Working));
                        // Meanwhile no report is read.
                        offer.into_iter().for_each(|offer| {
                            let _ = (offer.told)(&[]);
                        });
                    },
                );
                let opened = opened.map_err(SourceError::from).and_then(|root| match file_id(id) {
                    Some(id) if root.entry.meta.id != Some(id) => Err(SourceError::Replaced),
                    _ => Ok((root, Allowed::Read)),
                });
                self.opened(number, folder, opened)?;
            }
            CopyRequest::Tell { what } => {
                let Some(offer) = self.copies.offer() else {
                    return Err(Violation("a report of a copy that is none"));
                };
                let goes_on = (offer.told)(what);
                // At once: after the last report nothing more is read. An error means that the connection has ended.
                let told = answer(CopyAnswer::Told(goes_on, (offer.rate)()));
                let _ = self.runner.line.outbox.answer(number, &told);
            }
        }
        Ok(())
    }

    fn on_folder(
        &self,
        number: u32,
        folder: u64,
        kind: Kind,
        work: impl FnOnce(&Served, &Folders<Served>, &NamedFolder<Served>, &Reply) + Send + 'static,
    ) -> Result<(), Violation> {
        let folder = self.folders.get(folder)?;
        let (source, folders) = (Arc::clone(&self.source), Arc::clone(&self.folders));
        self.runner.run(number, kind, move |reply| work(&source, &folders, &folder, reply))
    }

    /// Queues the work on a delta that can be done now.
    fn step(&self, delta: Arc<Delta>) {
        let (source, folders) = (Arc::clone(&self.source), Arc::clone(&self.folders));
        let (deltas, running) = (Arc::clone(&self.deltas), self.runner.running());
        self.runner.add(Kind::Delta, move || {
            if delta.work(&source, &folders, &deltas) {
                deltas.remove(delta.number());
                lock(&running).remove(&delta.number());
                delta.end();
            }
        });
    }
}

fn refused() -> SourceError {
    SourceError::Unreadable { action: "open", error: io::Error::other(OUTSIDE) }
}
