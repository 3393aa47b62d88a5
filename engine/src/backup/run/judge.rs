//! The third step of an attempt: decides whether the run may seal the incomplete snapshot, and whether its changes are
//! suspicious.

use crate::backup::brake::apply::hold_good;
use crate::backup::roots::report_filtered;
use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::backup::run::fill::Filled;
use crate::backup::shrink_guard::{refusal, roots_found};
use crate::error::RunError;
use crate::monitor::event::Event;
use crate::repository::records::holds;
use crate::repository::records::report::RootFound;
use crate::snapshot::changes::{Freeze, Suspicion};
use crate::snapshot::history::History;
use crate::source::Source;

/// The state after the third step: the run may seal the incomplete snapshot.
pub(crate) struct Accepted<S: Source> {
    pub(crate) filled: Filled<S>,
    /// The source roots with their counts.
    pub(crate) roots: Vec<RootFound>,
    pub(crate) suspicions: Vec<Suspicion>,
    /// Why no snapshot may be removed.
    pub(crate) frozen: Option<Freeze>,
}

/// Accepts the snapshot unless a source root has collapsed, seems not to be mounted, or lost more files than allowed. A
/// mass change is accepted too, but freezes the pruning.
///
/// # Errors
/// When it is not accepted and `--accept-shrink` was not given.
pub(crate) fn judge<S: Source>(
    attempt: &Attempt<'_, S>,
    filled: Filled<S>,
) -> Result<Accepted<S>, RunError> {
    let walk = &filled.content.writer.walk;
    if let Some(error) = refusal(attempt.job, walk).filter(|_| !attempt.accept_shrink) {
        return Err(error);
    }
    let roots = roots_found(walk);
    report_filtered(attempt.job, walk);
    let history = &filled.prepared.history;
    let (suspicions, frozen) = brake(attempt, history, &filled.prepared.names, &roots);
    Ok(Accepted { filled, roots, suspicions, frozen })
}

/// Judges the changes below the roots. Freezes the pruning before anything is removed.
fn brake<S: Source>(
    attempt: &Attempt<'_, S>,
    history: &History,
    names: &SnapshotNames,
    roots: &[RootFound],
) -> (Vec<Suspicion>, Option<Freeze>) {
    let Attempt { repository, context, began, .. } = attempt;
    let found = attempt.suspicions(history, names, roots);
    let before = holds::freeze(repository, history);
    // While the pruning is frozen already, the snapshot that is held is older, and so are all others that are needed.
    let again = attempt.unheld(history);
    let (to_hold, noticed) = match found.is_empty() {
        true => (&again, history.complete.last()),
        false => (&found, None),
    };
    let frozen = match before {
        Some(freeze) => Some(freeze),
        None if to_hold.is_empty() => None,
        None => match hold_good(repository, history, names.base.as_ref(), noticed, to_hold, *began)
        {
            Ok(freeze) => freeze,
            Err(error) => {
                attempt.aside("the snapshot from before the mass change cannot be held; this run removes no snapshot", error);
                Some(Freeze { what: to_hold[0].to_string(), ..Freeze::default() })
            }
        },
    };
    if let Some(freeze) = &frozen {
        context.monitor.event(&Event::Frozen { freeze: freeze.clone() });
    }
    (found, frozen)
}

impl<S: Source> Attempt<'_, S> {
    /// The suspicions of the newest snapshot, if its run could not hold a snapshot because of them.
    fn unheld(&self, history: &History) -> Vec<Suspicion> {
        let newest = history.complete.last();
        let report = newest.and_then(|newest| self.repository.report(newest));
        let unheld = report
            .filter(|report| report.frozen.as_ref().is_some_and(|freeze| freeze.held.is_empty()));
        unheld.map(|report| report.suspicions).unwrap_or_default()
    }
}
