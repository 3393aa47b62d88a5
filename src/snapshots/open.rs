//! The first steps of commands that look at snapshots: finds the snapshots of each job, and selects one.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use engine::History;
use engine::LookError;
use engine::Repository;
use engine::Retention;
use engine::Selector;
use engine::repository::SourceRoots;
use engine::snapshot::SelectError;
use engine::{Prefix, SnapshotName};
use transport::remote::RemoteHelper;

use crate::args::load::{configured, inputs};
use crate::config::load_for_reading;
use crate::config::mistake::shown_path;
use crate::config::setting::Key;
use crate::config::types::{Copies, NamedJob, SnapshotPlace};
use crate::exit::Exit;
use crate::hint;
use crate::snapshots::only_folder::no_snapshot;
use crate::term::print::{fail, warn};
use crate::term::shell::word;
use crate::term::units::duration;

/// Where to look, as every such verb takes it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Where {
    /// Look at the snapshots of this job of the config file only (or of this prefix)
    #[arg(long = "job", value_name = "NAME")]
    pub(crate) jobs: Vec<String>,
    /// Read the settings from this file [CONFIG_FILE, default /config/config.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The snapshots of one job, or of one prefix in the folder.
#[derive(Clone)]
pub(crate) struct Series {
    /// The name for `--job`.
    pub(crate) name: String,
    pub(crate) prefix: Prefix,
    pub(crate) catalog: Arc<Repository>,
    pub(crate) history: History,
    pub(crate) retention: Retention,
    pub(crate) copies: Copies,
    /// The job, if the sources are configured.
    pub(crate) job: Option<Arc<NamedJob>>,
    /// The time limit for an answer of a remote host.
    pub(crate) answer_timeout: Duration,
    /// `SFTP_CHANNELS`.
    pub(crate) sftp_channels: Option<NonZeroUsize>,
    /// `REMOTE_HELPER`.
    pub(crate) helper: RemoteHelper,
    /// The file with host keys in addition to the user's own, if there is one.
    pub(crate) known_hosts: Option<PathBuf>,
}

/// A selected snapshot.
#[derive(Clone)]
pub(crate) struct SelectedSnapshot<'a> {
    pub(crate) series: &'a Series,
    pub(crate) name: SnapshotName,
}

impl Series {
    /// The snapshots of the same prefix in another folder.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn of_copy(&self, folder: &Path) -> Result<Self, LookError> {
        let catalog = Arc::new(Repository::open(folder)?);
        Ok(Self {
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            history: catalog.history(&self.prefix)?,
            catalog,
            retention: self.copies.retention.clone(),
            copies: Copies::default(),
            job: self.job.clone(),
            answer_timeout: self.answer_timeout,
            sftp_channels: self.sftp_channels,
            helper: self.helper.clone(),
            known_hosts: self.known_hosts.clone(),
        })
    }

    /// All complete snapshots, the oldest first, each with its source roots.
    pub(crate) fn located(&self) -> Vec<(SnapshotName, SourceRoots)> {
        let located = |name: &SnapshotName| (name.clone(), self.roots_of(name));
        self.history.complete.iter().map(located).collect()
    }

    /// The source roots of a snapshot, from its report, or else from the job.
    pub(crate) fn roots_of(&self, name: &SnapshotName) -> SourceRoots {
        let of_job = || self.job.as_ref().map(|job| SourceRoots::of_layout(&job.job.layout));
        let report = self.catalog.report(name);
        report.as_ref().map(SourceRoots::of_report).or_else(of_job).unwrap_or_default()
    }
}

/// Opens the snapshots of all selected jobs. Prints what is wrong.
///
/// # Errors
/// The exit code.
pub(crate) fn open(
    place: Where,
    flags: Vec<(Key, OsString)>,
    rsync_args: Vec<OsString>,
) -> Result<Vec<Series>, Exit> {
    let Where { jobs, config, .. } = place;
    let asked = jobs.clone();
    let reading = inputs(flags, rsync_args, config, jobs)
        .and_then(|inputs| configured(&inputs, load_for_reading))
        .ok_or(Exit::Usage)?;
    reading.warnings.iter().for_each(|warning| warn(warning));
    let mut all = Vec::new();
    let folders: Vec<PathBuf> =
        reading.places.iter().map(|place| place.backups_dir.clone()).collect();
    for mut place in reading.places {
        let job = place.job.take().map(Arc::new);
        of_place(&place, job.as_ref(), &asked, &mut all).map_err(|error| unlookable(&error))?;
    }
    let mut hidden: Vec<&Path> =
        all.iter().filter(|one| one.catalog.is_hidden()).map(|one| one.catalog.path()).collect();
    hidden.dedup();
    for folder in hidden {
        warn(&format!(
            "this user may not look into {}/.backup_manager: what is held, damaged, reported or kept beside is not known",
            shown_path(folder)
        ));
    }
    if all.is_empty() && !asked.is_empty() {
        let dir = folders.first().map(PathBuf::as_path).unwrap_or(Path::new("."));
        let there = Repository::open(dir).and_then(|folder| folder.prefixes()).unwrap_or_default();
        fail(&no_snapshot(Some(&asked.join(", ")), dir, &there));
        return Err(Exit::Usage);
    }
    Ok(all)
}

/// Adds the snapshots of `place`, of `job` if it is configured, to `all`. Of a folder without settings, those of
/// the prefixes `asked`, or of every prefix if none is asked for.
///
/// # Errors
/// The backups folder cannot be read.
pub(crate) fn of_place(
    place: &SnapshotPlace,
    job: Option<&Arc<NamedJob>>,
    asked: &[String],
    all: &mut Vec<Series>,
) -> Result<(), LookError> {
    let catalog = Arc::new(Repository::open(&place.backups_dir)?);
    let series = |name: String, prefix: Prefix| {
        Ok(Series {
            name,
            history: catalog.history(&prefix)?,
            prefix,
            catalog: Arc::clone(&catalog),
            retention: place.retention.clone(),
            copies: place.copies.clone(),
            job: job.cloned(),
            answer_timeout: place.answer_timeout,
            sftp_channels: place.sftp_channels,
            helper: place.helper.clone(),
            known_hosts: place.known_hosts.clone(),
        })
    };
    match &place.prefix {
        Some(prefix) => all.push(series(place.name.clone(), prefix.clone())?),
        None => {
            for prefix in catalog.prefixes()? {
                let name = prefix.to_string();
                if asked.is_empty() || asked.contains(&name) {
                    all.push(series(name, prefix)?);
                }
            }
        }
    }
    Ok(())
}

/// The given flags for the location of the snapshots, to repeat them in a command.
pub(crate) fn again(place: &Where, given: &[(Key, OsString)]) -> String {
    let mut flags = String::new();
    for (key, value) in given {
        let flag = crate::config::setting::find::get(*key).flag();
        flags.push_str(&format!(" --{flag} {}", word(value.as_bytes())));
    }
    if let Some(config) = &place.config {
        flags.push_str(&format!(" --config {}", word(config.as_os_str().as_bytes())));
    }
    flags
}

/// Prints why the backups folder cannot be read.
pub(crate) fn unlookable(error: &LookError) -> Exit {
    fail(&format!("{error}; {}", hint::unlookable(error)));
    Exit::Failed
}

/// The snapshot that `text` selects.
///
/// # Errors
/// The exit code if there is none; the reason is already printed.
pub(crate) fn pick<'a>(
    all: &'a [Series],
    text: &str,
    now: &DateTime<Local>,
) -> Result<SelectedSnapshot<'a>, Exit> {
    let refused = |error: &SelectError| {
        fail(&format!("{error}; {}", hint::unpicked(error)));
        Exit::Usage
    };
    let selector = Selector::parse(text, now).map_err(|error| refused(&error))?;
    let series = one(all, selector.prefix())?;
    let name = selector.pick(&series.history).map_err(|error| refused(&error))?.clone();
    Ok(SelectedSnapshot { series, name })
}

/// Like [`pick`], for removals: a date selects only a snapshot of that day.
///
/// # Errors
/// As for [`pick`].
pub(crate) fn pick_exactly<'a>(
    all: &'a [Series],
    text: &str,
    now: &DateTime<Local>,
) -> Result<SelectedSnapshot<'a>, Exit> {
    let SelectedSnapshot { series, name } = pick(all, text, now)?;
    let same = |selector: Selector| selector.means_exactly(&name);
    match Selector::parse(text, now).map_or(Ok(()), same) {
        Ok(()) => Ok(SelectedSnapshot { series, name }),
        Err(error) => {
            fail(&format!("{error}; {}", hint::unpicked(&error)));
            Err(Exit::Usage)
        }
    }
}

/// The only selected job, or the one whose snapshots have `prefix`.
///
/// # Errors
/// The exit code if there are none or several; the reason is already printed.
pub(crate) fn one<'a>(all: &'a [Series], prefix: Option<&Prefix>) -> Result<&'a Series, Exit> {
    let fits = |series: &&Series| prefix.is_none_or(|prefix| *prefix == series.prefix);
    let fitting: Vec<&Series> = all.iter().filter(fits).collect();
    let names = |all: &[&Series]| {
        all.iter().map(|series| series.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match (&fitting[..], prefix) {
        ([series], _) => return Ok(series),
        ([], Some(prefix)) if !all.is_empty() => {
            let all: Vec<&Series> = all.iter().collect();
            fail(&format!("there is no snapshot of {prefix}; there are those of {}", names(&all)));
        }
        ([], _) => {
            fail("there is no snapshot; write --backups-dir with the folder that holds them")
        }
        (several, _) => {
            fail(&format!(
                "there are several jobs ({}); say which one is meant: --job NAME, or the full name of a snapshot",
                names(several)
            ));
        }
    }
    Err(Exit::Usage)
}

/// Formats the age of a snapshot.
pub(crate) fn age(name: &SnapshotName) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of less than ten thousand years")]
    match (Utc::now() - name.stamp.time()).num_seconds() {
        ..0 => "from the future".to_owned(),
        seconds => duration(seconds as f64),
    }
}

/// The folder with the snapshots of `series`, for messages.
pub(crate) fn shown_folder(series: &Series) -> String {
    shown_path(series.catalog.path())
}

/// Resolves `.` and `..` in a path as the shell's `cd` does.
pub(crate) fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(straight.pop()),
            part => straight.push(part),
        }
    }
    straight
}

/// Converts a path from the user to a path on the source. The path may be absolute, relative to the current
/// folder, or inside a snapshot's folder, as a shell completes it.
pub(crate) fn on_source(series: &Series, path: &OsStr) -> Vec<u8> {
    match in_snapshot(series, path) {
        Some((snapshot, rest)) => series.roots_of(&snapshot).source(rest.as_os_str().as_bytes()),
        None => straight_from_here(path).as_os_str().as_bytes().to_vec(),
    }
}

/// The snapshot that contains `path`, and the path inside it.
pub(crate) fn in_snapshot(series: &Series, path: &OsStr) -> Option<(SnapshotName, PathBuf)> {
    let path = straight_from_here(path);
    let folder = series.catalog.path();
    let folders = [Some(folder.to_owned()), folder.canonicalize().ok()];
    let below = folders.iter().flatten().find_map(|folder| path.strip_prefix(folder).ok())?;
    let mut names = below.components();
    let first = names.next()?.as_os_str();
    let snapshot = SnapshotName::parse(&series.prefix, first.as_bytes())?;
    Some((snapshot, names.as_path().to_owned()))
}

pub(crate) fn straight_from_here(path: &OsStr) -> PathBuf {
    straight(&std::env::current_dir().unwrap_or_default().join(Path::new(path)))
}
