//! `find PATTERN`: shows which snapshots contain an entry.

use engine::SnapshotName;
use engine::inspect::FoundEntry;

use crate::args::flags::{Places, SettingFlags};
use crate::exit::Exit;
use crate::snapshots::objects;
use crate::snapshots::open::{Series, Where, open, unlookable};
use crate::snapshots::search::{nothing, search};
use crate::term::colour::Style;
use crate::term::out::Out;
use crate::term::print::{fail, warn};
use crate::term::shell;
use crate::term::units::counted;

const EXAMPLES: &str = "\
A pattern without a slash is about names, any other about whole paths of the source. '*' and '?' (one byte: \
a letter beyond ASCII has several) stay within a name, '**' goes over folders; [a-z], {one,other} and '\\*' are \
understood too. A file that is called exactly as the pattern is written, brackets and all, is found as well. A path that begins with ./ or ../, or lies in a snapshot's folder, is that \
one path.

Examples:
  backup_manager find 'invoice-2025*.pdf' --backups-dir /backups
  backup_manager find '/home/**/*.key' --json | jq -r .path

Exit codes: 0 found; 1 no complete snapshot has it; 2 usage or configuration; 3 some folders of the snapshots could not be read.";

/// Show in which snapshots a file or folder is
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to look for, in quotes: the shell has patterns of its own
    #[arg(value_name = "PATTERN")]
    pattern: std::ffi::OsString,
    /// Take upper and lower case for the same (letters of ASCII)
    #[arg(short, long)]
    ignore_case: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

pub(crate) fn run(args: Args) -> Exit {
    let all = match open(args.place, args.settings.given, Vec::new()) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let (mut out, mut exit, mut number) = (Out::new(), Exit::Done, 0);
    for series in &all {
        let snapshots = series.located();
        let finds = match search(series, &snapshots, &args.pattern, args.ignore_case) {
            Ok(finds) => finds,
            Err(error) => return out.finish(unlookable(&error)),
        };
        for (path, why) in &finds.unread {
            warn(&format!("cannot read {path}: {why}"));
            exit = Exit::Listed;
        }
        let names: Vec<&SnapshotName> = snapshots.iter().map(|(name, _)| name).collect();
        for (path, found) in &finds.found {
            number += 1;
            match args.json {
                true => out.object(&objects::found(series, path, found, &names)),
                false => out.prose(&line(series, path, found, &names, &out)),
            }
        }
    }
    if number == 0 {
        fail(&nothing(&args.pattern));
        exit = exit.worse(Exit::Failed);
    }
    out.finish(exit)
}

/// The path, and below it the snapshots that contain it, with consecutive ones folded into ranges.
fn line(
    series: &Series,
    path: &[u8],
    found: &FoundEntry,
    names: &[&SnapshotName],
    out: &Out,
) -> String {
    let spans: Vec<String> = folded(&found.snapshots)
        .iter()
        .map(|(first, last)| match first == last {
            true => names[*first].to_string(),
            false => format!("{} ... {}", names[*first], names[*last]),
        })
        .collect();
    let in_all = format!(
        "{} of {}",
        found.snapshots.len(),
        counted(series.history.complete.len() as u64, "snapshot", "snapshots")
    );
    let path = out.palette.paint(Style::Head, &shell::path(path, found.folder));
    format!("{path}\n  in {in_all}: {}\n", spans.join(", "))
}

/// Folds rising numbers into ranges of consecutive numbers.
fn folded(numbers: &[usize]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_one_another_are_folded() {
        for (numbers, ranges) in [
            (&[][..], &[][..]),
            (&[3], &[(3, 3)]),
            (&[0, 1, 2, 4, 6, 7], &[(0, 2), (4, 4), (6, 7)]),
        ] {
            assert_eq!(folded(numbers), ranges);
        }
    }
}
