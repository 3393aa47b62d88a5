//! Carries out the requests of a restore through the engine's local target.

pub(crate) mod changes;
pub(crate) mod content;
pub(crate) mod look;
pub(crate) mod small;
pub(crate) mod state;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
pub(crate) mod top;
pub(crate) mod upload;

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::entry::{FileId, Kind as EntryKind};
use engine::restore::{LocalTarget, Target};
use engine::threads::lock;

use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::entry::file_id;
use crate::helper::protocol::write::{
    SentFault, WriteAnswer, WriteRequest, sent_outcome, sent_shortfall,
};
use crate::helper::serve::confine::Roots;
use crate::helper::serve::folders::{NamedFolder, Violation, checked};
use crate::helper::serve::runner::Runner;
use crate::helper::serve::send::sinks::{Line, Reply};
use crate::helper::serve::workers::Kind;
use crate::helper::serve::write::changes::NewLink;
use crate::helper::serve::write::small::SmallFile;
use crate::helper::serve::write::state::{WriteState, received};
use crate::helper::serve::write::tasks::Tasks;
use crate::helper::serve::write::top::AskedTarget;
use crate::helper::serve::write::upload::{Announced, Step, Upload};

/// The interval at which the far end reports that it works on a long change.
const BEAT: Duration = Duration::from_secs(1);

/// The most large files at a time, names of one `Look`, and processes of lost connections.
const UPLOADS: usize = 64;
const NAMES: usize = 1024;
const EARLIER: usize = 64;

/// The writing half of the far end.
pub(crate) struct Writer {
    state: Arc<WriteState>,
    roots: Roots,
    uploads: HashMap<u32, Arc<Upload>>,
}

impl Writer {
    pub(crate) fn new(roots: Roots, line: Arc<Line>) -> Self {
        Self { state: Arc::new(WriteState::new(line)), roots, uploads: HashMap::new() }
    }

    /// What is being written.
    pub(crate) fn tasks(&self) -> Arc<Tasks> {
        Arc::clone(&self.state.tasks)
    }

    /// Waits for what is being written, and removes files that are not whole.
    pub(crate) fn end(self) {
        self.state.tasks.end();
        self.uploads.values().for_each(|upload| upload.close(&self.state, false));
    }

    /// Accepts a request of `bytes` bytes, with the `content` behind it.
    ///
    /// # Errors
    /// The near end broke the protocol.
    pub(crate) fn take(
        &mut self,
        runner: &Runner,
        number: u32,
        request: WriteRequest<'_>,
        content: &[u8],
        bytes: usize,
    ) -> Result<(), Violation> {
        let has_content = matches!(request, WriteRequest::Part { .. } | WriteRequest::Store { .. });
        if !content.is_empty() {
            if !has_content {
                return Err(Violation("bytes behind a message"));
            }
            self.state.took(content.len())?;
        }
        match request {
            WriteRequest::Target { folder, path, make, id } => {
                let asked = AskedTarget { folder, path, make, id: file_id(id) };
                let opened = top::open(&self.state, &self.roots, &asked)?;
                self.state.send(number, WriteAnswer::Target(opened));
                self.state.written(0);
                self.beat();
            }
            WriteRequest::Name { folder, parent, name, id } => {
                self.state.folders.add_child(folder, parent, checked(name)?, file_id(id))?;
            }
            WriteRequest::Forget { folder } => self.state.folders.forget(folder),
            WriteRequest::Earlier { makers } => {
                let makers = makers.into_iter().take(EARLIER).filter(|maker| maker.len() < 100);
                *lock(&self.state.earlier) = makers.map(str::to_owned).collect();
            }
            WriteRequest::Begin { folder, file, method, replace, again } => {
                let announced = Announced { entry: received(file)?, method, replace, again };
                self.begin(runner, number, (folder, announced), bytes)?;
            }
            WriteRequest::Part { offset } => {
                self.step(runner, number, Step::Part(offset, content.to_vec()))?;
            }
            WriteRequest::End { end } => self.last_step(runner, number, Step::End(end))?,
            WriteRequest::Discard => self.last_step(runner, number, Step::Discard)?,
            WriteRequest::Store { folder, files, again } => {
                self.store(runner, number, (folder, files, again), content, bytes)?;
            }
            request => self.change(runner, number, request, bytes)?,
        }
        Ok(())
    }

    fn begin(
        &mut self,
        runner: &Runner,
        number: u32,
        (folder, announced): (u64, Announced),
        bytes: usize,
    ) -> Result<(), Violation> {
        if announced.entry.meta.kind != EntryKind::File {
            return Err(Violation("content for what is no file"));
        }
        let folder = self.state.folders.get(folder)?;
        let upload = Upload::new(number, folder, announced, self.state.hold(bytes)?);
        if self.uploads.len() >= UPLOADS {
            return Err(Violation("too many files at a time"));
        }
        if self.uploads.insert(number, Arc::new(upload)).is_some() {
            return Err(Violation("two requests with one number"));
        }
        self.state.files.store(self.uploads.len(), Ordering::Relaxed);
        self.step(runner, number, Step::Begin)
    }

    fn step(&self, runner: &Runner, number: u32, step: Step) -> Result<(), Violation> {
        let upload = self.uploads.get(&number).ok_or(Violation("content of no file"))?;
        if upload.add(step) {
            let (upload, state) = (Arc::clone(upload), Arc::clone(&self.state));
            runner.add(Kind::LargeFile, move || upload.work(&state));
        }
        Ok(())
    }

    fn last_step(&mut self, runner: &Runner, number: u32, step: Step) -> Result<(), Violation> {
        self.step(runner, number, step)?;
        self.uploads.remove(&number);
        self.state.files.store(self.uploads.len(), Ordering::Relaxed);
        Ok(())
    }

    fn store(
        &self,
        runner: &Runner,
        number: u32,
        (folder, files, again): (u64, Vec<crate::helper::protocol::write::SentNewFile>, bool),
        content: &[u8],
        bytes: usize,
    ) -> Result<(), Violation> {
        let mut rest = content;
        let files = files.into_iter().map(|file| SmallFile::new(file, &mut rest));
        let files: Vec<_> = files.collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            return Err(Violation("bytes behind a message"));
        }
        let length = content.len();
        self.on_folder(
            runner,
            number,
            (folder, Kind::SmallFile),
            bytes,
            move |state, folder, reply| {
                let store = |file: &SmallFile| {
                    file.store(state, folder, again)
                        .map(sent_outcome)
                        .map_err(|error| (&error).into())
                };
                reply.write(WriteAnswer::Stored(files.iter().map(store).collect()));
                state.written(length);
            },
        )
    }

    /// Queues work on a folder.
    fn on_folder(
        &self,
        runner: &Runner,
        number: u32,
        (folder, kind): (u64, Kind),
        bytes: usize,
        work: impl FnOnce(&WriteState, &NamedFolder<LocalTarget>, &Reply) + Send + 'static,
    ) -> Result<(), Violation> {
        let folder = self.state.folders.get(folder)?;
        let (state, held) = (Arc::clone(&self.state), self.state.hold(bytes)?);
        runner.run(number, kind, move |reply| {
            let _held = held;
            if let Some(_task) = state.tasks.begin() {
                work(&state, &folder, reply);
            }
        })
    }

    /// Queues a request for an entry or a folder.
    fn change(
        &self,
        runner: &Runner,
        number: u32,
        request: WriteRequest<'_>,
        bytes: usize,
    ) -> Result<(), Violation> {
        let entry = |folder| (folder, Kind::Entry);
        let long = |folder| (folder, Kind::Listing);
        let on =
            |folder: (u64, Kind), work: Work| self.on_folder(runner, number, folder, bytes, work);
        match request {
            WriteRequest::Enter { folder, name } => {
                let name = checked(name)?;
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let entered = changes::enter(state, folder, &name);
                        reply.write(WriteAnswer::Folder(fault(entered)));
                    }),
                )
            }
            WriteRequest::Look { folder, names } => {
                if names.len() > NAMES {
                    return Err(Violation("too many names at a time"));
                }
                let names: Vec<CString> =
                    names.into_iter().map(checked).collect::<Result<_, _>>()?;
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        look::look(state, folder, &names, reply);
                    }),
                )
            }
            WriteRequest::Names { folder, most } => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                on(
                    long(folder),
                    Box::new(move |state, folder, reply| {
                        look::names(state, folder, most, reply);
                    }),
                )
            }
            WriteRequest::Explore { folder, name } => {
                let name = checked(name)?;
                on(
                    long(folder),
                    Box::new(move |state, folder, reply| {
                        look::explore(state, folder, &name, reply);
                    }),
                )
            }
            WriteRequest::Creator { name } => {
                let creator = look::creator(name);
                self.state.send(number, WriteAnswer::Creator(creator));
                Ok(())
            }
            WriteRequest::SetMode { folder, mode } => {
                if mode & !0o7777 != 0 {
                    return Err(Violation("a mode that no folder can have"));
                }
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        reply.write(WriteAnswer::Done(fault(changes::set_mode(
                            state, folder, mode,
                        ))));
                    }),
                )
            }
            WriteRequest::MakeFolder { folder, name, again } => {
                let name = checked(name)?;
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let made = changes::make_folder(state, folder, &name, again);
                        reply.write(WriteAnswer::Folder(fault(made)));
                    }),
                )
            }
            WriteRequest::Make { folder, entry: made, replace, again } => {
                let made = received(made)?;
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let made = changes::make(state, folder, &made, (replace, again));
                        let made = fault(made.map(sent_outcome));
                        reply.write(WriteAnswer::Stored(vec![made]));
                    }),
                )
            }
            WriteRequest::Link { folder, name, to: (other, file, id), replace, again } => {
                let (to, other) = ((checked(file)?, file_id(id)), self.state.folders.get(other)?);
                let link = NewLink { name: checked(name)?, to, replace, again };
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let linked = changes::link(state, folder, &other, &link);
                        reply.write(WriteAnswer::Done(fault(linked)));
                    }),
                )
            }
            WriteRequest::FileMetadata { folder, entry: file, id } => {
                let (file, id): (_, Option<FileId>) = (received(file)?, file_id(id));
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let set = state
                            .on(folder, |target, dir| target.set_file_metadata(dir, &file, id));
                        reply.write(WriteAnswer::Shortfall(fault(set.map(sent_shortfall))));
                    }),
                )
            }
            WriteRequest::FolderMetadata { folder, entry: wanted, new } => {
                let wanted = received(wanted)?;
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let set = state.on(folder, |target, dir| {
                            target.set_folder_metadata(dir, &wanted, new)
                        });
                        reply.write(WriteAnswer::Shortfall(fault(set.map(sent_shortfall))));
                    }),
                )
            }
            WriteRequest::Remove { folder, name, again } => {
                let name = checked(name)?;
                on(
                    entry(folder),
                    Box::new(move |state, folder, reply| {
                        let removed = changes::remove(state, folder, &name, (false, again));
                        reply.write(WriteAnswer::Done(fault(removed)));
                    }),
                )
            }
            WriteRequest::RemoveFolder { folder, name, again } => {
                let name = checked(name)?;
                on(
                    long(folder),
                    Box::new(move |state, folder, reply| {
                        let removed = changes::remove(state, folder, &name, (true, again));
                        reply.write(WriteAnswer::Done(fault(removed)));
                    }),
                )
            }
            WriteRequest::Sync => {
                let (state, held) = (Arc::clone(&self.state), self.state.hold(bytes)?);
                runner.run(number, Kind::Listing, move |reply| {
                    let _held = held;
                    let Some(_task) = state.tasks.begin() else { return };
                    let target = state.target.get().ok_or_else(|| io::ErrorKind::NotFound.into());
                    let synced = target.and_then(Target::sync);
                    reply.write(WriteAnswer::Done(fault(synced)));
                })
            }
            _ => Err(Violation("a request in the wrong place")),
        }
    }

    /// Tells the near end again and again that a long change is being worked on.
    fn beat(&self) {
        let state = Arc::clone(&self.state);
        let thread = std::thread::Builder::new().name("beat".to_owned());
        // Without the thread a long change may be taken for a lost line, and is sent again.
        let _ = thread.spawn(move || {
            while let Some(works) = state.tasks.works_after(BEAT) {
                // A large file whose next part the near end reads from a slow disk counts, too.
                if works || state.files.load(Ordering::Relaxed) > 0 {
                    state.send(CONNECTION, WriteAnswer::Working);
                }
            }
        });
    }
}

/// Work on a folder.
type Work = Box<dyn FnOnce(&WriteState, &NamedFolder<LocalTarget>, &Reply) + Send>;

fn fault<T>(result: io::Result<T>) -> Result<T, SentFault> {
    result.map_err(|error| SentFault::from(&error))
}
