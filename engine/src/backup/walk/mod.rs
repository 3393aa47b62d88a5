//! Walks the source together with the base and the incomplete snapshot. The walk lists a folder, compares its entries,
//! plans, and hands the plan to a sink that carries it out or reports it.

pub(crate) mod compare;
pub(crate) mod expect;
pub(crate) mod filters;
pub(crate) mod folder;
pub(crate) mod listing;
pub(crate) mod mounts;
pub(crate) mod plan_sink;
pub(crate) mod prune_empty;
pub(crate) mod renames;
pub(crate) mod retry;
pub(crate) mod state;

use std::sync::Arc;

use crate::backup::plan::planned::Planned;
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::CountedArea;
use crate::backup::walk::state::task::{EnterBy, WalkTask};
use crate::error::RunError;
use crate::job::Job;
use crate::monitor::Phase;
use crate::source::Source;
use crate::threads::lock::lock;

/// A walk in progress: the state that its threads share, and the sink that receives its plans.
pub(crate) struct Walk<S: Source, T> {
    state: Arc<WalkState<S>>,
    sink: Arc<T>,
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    pub(crate) fn new(state: Arc<WalkState<S>>, sink: Arc<T>) -> Arc<Self> {
        Arc::new(Self { state, sink })
    }

    /// Walks everything in the layout of `job`.
    ///
    /// # Errors
    /// The first error that ended the walk.
    pub(crate) fn walk(self: &Arc<Self>, job: &Job) -> Result<(), RunError> {
        let state = &self.state;
        self.list_all(job)?;
        state.set.context.progress.enter(Phase::Retrying);
        self.retry()?;
        state.report_missing(job);
        Ok(())
    }

    /// Walks everything once, without a second look at what could not be read.
    ///
    /// # Errors
    /// The first error that ended the walk.
    pub(crate) fn list_all(self: &Arc<Self>, job: &Job) -> Result<(), RunError> {
        let state = &self.state;
        state.set.context.progress.begin_walk();
        let top = state.top(job.layout.top(), false)?;
        self.list(&top, state.later().then(|| state.queue.hold()), None)?;
        let listed = self.work();
        if state.halted() {
            return listed;
        }
        // On a full disk the walk stores nothing more, but the new folders may have something to remove.
        let matched = self.match_deferred();
        state.match_taken_up();
        // The first error that is not about space says more.
        matched.and(listed)
    }

    fn work(self: &Arc<Self>) -> Result<(), RunError> {
        let state = &self.state;
        state.queue.work(state.set.threads, |task| {
            if !state.halted() {
                let result = match task {
                    WalkTask::Enter { parent, entry, found, covered } => {
                        let beyond = CountedArea { area: parent.area, left_out: covered };
                        let begun = state.later().then(|| state.queue.begun());
                        let by = EnterBy { begun, found: Some(found), confirmed: None };
                        self.enter(&parent, entry, by, beyond)
                    }
                    WalkTask::EnterNext { parent, waiting, asks } => {
                        self.enter_next(parent, waiting, asks)
                    }
                    WalkTask::Arrived { folder, batch, arrival, waits } => {
                        drop(waits);
                        self.arrived(&folder, &batch, &arrival)
                    }
                    WalkTask::Listed { folder, arrival } => self.listing_ended(&folder, &arrival),
                    WalkTask::Deferred { folder, items } => self.deferred(&folder, &items),
                    WalkTask::Again { retries } => self.again(retries),
                    WalkTask::Carry { folder, name } => {
                        self.sink.carry_forward(&folder, &name).and_then(|_| self.settle(&folder))
                    }
                    WalkTask::Gone { parent, place, name, area, left_out } => {
                        state.gone((&parent, &place), &name, area, left_out)
                    }
                };
                if let Err(error) = result {
                    state.fail(error);
                }
            }
        });
        let fatal = lock(&state.fatal).take();
        match fatal.or_else(|| lock(&state.full).take()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Reports the plan for some entries of one folder, and hands it to the sink.
    fn apply(
        &self,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    ) {
        self.state.itemize(folder, steps);
        self.withhold_empty(folder, steps);
        self.sink.apply(folder, handles, source, steps);
    }

    /// Records that one thing that `folder` waits for has happened. The last one finishes the folder.
    fn settle(&self, folder: &WalkFolder<S::Folder>) -> Result<(), RunError> {
        if self.state.settles(folder) { self.sink.finish(folder) } else { Ok(()) }
    }
}
