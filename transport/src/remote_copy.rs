//! Copies of snapshots to a host and from one, through this program at the far end.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use engine::Context;
use engine::copy::{CopyOutcome, CopyStep};

use crate::helper::offer::{OfferLine, announcement};
use crate::helper::read::snapshots::RemoteSnapshots;
use crate::helper::read::{Asked, HelperSource};
use crate::helper::version::Version;
use crate::remote::{Installed, NoHelper, RemoteHelper, installed};
use crate::ssh::options::Options;
use crate::ssh::{Address, ConnectError};

pub use crate::helper::offer::{OfferError, Offered, Rate};

/// What the far ends are asked to be.
const READS: &str = "serve --read-only";
const WRITES: &str = "serve";

/// The longest announcement that is sent before the far end has greeted, bytes.
const EAGER: usize = 16 * 1024;

/// The interval at which a wait looks whether it is still wanted.
const STEP: Duration = Duration::from_millis(100);

/// An attempt that lasted so long was no failure to connect: the attempts are counted anew.
const LASTING: Duration = Duration::from_secs(60);

/// A host, and how it is reached.
#[derive(Debug, Clone)]
pub struct CopyHost {
    /// Its address.
    pub address: Address,
    /// The options of the connection.
    pub options: Options,
    /// Which program is started there.
    pub helper: RemoteHelper,
}

/// Why nothing was copied to a host.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The host starts no helper, or cannot be reached.
    #[error(transparent)]
    NoHelper(#[from] NoHelper),
    /// See [`OfferError`].
    #[error(transparent)]
    Offer(#[from] OfferError),
}

/// The result of a copy to a host.
#[derive(Debug)]
pub struct Pushed {
    /// What was copied.
    pub outcome: CopyOutcome,
    /// Whether the far end keeps every snapshot, whatever the settings say.
    pub keeps_all: bool,
}

impl CopyHost {
    /// Copies snapshots to the host. When the connection is lost, the copy goes on over another one. Calls `note` with
    /// what the log says of the helper.
    ///
    /// # Errors
    /// See [`PushError`].
    pub fn push(
        &self,
        offered: &Offered,
        context: &Context,
        note: impl Fn(&str),
    ) -> Result<Pushed, PushError> {
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let error = match self.push_once(offered, context, &note) {
                // The far end of a lost connection may still hold the lock.
                Ok(Pushed { outcome: CopyOutcome::Busy, .. }) if tries > 0 => PushError::Offer(
                    OfferError::Lost("its last attempt is still active".to_owned()),
                ),
                Err(error @ PushError::Offer(OfferError::Lost(_))) => error,
                // Before the first connection, waiting is for the next run.
                Err(error @ PushError::NoHelper(NoHelper::NotStarted(_)))
                    if tries > 0 && !is_final(&error) =>
                {
                    error
                }
                done => return done,
            };
            if began.elapsed() > LASTING {
                tries = 0;
            }
            if tries >= self.options.tries {
                return Err(error);
            }
            self.options.loss_report.lost(&error.to_string());
            let pause = self.options.pause.saturating_mul(1 << tries.min(10));
            tries += 1;
            let begins = Instant::now();
            while begins.elapsed() < pause {
                if context.stop.asked() {
                    return Err(OfferError::Stopped.into());
                }
                sleep(STEP);
            }
        }
    }

    fn push_once(
        &self,
        offered: &Offered,
        context: &Context,
        note: &impl Fn(&str),
    ) -> Result<Pushed, PushError> {
        let line = self.offer_line((offered, false), context, note)?;
        let keeps_all = line.only_adds();
        let outcome = line.offer(offered, context)?;
        Ok(Pushed { outcome, keeps_all })
    }

    /// What [`CopyHost::push`] would copy. Nothing is written there, but for a program that is installed.
    ///
    /// # Errors
    /// See [`PushError`].
    pub fn preview(
        &self,
        offered: &Offered,
        context: &Context,
        note: impl Fn(&str),
    ) -> Result<Vec<CopyStep>, PushError> {
        Ok(self.offer_line((offered, true), context, &note)?.preview(offered, context)?)
    }

    fn offer_line(
        &self,
        (offered, dry_run): (&Offered, bool),
        context: &Context,
        note: &impl Fn(&str),
    ) -> Result<OfferLine, PushError> {
        let announcement = match self.helper {
            // An older helper there is replaced before it receives anything.
            RemoteHelper::Install => Vec::new(),
            _ => announcement(offered, dry_run, &self.options)?,
        };
        // What ends at once would not read it all, and its words would be lost.
        let announcement = if announcement.len() <= EAGER { announcement } else { Vec::new() };
        let stop = Arc::clone(&context.stop);
        let stopped = move || stop.asked();
        let connect = |line: String| {
            let (address, options) = (self.address.clone(), self.options.clone());
            OfferLine::connect(address, options, (line, announcement.clone()), stopped.clone())
        };
        let line = self.started(connect, OfferLine::is_older, WRITES, stopped.clone(), note);
        line.map_err(|error| match context.stop.asked() {
            true => PushError::Offer(OfferError::Stopped),
            false => PushError::NoHelper(error),
        })
    }

    /// Opens the backups folder `dir` of the host, to copy its snapshots to this machine. Messages call it `name`. `note`
    /// as above; `stopped` is polled several times a second, and when it returns true, the connection ends.
    ///
    /// # Errors
    /// See [`NoHelper`].
    pub fn snapshots(
        &self,
        dir: Vec<u8>,
        name: String,
        stopped: impl Fn() -> bool + Clone + Send + 'static,
        note: impl Fn(&str),
    ) -> Result<RemoteSnapshots, NoHelper> {
        let with = |options: Options, line| {
            let (address, asked) = (self.address.clone(), Asked::of_snapshots());
            let source = HelperSource::connect(address, options, line, asked, stopped.clone())?;
            let why = match (source.copies, source.only_adds) {
                (true, _) => return Ok(source),
                (false, true) => "backup_manager serve was started with --append-only there",
                (false, false) => {
                    "the backup_manager there is older than this one, and copies no snapshots"
                }
            };
            Err(ConnectError::CommandFailed { said: why.to_owned() })
        };
        let connect = |line: String| with(self.options.clone(), line);
        let is_older = |source: &HelperSource| source.version() < Version::own();
        let source = self.started(connect, is_older, READS, stopped.clone(), &note)?;
        Ok(RemoteSnapshots::new(Arc::new(source), dir, name))
    }

    /// Starts the helper in the way that is wanted.
    fn started<T>(
        &self,
        connect: impl Fn(String) -> Result<T, ConnectError>,
        is_older: impl Fn(&T) -> bool,
        serve: &str,
        stopped: impl Fn() -> bool + Send + 'static,
        note: &impl Fn(&str),
    ) -> Result<T, NoHelper> {
        let Self { address, options, helper } = self;
        if *helper == RemoteHelper::Install {
            return Ok(match installed((connect, is_older), serve, address, options, stopped)? {
                Installed::Before(line) => line,
                Installed::Now(line, name) => {
                    note(&format!(
                        "backup_manager was copied there: ~/.cache/backup_manager/{name}"
                    ));
                    line
                }
                Installed::Older(line, why) => {
                    note(&format!("its backup_manager is older than this one, and stays: {why}"));
                    line
                }
            });
        }
        // A copy has no other way.
        let line = helper.line(serve).or_else(|| RemoteHelper::Auto.line(serve));
        connect(line.unwrap_or_default()).map_err(NoHelper::NotStarted)
    }
}

/// Whether another attempt to connect cannot succeed.
fn is_final(error: &PushError) -> bool {
    match error {
        PushError::NoHelper(NoHelper::NotStarted(error)) => {
            error.is_final() || error.is_about_service() || matches!(error, ConnectError::Stopped)
        }
        _ => true,
    }
}
