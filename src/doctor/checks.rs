//! The checks. Each covers a cause of a failed first backup, or of one that silently did less than expected.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use engine::Layout;
use engine::NoConnection;
use engine::Prefix;
use engine::RunError;
use engine::Source;
use engine::Stop;
use engine::check_roots;
use engine::fs::missing_mount;
use engine::fs::open_to_others;
use engine::inspect::{Look, look};
use engine::repository::Sources;
use engine::repository::{DestinationReport, examine};
use rustix::process::geteuid;
use transport::remote::{RemoteHelper, RemoteSource};
use transport::remote_target::{HelperPlace, look_for_helper_place, look_for_writing_helper};
use transport::ssh::connect::user_entry::{Account, account, ssh_folder};

use crate::config::bounded;
use crate::config::exposed::{complaints, names_secret};
use crate::config::mistake::shown_path;
use crate::config::types::{NamedJob, Remote};
use crate::daemon::checks::not_a_mount;
use crate::daemon::{environment_zone, keys};
use crate::doctor::finding::DoctorFinding;
use crate::hint::connection::unstarted;
use crate::jobs::open_source::{Access, close, local, options, remote};
use crate::schedule::crontab::Crontab;
use crate::snapshots::only_folder::contents;
use crate::term::units::{bytes, counted};
use crate::term::{local_time, shell};

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
            Some("set it (timedatectl set-ntp true): snapshots are named by it".to_owned()),
        ),
    }];
    let (zone, wrong) = environment_zone();
    for (variable, value) in &wrong {
        let fix = format!("write a name such as {variable}=Europe/Berlin");
        let what = format!("{variable}={value} is not a known time zone; times are UTC");
        found.push(DoctorFinding::bad("time zone", what, Some(fix)));
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
                let fix = Some(format!("correct that line of {shown}"));
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
                    "add one: 0 * * * * backup_manager run",
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
            let fix = Some(format!("chmod a+r {shown}"));
            found.push(DoctorFinding::bad("crontab", format!("cannot read {shown}: {error}"), fix));
        }
    }
    found
}

/// What other users can do with a configuration file.
fn exposed(check: &'static str, path: &Path, secret: bool) -> Vec<DoctorFinding> {
    let finding = |complaint: String| match complaint.split_once("; ") {
        Some((what, fix)) => DoctorFinding::warning(check, what, fix),
        None => DoctorFinding::warning(check, complaint, "chmod 600"),
    };
    complaints(path, secret).into_iter().map(finding).collect()
}

/// Checks the account and the keys that `ssh` needs.
pub(crate) fn ssh() -> Vec<DoctorFinding> {
    let uid = geteuid().as_raw();
    let mut found = Vec::new();
    if account() == Account::Unknown {
        found.push(DoctorFinding::bad(
            "ssh account",
            format!(
                "the user {uid} is not in /etc/passwd, and without an entry ssh does not start"
            ),
            Some("add one, or install libnss-wrapper".to_owned()),
        ));
    }
    let folder = ssh_folder();
    let complaints = keys::complaints(&folder, uid);
    if complaints.is_empty() {
        found.push(DoctorFinding::good("ssh keys", format!("{} is in order", shown_path(&folder))));
    }
    // Keys may also come from an agent or from `-e`; only a connection shows whether the host accepts one.
    found.extend(complaints.into_iter().map(|complaint| match complaint.split_once("; ") {
        Some((what, fix)) => DoctorFinding::warning("ssh keys", what, fix),
        None => DoctorFinding::warning("ssh keys", complaint, "see ssh(1), FILES"),
    }));
    found
}

/// Checks whether the sources can be reached and read, in the same way as a run does before it begins.
pub(crate) fn sources(job: &NamedJob, stop: &Arc<Stop>) -> Vec<DoctorFinding> {
    let Some(host) = &job.remote else { return roots(job, &local(job, stop)) };
    let mut connected = None;
    let found = match remote(host, job, stop, Access::Look, &mut connected) {
        Ok(source) => {
            let mut found = way(host, connected.as_deref());
            found.extend(roots(job, &source));
            found.extend(restores(job, host, connected.as_deref(), stop));
            found.extend(key_lines(job, host, connected.as_deref(), stop));
            found
        }
        Err(error) => vec![unreached(error)],
    };
    close(connected);
    found
}

/// How a host is read.
fn way(host: &Remote, source: Option<&RemoteSource>) -> Vec<DoctorFinding> {
    let address = &host.address;
    let good = |what: String| DoctorFinding::good("connection", what);
    match source {
        Some(source @ RemoteSource::Helper(_)) => {
            let runs = good(format!("{address} knows this user and runs backup_manager"));
            let note = source.note().map(|note| DoctorFinding::good("helper", note));
            [runs].into_iter().chain(note).collect()
        }
        Some(RemoteSource::Sftp(_, Some(why))) => {
            vec![good(format!("{address} knows this user and offers SFTP")), over_sftp(host, why)]
        }
        _ => vec![good(format!("{address} knows this user and offers SFTP"))],
    }
}

/// Why a host is read over SFTP although a helper is wanted.
fn over_sftp(host: &Remote, why: &str) -> DoctorFinding {
    const CHECK: &str = "helper";
    let address = &host.address;
    let read = |why: &str| {
        format!("{address} is read over SFTP, without hard links, attributes and devices: {why}")
    };
    let missing = format!("it runs no backup_manager ({why})");
    match &host.helper {
        RemoteHelper::Install => {
            let (why, fix) = why.rsplit_once("; ").unwrap_or((why, "see docs/remote.md"));
            DoctorFinding::warning(CHECK, read(why), fix)
        }
        RemoteHelper::Command(command) => {
            DoctorFinding::warning(CHECK, read(&missing), unstarted(command))
        }
        RemoteHelper::Auto | RemoteHelper::Off => {
            let next = "REMOTE_HELPER=install copies it there, or see docs/remote.md";
            DoctorFinding::good(CHECK, format!("{}; {next}", read(&missing)))
        }
    }
}

/// How a restore to the host of the job arrives there.
fn restores(
    job: &NamedJob,
    host: &Remote,
    source: Option<&RemoteSource>,
    stop: &Arc<Stop>,
) -> Option<DoctorFinding> {
    const CHECK: &str = "restores";
    let (address, stop) = (&host.address, Arc::clone(stop));
    if !matches!(source, Some(RemoteSource::Helper(_))) {
        let what = format!(
            "a restore to {address} goes over SFTP, with whole seconds, and without attributes, pipes and devices"
        );
        return Some(DoctorFinding::good(CHECK, what));
    }
    let options = options(host, &job.wanted);
    Some(match look_for_writing_helper(address, &options, &host.helper, move || stop.asked())? {
        Ok(()) => DoctorFinding::good(
            CHECK,
            format!(
                "a restore to {address} goes through its backup_manager, and everything comes back"
            ),
        ),
        Err(error) if error.is_about_service() => DoctorFinding::good(
            CHECK,
            format!(
                "a restore to {address} goes over SFTP, if this key may use it, or needs another key: no backup_manager that writes starts there ({error})"
            ),
        ),
        Err(error) => {
            let what = format!("a second connection to {address} failed: {error}");
            DoctorFinding::warning(CHECK, what, crate::hint::unconnected(&error))
        }
    })
}

/// What to do first on a host that has no helper.
const PUT: &str =
    "after backup_manager was put into a folder in the PATH of that user, such as /usr/local/bin: ";

/// What to do where the key has a forced command already, which hides where the helper is.
const KEEP: &str = "with the program that the line of the present key names: ";

/// The lines for the host with which a key can read the sources of this job, or restore into them, and nothing else.
fn key_lines(
    job: &NamedJob,
    host: &Remote,
    source: Option<&RemoteSource>,
    stop: &Arc<Stop>,
) -> Vec<DoctorFinding> {
    let own = || "backup_manager".to_owned();
    let (program, first) = match &host.helper {
        RemoteHelper::Off => return Vec::new(),
        RemoteHelper::Command(command) => (command.clone(), ""),
        RemoteHelper::Auto | RemoteHelper::Install => {
            let (install, stop) = (host.helper == RemoteHelper::Install, Arc::clone(stop));
            let options = options(host, &job.wanted);
            match look_for_helper_place(&host.address, &options, install, move || stop.asked()) {
                HelperPlace::Program(program) => (program, ""),
                HelperPlace::Unknown if matches!(source, Some(RemoteSource::Helper(_))) => {
                    (own(), KEEP)
                }
                HelperPlace::Unknown | HelperPlace::Missing => (own(), PUT),
            }
        }
    };
    let layout: &Layout = &job.job.layout;
    let quoted = |path: PathBuf| format!(" --root {}", shell::word(path.as_os_str().as_bytes()));
    let roots: String = layout.roots().into_iter().map(|(path, _)| quoted(path)).collect();
    let line = |serve: &str| {
        let command = format!("{program} {serve}{roots}").replace('"', "\\\"");
        format!("command=\"{command}\",restrict")
    };
    let (reads, restores) = (line("serve --read-only"), line("serve"));
    vec![
        DoctorFinding::good(
            "key",
            format!(
                "{first}a key that can read these sources and nothing else has this in front of it in ~/.ssh/authorized_keys of the host: {reads}"
            ),
        ),
        DoctorFinding::good(
            "restore key",
            format!(
                "{first}another key, which can restore into these folders, or into others that you name with --root, and nowhere else, has this in front of it there: {restores}"
            ),
        ),
    ]
}

fn unreached(error: NoConnection) -> DoctorFinding {
    use transport::ssh::connect::connect_error::ConnectError;
    let unknown = error.downcast_ref().and_then(ConnectError::unknown_host_key).is_some();
    let mut finding = DoctorFinding::of("connection", &RunError::NoConnection(error));
    if unknown {
        let fix = finding.fix.take().unwrap_or_default();
        finding.fix = Some(format!(
            "{} doctor --pin (it shows the fingerprint and asks), or by hand: {fix}",
            crate::hint::typed::program()
        ));
    }
    finding
}

fn roots<S: Source>(job: &NamedJob, source: &Arc<S>) -> Vec<DoctorFinding> {
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
        Some((what, fix)) => DoctorFinding::warning("mount", what, fix),
        None => DoctorFinding::warning("mount", what, "mount a disk of its own there"),
    }));
    found.push(access(dir, mode));
    found.extend(limits(&able));
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
        Some(report) => format!("{complete}, the newest of {}", contents(report)),
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
                "repeat it when the run has ended: backup_manager doctor --remove-orphans",
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
        "bring the snapshots back if they were moved; otherwise: backup_manager doctor --remove-orphans",
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
            "as root: backup_manager doctor --give-back",
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
            format!("chmod 700 {path}, or set BACKUPS_MODE={:04o} if that is meant", mode & 0o777),
        ),
    }
}

fn limits(able: &DestinationReport) -> Vec<DoctorFinding> {
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
            "use ext4, xfs or btrfs, or mount with user_xattr",
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
