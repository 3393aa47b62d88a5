//! Compares a snapshot with the source as it is now, where this machine has it.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use engine::inspect::{DifferenceSink, Differences, against};
use engine::{RunError, Silent, SnapshotName, Stop};
use web::NoSource;

use crate::config::types::NamedJob;
use crate::hint::hint;
use crate::jobs::context;
use crate::jobs::open_source::local;
use crate::snapshots::recorded_sources::NoSources;

/// A comparison that takes longer is given up: someone waits for the page.
const PATIENCE: Duration = Duration::from_secs(300);

/// Compares `snapshot` with the source of `job`.
///
/// # Errors
/// Why the source cannot be read here.
pub(crate) fn compare(
    job: Result<Arc<NamedJob>, NoSources>,
    snapshot: &SnapshotName,
    sink: Arc<dyn DifferenceSink>,
) -> Result<Differences, NoSource> {
    let job = job.map_err(|why| match why {
        NoSources::Unknown => NoSource::Unknown,
        NoSources::OnHost(host) => NoSource::OnHost(host),
        NoSources::OtherMachine => NoSource::OtherMachine,
    })?;
    if let Some(remote) = &job.remote {
        return Err(NoSource::OnHost(remote.address.to_string()));
    }
    let stop = Arc::new(Stop::default());
    let (ended, waiting) = channel::<()>();
    let late = Arc::clone(&stop);
    thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            late.ask();
        }
    });
    let context = context(&stop, &Arc::default(), Arc::new(Silent));
    let compared = against(&job.job, local(&job, &stop), snapshot, sink, &context);
    drop(ended);
    compared.map_err(|error| match (&error, hint(&error)) {
        (RunError::Stopped, _) => NoSource::TooLarge,
        (_, Some(hint)) => NoSource::Failed(format!("{error}; {hint}")),
        (_, None) => NoSource::Failed(error.to_string()),
    })
}
