//! `adopt DIR`: shows which names the snapshots of another program would get here. `--yes` renames them.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use engine::adopt::{Adoption, Plan, Program, Rename, Request, adopt, plan};
use engine::entry::escape::shown;
use engine::{Prefix, Repository, Retention, RunError, Silent, Stop};

use crate::args::flags::{Flags, SettingFlags};
use crate::args::load::{configured, inputs};
use crate::config::load_for_reading;
use crate::config::mistake::shown_path;
use crate::config::setting::{Key, SETTINGS};
use crate::config::types::SnapshotPlace;
use crate::exit::Exit;
use crate::hint::{self, hint};
use crate::jobs::context;
use crate::jobs::signals::supervise;
use crate::snapshots::open::{Where, unlookable};
use crate::term::local_time;
use crate::term::out::Out;
use crate::term::print::{fail, say, warn};
use crate::term::table::{Side, Table};
use crate::term::units::counted;

const EXAMPLES: &str = "\
DIR is the folder that directly contains the snapshots of rsnapshot (daily.0, hourly.3), of Back In Time \
(20261129-030054-596, below backintime/HOST/USER/PROFILE) or of rsync-time-backup (2026-11-29-030004). They are renamed into \
the backups folder, which has to be on the same file system. Nothing is copied, deleted or overwritten. Without --yes it only shows the \
plan. Stop the other program before.

Local times in names are those of the time zone of this machine. TZ=Europe/Berlin selects another zone.

Examples:
  backup_manager adopt /mnt/disk/old --backups-dir /mnt/disk/backups
  backup_manager adopt /snapshots --label localhost --backups-dir /snapshots
  backup_manager adopt /mnt/backintime/nas/root/1 --prefix nas \\
    --backups-dir /mnt/backups --yes

Exit codes: 0 the plan can be carried out, or was; 1 there is no snapshot to adopt, or a rename failed; 2 something is in the way.";

/// Take over the snapshots of rsnapshot, Back In Time or rsync-time-backup; rename them with --yes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder that contains the other program's snapshots
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Do it
    #[arg(short, long)]
    yes: bool,
    /// Prefix of the new names [BACKUP_NAME_PREFIX, default my_backup]
    #[arg(long, value_name = "NAME", alias = "backup-name-prefix")]
    prefix: Option<OsString>,
    /// Of rsnapshot's snapshots, take only this folder in them (the last word of its backup lines: localhost)
    #[arg(long, value_name = "NAME")]
    label: Option<OsString>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<AdoptFlags>,
}

/// The settings for the backups folder and for the retention.
#[derive(Debug, Clone, Default)]
struct AdoptFlags;

impl Flags for AdoptFlags {
    const KEYS: &'static [Key] = &[
        Key::BackupsDir,
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
    let Args { dir, yes, prefix, label, place, settings } = args;
    let mut given = settings.given;
    given.extend(prefix.map(|prefix| (Key::BackupNamePrefix, prefix)));
    let label = match label.map(single_name).transpose() {
        Ok(label) => label,
        Err(exit) => return exit,
    };
    let adopting = match Adopting::of(dir, label, place, given) {
        Ok(adopting) => adopting,
        Err(exit) => return exit,
    };
    let plan = match plan(&adopting.request()) {
        Ok(plan) => plan,
        Err(error) => {
            fail(&format!("{error}; {}", hint::adopt::unreadable(&error)));
            return Exit::Failed;
        }
    };
    let mut out = Out::new();
    let exit = adopting.show(&plan, yes, &mut out);
    let exit = out.finish(exit);
    if !yes || exit != Exit::Done {
        return exit;
    }
    supervise(
        move |stop| adopting.apply(&plan, &stop),
        |_| say("stopped: some folders may have their new names; call it again for the others"),
    )
}

/// A label is one folder.
fn single_name(label: OsString) -> Result<CString, Exit> {
    let mut name = label.into_vec();
    while name.last() == Some(&b'/') {
        name.pop();
    }
    match engine::entry::check_name(&name).ok().and_then(|()| CString::new(name).ok()) {
        Some(name) => Ok(name),
        None => {
            fail("--label: write the name of one folder inside the snapshots, such as localhost");
            Err(Exit::Usage)
        }
    }
}

/// An adoption with its settings.
struct Adopting {
    dir: PathBuf,
    label: Option<CString>,
    backups_dir: PathBuf,
    prefix: Prefix,
    retention: Retention,
}

impl Adopting {
    fn of(
        dir: PathBuf,
        label: Option<CString>,
        place: Where,
        given: Vec<(Key, OsString)>,
    ) -> Result<Self, Exit> {
        let Where { jobs, config } = place;
        let inputs = inputs(given, Vec::new(), config, jobs).ok_or(Exit::Usage)?;
        let reading = configured(&inputs, load_for_reading).ok_or(Exit::Usage)?;
        reading.warnings.iter().for_each(|warning| warn(warning));
        let names: Vec<&str> = reading.places.iter().map(|place| place.name.as_str()).collect();
        let names = names.join(", ");
        let Ok([SnapshotPlace { backups_dir, prefix, retention, .. }]) =
            <[SnapshotPlace; 1]>::try_from(reading.places)
        else {
            fail(&format!(
                "there are several jobs ({names}); say which one continues the snapshots: --job NAME"
            ));
            return Err(Exit::Usage);
        };
        let prefix = prefix.or_else(default_prefix).ok_or(Exit::Usage)?;
        Ok(Self { dir, label, backups_dir, prefix, retention })
    }

    fn request(&self) -> Request<'_> {
        Request {
            from: &self.dir,
            backups_dir: &self.backups_dir,
            prefix: &self.prefix,
            label: self.label.as_deref(),
            zone: &local_time::instants,
        }
    }

    fn show(&self, plan: &Plan, yes: bool, out: &mut Out) -> Exit {
        let other = |rename: &&Rename| rename.program != Program::Rsnapshot;
        if self.label.is_some()
            && let Some(rename) = plan.renames.iter().find(other)
        {
            fail(&format!(
                "--label is for snapshots of rsnapshot; leave it out for those of {}",
                rename.program
            ));
            return Exit::Usage;
        }
        let (from, to) = (shown_path(&self.dir), shown_path(&self.backups_dir));
        if let Some(first) = plan.renames.first() {
            let times = match first.program {
                Program::Rsnapshot => "their modification times are the times".to_owned(),
                _ => format!("times are local, in {}", local_time::zone_name()),
            };
            out.text(&format!("{}, from {from} to {to} ({times}):\n", first.program));
            let mut table = Table::new(&[("FOLDER", Side::Left), ("BECOMES (UTC)", Side::Left)]);
            for rename in &plan.renames {
                table.row(vec![old(rename).into(), rename.to.to_string().into()]);
            }
            out.table(&table);
        }
        let name = |name: &CString| shown(name.to_bytes());
        for rename in &plan.renames {
            if let Some(note) = rename.note {
                out.prose(&format!("note: {}: {note}\n", old(rename)));
            }
        }
        for (at, why) in &plan.left {
            out.prose(&format!("stays: {}: {why}\n", name(at)));
        }
        for (at, obstacle) in &plan.obstacles {
            let step = hint::adopt::obstacle(obstacle);
            out.prose(&format!("in the way: {}: {obstacle}; {step}\n", name(at)));
        }
        let folders = counted(plan.renames.len() as u64, "folder", "folders");
        if !plan.obstacles.is_empty() {
            fail("nothing was renamed: see what is in the way");
            return Exit::Usage;
        }
        if plan.renames.is_empty() {
            fail(&format!(
                "there is no snapshot to adopt in {from}; {}",
                hint::adopt::nothing(&self.dir)
            ));
            return Exit::Failed;
        }
        match self.removals(plan) {
            Ok(warning) => warning.iter().for_each(|text| out.prose(text)),
            Err(exit) => return exit,
        }
        for text in hint::adopt::about(plan.renames[0].program, self.label.is_some()) {
            out.prose(&format!("{text}\n"));
        }
        if !yes {
            out.prose(&format!("{folders} would be renamed; add --yes to rename\n"));
        }
        Exit::Done
    }

    /// The warning about what the next run would remove after the adoption.
    fn removals(&self, plan: &Plan) -> Result<Option<String>, Exit> {
        let there = match self.backups_dir.is_dir() {
            true => Repository::open(&self.backups_dir)
                .and_then(|there| Ok(there.candidates(&there.history(&self.prefix)?)))
                .map_err(|error| unlookable(&error))?,
            false => Vec::new(),
        };
        let all = there.len() + plan.renames.len();
        let goes = plan.removed_by_next_run(there, &self.retention, Utc::now());
        let mut names: Vec<String> = goes.iter().take(3).map(ToString::to_string).collect();
        if goes.len() > names.len() {
            names.push("…".to_owned());
        }
        Ok((!names.is_empty()).then(|| {
            format!(
                "WARNING: the next run would remove {} of these {} (MAX_BACKUPS and KEEP_ rules): {}; {}\n",
                goes.len(),
                counted(all as u64, "snapshot", "snapshots"),
                names.join(", "),
                hint::adopt::removed(all + 1)
            )
        }))
    }

    fn apply(&self, plan: &Plan, stop: &Arc<Stop>) -> Exit {
        let context = context(stop, &Arc::default(), Arc::new(Silent));
        match adopt(&self.request(), plan, &context) {
            Ok(Adoption::Done) => {
                let snapshots = counted(plan.renames.len() as u64, "snapshot", "snapshots");
                let (prefix, step) = (&self.prefix, hint::adopt::done());
                say(&format!("adopted {snapshots} as those of {prefix}; {step}"));
                Exit::Done
            }
            Ok(Adoption::Busy) => {
                fail(
                    "a run of this prefix is at work; nothing was renamed, try again when it is done",
                );
                Exit::Failed
            }
            Ok(Adoption::Changed(_)) => {
                fail("the folders changed meanwhile; nothing was renamed, look at the plan again");
                Exit::Failed
            }
            Err(RunError::Stopped) => Exit::Signal(0),
            Err(error) => {
                let step = match &error {
                    RunError::Destination { action: "cannot rename", .. } => {
                        Some(hint::adopt::unrenamed().into())
                    }
                    _ => hint(&error),
                };
                fail(&format!(
                    "{error}{}",
                    step.map(|step| format!("; {step}")).unwrap_or_default()
                ));
                Exit::Failed
            }
        }
    }
}

/// The folder that is renamed, as a path in the other program's folder.
fn old(rename: &Rename) -> String {
    let inside = rename.inside.as_ref().map(|inside| shown(inside.to_bytes()));
    let folder = shown(rename.folder.to_bytes());
    inside.map_or_else(|| folder.clone(), |inside| format!("{folder}/{inside}"))
}

/// The prefix of a folder about which nothing is configured.
fn default_prefix() -> Option<Prefix> {
    let row = SETTINGS.iter().find(|setting| setting.key == Key::BackupNamePrefix)?;
    Prefix::new(row.default?).ok()
}
