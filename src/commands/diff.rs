//! `diff A [B]`: shows the differences between two snapshots, or between a snapshot and the current source.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::Local;
use engine::Monitor;
use engine::RunError;
use engine::SnapshotName;
use engine::Stop;
use engine::inspect::{Difference, DifferenceKind, Differences, diff};
use engine::inspect::{DifferenceSink, against};
use engine::repository::SourceRoots;
use engine::{Event, Severity};

use crate::args::flags::SettingFlags;
use crate::args::load::inputs;
use crate::config::setting::Key;
use crate::config::types::NamedJob;
use crate::exit::Exit;
use crate::hint::hint;
use crate::jobs::context;
use crate::jobs::log_monitor::message;
use crate::jobs::open_source::{Access, close, local, remote};
use crate::jobs::signals::supervise;
use crate::snapshots::objects;
use crate::snapshots::open::{SelectedSnapshot, Where, open, pick, unlookable};
use crate::snapshots::recorded_sources::{NoSources, recorded_job};
use crate::term::colour::{Palette, Style};
use crate::term::out::Out;
use crate::term::print::{fail, warn};
use crate::term::shell;
use crate::term::units::{bytes, count};
use crate::ui::summary::table;

const EXAMPLES: &str = "\
A and B are names, latest, latest~2, oldest, dates or times ('2026-11-23 14:30'), yesterday, '2 days ago'. \
Without B the source is read as it is now, by the settings, or else where the report of A says that it is; \
what was renamed is then known by size and time.

Examples:
  backup_manager diff latest~1 latest --backups-dir /backups
  backup_manager diff yesterday --config ./config.toml --job home
  backup_manager diff oldest latest --json | jq -r .path";

/// The message when not everything could be checked.
const UNSURE: &str =
    "so much came and went that not all of it was looked through for what was renamed";

/// Show what differs between two snapshots, or between one and the source now
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot to start from
    #[arg(value_name = "A")]
    first: String,
    /// The other snapshot; without it the source as it is now
    #[arg(value_name = "B")]
    second: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags,
    /// Add these rsync options (for reading the source)
    #[arg(last = true, value_name = "RSYNC_OPTION")]
    rsync_args: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Exit {
    let given = (args.settings.given.clone(), args.rsync_args.clone(), args.place.config.clone());
    let all = match open(args.place, args.settings.given, args.rsync_args) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let now = Local::now();
    let first = match pick(&all, &args.first, &now) {
        Ok(first) => first,
        Err(exit) => return exit,
    };
    let Some(second) = &args.second else {
        let job = match first.series.job.clone() {
            Some(job) => job,
            None => match recorded(&first, given) {
                Ok(job) => job,
                Err(exit) => return exit,
            },
        };
        let from = first.series.roots_of(&first.name);
        return with_source(&job, first.name, from, args.json);
    };
    match pick(&all, second, &now) {
        Ok(second) => of_two(&first, &second, args.json),
        Err(exit) => exit,
    }
}

/// The job with the sources that the report of the snapshot records.
fn recorded(
    first: &SelectedSnapshot<'_>,
    (flags, rsync_args, config): (Vec<(Key, OsString)>, Vec<OsString>, Option<PathBuf>),
) -> Result<Arc<NamedJob>, Exit> {
    let inputs = inputs(flags, rsync_args, config, Vec::new()).ok_or(Exit::Usage)?;
    recorded_job(first.series, &first.name, &inputs).map_err(|why| {
        let (name, next) = (&first.name, "name a second snapshot, or give the sources (--srcs-to-backup, --config)");
        fail(&match why {
            NoSources::Unknown => {
                format!("no report says where the sources of {name} are; {next}")
            }
            NoSources::OnHost(host) => format!(
                "the sources of {name} are on {host}; name a second snapshot, or give user and sources (--remote-src-host USER@{host} --srcs-to-backup, --config)"
            ),
            NoSources::OtherMachine => {
                format!("the sources of {name} are on another machine; {next}")
            }
        });
        Exit::Usage
    })
}

fn of_two(first: &SelectedSnapshot<'_>, second: &SelectedSnapshot<'_>, json: bool) -> Exit {
    let mut out = Out::new();
    let from = first.series.roots_of(&first.name);
    let to = second.series.roots_of(&second.name);
    let lines = Lines { json, palette: out.palette, from: &from, to: &to };
    let sides = ((&*first.series.catalog, &first.name), (&*second.series.catalog, &second.name));
    let found = diff(sides.0, sides.1, b"", &mut |difference| {
        out.text(&lines.line(difference));
        if out.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => return out.finish(unlookable(&error)),
    };
    if found.renames_unsure {
        warn(UNSURE);
    }
    for (path, why) in &found.unread {
        warn(&format!("cannot read {path}: {why}; what lies there is not compared"));
    }
    out.prose(&lines.totals(&first.name, Some(&second.name), &found));
    out.finish(if found.unread.is_empty() { Exit::Done } else { Exit::Listed })
}

/// Compares with the source, which may be on a remote host. A signal stops the comparison.
fn with_source(job: &Arc<NamedJob>, base: SnapshotName, from: SourceRoots, json: bool) -> Exit {
    let job = Arc::clone(job);
    let compare = move |stop: Arc<Stop>| {
        let out = Arc::new(DifferenceWriter {
            json,
            from,
            to: SourceRoots::of_layout(&job.job.layout),
            stop: Arc::clone(&stop),
            out: Mutex::new(Some(Out::new())),
        });
        let context = context(&stop, &Arc::default(), Arc::new(Problems));
        let sink = Arc::clone(&out) as Arc<dyn DifferenceSink>;
        let mut connected = None;
        let found = match &job.remote {
            None => against(&job.job, local(&job, &stop), &base, sink, &context),
            Some(host) => remote(host, &job, &stop, Access::Look, &mut connected)
                .map_err(RunError::NoConnection)
                .and_then(|source| against(&job.job, source, &base, sink, &context)),
        };
        close(connected);
        out.finish(&base, found)
    };
    supervise(compare, |_| ())
}

/// How the differences are written.
#[derive(Clone, Copy)]
struct Lines<'a> {
    json: bool,
    palette: Palette,
    /// The source roots of the first snapshot.
    from: &'a SourceRoots,
    /// The source roots of the other side.
    to: &'a SourceRoots,
}

impl Lines<'_> {
    fn line(self, difference: &Difference) -> String {
        if self.json {
            let object = objects::difference(difference, self.from, self.to);
            return crate::term::harmless::json(&object, false) + "\n";
        }
        let Difference { kind, path, from, folder, bytes: size } = difference;
        let roots = if *kind == DifferenceKind::Removed { self.from } else { self.to };
        let path = roots.source(path);
        let from = from.as_ref().map(|from| self.from.source(from));
        let (word, style) = match kind {
            DifferenceKind::Added => ("added", Style::Good),
            DifferenceKind::Removed => ("removed", Style::Bad),
            DifferenceKind::Changed => ("changed", Style::Warn),
            DifferenceKind::Metadata => ("metadata", Style::Dim),
            DifferenceKind::Renamed => ("renamed", Style::Warn),
        };
        let word = self.palette.paint(style, &format!("{word:<8}"));
        let path = shell::path(&path, *folder);
        let from = from.map(|from| format!("{} -> ", shell::path(&from, *folder)));
        let from = from.unwrap_or_default();
        format!("{word} {:>9}  {from}{path}\n", bytes(*size))
    }

    fn totals(
        self,
        first: &SnapshotName,
        second: Option<&SnapshotName>,
        found: &Differences,
    ) -> String {
        if self.json {
            let object = objects::totals(first, second, found);
            return crate::term::harmless::json(&object, false) + "\n";
        }
        let second = second.map(ToString::to_string);
        let mut rows = vec![
            ("from", first.to_string()),
            ("to", second.unwrap_or_else(|| "the source now".to_owned())),
            ("added", count(found.added)),
            ("removed", count(found.removed)),
            ("changed", count(found.changed)),
            ("metadata", count(found.metadata)),
            ("renamed", count(found.renamed)),
            ("unchanged", count(found.unchanged)),
        ];
        if found.is_none() {
            rows.truncate(2);
            rows.push(("differences", "none".to_owned()));
        }
        table(&rows)
    }
}

/// Writes the differences from the source. The threads that find them call it.
struct DifferenceWriter {
    json: bool,
    from: SourceRoots,
    to: SourceRoots,
    stop: Arc<Stop>,
    out: Mutex<Option<Out>>,
}

impl DifferenceSink for DifferenceWriter {
    fn difference(&self, difference: &Difference) {
        let Ok(mut out) = self.out.lock() else { return };
        let Some(out) = out.as_mut() else { return };
        let lines = self.lines(out.palette);
        out.text(&lines.line(difference));
        if out.is_closed() {
            self.stop.ask();
        }
    }
}

impl DifferenceWriter {
    fn lines(&self, palette: Palette) -> Lines<'_> {
        Lines { json: self.json, palette, from: &self.from, to: &self.to }
    }

    fn finish(&self, base: &SnapshotName, found: Result<Differences, RunError>) -> Exit {
        let Some(mut out) = self.out.lock().ok().and_then(|mut out| out.take()) else {
            return Exit::Failed;
        };
        if out.is_closed() {
            return out.finish(Exit::Done);
        }
        let exit = match found {
            Ok(found) => {
                let lines = self.lines(out.palette);
                if found.renames_unsure {
                    warn(UNSURE);
                }
                out.prose(&lines.totals(base, None, &found));
                if found.unread_entries > 0 { Exit::Listed } else { Exit::Done }
            }
            Err(RunError::Stopped) => Exit::Signal(0),
            Err(error) => {
                let hint = hint(&error).map(|hint| format!("; {hint}")).unwrap_or_default();
                fail(&format!("{error}{hint}"));
                Exit::Failed
            }
        };
        out.finish(exit)
    }
}

/// Reports the entries of the source that could not be read.
struct Problems;

impl Monitor for Problems {
    fn event(&self, event: &Event) {
        match event {
            Event::Problem(problem) => warn(&format!("{}: {}", problem.path, problem.what)),
            event if event.severity() == Severity::Warning => warn(&message(event)),
            _ => {}
        }
    }
}
