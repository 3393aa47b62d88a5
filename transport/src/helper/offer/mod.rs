//! The near end of a copy to a host: it offers its snapshots, and answers what the far end asks of them.

#[cfg(test)]
mod hostile_tests;
pub(crate) mod reports;
pub(crate) mod service;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Context;
use engine::copy::{CopyJob, CopyOutcome, CopyStep};

use crate::helper::offer::reports::Reports;
use crate::helper::offer::service::{OfferGreeting, Offering};
use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::copy::{CopyAnswer, CopyRequest, SentCopyJob};
use crate::helper::protocol::error::said;
use crate::helper::protocol::frame::{append, read};
use crate::helper::protocol::message::{Answer, Request};
use crate::helper::protocol::report::{SentResult, SentSettings, harmless};
use crate::helper::serve::snapshots::{History, Offer};
use crate::helper::serve::{ServeError, answer_offer, next, offer_greeting};
use crate::helper::version::Version;
use crate::ssh::command::{RunningCommand, run};
use crate::ssh::line::Streams;
use crate::ssh::options::Options;
use crate::ssh::{Address, ConnectError};

pub use crate::helper::serve::snapshots::Rate;

/// The number of the request that announces the snapshots.
const RECEIVE: u32 = CONNECTION + 1;

/// The snapshots that are offered to a host.
#[derive(Clone)]
pub struct Offered {
    /// Their backups folder.
    pub backups_dir: PathBuf,
    /// The copy. Its folder is that of the host, and is named by [`Offered::dir`].
    pub job: CopyJob,
    /// The folder of the host.
    pub dir: Vec<u8>,
    /// The backups folder in messages of the host, with the name of this machine.
    pub from: String,
    /// The bytes of content per second that the host may read at the moment; `None`: no limit.
    pub rate: Arc<Rate>,
}

/// Why a copy to a host did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The far end accepts no snapshots in that folder.
    #[error("the host does not accept the snapshots: {0}")]
    Refused(String),
    /// The copy failed at the far end.
    #[error("{0}")]
    Failed(String),
    /// The folder is no place for these copies.
    #[error("{0}")]
    NotForCopies(String),
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

/// A connection to a far end that accepts snapshots.
pub(crate) struct OfferLine {
    running: RunningCommand<OfferGreeting>,
    options: Options,
    /// Whether the snapshots were announced together with the greeting.
    is_announced: bool,
}

impl OfferLine {
    /// Connects to a host and starts `command` there, a line for the login shell of the user. Sends `announcement` together with
    /// the greeting, which saves a round trip; an empty one comes later. `stopped` is polled several times a second; when it
    /// returns true, the connection ends.
    ///
    /// # Errors
    /// No connection can be made, or the command starts no far end that accepts snapshots
    /// ([`ConnectError::is_about_service`]).
    pub(crate) fn connect(
        address: Address,
        options: Options,
        (command, announcement): (String, Vec<u8>),
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let is_announced = !announcement.is_empty();
        let offering = Offering { command, announcement };
        let running = run(address, options.clone(), offering, stopped)?;
        let why = match running.offers {
            OfferGreeting { receives: true, .. } => {
                return Ok(Self { running, options, is_announced });
            }
            OfferGreeting { reads: true, .. } => {
                "backup_manager serve was started with --read-only there"
            }
            _ => "the backup_manager there is older than this one, and accepts no snapshots",
        };
        running.close();
        Err(ConnectError::CommandFailed { said: why.to_owned() })
    }

    /// Whether the far end is older than this program.
    pub(crate) fn is_older(&self) -> bool {
        self.running.offers.version < Version::own()
    }

    /// Whether the far end keeps every snapshot.
    pub(crate) fn only_adds(&self) -> bool {
        self.running.offers.only_adds
    }

    /// Offers the snapshots, and answers until the far end has copied them.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub(crate) fn offer(
        self,
        offered: &Offered,
        context: &Context,
    ) -> Result<CopyOutcome, OfferError> {
        self.converse(offered, false, context)?
            .outcome(&offered.job.prefix)
            .map_err(OfferError::Failed)
    }

    /// Asks what the far end would copy. Nothing is written there.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub(crate) fn preview(
        self,
        offered: &Offered,
        context: &Context,
    ) -> Result<Vec<CopyStep>, OfferError> {
        self.converse(offered, true, context)?
            .steps(&offered.job.prefix)
            .map_err(OfferError::Failed)
    }

    fn converse(
        self,
        offered: &Offered,
        dry_run: bool,
        context: &Context,
    ) -> Result<SentResult, OfferError> {
        let Self { mut running, options, is_announced } = self;
        let Some(streams) = running.streams.take() else { return Err(lost("it is in use")) };
        let behind = std::mem::take(&mut running.behind);
        let announcement = match is_announced {
            true => Vec::new(),
            false => announcement(offered, dry_run, &options)?,
        };
        let reports = Arc::new(Reports::new(context, options.answer_timeout));
        let watched = Arc::clone(&reports);
        running.watch(move || watched.is_silent());
        let done = converse(offered, &options, (announcement, streams, behind), &reports);
        let words = running.close();
        done.map_err(|error| match error {
            _ if context.stop.asked() => OfferError::Stopped,
            OfferError::Lost(why) if reports.is_silent() => {
                OfferError::Lost(format!("{why}; {}", reports.silence()))
            }
            OfferError::Lost(why) => {
                OfferError::Lost(words.map_or(why.clone(), |words| format!("{why} ({words})")))
            }
            error => error,
        })
    }
}

fn lost(error: impl std::fmt::Display) -> OfferError {
    OfferError::Lost(error.to_string())
}

/// Offers the snapshots on a channel on which both ends have greeted, and answers until the far end has copied them, or has
/// looked. First sends `announcement`, if that was not done. `behind` has arrived already.
fn converse(
    offered: &Offered,
    options: &Options,
    (announcement, streams, behind): (Vec<u8>, Streams, Vec<u8>),
    reports: &Arc<Reports>,
) -> Result<SentResult, OfferError> {
    let mut to = File::from(streams.to);
    let mut from = Cursor::new(behind).chain(File::from(streams.from));
    to.write_all(&announcement).map_err(lost)?;
    accepted(&mut from)?;
    let told = Arc::clone(reports);
    let offer = Offer {
        dir: offered.backups_dir.clone(),
        prefix: offered.job.prefix.clone(),
        fake_super: offered.job.fake_super,
        told: Box::new(move |what| told.told(what)),
        rate: Arc::clone(&offered.rate),
        stop: Arc::clone(reports.stop()),
    };
    let from = UntilResult { from, reports };
    let answered = answer_offer(offer, options.compression.level(), from, to);
    match (reports.result(), answered) {
        (Some(SentResult::NotForCopies(why)), _) => Err(OfferError::NotForCopies(harmless(&why))),
        (Some(result), _) => Ok(result),
        (None, Err(ServeError::Protocol(what))) => Err(OfferError::Lost(said(&what))),
        (None, Err(error)) => Err(lost(error)),
        (None, Ok(())) => Err(lost("the host ended it")),
    }
}

/// What the far end sends, until it has reported the result: its end need not be awaited.
struct UntilResult<'a, R> {
    from: R,
    reports: &'a Reports,
}

impl<R: Read> Read for UntilResult<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reports.has_result() { Ok(0) } else { self.from.read(buffer) }
    }
}

/// The request that the far end receives the snapshots, and the greeting of the end that answers from then on.
pub(crate) fn announcement(
    offered: &Offered,
    dry_run: bool,
    options: &Options,
) -> Result<Vec<u8>, OfferError> {
    let CopyJob { retention, newest, rename_from, fake_super, backups_mode, prefix, .. } =
        &offered.job;
    let settings = SentSettings {
        newest: *newest,
        rename_from: *rename_from,
        fake_super: *fake_super,
        backups_mode: *backups_mode,
        from: offered.from.clone(),
        rate: (offered.rate)(),
        dry_run,
        ..SentSettings::of_retention(retention)
    };
    let settings = serde_json::to_vec(&settings).map_err(lost)?;
    let level = options.compression.level();
    let (dir, prefix) = (&offered.dir[..], prefix.to_string());
    let history = History::of(&offered.backups_dir, &offered.job.prefix, *fake_super);
    let history = history.and_then(|history| history.snapshots());
    let job = SentCopyJob {
        dir,
        prefix: &prefix,
        settings: &settings,
        compression: level.map(|level| level.number()),
        offered: history.map_err(|refusal| OfferError::Failed(refusal.said()))?,
    };
    let mut out = Vec::new();
    append(&mut out, RECEIVE, &Request::Copy(CopyRequest::Receive(job)), &[])
        .map_err(|error| OfferError::Refused(error.to_string()))?;
    out.extend(offer_greeting(level));
    Ok(out)
}

/// Reads the answer to the announcement.
fn accepted(from: &mut impl Read) -> Result<(), OfferError> {
    let mut frame = Vec::new();
    match next(from, &mut frame) {
        Ok(true) => {}
        Ok(false) => return Err(lost("the host ended it")),
        Err(error) => return Err(lost(error)),
    }
    match read(&frame) {
        Ok((RECEIVE, Answer::Copy(CopyAnswer::Receiving(answer)), [])) => {
            answer.map_err(|refusal| OfferError::Refused(refusal.said()))
        }
        _ => Err(lost("an answer to another question")),
    }
}
