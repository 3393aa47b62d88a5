//! `list`: shows the snapshots, the size of each, and the space that only this snapshot uses.

use engine::Report;
use engine::Repository;
use engine::SnapshotName;
use engine::inspect::{Measured, Usage};
use engine::repository::Standing;
use engine::snapshot::SnapshotState;

use crate::args::flags::{Places, SettingFlags};
use crate::exit::Exit;
use crate::snapshots::objects;
use crate::snapshots::only_folder::{Contents, no_snapshot};
use crate::snapshots::open::{Series, Where, age, open, shown_folder, unlookable};
use crate::snapshots::sizes::{by_folder, names, sizes};
use crate::term::colour::Style;
use crate::term::local_time;
use crate::term::out::Out;
use crate::term::print::{fail, warn};
use crate::term::table::{Cell, Side, Table};
use crate::term::units::{bytes, count, counted};

const EXAMPLES: &str = "\
SIZE is the space on the disk, as du counts it; ALONE is the space that the removal of that snapshot would free. \
Blocks that files of several snapshots share count in each SIZE, and in no ALONE. \
NEW, CHANGED and DELETED are against the snapshot before, as its run counted them.

Examples:
  backup_manager list --backups-dir /backups
  backup_manager list --job photos --no-sizes
  backup_manager list --json | jq -r 'select(.held == null) | .snapshot'";

/// Show all snapshots: when, how large, what each alone holds, what changed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Do not look how large they are
    #[arg(long)]
    no_sizes: bool,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

pub(crate) fn run(args: Args) -> Exit {
    let all = match open(args.place, args.settings.given, Vec::new()) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Done;
    let (mut out, mut shown) = (Out::new(), 0);
    for (index, folder) in by_folder(all.iter()).into_iter().enumerate() {
        let measured = match args.no_sizes {
            true => None,
            false => match sizes(&folder) {
                Ok(measured) => Some(measured),
                Err(error) => return out.finish(unlookable(&error)),
            },
        };
        for (path, why) in measured.iter().flat_map(|measured| &measured.unread) {
            warn(&format!("cannot read {path}: {why}; its sizes are too small"));
            exit = Exit::Listed;
        }
        let mut sizes = measured.iter().flat_map(|measured| measured.each.iter().copied());
        for series in &folder {
            let names = names(series);
            let rows: Vec<Row<'_>> =
                names.iter().map(|name| Row::of(series, name, sizes.next())).collect();
            shown += rows.len();
            if args.json {
                rows.iter().for_each(|row| out.object(&row.object()));
                continue;
            }
            let gap = if index > 0 || series.prefix != folder[0].prefix { "\n" } else { "" };
            let newest = rows.iter().rev().find_map(|row| row.report.as_ref());
            let sources = newest.map(|report| format!(" {}", Contents::of(report)));
            if all.len() > 1 || sources.is_some() {
                let (name, dir) = (&series.name, shown_folder(series));
                out.prose(&format!("{gap}{name}, in {dir}:{}\n", sources.unwrap_or_default()));
            }
            if !rows.is_empty() {
                out.table(&table(&rows));
            }
        }
        if let (false, Some(measured)) = (args.json, &measured) {
            out.prose(&total(folder[0], measured));
        }
    }
    if shown == 0 {
        fail(&match all.first() {
            Some(first) => {
                let there = first.catalog.prefixes().unwrap_or_default();
                let asked = Some(first.prefix.as_str());
                let none = no_snapshot(asked, first.catalog.path(), &there);
                let yet = if first.job.is_some() { "; run takes the first one" } else { "" };
                format!("{none}{yet}")
            }
            None => "there is no snapshot; write --backups-dir with the folder that holds them"
                .to_owned(),
        });
    }
    out.finish(exit)
}

/// One snapshot of the list.
struct Row<'a> {
    series: &'a Series,
    name: &'a SnapshotName,
    usage: Option<Usage>,
    report: Option<Report>,
    standing: Standing,
}

impl<'a> Row<'a> {
    fn of(series: &'a Series, name: &'a SnapshotName, usage: Option<Usage>) -> Self {
        let catalog: &Repository = &series.catalog;
        let report = catalog.report(name);
        Self { series, name, usage, report, standing: catalog.standing(name) }
    }

    fn object(&self) -> serde_json::Value {
        let (usage, report) = (self.usage.as_ref(), self.report.as_ref());
        objects::snapshot(self.series, self.name, usage, report, &self.standing)
    }

    fn cells(&self) -> Vec<Cell> {
        let counts = self.report.as_ref().map(|report| report.counts);
        let number = |value: Option<u64>| Cell::from(value.map_or_else(|| "-".to_owned(), count));
        let size = |value: fn(&Usage) -> u64| {
            Cell::from(self.usage.as_ref().map(|usage| bytes(value(usage))).unwrap_or_default())
        };
        let whole = self.name.state == SnapshotState::Complete;
        let style = if whole { Style::Plain } else { Style::Dim };
        let entries = self.usage.map(|usage| usage.entries);
        vec![
            Cell::new(style, self.name.to_string()),
            Cell::new(style, local_time::second(self.name.stamp.time())),
            Cell::new(style, age(self.name)),
            number(entries.or(counts.map(|counts| counts.entries))),
            size(|usage| usage.disk_bytes),
            size(|usage| usage.alone_bytes),
            number(counts.map(|counts| counts.new)),
            number(counts.map(|counts| counts.changed + counts.metadata)),
            number(counts.map(|counts| counts.deleted)),
            self.notes(),
        ]
    }

    fn notes(&self) -> Cell {
        let mut notes = Vec::new();
        let mut style = Style::Dim;
        let mut note = |how: Style, text: String| {
            if how == Style::Bad
                || (how == Style::Warn && style != Style::Bad)
                || style == Style::Dim
            {
                style = how;
            }
            notes.push(text);
        };
        if self.standing.damaged {
            note(Style::Bad, "damaged".to_owned());
        }
        match self.name.state {
            SnapshotState::Incomplete => {
                note(Style::Warn, "incomplete, the next run resumes it".to_owned())
            }
            SnapshotState::Deleting => note(Style::Dim, "being removed".to_owned()),
            SnapshotState::Complete => {}
        }
        if let Some(report) = &self.report {
            let counts = &report.counts;
            if counts.carried_forward > 0 {
                note(Style::Warn, format!("{} carried forward", count(counts.carried_forward)));
            }
            if counts.renamed > 0 {
                note(Style::Dim, format!("{} renamed", count(counts.renamed)));
            }
            let others = counts.problems.saturating_sub(counts.carried_forward);
            if others > 0 {
                note(Style::Warn, counted(others, "entry not read well", "entries not read well"));
            }
        } else if self.name.state == SnapshotState::Complete {
            note(Style::Dim, "without a report (made by rsync?)".to_owned());
        }
        if let Some(hold) = &self.standing.held {
            let about = hold
                .note
                .as_ref()
                .map(|text| format!(": {}", engine::entry::escape::shown(text.as_bytes())));
            note(Style::Good, format!("held{}", about.unwrap_or_default()));
        }
        Cell::new(style, notes.join("; "))
    }
}

fn table(rows: &[Row<'_>]) -> Table {
    use Side::Left;
    use Side::Right;
    let mut table = Table::new(&[
        ("SNAPSHOT (UTC)", Left),
        ("LOCAL TIME", Left),
        ("AGE", Right),
        ("ENTRIES", Right),
        ("SIZE", Right),
        ("ALONE", Right),
        ("NEW", Right),
        ("CHANGED", Right),
        ("DELETED", Right),
        ("NOTES", Left),
    ]);
    rows.iter().for_each(|row| table.row(row.cells()));
    table
}

fn total(series: &Series, measured: &Measured) -> String {
    let snapshots = counted(measured.each.len() as u64, "snapshot takes", "snapshots take");
    let free = series.catalog.free_bytes().map(|free| format!(", {} free", bytes(free)));
    let shared = measured.each.iter().any(|usage| usage.shared_bytes > 0);
    format!(
        "{snapshots} {} in {}{}{}\n",
        bytes(measured.disk_bytes),
        shown_folder(series),
        free.unwrap_or_default(),
        if shared { "; blocks that files share count for each file" } else { "" }
    )
}
