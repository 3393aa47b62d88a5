//! `doctor [NAME…]`: checks for common mistakes of a setup, and shows how to correct them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Stop;

use crate::args::flags::SettingFlags;
use crate::args::load::configured;
use crate::config::types::SnapshotConfig;
use crate::config::{config_dir, load};
use crate::daemon::config_dir::CRONTAB;
use crate::doctor::finding::{DoctorFinding, Grade};
use crate::doctor::{Ask, examine, examine_folder, pin};
use crate::exit::Exit;
use crate::jobs::signals::supervise;
use crate::snapshots::only_folder::only_folder;
use crate::term::colour::{Palette, Style};
use crate::term::print::{fail, warn};
use crate::term::terminal;
use crate::term::wrap;

const EXAMPLES: &str = "\
Examples:
  backup_manager doctor --srcs-to-backup /home --backups-dir /backups
  backup_manager doctor --backups-dir /mnt/old_disk/backups
      Check a folder without settings: destination, snapshots, what is left of removed ones
  backup_manager doctor --pin
      Show the fingerprint of a host that is not known yet, ask, and pin it
  backup_manager doctor --remote-src-host nas -- -e 'ssh -i /key'
      Check with the same rsync options as a run
  backup_manager doctor --notify-test
      Send a test every way that alerts are set up
  backup_manager doctor --remove-orphans
      Remove reports, holds and the like of snapshots that are gone
  backup_manager doctor --json | jq 'select(.grade == \"bad\")'

Exit codes: 0 a run can do its work; 1 something has to be corrected; 2 usage or configuration.";

/// Check ssh, sources, destination, crontab and alerts, and say how to correct mistakes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Check these jobs of the config file only
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Pin the keys of hosts that are not known: ask, or take the one with this fingerprint
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pin: Option<String>,
    /// Send a test every way that alerts are set up
    #[arg(long)]
    notify_test: bool,
    /// Remove what .backup_manager holds of snapshots that are gone (reports, holds, marks of damage)
    #[arg(long)]
    remove_orphans: bool,
    /// As root: give a .backup_manager of root's to the owner of the backups folder
    #[arg(long)]
    give_back: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Read the settings from this file [CONFIG_FILE, default config.toml in CONFIG_DIR, which is /config, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
    /// Use these rsync options, as `run` does
    #[arg(last = true, value_name = "RSYNC_OPTION")]
    rsync_args: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Exit {
    let ask = Ask {
        notify_test: args.notify_test,
        remove_orphans: args.remove_orphans,
        give_back: args.give_back,
    };
    let inputs =
        crate::args::load::inputs(args.settings.given, args.rsync_args, args.config, args.names);
    let Some(inputs) = inputs else { return Exit::Usage };
    if let Some(folder) = only_folder(&inputs) {
        let needs_job = args.notify_test || args.pin.is_some();
        return of_folder(folder, needs_job, args.json, ask);
    }
    let Some(config) = configured(&inputs, load) else { return Exit::Usage };
    let crontab = config_dir(&inputs.variables, &inputs.current_dir).join(CRONTAB);
    let (json, palette) = (args.json, Palette::of_stdout());
    config.warnings.iter().for_each(|warning| warn(warning));
    let look = move |stop: Arc<Stop>| {
        let mut exit = Exit::Done;
        if let Some(given) = &args.pin
            && !pin::all(&config.jobs, given, &stop)
        {
            exit = Exit::Failed;
        }
        let mut printer =
            FindingPrinter { worst: Grade::Good, json, several: config.jobs.len() > 1, palette };
        examine(&config, &crontab, ask, &stop, |finding| printer.finding(&finding));
        exit.worse(printer.exit())
    };
    supervise(look, |_| ())
}

/// Checks a backups folder about whose sources nothing is known.
fn of_folder(folder: SnapshotConfig, needs_job: bool, json: bool, ask: Ask) -> Exit {
    if needs_job {
        fail(
            "--notify-test and --pin need the settings of a job: SRCS_TO_BACKUP, or --config FILE",
        );
        return Exit::Usage;
    }
    let palette = Palette::of_stdout();
    folder.warnings.iter().for_each(|warning| warn(warning));
    let look = move |stop: Arc<Stop>| {
        let mut printer = FindingPrinter { worst: Grade::Good, json, several: true, palette };
        for place in &folder.places {
            examine_folder(place, ask, &stop, |finding| printer.finding(&finding));
        }
        printer.exit()
    };
    supervise(look, |_| ())
}

/// Prints findings, and keeps the worst grade.
struct FindingPrinter {
    worst: Grade,
    json: bool,
    several: bool,
    palette: Palette,
}

impl FindingPrinter {
    fn finding(&mut self, finding: &DoctorFinding) {
        self.worst = self.worst.max(finding.grade);
        let line = match self.json {
            true => crate::term::harmless::json(finding, false) + "\n",
            false => text(finding, self.several, self.palette, terminal::columns_of_stdout()),
        };
        crate::term::print::print(line.as_bytes());
    }

    fn exit(&self) -> Exit {
        if self.worst == Grade::Bad { Exit::Failed } else { Exit::Done }
    }
}

/// Formats a finding as `ok    hard links    up to 65000 of a file`, with the correction below.
///
/// On a terminal of `width` columns the lines are wrapped, except for a correction with a command to copy.
fn text(finding: &DoctorFinding, several: bool, palette: Palette, width: Option<usize>) -> String {
    let (word, style) = match finding.grade {
        Grade::Good => ("ok  ", Style::Good),
        Grade::Warning => ("warn", Style::Warn),
        Grade::Bad => ("BAD ", Style::Bad),
    };
    let job = match &finding.job {
        Some(job) if several => format!("{job}: "),
        _ => String::new(),
    };
    let fix = finding.fix.as_ref().map(|fix| {
        let line = format!("        to fix it: {fix}\n");
        if fix.has_command() { line } else { wrap::prose(&line, width) }
    });
    let word = palette.paint(style, word);
    let (check, found) = (finding.check, &finding.found);
    let line = format!("{word}  {check:<12}  {job}{found}\n");
    let line = match (line.find(KEY_LINE), width) {
        // What is copied has a line of its own.
        (Some(at), Some(_)) => {
            wrap::prose(&format!("{}\n", line[..at].trim_end()), width) + &line[at..]
        }
        _ => wrap::prose(&line, width),
    };
    line + &fix.unwrap_or_default()
}

/// How a line for `authorized_keys` begins.
const KEY_LINE: &str = "command=\"";
