//! `status [NAME…]`: shows the state of each job, and whether it is healthy.

use std::path::PathBuf;

use chrono::Utc;
use serde_json::json;

use crate::args::flags::SettingFlags;
use crate::exit::Exit;
use crate::snapshots::only_folder::no_snapshot;
use crate::snapshots::open::unlookable;
use crate::state::{NoStates, Subjects};
use crate::term::colour::Palette;
use crate::term::print::fail;
use crate::term::terminal;
use crate::term::wrap;
use crate::ui::job_state::JobState;

const EXAMPLES: &str = "\
Examples:
  backup_manager status
  backup_manager status --backups-dir /mnt/old_disk/backups
  backup_manager status --check || echo 'the backups need a look'
  backup_manager status --json | jq '.jobs[] | {job, newest_age_seconds}'
  docker exec backup_manager backup_manager status

Exit codes: 0 the state was shown, with --check: every job is healthy; 1 with --check: a job is not healthy; \
2 usage or configuration.";

/// Show each job's newest snapshot, last run, next run and free space, and whether it is healthy
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Show these jobs of the config file only
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print a line a job, and end with exit code 1 unless all are healthy
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Read the settings from this file [CONFIG_FILE, default config.toml in CONFIG_DIR, which is /config, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(crate) fn run(args: Args) -> Exit {
    let Some(inputs) =
        crate::args::load::inputs(args.settings.given, Vec::new(), args.config, args.names)
    else {
        return Exit::Usage;
    };
    let Some(subjects) = Subjects::load(&inputs) else { return Exit::Usage };
    let states = match subjects.states(&inputs.names, Utc::now()) {
        Ok(states) => states,
        Err(NoStates::Unreadable(error)) => return unlookable(&error),
        Err(NoStates::NoSnapshot(dir, there)) => {
            let names = &inputs.names;
            let asked = if names.is_empty() { None } else { Some(names.join(", ")) };
            fail(&no_snapshot(asked.as_deref(), &dir, &there));
            return if names.is_empty() { Exit::Failed } else { Exit::Usage };
        }
    };
    let healthy = states.iter().all(|state| state.complaints.is_empty());
    let text = if args.json {
        let jobs: Vec<_> = states.iter().map(JobState::json).collect();
        crate::term::harmless::json(&json!({"healthy": healthy, "jobs": jobs}), true) + "\n"
    } else if args.check {
        states.iter().map(|state| state.verdict() + "\n").collect()
    } else {
        let text = states
            .iter()
            .map(|state| state.text(Palette::of_stdout()))
            .collect::<Vec<_>>()
            .join("\n");
        wrap::prose(&text, terminal::columns_of_stdout())
    };
    let printed = crate::term::print::print(text.as_bytes());
    if args.check && !healthy { printed.worse(Exit::Failed) } else { printed }
}
