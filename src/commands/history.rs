//! `history PATH`: shows every version of a file or folder, and the command that restores it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use engine::LookError;
use engine::SnapshotName;
use engine::entry::Kind;
use engine::inspect::NamePattern;
use engine::inspect::{Span, VersionStart};
use engine::repository::SourceRoots;

use crate::args::flags::{Places, SettingFlags};
use crate::exit::Exit;
use crate::snapshots::objects;
use crate::snapshots::open::{Series, Where, again, on_source, open, unlookable};
use crate::snapshots::path_versions::{path_versions, restore, vanished};
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
    let given = again(&args.place, &args.settings.given);
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
        let found = path_versions(series, snapshots, path)?;
        let spans = &found.spans;
        if self.json {
            for number in 0..spans.len() {
                self.out.object(&objects::version(series, snapshots, &found, number, &self.given));
            }
            return Ok(!spans.is_empty());
        }
        if spans.is_empty() {
            return Ok(false);
        }
        let folder = spans.last().is_some_and(|span| span.kind == Kind::Folder);
        let heading = self.out.palette.paint(Style::Head, &shell::path(path, folder));
        let table = table(spans, snapshots);
        self.out.text(&format!("{heading}\n"));
        self.out.table(&table);
        if let Some(from) = &found.from {
            let from = word(from);
            self.out.text(&format!(
                "renamed: it was {from} before; its versions: backup_manager history {from}{}\n",
                self.given
            ));
        }
        let mut shown_versions = Vec::new();
        for span in spans.iter().rev() {
            if !shown_versions.contains(&span.version) {
                shown_versions.push(span.version);
                let restore = restore(&snapshots[span.last].0, path, &self.given);
                self.out.text(&format!("version {}: {restore}\n", span.version));
            }
        }
        Ok(true)
    }
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
        let modified = objects::time(span.mtime).map(local_time::second);
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
