//! Reports who else may read or change the backups folder.

use crate::fs::access::open_to_others;
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::Repository;
use crate::snapshot::history::History;

/// Reports a backups folder that other users can access against the user's intention. On the first run: other users may
/// enter it and BACKUPS_MODE is not set. On each run: it does not have the mode that BACKUPS_MODE sets, or
/// `.backup_manager` belongs to another user.
pub(crate) fn report_access(
    job: &Job,
    repository: &Repository,
    history: &History,
    context: &Context,
) {
    let path = crate::entry::escape::shown_path(&job.backups_dir);
    if let Some(uid) = repository.foreign_owner() {
        let what = format!(
            "{path}/.backup_manager belongs to the user {uid} and {path} to another one: that user reads the reports, can change what is recorded there, and can keep runs from beginning; unless that is meant, chown -R --reference={path} {path}/.backup_manager"
        );
        context.monitor.event(&Event::Aside { what });
    }
    let event = match job.backups_mode {
        None if history.complete.is_empty() => {
            open_to_others(&job.backups_dir).map(|mode| Event::OpenToOthers { path, mode })
        }
        None => None,
        Some(wanted) => {
            let found = repository.dir.meta().map(|meta| meta.mode & 0o777);
            found.ok().filter(|found| *found != wanted).map(|found| Event::Aside {
                what: format!(
                    "the mode of {path} stays {found:04o}: BACKUPS_MODE {wanted:04o} cannot be set; let its owner do it, or mount its file system with such modes"
                ),
            })
        }
    };
    if let Some(event) = event {
        context.monitor.event(&event);
    }
}
