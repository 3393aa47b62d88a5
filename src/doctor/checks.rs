//! The checks. Each covers a cause of a failed first backup, or of one that silently did less than expected.

use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use engine::Prefix;
use engine::RunError;
use engine::Source;
use engine::Stop;
use engine::check_roots;
use engine::fs::missing_mount;
use engine::fs::mount_of;
use engine::fs::open_to_others;
use engine::inspect::{Look, look};
use engine::repository::Sources;
use engine::repository::{DestinationReport, examine};

use crate::config::bounded;
use crate::config::exposed::{complaints, names_secret};
use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::daemon::checks::not_a_mount;
use crate::daemon::environment_zone;
use crate::doctor::finding::DoctorFinding;
use crate::doctor::network_disk::NetworkDisk;
use crate::hint::step::Step;
use crate::jobs::open_source::local;
use crate::schedule::crontab::Crontab;
use crate::snapshots::only_folder::Contents;
use crate::term::local_time;
use crate::term::units::{bytes, counted};

/// A clock that shows an earlier time was never set (seconds since 1970).
const OLDEST_CLOCK: i64 = 1_704_067_200;

/// Checks that apply to all jobs: clock, time zone, crontab.
pub(crate) fn machine(crontab: &Path) -> Vec<DoctorFinding> {
    let now = Utc::now();
    let mut found = vec![match now.timestamp() {
        OLDEST_CLOCK.. => DoctorFinding::good("clock", local_time::minute(now)),
        _ => DoctorFinding::bad(
            "clock",
            format!("it says {}", local_time::minute(now)),
            Some(Step::command("set it (timedatectl set-ntp true): snapshots are named by it")),
        ),
    }];
    let (zone, wrong) = environment_zone();
    for (variable, value) in &wrong {
        let fix = format!("write a name such as {variable}=Europe/Berlin");
        let what = format!("{variable}={value} is not a known time zone; times are UTC");
        found.push(DoctorFinding::bad("time zone", what, Some(fix.into())));
    }
    if wrong.is_empty() {
        found.push(DoctorFinding::good("time zone", zone.to_string()));
    }
    let shown = shown_path(crontab);
    match bounded::read(crontab, bounded::TEXT) {
        Ok(text) => {
            found.extend(exposed(
                "crontab",
                crontab,
                names_secret(&String::from_utf8_lossy(&text)),
            ));
            let read = Crontab::read(&String::from_utf8_lossy(&text), zone);
            for (line, fault) in &read.faults {
                let fix = Some(Step::from(format!("correct that line of {shown}")));
                found.push(DoctorFinding::bad("crontab", format!("{shown}, line {line}: {fault}"), fix));
            }
            let runs = |line: &&crate::schedule::crontab::CronLine| {
                line.command.split_whitespace().any(|word| word == "run")
            };
            match read.lines.iter().filter(runs).filter_map(|line| line.next(now)).min() {
                Some(next) => {
                    let next = local_time::minute(next);
                    found.push(DoctorFinding::good("crontab", format!("{shown} starts a run at {next}")));
                }
                None => found.push(DoctorFinding::warning(
                    "crontab",
                    format!("{shown} has no line that starts a run"),
                    Step::command("add one: 0 * * * * backup_manager run"),
                )),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => found.push(DoctorFinding::good(
            "crontab",
            format!(
                "{shown} is not there: something else has to start runs, such as cron or a timer"
            ),
        )),
        Err(error) => {
            let fix = Some(Step::command(format!("chmod a+r {shown}")));
            found.push(DoctorFinding::bad("crontab", format!("cannot read {shown}: {error}"), fix));
        }
    }
    found
}

/// What other users can do with a configuration file.
fn exposed(check: &'static str, path: &Path, secret: bool) -> Vec<DoctorFinding> {
    let finding = |complaint: String| match complaint.split_once("; ") {
        Some((what, fix)) => DoctorFinding::warning(check, what, Step::command(fix.to_owned())),
        None => DoctorFinding::warning(check, complaint, Step::command("chmod 600")),
    };
    complaints(path, secret).into_iter().map(finding).collect()
}

/// Checks whether the folders of this machine can be read, in the same way as a run does before it begins.
pub(crate) fn sources(job: &NamedJob, stop: &Arc<Stop>) -> Vec<DoctorFinding> {
    roots(job, &local(job, stop))
}

/// Checks the roots of `source`.
pub(crate) fn roots<S: Source>(job: &NamedJob, source: &Arc<S>) -> Vec<DoctorFinding> {
    let roots: Vec<_> = job.job.layout.roots().into_iter().map(|(path, _)| path).collect();
    let seen = check_roots(source, &roots);
    let local = job.remote.is_none();
    let unmounted = |path: &Path| local.then(|| missing_mount(path)).flatten();
    let each = roots.into_iter().zip(seen).map(|(path, seen)| match (seen, unmounted(&path)) {
        (Ok(()), Some(mount_point)) => {
            DoctorFinding::of("source", &RunError::SourceNotMounted { path, mount_point })
        }
        (Ok(()), None) => {
            DoctorFinding::good("source", format!("{} can be read", shown_path(&path)))
        }
        (Err(error), _) => DoctorFinding::of("source", &RunError::Root { path, error }),
    });
    each.collect()
}

/// Checks the features and the free space of the backups folder, which a run would use with `BACKUPS_MODE`
/// `mode`.
pub(crate) fn destination(dir: &Path, mode: Option<u32>) -> Vec<DoctorFinding> {
    let able = match examine(dir, mode) {
        Ok(able) => able,
        Err(error) => return vec![DoctorFinding::of("destination", &error)],
    };
    let mut found = vec![DoctorFinding::good("destination", able.place.clone())];
    found.extend(not_a_mount(dir).map(|what| match what.split_once("; ") {
        Some((what, fix)) => DoctorFinding::warning("mount", what, fix.to_owned()),
        None => DoctorFinding::warning("mount", what, "mount a disk of its own there"),
    }));
    let network = mount_of(dir).and_then(|mount| NetworkDisk::of(&mount));
    found.extend(network.iter().flat_map(NetworkDisk::findings));
    found.extend(network.as_ref().and_then(|disk| disk.copies(dir)));
    found.push(access(dir, mode));
    found.extend(limits(&able, network.as_ref().and_then(NetworkDisk::with_attributes)));
    found
}

/// Checks whether the snapshots are those of the job, and the free space.
pub(crate) fn history(dir: &Path, prefix: &Prefix, job: Option<&NamedJob>) -> Vec<DoctorFinding> {
    // Another check reports a folder that cannot be opened.
    let Ok(look) = look(dir, prefix, 1) else { return Vec::new() };
    let mut found = Vec::new();
    if let (Some(report), Some(job)) = (look.reports.last(), job) {
        let refusal = Sources::of(report).refuse(&job.job.host, &job.job.layout, &job.job.prefix);
        found.extend(refusal.map(|error| DoctorFinding::of("history", &error)));
    }
    if job.is_none() {
        found.push(DoctorFinding::good("history", snapshots(&look)));
    }
    if let Some(space) = look.space {
        let share = space.free_bytes.saturating_mul(100) / space.total_bytes.max(1);
        let free = format!("{} of {} are free", bytes(space.free_bytes), bytes(space.total_bytes));
        found.push(match share {
            0..5 => DoctorFinding::warning("free space", free, "free some, or lower MAX_BACKUPS"),
            _ => DoctorFinding::good("free space", free),
        });
        if space.free_inodes.is_some_and(|free| free < 10_000) {
            let what = format!("{} inodes are free", space.free_inodes.unwrap_or_default());
            found.push(DoctorFinding::warning(
                "free inodes",
                what,
                "lower MAX_BACKUPS, or make a file system with more of them",
            ));
        }
    }
    found
}

/// The number of snapshots, and what the newest contains.
fn snapshots(look: &Look) -> String {
    let complete = counted(look.history.complete.len() as u64, "snapshot", "snapshots");
    match look.reports.last() {
        Some(report) => format!("{complete}, the newest of {}", Contents::of(report)),
        None => complete,
    }
}

/// Finds files in `.backup_manager` that belong to removed snapshots, and removes them if `remove` is set.
pub(crate) fn orphans(
    dir: &Path,
    prefix: &Prefix,
    remove: bool,
    stop: &Arc<Stop>,
) -> Option<DoctorFinding> {
    const CHECK: &str = "orphans";
    if remove {
        return Some(match engine::repository::remove_orphans(dir, prefix, stop) {
            Ok(Some(gone)) if gone.is_empty() => DoctorFinding::good(CHECK, "there are none"),
            Ok(Some(gone)) => DoctorFinding::good(CHECK, format!("removed: {}", gone.join(", "))),
            Ok(None) => DoctorFinding::warning(
                CHECK,
                "a run is at work: nothing was removed",
                Step::command(
                    "repeat it when the run has ended: backup_manager doctor --remove-orphans",
                ),
            ),
            Err(error) => DoctorFinding::of(CHECK, &error),
        });
    }
    // Another check reports a folder that cannot be opened.
    let found = engine::repository::orphans(dir, prefix).ok().filter(|found| !found.is_empty())?;
    Some(DoctorFinding::warning(
        CHECK,
        format!(
            "in {}/.backup_manager something is left of snapshots that are not there: {}",
            shown_path(dir),
            found.join(", ")
        ),
        Step::command(
            "bring the snapshots back if they were moved; otherwise: backup_manager doctor --remove-orphans",
        ),
    ))
}

/// Checks whether the owner of the backups folder can use `.backup_manager`; gives it to that user if `give`
/// is set.
pub(crate) fn ownership(dir: &Path, give: bool) -> Option<DoctorFinding> {
    const CHECK: &str = "ownership";
    let owner = engine::repository::shut_out(dir)?;
    let path = format!("{}/.backup_manager", shown_path(dir));
    if !give {
        let what =
            format!("{path} belongs to root, and the folder to the user {owner}, whose runs fail");
        return Some(DoctorFinding::warning(
            CHECK,
            what,
            Step::command("as root: backup_manager doctor --give-back"),
        ));
    }
    Some(match engine::repository::give_to_folder_owner(dir) {
        Ok(given) if given.left.is_empty() => {
            let count = counted(given.count, "entry", "entries");
            DoctorFinding::good(CHECK, format!("gave {path} to the user {owner}: {count}"))
        }
        Ok(given) => {
            let left: Vec<_> = given.left.iter().map(|path| shown_path(path)).collect();
            DoctorFinding::warning(
                CHECK,
                format!("stays root's, as it has other names or is no file: {}", left.join(", ")),
                "look at what it is, and remove it or give it away by hand",
            )
        }
        Err(error) => DoctorFinding::of(CHECK, &error.into()),
    })
}

/// Checks which users may enter the backups folder.
fn access(dir: &Path, meant: Option<u32>) -> DoctorFinding {
    let path = shown_path(dir);
    match open_to_others(dir) {
        None => {
            DoctorFinding::good("access", format!("only its owner and its group can enter {path}"))
        }
        Some(mode) if meant == Some(mode & 0o777) => {
            let set = format!("all users may enter {path} (mode {mode:04o}), as BACKUPS_MODE says");
            DoctorFinding::good("access", set)
        }
        Some(mode) => DoctorFinding::warning(
            "access",
            format!(
                "all users may enter {path} (mode {mode:04o}): they use old setuid programs there, and change their own files in all snapshots"
            ),
            Step::command(format!(
                "chmod 700 {path}, or set BACKUPS_MODE={:04o} if that is meant",
                mode & 0o777
            )),
        ),
    }
}

/// What the destination lacks. `with_attributes` is how it gets attributes.
fn limits(able: &DestinationReport, with_attributes: Option<&'static str>) -> Vec<DoctorFinding> {
    let mut found = Vec::new();
    found.push(match (able.hard_links, able.most_links) {
        (true, u64::MAX) => DoctorFinding::good("hard links", "without a known limit"),
        (true, most) => DoctorFinding::good("hard links", format!("up to {most} of a file")),
        (false, _) => DoctorFinding::warning(
            "hard links",
            "this file system has none: every snapshot is a full copy",
            "use ext4, xfs or btrfs (mkfs.ext4 DEVICE empties it)",
        ),
    });
    found.push(match able.xattrs {
        true => DoctorFinding::good("attributes", "hashes are recorded with the files"),
        false => DoctorFinding::warning(
            "attributes",
            "this file system has no user attributes: no hashes can be recorded, and verify cannot prove files",
            with_attributes.unwrap_or("use ext4, xfs or btrfs, or mount with user_xattr"),
        ),
    });
    let lacks = [("owners", able.owner), ("modes", able.mode), ("symlinks", able.symlinks)];
    let lacks: Vec<&str> =
        lacks.into_iter().filter(|(_, able)| !able).map(|(what, _)| what).collect();
    found.push(match &lacks[..] {
        [] => DoctorFinding::good("metadata", "owners, modes and symlinks can be set"),
        lacks => DoctorFinding::warning(
            "metadata",
            format!("{} cannot be set; they are kept in .backup_manager/kept", lacks.join(", ")),
            "run it as root on a Linux file system",
        ),
    });
    found
}
