//! `restore [SNAPSHOT] [PATH…] --to DIR | --to user@host:DIR | --in-place`: restores files and folders from a
//! snapshot.

mod on_host;
mod to;
pub(crate) mod words;
mod work;

use std::ffi::OsString;
use std::io::{self};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Local;
use engine::Report;
use engine::SnapshotName;
use engine::entry::Kind;
use engine::entry::escape::shown;
use engine::fs::proc_is_mounted;
use engine::fs::{Resolved, untrusted};
use engine::restore::Absence;
use engine::restore::Overwrite;
use engine::restore::RestoreOptions;
use engine::restore::{LandingError, below_a_folder, in_place};

use crate::args::flags::{Restoring, SettingFlags};
use crate::commands::restore::to::{LineArgs, TargetArgs};
use crate::commands::restore::work::{RestoreDestination, Work};
use crate::exit::Exit;
use crate::hint;
use crate::jobs::signals::supervise;
use crate::snapshots::open::{SelectedSnapshot, Series, Where, open};
use crate::snapshots::restore_host::RestoreHost;
use crate::term::print::{fail, say, warn};

const EXAMPLES: &str = "\
SNAPSHOT is a name, latest, latest~2, oldest, a date or time, or an age such as '2 days ago'. Without it the latest \
snapshot is used.

PATH is the path of a file or folder on the source, or in a snapshot's folder. A bare word that means a snapshot is \
read as one: write ./yesterday for a file of that name. Without PATH everything is restored.

With --to, each PATH is restored into DIR under its last name. Without PATH, DIR gets the layout of the snapshot. \
DIR can be on another machine: user@host:DIR. There, a DIR without a leading slash is below the home of that user. \
Where that machine has backup_manager (REMOTE_HELPER), everything comes back as in a folder of this one. Otherwise SFTP \
carries whole seconds only, and no extended attributes, ACLs, fifos, sockets and devices; those are listed.

With --in-place everything is restored to its original path on this machine. A snapshot of a remote host is refused (exit \
code 2): --to HOST:/ brings it back to that host, --to DIR to this machine.

An entry that exists and is equal is not written again, so a restore can be repeated after an interruption. An entry \
that exists and differs stays and is listed (exit code 3), unless --overwrite says otherwise. A folder that exists gets \
the metadata of the folder in the snapshot.

--delete removes only what the run saw to be absent. What the run could not read, did not enter, or excluded by its \
rules stays (but see --delete-excluded), and so does everything on another file system.

Each file is compared with its recorded hash while it is written. A damaged file is listed and not restored (exit code \
4), unless --accept-damage is given.

Examples:
  backup_manager restore /home/uname/thesis.odt --to /tmp/back
  backup_manager restore '2 days ago' /home/uname/docs --in-place --dry-run
      Show what the restore of a folder to its original path would do
  backup_manager restore my_backup.07-12-2023_13-32-58 --to /mnt/new
  backup_manager restore /home/uname/docs --to root@newhost:/home/uname
  backup_manager restore /home/uname/docs --to nas:docs -e 'ssh -i KEYFILE'
      With another key than that of the backups";

/// Bring files, folders or everything back as they were
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("place").required(true))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Args {
    /// Which snapshot, then which paths on the source
    #[arg(value_name = "SNAPSHOT|PATH")]
    words: Vec<OsString>,
    /// Restore into this folder, made if it is missing; USER@HOST:DIR is on another machine
    #[arg(long, value_name = "DIR", group = "place")]
    to: Option<OsString>,
    #[command(flatten)]
    line: LineArgs,
    /// Restore to where it came from on this machine; asks first. For a remote source write --to HOST:/
    #[arg(long, group = "place")]
    in_place: bool,
    /// Restore in place also to a folder that is not the one that was backed up, but has its path
    #[arg(long, requires = "in_place")]
    accept_replaced: bool,
    /// When to replace what is there and differs
    #[arg(long, value_name = "WHEN", default_value = "never")]
    overwrite: OverwriteArgs,
    /// Remove what the snapshot is known not to have had, in the folders that are restored
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    sure: DeleteScope,
    /// Restore damaged files too, as they are
    #[arg(long)]
    accept_damage: bool,
    /// Show what would be done and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Restoring>,
}

/// What `--delete` is asked to remove beyond what is certain.
#[derive(Debug, clap::Args)]
struct DeleteScope {
    /// Remove also what the rules of the run left out of the snapshot (filters, sizes, kinds, lists)
    #[arg(long, requires = "delete")]
    delete_excluded: bool,
    /// Remove even by a damaged snapshot, or one whose report lacks what its run did not see
    #[arg(long, requires = "delete")]
    delete_anyway: bool,
}

/// When something that is there is replaced.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OverwriteArgs {
    /// Leave it
    Never,
    /// When the snapshot's is newer
    Newer,
    /// When it differs in size, time or metadata
    Changed,
    /// In any case
    Always,
}

impl From<OverwriteArgs> for Overwrite {
    fn from(when: OverwriteArgs) -> Self {
        match when {
            OverwriteArgs::Never => Self::Never,
            OverwriteArgs::Newer => Self::Newer,
            OverwriteArgs::Changed => Self::Changed,
            OverwriteArgs::Always => Self::Always,
        }
    }
}

pub(crate) fn run(args: Args) -> Exit {
    if !proc_is_mounted() {
        fail(&format!("restore needs /proc, which is not mounted here; {}", hint::NO_PROC));
        return Exit::Failed;
    }
    match prepare(args) {
        Ok(work) => done(work),
        Err(exit) => exit,
    }
}

fn done(work: Work) -> Exit {
    supervise(
        move |stop| work.done(&stop),
        |_| say("stopped; the same command continues where it stopped"),
    )
}

fn prepare(args: Args) -> Result<Work, Exit> {
    let Args {
        words,
        to,
        line,
        overwrite,
        delete,
        sure,
        accept_damage,
        accept_replaced,
        dry_run,
        yes,
        json,
        place,
        settings,
        ..
    } = args;
    let to = match to {
        None => TargetArgs::InPlace,
        Some(to) => to::target(to, line)?,
    };
    let all = open(place, settings.given, Vec::new())?;
    let now = Local::now();
    let (SelectedSnapshot { series, name }, paths) =
        crate::commands::restore::words::meaning(&all, &words, &now)?;
    if !series.history.complete.contains(&name) {
        fail(&format!("{name} is not complete: a part of it may be missing; copy from it by hand"));
        return Err(Exit::Usage);
    }
    if series.catalog.standing(&name).damaged {
        warn(&format!("a check found damage in {name}; {}", hint::restored_damaged()));
    }
    let roots = series.roots_of(&name);
    if let TargetArgs::Folder(_, given) = &to {
        on_host::refuse_bare(series, &name, given)?;
    }
    let landing = match to {
        TargetArgs::Folder(..) | TargetArgs::Host(..) => below_a_folder(&paths, &roots),
        TargetArgs::InPlace => {
            let report = series.catalog.report(&name);
            on_host::refuse(series, &name, report.as_ref(), &paths)?;
            in_place(&paths, &roots, &|path| resolve(path, report.as_ref(), accept_replaced))
        }
    };
    let landing = landing.map_err(|error| {
        fail(&format!("{error}; {}", unlanded(&error)));
        Exit::Usage
    })?;
    if delete && landing.whole.is_empty() {
        fail("nothing says which folders the snapshot holds as a whole; name a PATH for --delete");
        return Err(Exit::Usage);
    }
    let fake = series.job.as_ref().is_some_and(|job| job.job.keep.fake_super);
    let fake_super = if fake { series.catalog.writers() } else { Vec::new() };
    let delete = if delete { Some(absence(series, &name, &sure)?) } else { None };
    let options = RestoreOptions { overwrite: overwrite.into(), delete, accept_damage, fake_super };
    let place = match to {
        TargetArgs::Folder(path, _) => RestoreDestination::Folder(path),
        TargetArgs::Host(address, dir, line) => {
            RestoreDestination::Host(Box::new(RestoreHost::new(address, dir, line, series)))
        }
        TargetArgs::InPlace => RestoreDestination::InPlace,
    };
    let catalog = Arc::clone(&series.catalog);
    let work = Work { catalog, snapshot: name, landing, roots, place, options, dry_run, json };
    if matches!(work.place, RestoreDestination::InPlace) && !dry_run && !yes {
        work.confirm()?;
    }
    Ok(work)
}

/// The entries that may be removed because the snapshot does not contain them. Fails if that is unknown.
fn absence(series: &Series, name: &SnapshotName, sure: &DeleteScope) -> Result<Arc<Absence>, Exit> {
    let (absence, doubts) = series.catalog.absence(name, sure.delete_excluded);
    if !doubts.is_empty() {
        let why: Vec<String> = doubts.iter().map(ToString::to_string).collect();
        let why = why.join("; ");
        if !sure.delete_anyway {
            fail(&format!(
                "--delete does not go by {name}: {why}; what it does not hold may have been on its source all the same. {}",
                hint::not_deleted()
            ));
            return Err(Exit::Usage);
        }
        warn(&format!("{name}: {why}; --delete-anyway removes what it does not hold all the same"));
    }
    Ok(Arc::new(absence))
}

/// The real path of a source root. Symlinks in its existing part are followed, except those that another user
/// could have created. The result must be the folder in `report`, unless the user accepts another one.
fn resolve(
    path: &[u8],
    report: Option<&Report>,
    accept_replaced: bool,
) -> Result<Vec<u8>, LandingError> {
    let root = PathBuf::from(OsString::from_vec(path.to_vec()));
    let failed = |error: io::Error| match untrusted(&error) {
        Some(link) => LandingError::Link(link.clone()),
        None => LandingError::Root { path: shown(path), why: error.to_string() },
    };
    let found = match Resolved::at(&root) {
        // A dangling symlink: the restore reports it as an obstacle.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path.to_vec()),
        found => found.map_err(failed)?,
    };
    let recorded = report.and_then(|it| it.roots.iter().find(|root| root.path == shown(path)));
    if let Some(recorded) = recorded.filter(|_| !accept_replaced && found.missing.is_empty()) {
        let meta = found.node.meta().map_err(failed)?;
        let file_system = found.node.file_system();
        // For files a new inode proves nothing: many programs save a file under a new inode.
        let replaced = meta.kind == Kind::Folder
            && meta.id.is_some_and(|id| recorded.is_replaced_by(id.ino, file_system.as_deref()));
        if replaced {
            return Err(LandingError::Replaced { path: shown(path) });
        }
    }
    Ok(found.path().into_os_string().into_vec())
}

fn unlanded(error: &LandingError) -> &'static str {
    match error {
        LandingError::Clash { .. } => "restore them one after the other, into different folders",
        LandingError::Outside(_) => "history and find show the paths",
        LandingError::Link(_) => hint::UNTRUSTED_LINK,
        LandingError::Root { .. } => {
            "see to it that this user may look there, or restore with --to"
        }
        LandingError::Replaced { .. } => {
            "if it was created again, for example on a new disk, add --accept-replaced; else bring the folder back, or restore with --to"
        }
        LandingError::NoRoots => "name the paths, or restore with --to",
    }
}
