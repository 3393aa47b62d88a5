//! Copies to a host, and from one.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use engine::copy::{CopyJob, CopyOutcome, CopyStep, Fetched, copy, preview};
use engine::entry::escape::shown;
use engine::source::{RateLimit, Selection};
use engine::{Context, Prefix, Repository, RunError, SnapshotName};
use transport::helper::read::snapshots::RemoteSnapshots;
use transport::remote::{NoHelper, RemoteHelper};
use transport::remote_copy::{CopyHost, OfferError, Offered, PushError, Rate};

use crate::config::host_dir::{HostDir, account, completed, fits};
use crate::config::mistake::shown_path;
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::types::{NamedJob, Reach};
use crate::exit::Exit;
use crate::hint;
use crate::hint::helper::{ONLY_SFTP, READS, Started, WRITES, next};
use crate::jobs::copies::failure::{ANOTHER_FOLDER, CopyFailure};
use crate::jobs::open_source::{by_rsync, loss_report, under_way};
use crate::log::JobLog;

/// How hosts of copies are reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostsReached<'a> {
    pub(crate) reach: &'a Reach,
    /// Its ssh options apply to the host of its sources, and its compression to every host.
    pub(crate) job: Option<&'a NamedJob>,
}

impl HostsReached<'_> {
    fn host(&self, host: &HostDir, log: &JobLog) -> CopyHost {
        let remote = self.job.and_then(|job| job.remote.as_ref());
        let same = remote.filter(|remote| fits(&host.address, &remote.address));
        let of_job = self.job.map(|job| job.wanted.clone()).unwrap_or_default();
        let (wanted, address, helper) = match same {
            Some(remote) => {
                let address = completed(&host.address, &remote.address);
                (of_job, address, Some(remote.helper.clone()))
            }
            None => {
                let RsyncOptions { compress, compress_level, bwlimit, .. } = of_job;
                let wanted =
                    RsyncOptions { compress, compress_level, bwlimit, ..RsyncOptions::default() };
                (wanted, host.address.clone(), self.reach.helper.clone())
            }
        };
        let log = log.clone();
        let loss_report = loss_report(account(&address), move |what| log.warn(what));
        let mut options = by_rsync(&wanted, self.reach.answer_timeout);
        options.known_hosts.clone_from(&self.reach.known_hosts);
        options.loss_report = loss_report;
        options.under_way = under_way((self.rate())());
        // A copy has no other way than the helper.
        let helper = helper.filter(|helper| *helper != RemoteHelper::Off);
        CopyHost { address, options, helper: helper.unwrap_or(RemoteHelper::Auto) }
    }

    /// Copies the snapshots of the backups folder `from` into a folder of a host.
    pub(crate) fn push(
        &self,
        (from, to): (&Path, &HostDir),
        job: &CopyJob,
        context: &Context,
        log: &JobLog,
    ) -> Result<CopyOutcome, CopyFailure> {
        let host = self.host(to, log);
        let offered = self.offered((from, to), job);
        let pushed = host.push(&offered, context, |note| {
            log.info(&format!("{}: {note}", account(&host.address)));
        });
        match pushed {
            Ok(pushed) => {
                let has_rules = job.retention != engine::Retention::default();
                if pushed.keeps_all && has_rules {
                    log.info(&format!(
                        "{} keeps all snapshots, whatever COPY_KEEP_ says: its helper was started with --append-only",
                        account(&host.address)
                    ));
                }
                Ok(pushed.outcome)
            }
            Err(error) => Err(unpushed(&host, error)),
        }
    }

    /// What [`Self::push`] would copy.
    pub(crate) fn preview_push(
        &self,
        (from, to): (&Path, &HostDir),
        job: &CopyJob,
        context: &Context,
        log: &JobLog,
    ) -> Result<Vec<CopyStep>, CopyFailure> {
        let host = self.host(to, log);
        let note = |note: &str| log.info(&format!("{}: {note}", account(&host.address)));
        let steps = host.preview(&self.offered((from, to), job), context, note);
        steps.map_err(|error| unpushed(&host, error))
    }

    fn offered(&self, (from, to): (&Path, &HostDir), job: &CopyJob) -> Offered {
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().into_owned();
        Offered {
            backups_dir: from.to_owned(),
            job: job.clone(),
            dir: to.dir.clone(),
            from: format!("{machine}:{}", shown_path(from)),
            rate: self.rate(),
        }
    }

    /// The limit of the job.
    fn rate(&self) -> Arc<Rate> {
        let bandwidth = self.job.and_then(|job| job.limits.bandwidth.clone());
        Arc::new(move || bandwidth.as_ref().and_then(|limit| limit.at(Utc::now())))
    }

    /// Copies the snapshots of a folder of a host as `job` says.
    pub(crate) fn pull(
        &self,
        from: &HostDir,
        job: &CopyJob,
        context: &Context,
        log: &JobLog,
    ) -> Result<CopyOutcome, CopyFailure> {
        self.reading(from, context, log, |store| copy(job, store, context))
    }

    /// What [`Self::pull`] would copy.
    pub(crate) fn preview_pull(
        &self,
        from: &HostDir,
        job: &CopyJob,
        context: &Context,
        log: &JobLog,
    ) -> Result<Vec<CopyStep>, CopyFailure> {
        self.reading(from, context, log, |store| preview(job, store))
    }

    /// As [`Fetched::of`], from the snapshots in a folder of a host.
    ///
    /// # Errors
    /// See [`NotFetched`].
    pub(crate) fn fetch(
        &self,
        from: &HostDir,
        parts: impl FnOnce(&[SnapshotName]) -> Vec<(SnapshotName, Selection)>,
        place: (&Repository, &Prefix),
        context: &Context,
        log: &JobLog,
    ) -> Result<Fetched, NotFetched> {
        let fake_super = self.job.is_some_and(|job| job.job.keep.fake_super);
        let fetch = |store: &_| Ok(Fetched::of(store, parts, place, fake_super, context));
        match self.reading(from, context, log, fetch) {
            Ok(Ok(Some(fetched))) => Ok(fetched),
            Ok(Ok(None)) => Err(NotFetched::Busy),
            Ok(Err(error)) => {
                let hint = hint::unbrought(&error);
                Err(NotFetched::Failed(CopyFailure { hint, ..CopyFailure::from(error) }))
            }
            Err(failure) => Err(NotFetched::Failed(failure)),
        }
    }

    /// Opens the folder of a host and reads it.
    fn reading<T>(
        &self,
        from: &HostDir,
        context: &Context,
        log: &JobLog,
        read: impl FnOnce(&RemoteSnapshots) -> Result<T, RunError>,
    ) -> Result<T, CopyFailure> {
        let host = self.host(from, log);
        let name = format!("{}:{}", account(&host.address), shown(&from.dir));
        let stop = Arc::clone(&context.stop);
        let note = |note: &str| log.info(&format!("{}: {note}", account(&host.address)));
        let store = host.snapshots(from.dir.clone(), name, move || stop.asked(), note);
        let store = match store {
            Ok(store) => {
                let rate = self.rate();
                let limit = RateLimit::new(move || rate(), Arc::clone(&context.stop));
                store.reporting(Arc::clone(&context.monitor)).limited(Some(limit))
            }
            Err(_) if context.stop.asked() => return Err(CopyFailure::stopped()),
            Err(why) => return Err(unreached(&host, READS, why)),
        };
        let done = read(&store);
        store.source().close();
        done.map_err(CopyFailure::from)
    }
}

/// Why the parts of snapshots did not come from a host.
pub(crate) enum NotFetched {
    /// Another healing or drill brings something to the same backups folder.
    Busy,
    /// The host cannot be read, or the parts cannot be stored.
    Failed(CopyFailure),
}

/// The snapshots did not arrive on the host.
fn unpushed(host: &CopyHost, error: PushError) -> CopyFailure {
    let error = match error {
        PushError::NoHelper(why) => return unreached(host, WRITES, why),
        PushError::Offer(OfferError::Stopped) => return CopyFailure::stopped(),
        PushError::Offer(error) => error,
    };
    let next = match &error {
        OfferError::Lost(_) => {
            Some("what was copied so far stays, and the next copy continues it".to_owned())
        }
        OfferError::NotForCopies(_) => Some(ANOTHER_FOLDER.to_owned()),
        _ => hint::helper::of_words(&error.to_string()).map(str::to_owned),
    };
    let failure = CopyFailure::new(format!("{}: {error}", account(&host.address)), next);
    match error {
        OfferError::NotForCopies(_) => CopyFailure { exit: Exit::Usage, ..failure },
        _ => failure,
    }
}

/// The host cannot be reached, or starts no helper.
fn unreached(host: &CopyHost, serve: &'static str, why: NoHelper) -> CopyFailure {
    let CopyHost { address, options, helper } = host;
    match why {
        NoHelper::NotStarted(error) if !error.is_about_service() => {
            let step = hint::unconnected(&error, address).to_string();
            CopyFailure::new(format!("{}: {error}", account(address)), Some(step))
        }
        why if only_adds(&why.to_string()) => {
            CopyFailure::new(format!("{}: {why}", account(address)), Some(ONLY_ADDS.to_owned()))
        }
        why => {
            let what = format!(
                "{}: this needs backup_manager on the host, as SFTP alone keeps no links between snapshots: {why}",
                account(address)
            );
            let step = next(&Started { helper, address, options, serve }, &why);
            let step = step.map(|step| step.to_string());
            // Without the helper nothing can be copied.
            let step = step.map(|step| match step == ONLY_SFTP {
                true => NO_SHELL.to_owned(),
                false => step,
            });
            CopyFailure::new(what, step)
        }
    }
}

/// The next step where the key may only add copies.
const ONLY_ADDS: &str = "the command in front of this key in ~/.ssh/authorized_keys of the host has --append-only: reading needs another key, by a Host of ~/.ssh/config, whose line has --read-only";

/// The next step where the account starts no program.
const NO_SHELL: &str = "this account may only use SFTP: give it a shell, or a key with command=\"backup_manager serve …\" in ~/.ssh/authorized_keys of the host (docs/copy.md)";

fn only_adds(said: &str) -> bool {
    said.contains("serve was started with --append-only there")
}

/// Whether `path` names a folder of a host.
pub(crate) fn is_host(path: &Path) -> bool {
    HostDir::read(path.as_os_str().as_bytes()).is_some()
}
