//! `history PATH`: shows every version of a file or folder, and the command that restores it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use chrono::{DateTime, Utc};
use engine::LookError;
use engine::SnapshotName;
use engine::entry::escape::shown;
use engine::entry::{Kind, Time};
use engine::inspect::NamePattern;
use engine::inspect::{Span, VersionStart, renamed_from, versions};
use engine::repository::SourceRoots;
use serde_json::json;

use crate::args::flags::{Places, SettingFlags};
use crate::exit::Exit;
use crate::snapshots::open::{Series, Where, on_source, open, unlookable};
use crate::snapshots::search::{nothing, search};
use crate::term::colour::Style;
use crate::term::local_time;
use crate::term::out::Out;
use crate::term::print::{fail, warn};
use crate::term::shell;
use crate::term::shell::word;
use crate::term::table::{Cell, Side, Table};
use crate::term::units::{bytes, count};

const EXAMPLES: &str = "\
PATH is the path on the source, or in a snapshot's folder; a relative one begins in the current folder. Patterns, in \
quotes, are those of find, and a name that is spelled as the pattern is meant too. Where no snapshot has the path, it \
is a pattern as well. A folder has another version when anything below it differs.

Examples:
  backup_manager history /home/uname/thesis.odt --backups-dir /backups
  backup_manager history '/etc/**/*.conf' --json

Exit codes: 0 found; 1 no complete snapshot has it; 2 usage or configuration; 3 some folders of the snapshots could not be read.";

/// Show every version of a file or folder: since when, until when, how to get it back
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A path on the source, or a pattern
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

pub(crate) fn run(args: Args) -> Exit {
    let given = again(&args);
    let all = match open(args.place, args.settings.given, Vec::new()) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let mut telling = VersionPrinter { json: args.json, given, out: Out::new() };
    let mut exit = Exit::Done;
    for path in &args.paths {
        match telling.path(&all, path) {
            Ok(printed) => {
                if printed.unread {
                    exit = exit.worse(Exit::Listed);
                }
                if printed.paths == 0 {
                    fail(&nothing(path));
                    exit = exit.worse(Exit::Failed);
                }
            }
            Err(error) => exit = exit.worse(unlookable(&error)),
        }
    }
    telling.out.finish(exit)
}

/// The given flags for the location of the snapshots, to repeat them in a command.
fn again(args: &Args) -> String {
    let mut flags = String::new();
    for (key, value) in &args.settings.given {
        let flag = crate::config::setting::get(*key).flag();
        flags.push_str(&format!(" --{flag} {}", word(value.as_bytes())));
    }
    if let Some(config) = &args.place.config {
        flags.push_str(&format!(" --config {}", word(config.as_os_str().as_bytes())));
    }
    flags
}

/// The number of paths of which versions were printed, and whether a folder could not be searched.
struct PrintedPaths {
    paths: usize,
    unread: bool,
}

struct VersionPrinter {
    json: bool,
    given: String,
    out: Out,
}

impl VersionPrinter {
    /// Prints the versions of the paths that `path` means: of the path itself, and for a pattern, or where no
    /// snapshot has that path, of all that `find` finds.
    fn path(&mut self, all: &[Series], path: &OsStr) -> Result<PrintedPaths, LookError> {
        let mut printed = PrintedPaths { paths: 0, unread: false };
        let mut exact = Vec::new();
        for series in all {
            let (snapshots, on_source) = (series.located(), on_source(series, path));
            let newest = snapshots.last();
            let on_source = newest.map_or(on_source.clone(), |(_, roots)| roots.meant(&on_source));
            printed.paths += self.versions(series, &snapshots, &on_source)? as usize;
            exact.push((series, snapshots, on_source));
        }
        if printed.paths > 0 && !NamePattern::is_glob(path.as_bytes()) {
            return Ok(printed);
        }
        for (series, snapshots, on_source) in &exact {
            let finds = search(series, snapshots, path, false)?;
            for (path, why) in &finds.unread {
                warn(&format!("cannot read {path}: {why}"));
                printed.unread = true;
            }
            for path in finds.found.into_keys().filter(|path| path != on_source) {
                printed.paths += self.versions(series, snapshots, &path)? as usize;
            }
        }
        Ok(printed)
    }

    /// Prints the versions of one path of the source. Returns whether there are any.
    fn versions(
        &mut self,
        series: &Series,
        snapshots: &[(SnapshotName, SourceRoots)],
        path: &[u8],
    ) -> Result<bool, LookError> {
        let inside: Vec<(SnapshotName, Vec<u8>)> =
            snapshots.iter().map(|(name, roots)| (name.clone(), roots.inside(path))).collect();
        let spans = versions(&series.catalog, &inside)?;
        let name = |index: usize| &snapshots[index].0;
        let restore = |span: &Span| {
            let path = word(path);
            format!("backup_manager restore {} {path} --to DIR{}", name(span.last), self.given)
        };
        let from = match spans.first() {
            Some(span) if span.first > 0 => {
                let (snapshot, inside) = &inside[span.first];
                renamed_from(&series.catalog, snapshot, inside)?
            }
            _ => None,
        };
        let from = from.map(|(base, inside)| {
            let roots = snapshots.iter().find(|(name, _)| *name == base).map(|(_, roots)| roots);
            roots.map_or(inside.clone(), |roots| roots.source(&inside))
        });
        if self.json {
            for (number, span) in spans.iter().enumerate() {
                self.out.object(&json!({
                    "type": "version", "job": series.name, "path": shown(path), "version": span.version,
                    "event": span.beginning, "first": name(span.first).to_string(),
                    "last": name(span.last).to_string(), "snapshots": span.last - span.first + 1,
                    "kind": span.kind, "bytes": span.bytes, "entries": span.entries,
                    "modified": time(span.mtime).map(|time| time.to_rfc3339()),
                    "renamed_from": from.as_deref().filter(|_| number == 0).map(shown),
                    "vanished_in": vanished(&spans, number, snapshots).map(ToString::to_string),
                    "restore": restore(span),
                }));
            }
            return Ok(!spans.is_empty());
        }
        if spans.is_empty() {
            return Ok(false);
        }
        let folder = spans.last().is_some_and(|span| span.kind == Kind::Folder);
        let heading = self.out.palette.paint(Style::Head, &shell::path(path, folder));
        let table = table(&spans, snapshots);
        self.out.text(&format!("{heading}\n"));
        self.out.table(&table);
        if let Some(from) = from {
            let from = word(&from);
            self.out.text(&format!(
                "renamed: it was {from} before; its versions: backup_manager history {from}{}\n",
                self.given
            ));
        }
        let mut shown_versions = Vec::new();
        for span in spans.iter().rev() {
            if !shown_versions.contains(&span.version) {
                shown_versions.push(span.version);
                self.out.text(&format!("version {}: {}\n", span.version, restore(span)));
            }
        }
        Ok(true)
    }
}

/// The first snapshot without the entry, if the entry is missing in the snapshot after a span.
fn vanished<'a>(
    spans: &[Span],
    number: usize,
    snapshots: &'a [(SnapshotName, SourceRoots)],
) -> Option<&'a SnapshotName> {
    let after = spans[number].last + 1;
    let goes_on = spans.get(number + 1).is_some_and(|next| next.first == after);
    snapshots.get(after).filter(|_| !goes_on).map(|(name, _)| name)
}

fn table(spans: &[Span], snapshots: &[(SnapshotName, SourceRoots)]) -> Table {
    use Side::Left;
    use Side::Right;
    let mut table = Table::new(&[
        ("VERSION", Right),
        ("EVENT", Left),
        ("FIRST (UTC)", Left),
        ("LAST (UTC)", Left),
        ("SNAPSHOTS", Right),
        ("SIZE", Right),
        ("ENTRIES", Right),
        ("MODIFIED", Left),
    ]);
    let name = |index: usize| snapshots[index].0.to_string();
    for (number, span) in spans.iter().enumerate() {
        let (style, event) = match span.beginning {
            VersionStart::Appeared => (Style::Good, "appeared"),
            VersionStart::Changed => (Style::Warn, "changed"),
            VersionStart::Returned => (Style::Warn, "returned"),
        };
        let modified = time(span.mtime).map(local_time::second);
        table.row(vec![
            span.version.to_string().into(),
            Cell::new(style, event),
            name(span.first).into(),
            name(span.last).into(),
            count((span.last - span.first + 1) as u64).into(),
            bytes(span.bytes).into(),
            span.entries.map(count).unwrap_or_default().into(),
            modified.unwrap_or_default().into(),
        ]);
        if let Some(gone) = vanished(spans, number, snapshots) {
            let mut row = vec![Cell::default(); 8];
            (row[1], row[2]) = (Cell::new(Style::Bad, "vanished"), gone.to_string().into());
            table.row(row);
        }
    }
    table
}

fn time(time: Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs, time.nanos)
}
