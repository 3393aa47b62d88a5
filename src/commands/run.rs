//! `run [NAME…]`: takes the snapshots that are due, or shows what a run would do.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use engine::Accept;

use crate::args::flags::SettingFlags;
use crate::config::mistake::Mistake;
use crate::config::setting::find::get;
use crate::config::types::{Config, Inputs};
use crate::config::{load, load_broken};
use crate::daemon::config_dir::give_away_empty;
use crate::daemon::puid::{Identity, become_other, to_become};
use crate::exit::Exit;
use crate::jobs::limits::priority;
use crate::jobs::parallel::Parallel;
use crate::jobs::parallel::part::Part;
use crate::jobs::signals::{supervise, supervise_processes};
use crate::jobs::{Mode, Work, explain, mistakes};
use crate::log;
use crate::log::{JobLog, Stream};
use crate::term::print::{fail, say};
use crate::ui::dry_run::DryRunFormat;

const EXAMPLES: &str = "\
Examples:
  backup_manager run --srcs-to-backup /home,/etc --backups-dir /backups
  backup_manager run --now
      Take a snapshot although the newest is younger than MINIMUM_TIME_GUARD_H
  backup_manager run --dry-run --json | jq 'select(.type == \"summary\")'
  backup_manager run --config ./config.toml photos -- -X --no-relative";

/// Take a snapshot of each job, or complete the one that was interrupted
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Do only these jobs of the config file
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Show what would be copied and deleted, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print the dry run as JSON lines
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Say why this path of the source is in or out, and do nothing else
    #[arg(long, value_name = "PATH", conflicts_with_all = ["dry_run", "json", "now", "accept_shrink", "accept_sources"])]
    explain: Option<PathBuf>,
    /// Take a snapshot now: do not wait for MINIMUM_TIME_GUARD_H or WINDOW, this once
    #[arg(long)]
    now: bool,
    /// Let a source that lost most of its files through once
    #[arg(long)]
    accept_shrink: bool,
    /// Go on with the snapshots of other sources or of another host once
    #[arg(long)]
    accept_sources: bool,
    /// Read the settings from this file [CONFIG_FILE, default config.toml in CONFIG_DIR, which is /config, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run this one of several jobs for another process of the program
    #[arg(long, hide = true, value_name = "NAME", conflicts_with_all = ["names", "dry_run", "json", "explain"])]
    part: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// Add these rsync options
    #[arg(last = true, value_name = "RSYNC_OPTION")]
    pub(crate) rsync_args: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Exit {
    let mode = match (args.dry_run, args.json) {
        (true, true) => Mode::DryRun(DryRunFormat::Json),
        (true, false) => Mode::DryRun(DryRunFormat::Text),
        (false, _) => Mode::Run,
    };
    let accept = Accept { shrink: args.accept_shrink, sources: args.accept_sources };
    let explained = args.explain.clone();
    let words = words(&args);
    let part = match args.part.as_ref().map(|_| Part::join()).transpose() {
        Ok(part) => part,
        Err(error) => {
            fail(&format!(
                "cannot read what --part needs from standard input: {error}; name the job instead: run NAME"
            ));
            return Exit::Usage;
        }
    };
    let names = args.part.map_or(args.names, |name| vec![name]);
    let Some(inputs) =
        crate::args::load::inputs(args.settings.given, args.rsync_args, args.config, names)
    else {
        return Exit::Usage;
    };
    match to_become() {
        Ok(None) => {}
        Ok(Some(identity)) => return step_down(identity, &inputs, args.dry_run),
        Err(wrong) => {
            fail(&wrong);
            return Exit::Usage;
        }
    }
    let mut config = match load(&inputs) {
        Ok(config) => config,
        Err(wrong) => {
            let is_run = matches!(mode, Mode::Run) && explained.is_none();
            // The log has them where a job ran before.
            let reported =
                is_run.then(|| mistakes::report(load_broken(&inputs), in_one_line(&wrong)));
            return reported.flatten().unwrap_or_else(|| {
                crate::args::load::print(&wrong);
                Exit::Usage
            });
        }
    };
    if args.now {
        for job in &mut config.jobs {
            job.job.minimum_time_guard = TimeDelta::zero();
            job.limits.hours = None;
        }
    }
    if let Some(part) = &part {
        for limit in config.jobs.iter_mut().filter_map(|job| job.limits.bandwidth.as_mut()) {
            limit.parts = Arc::clone(&part.limited);
        }
    }
    if let Some(path) = explained {
        return explain::run(config.jobs, &path);
    }
    let all_dry = !config.jobs.is_empty() && config.jobs.iter().all(|job| job.wanted.dry_run);
    let mode = if all_dry { mode.dry() } else { mode };
    // A dry run writes nothing. That includes the log file, which may be next to the snapshots.
    let (stream, file) = match mode {
        Mode::Run => (Stream::Stdout, config.log_file.as_deref()),
        Mode::DryRun(_) => (Stream::Stderr, None),
    };
    log::start(config.log_format, stream, file);
    let log = JobLog::new("", config.log_format);
    if part.is_none() {
        config.warnings.iter().for_each(|warning| log.warn(warning));
        config.notes.iter().for_each(|note| log.info(note));
    }
    let stopped = {
        // With several jobs each process reports its end.
        let log = if part.is_some() { of_job(&config) } else { log };
        move |number| {
            let resume = match mode {
                Mode::Run => "; what was copied stays, the next run resumes it",
                Mode::DryRun(_) => "",
            };
            log.warn(&format!("stopped by {}{resume}", name(number)));
        }
    };
    let several = matches!(mode, Mode::Run) && config.jobs.len() > 1;
    // A process has one priority, and most users cannot raise it again.
    let priorities = config.jobs.iter().any(|job| job.limits.has_priority());
    if several && (config.jobs_at_once > NonZeroUsize::MIN || priorities) {
        let (at_once, format) = (config.jobs_at_once, config.log_format);
        let parallel = Parallel { at_once, words, format };
        return supervise_processes(move |stop| parallel.run(&config.jobs, &stop), stopped);
    }
    if let (Mode::Run, [job]) = (mode, &config.jobs[..]) {
        priority::set(&job.limits, &JobLog::new(&job.name, config.log_format));
    }
    let work = Work { mode, accept, format: config.log_format, part };
    supervise(move |stop| work.all(&config.jobs, &stop), stopped)
}

/// The log of the only job.
fn of_job(config: &Config) -> JobLog {
    let name = config.jobs.first().map_or("", |job| job.name.as_str());
    JobLog::new(name, config.log_format)
}

/// The arguments with which a process runs one of the jobs, without its name.
fn words(args: &Args) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let switches = [
        (args.now, "--now"),
        (args.accept_shrink, "--accept-shrink"),
        (args.accept_sources, "--accept-sources"),
    ];
    words.extend(switches.iter().filter(|(on, _)| *on).map(|(_, flag)| (*flag).into()));
    let mut set = |flag: &str, value: &OsStr| {
        let mut word = OsString::from(format!("--{flag}="));
        word.push(value);
        words.push(word);
    };
    if let Some(file) = &args.config {
        set("config", file.as_os_str());
    }
    for (key, value) in &args.settings.given {
        set(&get(*key).flag(), value);
    }
    if !args.rsync_args.is_empty() {
        words.push("--".into());
        words.extend(args.rsync_args.iter().cloned());
    }
    words
}

/// Restarts the program as `identity`, which gets new backups folders, unless the run writes nothing.
fn step_down(identity: Identity, inputs: &Inputs, dry_run: bool) -> Exit {
    let mut reported = Vec::new();
    // The restarted program reports mistakes in the configuration.
    for named in load(inputs).into_iter().filter(|_| !dry_run).flat_map(|config| config.jobs) {
        give_away_empty(&named.job.backups_dir, identity, &mut reported);
    }
    reported.iter().for_each(|line| say(line));
    let Identity { uid, gid } = identity;
    let error = become_other(identity);
    fail(&format!(
        "cannot become the user {uid}:{gid} (PUID, PGID): {error}; start it as that user"
    ));
    Exit::Failed
}

/// The mistakes as the reason of a failure.
fn in_one_line(mistakes: &[Mistake]) -> String {
    let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let heading = match all.len() {
        1 => "there is a mistake in the configuration".to_owned(),
        count => format!("there are {count} mistakes in the configuration"),
    };
    format!("{heading}: {}", all.join("; "))
}

fn name(signal: u8) -> &'static str {
    match i32::from(signal) {
        signal_hook::consts::SIGTERM => "SIGTERM",
        signal_hook::consts::SIGINT => "SIGINT",
        signal_hook::consts::SIGHUP => "SIGHUP",
        _ => "a signal",
    }
}
