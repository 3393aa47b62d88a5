//! A large file, which arrives in parts. One thread at a time works on a file, so its parts stay in order.

use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use engine::entry::Entry;
use engine::fs::Dir;
use engine::repository::Method;
use engine::restore::{LocalTarget, NewFile};
use engine::threads::lock;

use crate::helper::protocol::write::{
    SentEnd, SentFault, SentOutcome, WriteAnswer, method_of, sent_outcome,
};
use crate::helper::serve::folders::NamedFolder;
use crate::helper::serve::write::content::{Arriving, finish};
use crate::helper::serve::write::state::{Held, WriteState};

/// The least bytes of a file for which the next process of the same restore goes on where this one ended.
const WORTH_KEEPING: u64 = 1 << 20;

/// What happens with the file next.
pub(crate) enum Step {
    Begin,
    Part(u64, Vec<u8>),
    End(SentEnd),
    Discard,
}

/// A large file.
pub(crate) struct Upload {
    number: u32,
    folder: Arc<NamedFolder<LocalTarget>>,
    entry: Entry,
    method: u8,
    replace: bool,
    again: bool,
    _held: Held,
    steps: Mutex<Steps>,
    /// `None` before the file is begun, and after it failed.
    file: Mutex<Option<(NewFile, Arriving)>>,
    answered: AtomicBool,
}

/// The steps that wait, and whether a thread works on them.
#[derive(Default)]
struct Steps {
    waiting: VecDeque<Step>,
    busy: bool,
}

/// What the near end says of a large file.
pub(crate) struct Announced {
    pub(crate) entry: Entry,
    pub(crate) method: u8,
    pub(crate) replace: bool,
    pub(crate) again: bool,
}

impl Upload {
    pub(crate) fn new(
        number: u32,
        folder: Arc<NamedFolder<LocalTarget>>,
        announced: Announced,
        held: Held,
    ) -> Self {
        let Announced { entry, method, replace, again } = announced;
        Self {
            number,
            folder,
            entry,
            method,
            replace,
            again,
            _held: held,
            steps: Mutex::default(),
            file: Mutex::default(),
            answered: AtomicBool::new(false),
        }
    }

    /// Adds a step. Returns whether the caller has to let a thread [`Upload::work`].
    pub(crate) fn add(&self, step: Step) -> bool {
        let mut steps = lock(&self.steps);
        steps.waiting.push_back(step);
        !std::mem::replace(&mut steps.busy, true)
    }

    /// Carries out the steps that wait.
    pub(crate) fn work(&self, state: &WriteState) {
        loop {
            let step = {
                let mut steps = lock(&self.steps);
                match steps.waiting.pop_front() {
                    Some(step) => step,
                    None => {
                        steps.busy = false;
                        return;
                    }
                }
            };
            let Some(_task) = state.tasks.begin() else { return };
            match step {
                Step::Begin => {
                    let begun = self.begin(state);
                    self.or_fail(state, begun);
                }
                Step::Part(offset, bytes) => {
                    let written = match &mut *lock(&self.file) {
                        Some((new, arriving)) => arriving.write(new.file(), offset, &bytes),
                        // What follows a failure is not wanted.
                        None => Ok(()),
                    };
                    self.or_fail(state, written);
                    state.written(bytes.len());
                }
                Step::End(end) => self.end(state, &end),
                Step::Discard => {
                    self.close(state, true);
                    let unwanted = io::Error::other("the near end does not want it");
                    self.answer(state, Err((&unwanted).into()));
                }
            }
        }
    }

    fn begin(&self, state: &WriteState) -> io::Result<()> {
        let begun = state.on(&self.folder, |target, dir| {
            let name = &self.entry.name;
            let goes_on = self.again && method_of(self.method) == Method::Plain;
            let before = if goes_on { self.before(state, target, dir) } else { None };
            if self.again {
                state.clear(target, dir, name);
            }
            let mut arriving = Arriving::new(self.method);
            let new = match before {
                Some(before) => {
                    arriving.read(before.file())?;
                    before
                }
                None => target.new_file(dir, name)?,
            };
            Ok((new, arriving))
        })?;
        if self.again {
            state.send(self.number, WriteAnswer::From(begun.1.at));
        }
        *lock(&self.file) = Some(begun);
        Ok(())
    }

    /// What an earlier process of the same restore wrote of the file.
    fn before(&self, state: &WriteState, target: &LocalTarget, dir: &Dir) -> Option<NewFile> {
        let earlier = lock(&state.earlier);
        let mut earlier = earlier.iter().rev();
        earlier.find_map(|maker| target.take_over_file(dir, &self.entry.name, maker).ok().flatten())
    }

    fn end(&self, state: &WriteState, end: &SentEnd) {
        let Some((new, arriving)) = take(&mut *lock(&self.file)) else { return };
        let mut whole = Some((new, arriving));
        let stored = state.on(&self.folder, |target, dir| {
            let Some((new, arriving)) = whole.take() else {
                return Err(io::Error::other("it cannot be finished"));
            };
            match arriving.end(new.file(), end) {
                Err(error) => Err(target.give_up_file(dir, new, error)),
                Ok(()) => {
                    finish((target, dir), new, (&self.entry, end), (self.replace, self.again))
                }
            }
        });
        let stored = stored.map(sent_outcome).map_err(|error| SentFault::from(&error));
        self.answer(state, stored);
    }

    /// Answers the request once.
    fn answer(&self, state: &WriteState, stored: Result<SentOutcome, SentFault>) {
        if !self.answered.swap(true, Ordering::Relaxed) {
            state.send(self.number, WriteAnswer::Stored(vec![stored]));
        }
    }

    /// Answers an error, and removes the file.
    fn or_fail(&self, state: &WriteState, done: io::Result<()>) {
        let Err(error) = done else { return };
        let file = take(&mut *lock(&self.file));
        let mut file = file.map(|(new, _)| new);
        let mut error = Some(error);
        // The error of a folder that cannot be opened any more changes nothing.
        let judged = state.on(&self.folder, |target, dir| {
            Ok(match (file.take(), error.take()) {
                (Some(new), Some(error)) => Some(target.give_up_file(dir, new, error)),
                (_, error) => error,
            })
        });
        let error = judged.ok().flatten().or(error);
        let error = error.unwrap_or_else(|| io::Error::other("it cannot be written"));
        self.answer(state, Err((&error).into()));
    }

    /// Removes the file, unless the next process may go on with it.
    pub(crate) fn close(&self, state: &WriteState, unwanted: bool) {
        let Some((new, arriving)) = take(&mut *lock(&self.file)) else { return };
        if unwanted || arriving.at < WORTH_KEEPING {
            let mut new = Some(new);
            let _ = state.on(&self.folder, |_, dir| {
                new.take().into_iter().for_each(|new| new.discard(dir));
                Ok(())
            });
        }
    }
}
