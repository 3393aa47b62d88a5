//! Drills a copy on a host.

use std::path::Path;

use engine::drill::{DrillOptions, Drilled, chosen, drill_copy};
use engine::repository::LastDrill;
use engine::{Context, SnapshotName};

use crate::commands::drill::report::failed;
use crate::config::host_dir::HostDir;
use crate::config::mistake::shown_path;
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::jobs::copies::failure::CopyFailure;
use crate::jobs::copies::hosts::{HostsReached, NotFetched};
use crate::log::JobLog;
use crate::snapshots::open::Series;
use crate::term::print::{fail, say};

/// Drills the copy `to` of `one` on a host with these `options` for a snapshot: brings the sample of the newest one that is here
/// too. Returns the result and, unless it did nothing, that for the status. Prints why it could not be done.
pub(super) fn on_host(
    one: &Series,
    (to, host): (&Path, &HostDir),
    options: impl Fn(&SnapshotName) -> DrillOptions,
    context: &Context,
) -> (Result<Drilled, Exit>, Option<LastDrill>) {
    let hosts = HostsReached { reach: &one.copies.reach, job: one.job.as_deref() };
    let log = JobLog::new(&one.name, Format::Text);
    let mut picked = None;
    let part = |offered: &[SnapshotName]| {
        let both = one.history.complete.iter().rfind(|name| offered.contains(name));
        let Some(name) = both else { return Vec::new() };
        let sample = chosen(&one.catalog, name, &options(name), context);
        let part = sample.as_ref().ok().map(|sample| (name.clone(), sample.selection()));
        picked = Some((name.clone(), sample));
        part.into_iter().collect()
    };
    let fetched = match hosts.fetch(host, part, (&one.catalog, &one.prefix), context, &log) {
        Ok(fetched) => fetched,
        Err(NotFetched::Failed(CopyFailure { is_stop: true, .. })) => {
            return (Err(Exit::Signal(0)), None);
        }
        Err(NotFetched::Busy) => {
            let name = &one.name;
            say(&format!("{name}: another drill or healing is at work; this one does nothing"));
            return (Err(Exit::Done), None);
        }
        Err(NotFetched::Failed(CopyFailure { what, hint, .. })) => {
            return not_done(one, to, what, hint, context);
        }
    };
    match picked {
        Some((name, Ok(sample))) => {
            let repositories = (&*one.catalog, &fetched.repository);
            let options = options(&name);
            let (done, last) = drill_copy(repositories, &name, &sample, &options, context);
            (done.map_err(|error| failed(one, error)), last)
        }
        Some((_, Err(error))) => (Err(failed(one, error)), None),
        None => {
            let why = "no complete snapshot is there and here".to_owned();
            let next = "backup_manager copy brings it up to date".to_owned();
            not_done(one, to, why, Some(next), context)
        }
    }
}

/// Prints why the copy `to` could not be drilled. Returns what [`on_host`] does.
fn not_done(
    one: &Series,
    to: &Path,
    why: String,
    next: Option<String>,
    context: &Context,
) -> (Result<Drilled, Exit>, Option<LastDrill>) {
    let (to, next) = (shown_path(to), next.map(|next| format!("; {next}")).unwrap_or_default());
    fail(&format!("the restore drill of the copy in {to} could not be done: {why}{next}"));
    let newest = one.history.complete.last();
    let last = newest.map(|name| LastDrill::not_done(name, (context.now)(), why));
    (Err(Exit::Failed), last)
}
