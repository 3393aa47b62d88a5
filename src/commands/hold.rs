//! `hold` and `release`: pins a snapshot, and unpins it.

use chrono::{Local, SecondsFormat, Utc};
use engine::repository::{Hold, pin, release};
use engine::snapshot::SnapshotState;

use crate::args::flags::{Places, SettingFlags};
use crate::exit::Exit;
use crate::snapshots::open::{SelectedSnapshot, Series, Where, open, pick, unlookable};
use crate::term::print::{fail, print};

const HOLD_EXAMPLES: &str = "\
Examples:
  backup_manager hold latest --note 'before the move' --backups-dir /backups";
const RELEASE_EXAMPLES: &str = "\
Examples:
  backup_manager release my_backup.07-12-2023_13-32-58 --backups-dir /backups";

/// Pin snapshots: neither run nor prune removes them, and they come on top of those that are kept
#[derive(Debug, clap::Args)]
#[command(after_help = HOLD_EXAMPLES)]
pub(crate) struct HoldArgs {
    /// A name, latest, latest~2, oldest, a date, '2 days ago'
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Say why; list shows it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

/// Unpin snapshots that hold or a run pinned; after a mass change (CHANGE_BRAKE), runs then remove snapshots again
#[derive(Debug, clap::Args)]
#[command(after_help = RELEASE_EXAMPLES)]
pub(crate) struct ReleaseArgs {
    /// A name, latest, latest~2, oldest, a date, '2 days ago'
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

pub(crate) fn hold(args: HoldArgs) -> Exit {
    let all = match open(args.place, args.settings.given, Vec::new()) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let hold = Hold {
        since: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        note: args.note.filter(|note| !note.is_empty()),
        brake: None,
    };
    let picked = match all_of(&all, &args.snapshots) {
        Ok(picked) => picked,
        Err(exit) => return exit,
    };
    let incomplete = picked.iter().find(|picked| picked.name.state != SnapshotState::Complete);
    if let Some(picked) = incomplete {
        fail(&format!(
            "{} is not complete; only complete snapshots can be held; nothing was held",
            picked.name
        ));
        return Exit::Usage;
    }
    each(&picked, |picked| {
        let pinned = pin(picked.series.catalog.path(), &picked.name, &hold);
        pinned.map_err(|error| unlookable(&error))?;
        Ok(format!("{} is held\n", picked.name))
    })
}

pub(crate) fn let_go(args: ReleaseArgs) -> Exit {
    let all = match open(args.place, args.settings.given, Vec::new()) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let picked = match all_of(&all, &args.snapshots) {
        Ok(picked) => picked,
        Err(exit) => return exit,
    };
    let is_frozen = |picked: &SelectedSnapshot<'_>| {
        picked.series.catalog.freeze(&picked.series.history).is_some()
    };
    each(&picked, |picked| {
        match (is_frozen(picked), release(picked.series.catalog.path(), &picked.name)) {
            (true, Ok(true)) if !is_frozen(picked) => {
                Ok(format!("{} is no longer held, and runs remove snapshots again\n", picked.name))
            }
            (_, Ok(true)) => Ok(format!("{} is no longer held\n", picked.name)),
            (_, Ok(false)) => Ok(format!("{} was not held\n", picked.name)),
            (_, Err(error)) => Err(unlookable(&error)),
        }
    })
}

/// The snapshots that all of `texts` select. If one selects none, nothing is done with the others.
fn all_of<'a>(all: &'a [Series], texts: &[String]) -> Result<Vec<SelectedSnapshot<'a>>, Exit> {
    let now = Local::now();
    let picked: Result<Vec<_>, Exit> = texts.iter().map(|text| pick(all, text, &now)).collect();
    if picked.is_err() && texts.len() > 1 {
        fail("nothing was changed: each name has to select a snapshot");
    }
    picked
}

/// Processes all snapshots, and returns the worst exit.
fn each(
    picked: &[SelectedSnapshot<'_>],
    mut act: impl FnMut(&SelectedSnapshot<'_>) -> Result<String, Exit>,
) -> Exit {
    picked.iter().fold(Exit::Done, |worst, picked| {
        worst.worse(match act(picked) {
            Ok(text) => print(text.as_bytes()),
            Err(exit) => exit,
        })
    })
}
