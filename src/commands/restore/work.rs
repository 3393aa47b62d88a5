//! One prepared restore: asks the user, writes, and reports the result.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::Repository;
use engine::SnapshotName;
use engine::Stop;
use engine::entry::escape::unshown;
use engine::fs::untrusted;
use engine::repository::SourceRoots;
use engine::restore::Landing;
use engine::restore::Overwrite;
use engine::restore::PreviewTarget;
use engine::restore::Target;
use engine::restore::{FoundLanding, restore};
use engine::restore::{LocalTarget, PlaceError};
use engine::restore::{RestoreError, RestoreOptions};
use engine::{Progress, Silent};
use transport::remote_target::{RemoteTarget, TargetError};

use crate::config::mistake::shown_path;
use crate::exit::Exit;
use crate::hint;
use crate::jobs::{context, sync_child};
use crate::snapshots::open::unlookable;
use crate::snapshots::restore_host::RestoreHost;
use crate::term::print::{fail, say, warn};
use crate::term::shell::word;
use crate::term::terminal;
use crate::ui::restore::{Over, Restored, RestoredFrom};

/// The destination of a restore.
#[derive(Debug, Clone)]
pub(super) enum RestoreDestination {
    Folder(PathBuf),
    Host(Box<RestoreHost>),
    InPlace,
}

/// A prepared restore.
pub(super) struct Work {
    pub(super) catalog: Arc<Repository>,
    pub(super) snapshot: SnapshotName,
    pub(super) landing: Landing,
    pub(super) roots: SourceRoots,
    pub(super) place: RestoreDestination,
    pub(super) options: RestoreOptions,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

impl Work {
    /// Asks the user whether to restore in place.
    pub(super) fn confirm(&self) -> Result<(), Exit> {
        if !io::stdin().is_terminal() || !terminal::is_there() {
            fail(
                "a restore in place asks before it starts, and there is no terminal to answer on; add --yes, or --dry-run to see what it would do",
            );
            return Err(Exit::Usage);
        }
        let over = match self.options.overwrite {
            Overwrite::Never => "Existing entries that differ are kept.",
            Overwrite::Newer => "Existing entries that are older are REPLACED.",
            Overwrite::Changed => "Existing entries that differ are REPLACED.",
            Overwrite::Always => "Existing entries are REPLACED.",
        };
        let delete = if self.options.delete.is_some() {
            " What the snapshot is known not to have had is REMOVED."
        } else {
            ""
        };
        let mut paths = String::new();
        for item in &self.landing.items {
            let names: Vec<&[u8]> = item.to.iter().map(|name| name.to_bytes()).collect();
            paths.push_str(&format!("  {}\n", word(&[b"/", &names.join(&b'/')[..]].concat())));
        }
        let mut stderr = io::stderr();
        let _ = write!(
            stderr,
            "From {} come back:\n{paths}{over}{delete} --dry-run shows it in detail.\nGo on? [y/N] ",
            self.snapshot
        );
        let mut answer = String::new();
        let _ = stderr.flush().and_then(|()| io::stdin().lock().read_line(&mut answer).map(drop));
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            say("nothing was done");
            Err(Exit::Failed)
        }
    }

    pub(super) fn done(&self, stop: &Arc<Stop>) -> Exit {
        // No folder is made for paths that the snapshot does not have.
        let from = (&*self.catalog, &self.snapshot);
        let found = match FoundLanding::look_up(from, &self.landing) {
            Ok(found) => found,
            Err(error) => return self.failed(&error),
        };
        let found = &found;
        let top = match &self.place {
            RestoreDestination::Folder(path) => path.as_path(),
            RestoreDestination::InPlace => Path::new("/"),
            RestoreDestination::Host(host) => return self.to_host(found, host, stop),
        };
        let sync = sync_child::in_a_child;
        let opened = if self.dry_run || matches!(self.place, RestoreDestination::InPlace) {
            LocalTarget::look_at(top, &self.catalog, sync)
        } else {
            LocalTarget::make(top, &self.catalog, sync)
        };
        match opened {
            Err(error) => {
                fail(&format!("{error}; {}", unplaced(&error)));
                match error {
                    PlaceError::InBackups { .. } => Exit::Usage,
                    PlaceError::Impossible { .. } => Exit::Failed,
                }
            }
            Ok(target) if self.dry_run => {
                self.to(found, &PreviewTarget(&target), (shown_path(top), None), stop)
            }
            Ok(target) => self.to(found, &target, (shown_path(top), None), stop),
        }
    }

    fn to_host(&self, found: &FoundLanding<'_>, host: &RestoreHost, stop: &Arc<Stop>) -> Exit {
        let at = |path: &[u8]| host.shown(path);
        match host.open(self.dry_run, stop) {
            Err(_) if stop.asked() => Exit::Signal(0),
            Err(TargetError::Place(error)) => {
                fail(&format!("{}: {error}; {}", host.account(), unplaced(&error)));
                match error {
                    PlaceError::InBackups { .. } => Exit::Usage,
                    PlaceError::Impossible { .. } => Exit::Failed,
                }
            }
            Err(TargetError::Connect(error)) => {
                let hint = hint::unconnected(&error, host.address());
                fail(&format!("cannot restore to {}: {error}; {hint}", host.account()));
                Exit::Failed
            }
            Ok(RemoteTarget::Helper(target)) => {
                let exit = self.on_host(found, &*target, (at(target.path()), Over::Helper), stop);
                target.close();
                exit
            }
            Ok(RemoteTarget::Sftp(target, why)) => {
                if let Some(why) = why {
                    let next = host.unstarted(self.dry_run, &why);
                    let next = next.map_or_else(String::new, |next| format!("; {next}"));
                    let what = format!(
                        "{} is restored to over SFTP, as its host runs no backup_manager serve that writes: {why}{next}",
                        at(target.path())
                    );
                    match host.wants_helper(self.dry_run) {
                        true => warn(&what),
                        false => say(&what),
                    }
                }
                if !target.syncs() && !self.dry_run {
                    warn(
                        "that machine's SFTP server syncs nothing: what is written is on its disk when its system puts it there, or when you run `sync` on it",
                    );
                }
                let synced = target.syncs();
                let exit = self.on_host(found, &*target, (at(target.path()), Over::Sftp), stop);
                if synced && !target.syncs() && !self.dry_run {
                    warn(
                        "that machine cannot sync what its SFTP server offered to: what is written is on its disk when its system puts it there, or when you run `sync` on it",
                    );
                }
                target.close();
                exit
            }
        }
    }

    fn on_host<T: Target>(
        &self,
        found: &FoundLanding<'_>,
        target: &T,
        (top, over): (String, Over),
        stop: &Arc<Stop>,
    ) -> Exit {
        match self.dry_run {
            true => self.to(found, &PreviewTarget(target), (top, Some(over)), stop),
            false => self.to(found, target, (top, Some(over)), stop),
        }
    }

    /// Restores to `target`, whose folder is shown as `top`.
    fn to<T: Target>(
        &self,
        found: &FoundLanding<'_>,
        target: &T,
        (top, over): (String, Option<Over>),
        stop: &Arc<Stop>,
    ) -> Exit {
        let progress = Arc::new(Progress::default());
        let from = RestoredFrom { landing: self.landing.clone(), roots: self.roots.clone() };
        let results = Restored::new(top, from, self.dry_run, self.json, over, &progress);
        let context = context(stop, &progress, Arc::new(Silent));
        match restore(found, target, self.options.clone(), &context, &results) {
            Ok(counts) => results.finish(&self.snapshot, &counts),
            Err(error) => {
                drop(results);
                self.failed(&error)
            }
        }
    }

    fn failed(&self, error: &RestoreError) -> Exit {
        match error {
            RestoreError::Stopped => Exit::Signal(0),
            RestoreError::Look(error) => unlookable(error),
            RestoreError::NoSuchPath { snapshot, path } => {
                // The path as a user writes it, which is not always the one inside the snapshot.
                let path = unshown(path)
                    .map_or_else(|| path.clone(), |inside| word(&self.roots.source(&inside)));
                let error = RestoreError::NoSuchPath { snapshot: snapshot.clone(), path };
                fail(&format!("{error}; history and find show the paths; nothing was written"));
                Exit::Usage
            }
            RestoreError::NoSpace { .. } | RestoreError::Target(_) => {
                fail(&format!("{error}; {}", hint::unrestored()));
                Exit::Failed
            }
            RestoreError::Lost(_) => {
                fail(&format!("{error}; {}", hint::restore_lost()));
                Exit::Failed
            }
        }
    }
}

fn unplaced(error: &PlaceError) -> &'static str {
    match error {
        PlaceError::InBackups { .. } => {
            "nothing is ever restored into backups; name another folder"
        }
        PlaceError::Impossible { error, .. } if untrusted(error).is_some() => hint::UNTRUSTED_LINK,
        PlaceError::Impossible { .. } => "name a folder that can be written to",
    }
}
