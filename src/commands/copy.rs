//! `copy`: copies the snapshots of the jobs into another backups folder, with their links.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Prefix, Repository, Retention, Stop};

use crate::args::flags::{Flags, SettingFlags};
use crate::args::load::{configured, inputs};
use crate::config::load_for_reading;
use crate::config::mistake::shown_path;
use crate::config::setting::Key;
use crate::config::setting::find::find;
use crate::config::types::{NamedJob, Reach, SnapshotPlace};
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::jobs::copies::CopyFrom;
use crate::jobs::copies::failure::CopyFailure;
use crate::jobs::copies::hosts::{HostsReached, is_host};
use crate::jobs::signals::supervise;
use crate::log;
use crate::log::Stream;
use crate::snapshots::open::{Series, Where, open, straight_from_here, unlookable};
use crate::term::print::{fail, print, say, warn};

const EXAMPLES: &str = "\
Examples:
  backup_manager copy --to /mnt/second_disk/backups --backups-dir /backups
  backup_manager copy --from /mnt/old_disk/backups --backups-dir /backups
  backup_manager copy --to /mnt/usb/backups --newest 1 --dry-run
  backup_manager copy --to me@nas.example.org:/srv/copies
      Copy to another machine, over ssh and the backup_manager there
  backup_manager copy --from me@nas:/backups --backups-dir /backups
  backup_manager copy --job photos --copy-keep-monthly 24
      Bring the copies that COPY_TO names up to date";

/// Copy the snapshots into another folder or to another machine, with their hard links; a later copy adds what is new
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Copy into this folder, or user@host:DIR, instead of those of COPY_TO
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    to: Vec<PathBuf>,
    /// Copy from this folder, or user@host:DIR, into BACKUPS_DIR
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Copy only this many of the newest snapshots
    #[arg(long, value_name = "COUNT")]
    newest: Option<NonZeroUsize>,
    /// Show which snapshots would be copied, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<CopyFlags>,
}

/// The settings for the location of the snapshots and for the copies.
#[derive(Debug, Clone, Default)]
struct CopyFlags;

impl Flags for CopyFlags {
    const KEYS: &'static [Key] = &[
        Key::BackupsDir,
        Key::BackupNamePrefix,
        Key::BackupsMode,
        Key::CopyTo,
        Key::CopyMaxBackups,
        Key::CopyKeepLast,
        Key::CopyKeepHourly,
        Key::CopyKeepDaily,
        Key::CopyKeepWeekly,
        Key::CopyKeepMonthly,
        Key::CopyKeepYearly,
    ];
}

/// One copy to make: from one folder to another.
struct OneCopy {
    name: String,
    from: PathBuf,
    to: PathBuf,
    prefix: Prefix,
    retention: Retention,
    backups_mode: Option<u32>,
    rename_from: Option<u64>,
    fake_super: bool,
    is_own: bool,
    reach: Reach,
    /// The job, if the sources are configured.
    job: Option<Arc<NamedJob>>,
}

impl OneCopy {
    fn of(series: &Series, to: PathBuf) -> Self {
        let job = series.job.as_ref().map(|named| &named.job);
        Self {
            name: series.name.clone(),
            from: series.catalog.path().to_owned(),
            to,
            prefix: series.prefix.clone(),
            retention: series.copies.retention.clone(),
            backups_mode: job.and_then(|job| job.backups_mode),
            rename_from: series.copies.rename_from,
            fake_super: job.is_some_and(|job| job.keep.fake_super),
            is_own: true,
            reach: series.copies.reach.clone(),
            job: series.job.clone(),
        }
    }

    fn from(&self, newest: Option<NonZeroUsize>) -> CopyFrom<'_> {
        CopyFrom {
            name: &self.name,
            folder: &self.from,
            prefix: &self.prefix,
            retention: self.retention.clone(),
            newest,
            backups_mode: self.backups_mode,
            rename_from: self.rename_from,
            fake_super: self.fake_super,
            is_own: self.is_own,
            after_run: false,
            hosts: HostsReached { reach: &self.reach, job: self.job.as_deref() },
            format: Format::Text,
            display: true,
        }
    }
}

pub(crate) fn run(args: Args) -> Exit {
    let Args { to, from, newest, dry_run, place, settings } = args;
    let mistakes = to.iter().chain(&from).filter_map(|path| {
        crate::config::checks::copies::mistake(path.as_os_str().as_encoded_bytes())
    });
    let mistakes: Vec<String> = mistakes.collect();
    if !mistakes.is_empty() {
        fail(&mistakes.join("; "));
        return Exit::Usage;
    }
    let copies = match &from {
        Some(from) => from_folder(from, place, settings),
        None => to_folders(&to, place, settings),
    };
    let copies = match copies {
        Ok(copies) => copies,
        Err(exit) => return exit,
    };
    let stream = if dry_run { Stream::Stderr } else { Stream::Stdout };
    log::start(Format::Text, stream, None);
    if dry_run {
        return supervise(move |stop| previews(&copies, newest, &stop), |_| say("stopped"));
    }
    supervise(
        move |stop| all(&copies, newest, &stop),
        |_| say("stopped; what was copied stays, the next copy continues it"),
    )
}

fn all(copies: &[OneCopy], newest: Option<NonZeroUsize>, stop: &Arc<Stop>) -> Exit {
    let mut worst = Exit::Done;
    for copy in copies {
        if stop.asked() {
            return worst.worse(Exit::Signal(0));
        }
        worst = worst.worse(copy.from(newest).copy_into(&copy.to, stop));
    }
    worst
}

fn previews(copies: &[OneCopy], newest: Option<NonZeroUsize>, stop: &Arc<Stop>) -> Exit {
    copies.iter().fold(Exit::Done, |worst, copy| worst.worse(preview(copy, newest, stop)))
}

fn preview(copy: &OneCopy, newest: Option<NonZeroUsize>, stop: &Arc<Stop>) -> Exit {
    let to = shown_path(&copy.to);
    match copy.from(newest).preview(&copy.to, stop) {
        Ok(lines) if lines.is_empty() => {
            print(format!("{}: {to} lacks no snapshot\n", copy.name).as_bytes())
        }
        Ok(lines) => {
            let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
            print(format!("{}, into {to}:\n{lines}", copy.name).as_bytes())
        }
        Err(CopyFailure { is_stop: true, .. }) => Exit::Signal(0),
        Err(CopyFailure { what, hint, exit, .. }) => {
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            fail(&format!("{what}{hint}"));
            exit
        }
    }
}

/// The copies of the jobs into the folders `to`, or those of `COPY_TO`.
fn to_folders(
    to: &[PathBuf],
    place: Where,
    settings: SettingFlags<CopyFlags>,
) -> Result<Vec<OneCopy>, Exit> {
    let all = open(place, settings.given, Vec::new())?;
    let mut copies = Vec::new();
    for series in &all {
        let given: Vec<PathBuf> = to.iter().map(|to| absolute(to)).collect();
        let folders = if given.is_empty() { series.copies.to.clone() } else { given };
        copies.extend(folders.into_iter().map(|to| OneCopy::of(series, to)));
    }
    if copies.is_empty() {
        fail(match all.is_empty() {
            true => {
                "there is no snapshot to copy; write --backups-dir with the folder that holds them"
            }
            false => "where to is not known; write --to DIR, or set COPY_TO",
        });
        return Err(Exit::Usage);
    }
    Ok(copies)
}

/// The copies from the folder `from` into the backups folders of the jobs.
fn from_folder(
    from: &Path,
    place: Where,
    settings: SettingFlags<CopyFlags>,
) -> Result<Vec<OneCopy>, Exit> {
    let from = absolute(from);
    let asked = place.jobs.clone();
    let reading = inputs(settings.given, Vec::new(), place.config, place.jobs)
        .and_then(|inputs| configured(&inputs, load_for_reading))
        .ok_or(Exit::Usage)?;
    reading.warnings.iter().for_each(|warning| warn(warning));
    let there = match is_host(&from) {
        true => of_host(&reading.places),
        false => {
            let there = Repository::open(&from).and_then(|folder| folder.prefixes());
            there.map_err(|error| unlookable(&error))?
        }
    };
    let mut copies = Vec::new();
    for place in reading.places {
        let mut prefixes = match &place.prefix {
            Some(prefix) => vec![prefix.clone()],
            None => there.clone(),
        };
        if place.prefix.is_none() && !asked.is_empty() {
            prefixes.retain(|prefix| asked.iter().any(|name| name == prefix.as_str()));
        }
        prefixes.retain(|prefix| there.contains(prefix));
        let job = place.job.map(Arc::new);
        let fake_super = job.as_ref().is_some_and(|named| named.job.keep.fake_super);
        copies.extend(prefixes.into_iter().map(|prefix| OneCopy {
            name: if place.prefix.is_some() { place.name.clone() } else { prefix.to_string() },
            from: from.clone(),
            to: place.backups_dir.clone(),
            prefix,
            retention: place.copies.retention.clone(),
            backups_mode: place.backups_mode,
            rename_from: place.copies.rename_from,
            fake_super,
            is_own: false,
            reach: place.copies.reach.clone(),
            job: job.clone(),
        }));
    }
    if copies.is_empty() {
        let names: Vec<_> = there.iter().map(ToString::to_string).collect();
        fail(&format!(
            "there is no snapshot of these jobs in {}; it has those of: {}",
            shown_path(&from),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ));
        return Err(Exit::Usage);
    }
    Ok(copies)
}

/// The prefixes to copy from a host, whose folder is not known yet: the default one, unless another one is set.
fn of_host(places: &[SnapshotPlace]) -> Vec<Prefix> {
    let prefixes: Vec<_> = places.iter().filter_map(|place| place.prefix.clone()).collect();
    let default = || find("BACKUP_NAME_PREFIX")?.default.and_then(|name| Prefix::new(name).ok());
    if prefixes.is_empty() { default().into_iter().collect() } else { prefixes }
}

fn absolute(path: &Path) -> PathBuf {
    match is_host(path) {
        true => path.to_owned(),
        false => straight_from_here(path.as_os_str()),
    }
}
