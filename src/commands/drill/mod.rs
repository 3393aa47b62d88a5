//! `drill`: restores a random part of the newest snapshots into a scratch folder, and compares it.

mod host;
mod report;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use engine::SnapshotName;
use engine::Stop;
use engine::drill::{DrillOptions, Fault, drill};
use engine::repository::LastDrill;
use engine::{Progress, Silent};

use crate::args::flags::{Places, SettingFlags};
use crate::commands::drill::host::on_host;
use crate::commands::drill::report::{exit_of, failed, objects, of, text};
use crate::commands::verify::share;
use crate::config::checks::copies::mistake;
use crate::config::host_dir::HostDir;
use crate::config::mistake::shown_path;
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::hint;
use crate::jobs::context;
use crate::jobs::copies::{absence, drilled, note_drill};
use crate::jobs::signals::supervise_for;
use crate::log;
use crate::log::Stream;
use crate::snapshots::open::{Series, Where, open, straight_from_here};
use crate::term::out::Out;
use crate::term::print::{fail, say, warn};
use crate::term::units::counted;

const EXAMPLES: &str = "\
It restores a random part of the newest snapshot of each job as restore does, into a new folder below DIR. It compares \
what came back with the recorded hashes and metadata, and with the source where that is on this machine and has the \
same size and time still. Then it removes the folder. status shows the age and the result of the last drill.

The sample has a share of the files and symlinks, at least one and 50,000 at most, and the same share of the bytes or \
1 GiB, whichever is more. A file that does not fit is left out. DIR must exist and have room for the sample.

Call it regularly, for example from cron. --copies restores from the copies of COPY_TO instead, --of DIR from one of them. \
From a copy on a host the sample crosses the line: of the newest snapshot that is here too, with which it is compared.

Examples:
  backup_manager drill
  backup_manager drill --copies
  backup_manager drill --sample 5% --scratch /mnt/scratch --backups-dir /backups
  backup_manager drill --seed 4711 --json

Exit codes: 0 everything came back as it was backed up; 1 the drill could not be done, or a file could not be restored; \
3 as 0, but a file has no hash, or other content than the source; 4 something did not come back as it was backed up.";

/// How long a drill may take to remove its scratch folder after a signal.
const GRACE: Duration = Duration::from_secs(120);

/// Restore a random part of the newest snapshots into a scratch folder, compare it, and remove it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The share of the files to restore
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "1%")]
    sample: f64,
    /// Repeat the sample of an earlier drill, which printed this number
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Restore from the copies that COPY_TO names instead
    #[arg(long, conflicts_with = "of")]
    copies: bool,
    /// Restore from the copy in this folder, or user@host:DIR, instead
    #[arg(long, value_name = "DIR")]
    of: Vec<PathBuf>,
    /// Make the scratch folder in this one [default: TMPDIR, or else /var/tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

/// The snapshots of a job, or of a copy of it.
struct Side {
    /// Of a copy in a folder: that of the copy. Of a copy on a host: that of the job.
    series: Series,
    copy: Option<CopyPlace>,
}

/// The place of a copy.
struct CopyPlace {
    to: PathBuf,
    /// The backups folder of the job.
    own: PathBuf,
    host: Option<HostDir>,
}

impl Side {
    /// Records the drill of a copy for the status of the job.
    fn note(&self, drill: Option<LastDrill>) {
        let (Some(CopyPlace { to, own, .. }), Some(drill)) = (&self.copy, drill) else { return };
        if let Err(error) = note_drill(own, &self.series.prefix, to, drill)
            && error.kind() != io::ErrorKind::PermissionDenied
            && error.kind() != io::ErrorKind::ReadOnlyFilesystem
        {
            warn(&format!("cannot store the result for the status of the job: {error}"));
        }
    }

    fn copy(&self) -> Option<String> {
        self.copy.as_ref().map(|copy| shown_path(&copy.to))
    }
}

struct Work {
    sides: Vec<Side>,
    /// The exit code so far.
    worst: Exit,
    sample: f64,
    seed: u64,
    scratch: PathBuf,
    json: bool,
}

pub(crate) fn run(args: Args) -> Exit {
    let Args { sample, seed, copies, of, scratch, json, place, settings } = args;
    let mistakes: Vec<_> =
        of.iter().filter_map(|to| mistake(to.as_os_str().as_encoded_bytes())).collect();
    if !mistakes.is_empty() {
        fail(&mistakes.join("; "));
        return Exit::Usage;
    }
    let series = match open(place, settings.given, Vec::new()) {
        Ok(series) => series,
        Err(exit) => return exit,
    };
    let is_of_copies = copies || !of.is_empty();
    if !is_of_copies && series.iter().all(|one| one.history.complete.is_empty()) {
        fail(
            "there is no complete snapshot; take one with run, or write --backups-dir with the folder that holds them",
        );
        return Exit::Usage;
    }
    let mut worst = Exit::Done;
    if copies && series.iter().all(|one| one.copies.to.is_empty()) {
        fail("no copy is known; set COPY_TO, or write --of DIR");
        return Exit::Usage;
    }
    let sides = match is_of_copies {
        true => of_copies(&series, &of, &mut worst),
        false => {
            let own = |series| Side { series, copy: None };
            series.into_iter().map(own).collect()
        }
    };
    if sides.iter().any(|side| side.copy.as_ref().is_some_and(|copy| copy.host.is_some())) {
        log::start(Format::Text, Stream::Stderr, None);
    }
    let random = || Utc::now().timestamp_nanos_opt().unwrap_or_default().unsigned_abs();
    let temporary = || env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let scratch = scratch.or_else(temporary).unwrap_or_else(|| Path::new("/var/tmp").to_owned());
    let work = Work { sides, worst, sample, seed: seed.unwrap_or_else(random), scratch, json };
    supervise_for(
        GRACE,
        move |stop| work.done(&stop),
        |_| say("stopped; the scratch folder was removed, and no result was stored"),
    )
}

impl Work {
    fn done(&self, stop: &Arc<Stop>) -> Exit {
        let mut out = Out::new();
        let mut worst = self.worst;
        for side in &self.sides {
            if let Some(newest) = side.series.history.complete.last() {
                worst = worst.worse(self.one(side, newest, stop, &mut out));
            }
            if stop.asked() {
                break;
            }
        }
        out.finish(worst)
    }

    fn one(&self, side: &Side, newest: &SnapshotName, stop: &Arc<Stop>, out: &mut Out) -> Exit {
        let one = &side.series;
        let context = context(stop, &Arc::new(Progress::default()), Arc::new(Silent));
        let host =
            side.copy.as_ref().and_then(|copy| Some((copy.to.as_path(), copy.host.as_ref()?)));
        let (done, last) = match host {
            Some(to) => on_host(one, to, |name| self.options(one, name), &context),
            None => {
                let done = drill(&one.catalog, newest, &self.options(one, newest), &context);
                let to = side.copy.as_ref().map(|copy| &copy.to);
                (
                    done.map_err(|error| failed(one, error)),
                    to.and_then(|to| drilled(to, &one.prefix)),
                )
            }
        };
        side.note(last);
        let drilled = match done {
            Ok(drilled) => drilled,
            Err(exit) => return exit,
        };
        let roots = one.roots_of(&drilled.snapshot);
        drilled.aside.iter().for_each(|what| warn(what));
        match self.json {
            true => objects((&one.name, side.copy()), &drilled, &roots, out),
            false => text(side.copy(), &drilled, &roots, out),
        }
        let exit = exit_of(&drilled);
        let name = &drilled.snapshot;
        match exit {
            Exit::Damaged => fail(&format!(
                "the restore drill of {name} failed: {} did not come back; {}",
                counted(of(&drilled, Fault::Damaged), "entry", "entries"),
                hint::undrilled()
            )),
            Exit::Failed => fail(&format!(
                "the restore drill of {name} failed: {} could not be restored",
                counted(of(&drilled, Fault::Failed), "entry", "entries")
            )),
            _ if drilled.unproved > 0 => warn(&format!(
                "{} no hash; {}",
                counted(drilled.unproved, "file bears", "files bear"),
                hint::unproved()
            )),
            _ => {}
        }
        if of(&drilled, Fault::Source) > 0 {
            warn(hint::differs_from_source());
        }
        exit
    }

    fn options(&self, one: &Series, snapshot: &SnapshotName) -> DrillOptions {
        let fake = one.job.as_ref().is_some_and(|job| job.job.keep.fake_super);
        DrillOptions {
            share: self.sample,
            seed: self.seed,
            scratch: self.scratch.clone(),
            source: is_here(one, snapshot).then(|| one.roots_of(snapshot)),
            fake_super: if fake { one.catalog.writers() } else { Vec::new() },
        }
    }
}

/// The copies of the jobs in the folders `of`, or in those of `COPY_TO`. A copy whose disk is missing is left out; only for a
/// folder that the user names is that a failure.
fn of_copies(series: &[Series], of: &[PathBuf], worst: &mut Exit) -> Vec<Side> {
    let mut sides = Vec::new();
    for one in series {
        let named = of.iter().map(|to| match HostDir::of(to) {
            Some(_) => to.clone(),
            None => straight_from_here(to.as_os_str()),
        });
        let named: Vec<_> = named.collect();
        let folders = if of.is_empty() { one.copies.to.clone() } else { named };
        for to in folders {
            let shown = shown_path(&to);
            if let Some(host) = HostDir::of(&to) {
                let own = one.catalog.path().to_owned();
                let copy = Some(CopyPlace { to, own, host: Some(host) });
                sides.push(Side { series: one.clone(), copy });
                continue;
            }
            if let Some(why) = absence(&to, false) {
                say(&format!("{}: the drill of the copy in {shown} is put off: {why}", one.name));
                *worst = worst.worse(if of.is_empty() { Exit::Done } else { Exit::Failed });
                continue;
            }
            match one.of_copy(&to) {
                Ok(series) if series.history.complete.is_empty() => {
                    let prefix = &one.prefix;
                    fail(&format!(
                        "there is no complete snapshot of {prefix} in {shown}; backup_manager copy makes one"
                    ));
                    *worst = worst.worse(Exit::Failed);
                }
                Ok(series) => {
                    let own = one.catalog.path().to_owned();
                    let copy = Some(CopyPlace { to, own, host: None });
                    sides.push(Side { series, copy });
                }
                Err(error) => {
                    fail(&format!("{error}; {}", hint::UNREAD_COPY));
                    *worst = worst.worse(Exit::Failed);
                }
            }
        }
    }
    sides
}

/// Whether the source of a snapshot is on this machine, as far as the report and the job know.
fn is_here(one: &Series, newest: &SnapshotName) -> bool {
    let remote = one.job.as_ref().is_some_and(|job| job.remote.is_some());
    let report = one.catalog.report(newest);
    !remote && report.is_some_and(|report| report.connection.is_none())
}
