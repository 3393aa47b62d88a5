//! `verify [SNAPSHOT…]`: reads the content of snapshots and compares it with the recorded hashes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{Local, TimeDelta, Utc};
use engine::Context;
use engine::SnapshotName;
use engine::Stop;
use engine::entry::escape::shown;
use engine::verify::Portion;
use engine::verify::{Flaw, Verified};
use engine::verify::{rolled, rolling, verify};
use engine::{Progress, Silent};
use serde_json::json;

use crate::args::flags::{Places, SettingFlags};
use crate::commands::heal::HealFrom;
use crate::exit::Exit;
use crate::hint;
use crate::jobs::context;
use crate::jobs::signals::supervise;
use crate::snapshots::open::{Series, Where, open, pick, unlookable};
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, say, warn};
use crate::term::terminal;
use crate::term::units::{bytes, count, counted};
use crate::ui::parts::Parts;
use crate::ui::progress::{ProgressTimer, Show};
use crate::ui::progress_line::Task;
use crate::ui::summary::table;

const EXAMPLES: &str = "\
Without SNAPSHOT it checks the newest snapshot of each job, with --sample or --rolling all of them. It reads a file that \
several snapshots share once. It names a damaged file with all its paths in all snapshots and remembers it: no later \
run links that file, and the next run copies it again from the source.

--heal-from DIR brings what is damaged from another copy of the backups folder: content, names, owners, modes and times \
that the manifest records, where a snapshot of the same name in DIR has exactly that. A healed file is a new inode under all \
of its names. Files that were added stay. From user@host:DIR only what is damaged crosses the line, through the \
backup_manager there. --dry-run shows what would be healed.

Each call with --rolling 30d reads so much that everything is read once in 30 days. Call it daily, for example from cron.

Examples:
  backup_manager verify --backups-dir /backups
  backup_manager verify --all --record
  backup_manager verify --sample 5%
  backup_manager verify --all --heal-from /mnt/copy/backups --dry-run
  backup_manager verify --all --heal-from me@nas:/srv/copies

Exit codes: 0 everything that was read is as recorded, or was healed; 3 nothing is damaged, but some files have no hash (--record); \
4 damage was found.";

/// Check that snapshots still hold what was backed up, byte for byte
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Check these: a name, latest~2, oldest, a date, '2 days ago'
    #[arg(value_name = "SNAPSHOT", conflicts_with = "all")]
    snapshots: Vec<String>,
    /// Check all snapshots
    #[arg(long)]
    all: bool,
    /// Read only a share of the files, a new random one each time
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "rolling")]
    sample: Option<f64>,
    /// Read so much that calls like this read everything once in that time (12h, 30d, 8w)
    #[arg(long, value_name = "TIME", value_parser = period, conflicts_with = "snapshots")]
    rolling: Option<TimeDelta>,
    /// Record a hash for files that have none, and a manifest for snapshots that have none
    #[arg(long)]
    record: bool,
    /// Bring what is damaged from this backups folder, or user@host:DIR, which has snapshots of the same names
    #[arg(long, value_name = "DIR")]
    heal_from: Option<PathBuf>,
    /// Show what --heal-from would heal, and change no snapshot
    #[arg(long, short = 'n', requires = "heal_from")]
    dry_run: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

/// Parses `5%` or `0.05`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim(), 100.0),
        None => (text, 1.0),
    };
    match number.parse::<f64>().map(|number| number / whole) {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write a share such as 5%".to_owned()),
    }
}

/// Parses a period such as `30d`.
fn period(text: &str) -> Result<TimeDelta, String> {
    let wrong = || "write a time such as 12h, 30d or 8w".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 24 * 7,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    TimeDelta::try_hours(i64::from(number) * hours).filter(|time| !time.is_zero()).ok_or_else(wrong)
}

/// The snapshots of one prefix to check.
struct VerifyJobs {
    series: Series,
    snapshots: Vec<SnapshotName>,
}

/// The checks to run.
struct Work {
    batches: Vec<VerifyJobs>,
    sample: Option<f64>,
    rolling: Option<TimeDelta>,
    record: bool,
    json: bool,
    heal: Option<HealFrom>,
}

pub(crate) fn run(args: Args) -> Exit {
    let work = match prepare(args) {
        Ok(work) => work,
        Err(exit) => return exit,
    };
    supervise(
        move |stop| work.done(&stop),
        |_| say("stopped; the damage that was found is recorded"),
    )
}

fn prepare(args: Args) -> Result<Work, Exit> {
    let Args { snapshots, all, sample, rolling, record, heal_from, dry_run, json, place, settings } =
        args;
    let heal = heal_from.map(|from| HealFrom::open(&from, dry_run, json)).transpose()?;
    let series = open(place, settings.given, Vec::new())?;
    let mut chosen: BTreeMap<usize, Vec<SnapshotName>> = BTreeMap::new();
    let now = Local::now();
    let mut add = |number: usize, names: &[SnapshotName]| {
        let all = chosen.entry(number).or_default();
        all.extend_from_slice(names);
        all.sort_by_key(|name| name.stamp);
        all.dedup();
    };
    for text in &snapshots {
        if text == "all" {
            fail("'all' is not a snapshot; verify --all checks all of them");
            return Err(Exit::Usage);
        }
        let picked = pick(&series, text, &now)?;
        if !picked.series.history.complete.contains(&picked.name) {
            fail(&format!(
                "{} is not complete; the next run checks what it needs of it",
                picked.name
            ));
            return Err(Exit::Usage);
        }
        let number = series.iter().position(|one| std::ptr::eq(one, picked.series));
        add(number.unwrap_or_default(), &[picked.name]);
    }
    if snapshots.is_empty() {
        for (number, one) in series.iter().enumerate() {
            let complete = &one.history.complete;
            let every = all || sample.is_some() || rolling.is_some();
            let from = if every { 0 } else { complete.len().saturating_sub(1) };
            if !complete.is_empty() {
                add(number, &complete[from..]);
            }
        }
    }
    let batch = |(number, series)| {
        let snapshots = chosen.remove(&number)?;
        Some(VerifyJobs { series, snapshots })
    };
    let batches: Vec<VerifyJobs> = series.into_iter().enumerate().filter_map(batch).collect();
    if batches.is_empty() {
        fail(
            "there is no complete snapshot; take one with run, or write --backups-dir with the folder that holds them",
        );
        return Err(Exit::Usage);
    }
    Ok(Work { batches, sample, rolling, record, json, heal })
}

impl Work {
    fn done(&self, stop: &Arc<Stop>) -> Exit {
        let mut out = Out::new();
        let mut worst = Exit::Done;
        for batch in &self.batches {
            let exit = self.batch(batch, stop, &mut out);
            worst = worst.worse(exit);
            if stop.asked() {
                break;
            }
        }
        out.finish(worst)
    }

    fn batch(&self, batch: &VerifyJobs, stop: &Arc<Stop>, out: &mut Out) -> Exit {
        let progress = Arc::new(Progress::default());
        let context = context(stop, &progress, Arc::new(Silent));
        let (portion, next) = self.portion(batch, &context);
        let ticker = terminal::can_redraw().then(|| {
            let paths = batch.snapshots.iter().map(ToString::to_string).collect();
            let show = Show::Display(Parts { noun: "snapshot", paths });
            ProgressTimer::start(Arc::clone(&progress), show, Task::Verify)
        });
        let found = verify(&batch.series.catalog, &batch.snapshots, portion, self.record, &context);
        drop(ticker);
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Exit::Signal(0),
            Err(error) => return unlookable(&error),
        };
        for what in &found.aside {
            warn(what);
        }
        if self.json {
            objects(batch, &found, out)
        } else {
            text(batch, &found, out)
        }
        let mut exit = exit_of(&found);
        if let Some(heal) = self.heal.as_ref().filter(|_| found.is_damaged()) {
            match heal.heal(&batch.series, &found, &context, out) {
                Ok(true) => exit = exit_of(&healed(found.clone())),
                Ok(false) => {}
                Err(failed) => exit = exit.worse(failed),
            }
        }
        if let Some(next) = next
            && let Err(error) = rolled(&batch.series.catalog, &batch.series.prefix, &next)
        {
            exit = exit.worse(unlookable(&error));
        }
        if exit == Exit::Damaged {
            fail(&format!("damage found in {}; {}", batch.series.prefix, hint::damaged()));
        }
        if found.flaws.iter().any(|(_, flaw)| matches!(flaw, Flaw::Forbidden(_))) {
            warn(hint::forbidden());
        }
        if exit != Exit::Damaged && found.unproved > 0 {
            let files = counted(found.unproved, "file bears", "files bear");
            let next = match self.record {
                true => hint::unrecorded(found.unrecordable.as_deref()),
                false => hint::unproved().to_owned(),
            };
            warn(&format!("{files} no hash; {next}"));
        }
        exit
    }

    fn portion(
        &self,
        batch: &VerifyJobs,
        context: &Context,
    ) -> (Portion, Option<engine::verify::Rolling>) {
        match (self.sample, self.rolling) {
            (Some(share), _) => {
                let seed = Utc::now().timestamp_nanos_opt().unwrap_or_default();
                (Portion::sample(share, seed.unsigned_abs()), None)
            }
            (None, Some(period)) => {
                let (portion, next) =
                    rolling(&batch.series.catalog, &batch.series.prefix, period, context);
                (portion, Some(next))
            }
            (None, None) => (Portion::ALL, None),
        }
    }
}

/// What a check would have found if nothing had been damaged.
fn healed(mut found: Verified) -> Verified {
    found.damaged.clear();
    found.flaws.retain(|(_, flaw)| !flaw.is_damage());
    found
}

fn exit_of(found: &Verified) -> Exit {
    if found.is_damaged() {
        Exit::Damaged
    } else if found.is_proved() {
        Exit::Done
    } else {
        Exit::Listed
    }
}

fn objects(batch: &VerifyJobs, found: &Verified, out: &mut Out) {
    let name = |(snapshot, path): &(SnapshotName, Vec<u8>)| json!({"snapshot": snapshot.to_string(), "path": shown(path)});
    for damage in &found.damaged {
        out.object(&json!({
            "type": "damage", "what": damage.what, "bytes": damage.bytes,
            "names": damage.names.iter().map(name).collect::<Vec<_>>(),
        }));
    }
    for (snapshot, flaw) in &found.flaws {
        out.object(&json!({
            "type": "flaw", "snapshot": snapshot.to_string(), "what": flaw.to_string(),
            "path": flaw.path().map(shown), "damage": flaw.is_damage(),
        }));
    }
    out.object(&json!({
        "type": "summary", "job": batch.series.prefix.as_str(), "snapshots": found.snapshots, "names": found.names,
        "good": found.good, "bytes": found.bytes, "unproved": found.unproved, "recorded": found.recorded,
        "manifests": found.manifests,
        "damaged": found.damaged.len(), "flaws": found.flaws.len(),
    }));
}

fn text(batch: &VerifyJobs, found: &Verified, out: &mut Out) {
    for damage in &found.damaged {
        let word = out.palette.paint(Style::Bad, "DAMAGED");
        out.text(&format!("{word}  {} ({})\n", damage.what, bytes(damage.bytes)));
        for (snapshot, path) in &damage.names {
            out.text(&format!("  {snapshot}/{}\n", shown(path)));
        }
    }
    for (snapshot, flaw) in &found.flaws {
        let (word, style) =
            if flaw.is_damage() { ("DAMAGED", Style::Bad) } else { ("unproved", Style::Warn) };
        let word = out.palette.paint(style, word);
        out.prose(&format!("{word}  {snapshot}: {flaw}\n"));
    }
    let mut rows = vec![
        ("job", batch.series.prefix.to_string()),
        ("snapshots", count(found.snapshots as u64)),
        ("proved", format!("{}, {}", counted(found.good, "file", "files"), bytes(found.bytes))),
        ("damaged", counted(found.damaged.len() as u64, "file", "files")),
    ];
    for (label, number) in [("without a hash", found.unproved), ("hash recorded", found.recorded)] {
        if number > 0 {
            rows.push((label, counted(number, "file", "files")));
        }
    }
    if found.manifests > 0 {
        rows.push(("manifests written", count(found.manifests)));
    }
    out.prose(&table(&rows));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_read() {
        for (text, value) in [("5%", Some(0.05)), ("100%", Some(1.0)), ("0.5", Some(0.5))] {
            assert_eq!(share(text).ok(), value, "{text}");
        }
        for text in ["0%", "101%", "-1", "", "%", "x"] {
            assert!(share(text).is_err(), "{text}");
        }
        for (text, hours) in [("12h", 12), ("30d", 720), ("8w", 1344)] {
            assert_eq!(period(text).ok(), TimeDelta::try_hours(hours), "{text}");
        }
        for text in ["", "d", "0d", "30", "30m", "-1d", "é"] {
            assert!(period(text).is_err(), "{text}");
        }
    }
}
