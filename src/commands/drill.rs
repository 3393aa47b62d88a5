//! `drill`: restores a random part of the newest snapshots into a scratch folder, and compares it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use engine::SnapshotName;
use engine::Stop;
use engine::drill::{DrillError, DrillOptions, Drilled, Fault, drill};
use engine::entry::escape::shown;
use engine::repository::SourceRoots;
use engine::restore::{PlaceError, RestoreError};
use engine::{Progress, Silent};
use serde_json::json;

use crate::args::flags::{Places, SettingFlags};
use crate::commands::verify::share;
use crate::exit::Exit;
use crate::hint;
use crate::jobs::context;
use crate::jobs::signals::supervise_for;
use crate::snapshots::open::{Series, Where, open, unlookable};
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, say, warn};
use crate::term::units::{bytes, count, counted};
use crate::ui::summary::table;

const EXAMPLES: &str = "\
It restores a random part of the newest snapshot of each job as restore does, into a new folder below DIR. It compares \
what came back with the recorded hashes and metadata, and with the source where that is on this machine and has the \
same size and time still. Then it removes the folder. status shows the age and the result of the last drill.

The sample has a share of the files and symlinks, at least one and 50,000 at most, and the same share of the bytes or \
1 GiB, whichever is more. A file that does not fit is left out. DIR must exist and have room for the sample.

Call it regularly, for example from cron; --backups-dir names a copy of the backups folder.

Examples:
  backup_manager drill
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

struct Work {
    series: Vec<Series>,
    sample: f64,
    seed: u64,
    scratch: PathBuf,
    json: bool,
}

pub(crate) fn run(args: Args) -> Exit {
    let Args { sample, seed, scratch, json, place, settings } = args;
    let series = match open(place, settings.given, Vec::new()) {
        Ok(series) => series,
        Err(exit) => return exit,
    };
    if series.iter().all(|one| one.history.complete.is_empty()) {
        fail(
            "there is no complete snapshot; take one with run, or write --backups-dir with the folder that holds them",
        );
        return Exit::Usage;
    }
    let random = || Utc::now().timestamp_nanos_opt().unwrap_or_default().unsigned_abs();
    let temporary = || env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let scratch = scratch.or_else(temporary).unwrap_or_else(|| Path::new("/var/tmp").to_owned());
    let work = Work { series, sample, seed: seed.unwrap_or_else(random), scratch, json };
    supervise_for(
        GRACE,
        move |stop| work.done(&stop),
        |_| say("stopped; the scratch folder was removed, and no result was stored"),
    )
}

impl Work {
    fn done(&self, stop: &Arc<Stop>) -> Exit {
        let mut out = Out::new();
        let mut worst = Exit::Done;
        for one in &self.series {
            if let Some(newest) = one.history.complete.last() {
                worst = worst.worse(self.one(one, newest, stop, &mut out));
            }
            if stop.asked() {
                break;
            }
        }
        out.finish(worst)
    }

    fn one(&self, one: &Series, newest: &SnapshotName, stop: &Arc<Stop>, out: &mut Out) -> Exit {
        let context = context(stop, &Arc::new(Progress::default()), Arc::new(Silent));
        let fake = one.job.as_ref().is_some_and(|job| job.job.keep.fake_super);
        let roots = one.roots_of(newest);
        let options = DrillOptions {
            share: self.sample,
            seed: self.seed,
            scratch: self.scratch.clone(),
            source: is_here(one, newest).then(|| roots.clone()),
            fake_super: if fake { one.catalog.writers() } else { Vec::new() },
        };
        let drilled = match drill(&one.catalog, newest, &options, &context) {
            Ok(drilled) => drilled,
            Err(error) => return failed(one, error),
        };
        drilled.aside.iter().for_each(|what| warn(what));
        match self.json {
            true => objects(one, &drilled, &roots, out),
            false => text(&drilled, &roots, out),
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
}

/// Whether the source of a snapshot is on this machine, as far as the report and the job know.
fn is_here(one: &Series, newest: &SnapshotName) -> bool {
    let remote = one.job.as_ref().is_some_and(|job| job.remote.is_some());
    let report = one.catalog.report(newest);
    !remote && report.is_some_and(|report| report.connection.is_none())
}

fn of(drilled: &Drilled, fault: Fault) -> u64 {
    drilled.findings.iter().filter(|finding| finding.fault == fault).count() as u64
}

fn exit_of(drilled: &Drilled) -> Exit {
    match [Fault::Damaged, Fault::Failed, Fault::Source].map(|fault| of(drilled, fault) > 0) {
        [true, ..] => Exit::Damaged,
        [_, true, _] => Exit::Failed,
        [_, _, true] => Exit::Listed,
        _ if drilled.unproved > 0 => Exit::Listed,
        _ => Exit::Done,
    }
}

fn failed(one: &Series, error: DrillError) -> Exit {
    let next = match &error {
        DrillError::Stopped => return Exit::Signal(0),
        DrillError::Look(error) => return unlookable(error),
        DrillError::Busy(_) => {
            say(&format!("{}: {error}; this one does nothing", one.name));
            return Exit::Done;
        }
        DrillError::Place(PlaceError::InBackups { .. }) => {
            fail(&format!("{error}; name another folder with --scratch"));
            return Exit::Usage;
        }
        DrillError::Place(_) => "name an existing folder that can be written to with --scratch",
        DrillError::Space { .. } | DrillError::Restore(RestoreError::NoSpace { .. }) => {
            "make room, write a smaller --sample, or name another folder with --scratch"
        }
        DrillError::Restore(_) => {
            "check the disk of the scratch folder, or name another one with --scratch"
        }
    };
    fail(&format!("the restore drill of {} could not be done: {error}; {next}", one.name));
    Exit::Failed
}

fn word(fault: Fault) -> (&'static str, Style) {
    match fault {
        Fault::Damaged => ("DAMAGED", Style::Bad),
        Fault::Failed => ("FAILED", Style::Bad),
        Fault::Source => ("DIFFERS", Style::Warn),
    }
}

fn objects(one: &Series, drilled: &Drilled, roots: &SourceRoots, out: &mut Out) {
    for finding in &drilled.findings {
        let (what, source) = (&finding.what, roots.source(&finding.path));
        out.object(&json!({
            "type": "finding", "fault": word(finding.fault).0.to_lowercase(), "path": shown(&finding.path),
            "source": shown(&source), "what": what,
        }));
    }
    out.object(&json!({
        "type": "summary", "job": one.name, "snapshot": drilled.snapshot.to_string(), "seed": drilled.seed,
        "files": drilled.files, "bytes": drilled.bytes, "good": drilled.good, "unproved": drilled.unproved,
        "partly": drilled.partly, "with_source": drilled.with_source, "too_large": drilled.too_large,
        "damaged": of(drilled, Fault::Damaged), "failed": of(drilled, Fault::Failed),
        "differs": of(drilled, Fault::Source),
    }));
}

fn text(drilled: &Drilled, roots: &SourceRoots, out: &mut Out) {
    for finding in &drilled.findings {
        let (word, style) = word(finding.fault);
        let word = out.palette.paint(style, word);
        let source = shown(&roots.source(&finding.path));
        out.prose(&format!("{word}  {source}: {}\n", finding.what));
    }
    let mut rows = vec![
        ("snapshot", drilled.snapshot.to_string()),
        ("seed", drilled.seed.to_string()),
        (
            "restored",
            format!("{}, {}", counted(drilled.files, "file", "files"), bytes(drilled.bytes)),
        ),
        ("came back", count(drilled.good)),
        ("as the source", count(drilled.with_source)),
    ];
    for (label, number) in [
        ("damaged", of(drilled, Fault::Damaged)),
        ("failed", of(drilled, Fault::Failed)),
        ("not as source", of(drilled, Fault::Source)),
        ("without a hash", drilled.unproved),
        ("partly", drilled.partly),
        ("too large", drilled.too_large),
    ] {
        if number > 0 {
            rows.push((label, count(number)));
        }
    }
    out.prose(&table(&rows));
}
