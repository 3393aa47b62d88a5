//! `prune [SNAPSHOT…]`: shows the snapshots that the retention would remove, or those that the user names.
//! `--yes` removes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Local;
use engine::Event;
use engine::Monitor;
use engine::RunError;
use engine::SnapshotName;
use engine::Stop;
use engine::inspect::measure;
use engine::repository::prune;
use engine::snapshot::SnapshotState;
use engine::snapshot::{Candidate, RetentionDecision, judge, may_go};
use serde_json::json;

use crate::args::flags::{Flags, SettingFlags};
use crate::config::setting::Key;
use crate::exit::Exit;
use crate::hint::hint;
use crate::jobs::context;
use crate::jobs::signals::supervise;
use crate::snapshots::open::{
    SelectedSnapshot, Series, Where, age, open, pick_exactly, shown_folder, unlookable,
};
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, say, warn};
use crate::term::table::{Cell, Side, Table};
use crate::term::units::{bytes, counted};

const EXAMPLES: &str = "\
Without --yes it only shows what would go, and why. Of a named snapshot the last sound one of a job \
and those that are held are refused. One that is being read (restore, verify, diff) stays for now: exit code 3.

Examples:
  backup_manager prune --backups-dir /backups
  backup_manager prune --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --yes
  backup_manager prune my_backup.07-12-2023_13-32-58 oldest --yes";

/// Show which snapshots the retention would remove, or name some; remove them with --yes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Remove these: a name, latest~2, oldest, or the day of one (then the newest of that day)
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Do it
    #[arg(short, long)]
    yes: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<RetentionFlags>,
}

/// The settings for the location of the snapshots and for the retention.
#[derive(Debug, Clone, Default)]
struct RetentionFlags;

impl Flags for RetentionFlags {
    const KEYS: &'static [Key] = &[
        Key::BackupsDir,
        Key::BackupNamePrefix,
        Key::MaxBackups,
        Key::KeepLast,
        Key::KeepHourly,
        Key::KeepDaily,
        Key::KeepWeekly,
        Key::KeepMonthly,
        Key::KeepYearly,
    ];
}

pub(crate) fn run(args: Args) -> Exit {
    let Args { snapshots, yes, json, place, settings } = args;
    let all = match open(place, settings.given, Vec::new()) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let plans = match plans(&all, &snapshots) {
        Ok(plans) => plans,
        Err(exit) => return exit,
    };
    let mut out = Out::new();
    for plan in &plans {
        match show(plan, yes, json, all.len() > 1, &mut out) {
            Ok(()) => {}
            Err(exit) => return out.finish(exit),
        }
    }
    let shown = out.finish(Exit::Done);
    let work: Vec<Work> = plans.iter().map(Work::of).filter(Work::is_any).collect();
    if !yes || work.is_empty() {
        return shown;
    }
    supervise(
        move |stop| work.iter().fold(shown, |worst, work| worst.worse(work.done(&stop, json))),
        |_| say("stopped; any run finishes the removal"),
    )
}

/// The decision for each snapshot of one job.
struct Plan<'a> {
    series: &'a Series,
    fates: Vec<(SnapshotName, Result<String, String>)>,
    /// Whether the user named the snapshots.
    named: bool,
}

impl Plan<'_> {
    fn goes(&self) -> Vec<SnapshotName> {
        self.fates.iter().filter(|(_, fate)| fate.is_err()).map(|(name, _)| name.clone()).collect()
    }
}

fn plans<'a>(all: &'a [Series], named: &[String]) -> Result<Vec<Plan<'a>>, Exit> {
    if named.is_empty() {
        return Ok(all.iter().map(by_rules).collect());
    }
    let now = Local::now();
    let mut plans: Vec<Plan<'a>> = Vec::new();
    for text in named {
        let SelectedSnapshot { series, name } = pick_exactly(all, text, &now)?;
        let fate = (name, Err("named".to_owned()));
        match plans.iter_mut().find(|plan| std::ptr::eq(plan.series, series)) {
            Some(plan) if plan.fates.contains(&fate) => {}
            Some(plan) => plan.fates.push(fate),
            None => plans.push(Plan { series, fates: vec![fate], named: true }),
        }
    }
    for plan in &plans {
        let candidates = plan.series.catalog.candidates(&plan.series.history);
        if let Err(refusal) = may_go(&candidates, &plan.goes()) {
            fail(&format!("{refusal}; {}", crate::hint::refused(&refusal)));
            return Err(Exit::Usage);
        }
    }
    Ok(plans)
}

fn by_rules(series: &Series) -> Plan<'_> {
    let candidates = series.catalog.candidates(&series.history);
    let fates = judged(&candidates, series);
    Plan { series, fates, named: false }
}

fn judged(
    candidates: &[Candidate],
    series: &Series,
) -> Vec<(SnapshotName, Result<String, String>)> {
    let fates = judge(candidates, &series.retention, None);
    let fate = |(candidate, fate): (&Candidate, RetentionDecision)| {
        let fate = match fate {
            RetentionDecision::Stays(reasons) => {
                Ok(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            RetentionDecision::Goes(cause) => Err(cause.to_string()),
        };
        (candidate.name.clone(), fate)
    };
    candidates.iter().zip(fates).map(fate).collect()
}

fn show(plan: &Plan<'_>, yes: bool, json: bool, several: bool, out: &mut Out) -> Result<(), Exit> {
    let goes = plan.goes();
    let freed = match goes.is_empty() {
        true => 0,
        false => {
            let measured = measure(&plan.series.catalog, std::slice::from_ref(&goes));
            measured.map_err(|error| unlookable(&error))?.each[0].alone_bytes
        }
    };
    if json {
        for (name, fate) in &plan.fates {
            let (keep, why) = match fate {
                Ok(why) => (true, why),
                Err(why) => (false, why),
            };
            out.object(&json!({
                "type": "fate", "job": plan.series.name, "snapshot": name.to_string(),
                "keep": keep, "why": why,
            }));
        }
        out.object(&json!({
            "type": "plan", "job": plan.series.name, "snapshots": plan.fates.len(),
            "to_remove": goes.len(), "bytes_freed": freed, "done": yes,
        }));
        return Ok(());
    }
    if several {
        out.prose(&format!("{}, in {}:\n", plan.series.name, shown_folder(plan.series)));
    }
    let mut table = Table::new(&[
        ("SNAPSHOT (UTC)", Side::Left),
        ("AGE", Side::Right),
        ("FATE", Side::Left),
        ("WHY", Side::Left),
    ]);
    for (name, fate) in &plan.fates {
        let (style, word, why) = match fate {
            Ok(why) => (Style::Good, "stays", why),
            Err(why) => (Style::Bad, if yes { "goes" } else { "would go" }, why),
        };
        table.row(vec![
            name.to_string().into(),
            age(name).into(),
            Cell::new(style, word),
            why.as_str().into(),
        ]);
    }
    if !plan.fates.is_empty() {
        out.table(&table);
    }
    let snapshots = counted(plan.fates.len() as u64, "snapshot", "snapshots");
    out.prose(&match (goes.len(), yes) {
        (0, _) => format!("nothing to remove: {snapshots} in {}\n", shown_folder(plan.series)),
        (count, true) => format!("removing {count} of {snapshots} frees {}\n", bytes(freed)),
        (count, false) => {
            format!(
                "{count} of {snapshots} would go and free {}; add --yes to remove {}\n",
                bytes(freed),
                if count == 1 { "it" } else { "them" }
            )
        }
    });
    Ok(())
}

/// A plan in a form that another thread can execute.
struct Work {
    job: String,
    path: std::path::PathBuf,
    series: SeriesParts,
    goes: Vec<SnapshotName>,
    named: bool,
    /// Whether an earlier removal was interrupted.
    leftovers: bool,
}

/// The parts of a series that are needed to check it again under the lock.
struct SeriesParts {
    prefix: engine::Prefix,
    retention: engine::Retention,
}

impl Work {
    fn of(plan: &Plan<'_>) -> Self {
        Self {
            job: plan.series.name.clone(),
            path: plan.series.catalog.path().to_owned(),
            series: SeriesParts {
                prefix: plan.series.prefix.clone(),
                retention: plan.series.retention.clone(),
            },
            goes: plan.goes(),
            named: plan.named,
            leftovers: !plan.series.history.deleting.is_empty(),
        }
    }

    fn is_any(&self) -> bool {
        self.leftovers || !self.goes.is_empty()
    }

    fn done(&self, stop: &Arc<Stop>, json: bool) -> Exit {
        let monitor = Arc::new(RemovalMonitor {
            job: self.job.clone(),
            json,
            in_use: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        });
        let context = context(stop, &Arc::default(), Arc::clone(&monitor) as Arc<dyn Monitor>);
        let SeriesParts { prefix, retention } = &self.series;
        let choose = |history: &engine::History, candidates: &[Candidate]| {
            self.choose(history, candidates, retention)
        };
        match prune(&self.path, prefix, choose, &context) {
            Ok(Some(_)) if monitor.in_use.load(Ordering::Relaxed) => {
                warn(&format!("{}: call it again when no process reads them", self.job));
                Exit::Listed
            }
            Ok(Some(_)) if monitor.stuck.load(Ordering::Relaxed) => Exit::Failed,
            Ok(Some(_)) => Exit::Done,
            Ok(None) => {
                fail(&format!(
                    "{}: a run of this job is at work; nothing was removed, try again when it is done",
                    self.job
                ));
                Exit::Failed
            }
            Err(RunError::Stopped) => Exit::Signal(0),
            Err(error) => {
                let hint = hint(&error).map(|hint| format!("; {hint}")).unwrap_or_default();
                fail(&format!("{error}{hint}"));
                Exit::Failed
            }
        }
    }

    /// Of the displayed snapshots, those that may still be removed now that the lock excludes other runs.
    fn choose(
        &self,
        history: &engine::History,
        candidates: &[Candidate],
        retention: &engine::Retention,
    ) -> Vec<(SnapshotName, String)> {
        if self.named {
            let there = |name: &&SnapshotName| {
                history.complete.contains(name) || history.incomplete.contains(name)
            };
            let goes: Vec<SnapshotName> = self.goes.iter().filter(there).cloned().collect();
            return match may_go(candidates, &goes) {
                Ok(()) => goes.into_iter().map(|name| (name, "named".to_owned())).collect(),
                Err(refusal) => {
                    fail(&format!("{refusal}; nothing was removed"));
                    Vec::new()
                }
            };
        }
        let fates = judge(candidates, retention, None);
        let goes = candidates.iter().zip(fates).filter_map(|(candidate, fate)| match fate {
            RetentionDecision::Goes(cause) => Some((candidate.name.clone(), cause.to_string())),
            RetentionDecision::Stays(_) => None,
        });
        goes.filter(|(name, _)| self.goes.contains(name)).collect()
    }
}

/// Reports the removals.
struct RemovalMonitor {
    job: String,
    json: bool,
    /// Whether a snapshot stays because a process uses it.
    in_use: AtomicBool,
    /// Whether a snapshot cannot be removed.
    stuck: AtomicBool,
}

impl Monitor for RemovalMonitor {
    fn event(&self, event: &Event) {
        match event {
            Event::Pruned { snapshot, .. } if self.json => {
                let line = json!({"type": "removed", "job": self.job, "snapshot": snapshot});
                crate::term::print::print(
                    (crate::term::harmless::json(&line, false) + "\n").as_bytes(),
                );
            }
            Event::Pruned { snapshot, .. } => {
                let was = if snapshot.ends_with(SnapshotState::Incomplete.suffix()) {
                    "gave up"
                } else {
                    "removed"
                };
                crate::term::print::print(format!("{was} {snapshot}\n").as_bytes());
            }
            Event::InUse { snapshot } => {
                self.in_use.store(true, Ordering::Relaxed);
                if self.json {
                    let line = json!({"type": "in_use", "job": self.job, "snapshot": snapshot});
                    crate::term::print::print(
                        (crate::term::harmless::json(&line, false) + "\n").as_bytes(),
                    );
                }
                warn(&event.to_string());
            }
            Event::Stuck { .. } => {
                self.stuck.store(true, Ordering::Relaxed);
                warn(&event.to_string());
            }
            event => say(&event.to_string()),
        }
    }
}
