//! The third step of an attempt: decides whether the run may seal the incomplete snapshot.

use crate::backup::roots::report_filtered;
use crate::backup::run::attempt::Attempt;
use crate::backup::run::fill::Filled;
use crate::backup::shrink_guard::{refusal, roots_found};
use crate::error::RunError;
use crate::repository::records::report::RootFound;
use crate::source::Source;

/// The state after the third step: the run may seal the incomplete snapshot.
pub(crate) struct Accepted<S: Source> {
    pub(crate) filled: Filled<S>,
    /// The source roots with their counts.
    pub(crate) roots: Vec<RootFound>,
}

/// Accepts the snapshot unless a source root has collapsed, seems not to be mounted, or lost more files than allowed.
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
    Ok(Accepted { filled, roots })
}
