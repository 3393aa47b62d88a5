//! The checks of the hosts of remote sources: ssh, the helper, and the keys that can be limited to it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Layout;
use engine::RunError;
use engine::Stop;
use rustix::process::geteuid;
use transport::helper::install::{HelperPlace, look_for_helper_place};
use transport::remote::{NoHelper, RemoteHelper, RemoteSource};
use transport::remote_target::look_for_writing_helper;
use transport::ssh::connect::user_entry::{Account, account, ssh_folder};

use crate::config::host_dir::{self, HostDir};
use crate::config::mistake::shown_path;
use crate::config::types::{NamedJob, Remote};
use crate::daemon::keys::{self, KeyComplaint};
use crate::doctor::checks::roots;
use crate::doctor::finding::DoctorFinding;
use crate::hint::hint_for;
use crate::jobs::open_source::{Access, close, options, remote, unstarted};
use crate::term::shell;

/// Checks the account and the keys that `ssh` needs.
pub(crate) fn ssh(jobs: &[NamedJob]) -> Vec<DoctorFinding> {
    let uid = geteuid().as_raw();
    let mut found = Vec::new();
    if account() == Account::Unknown {
        found.push(DoctorFinding::bad(
            "ssh account",
            format!(
                "the user {uid} is not in /etc/passwd, and without an entry ssh does not start"
            ),
            Some("add one, or install libnss-wrapper".into()),
        ));
    }
    let folder = ssh_folder();
    let complaints = keys::complaints(&folder, uid, keys::keyless(jobs));
    if complaints.is_empty() {
        let text = format!("ssh refuses nothing in {}", shown_path(&folder));
        found.push(DoctorFinding::good("ssh keys", text));
    }
    // Only a connection shows whether the host accepts a key.
    let warning =
        |complaint: KeyComplaint| DoctorFinding::warning("ssh keys", complaint.what, complaint.fix);
    found.extend(complaints.into_iter().map(warning));
    found
}

/// Checks whether the sources on `host` can be reached and read, in the same way as a run does before it begins.
pub(crate) fn sources(job: &NamedJob, host: &Remote, stop: &Arc<Stop>) -> Vec<DoctorFinding> {
    let mut connected = None;
    let found = match remote(host, job, stop, Access::Check, &mut connected) {
        Ok(source) => {
            let mut found = way(host, job, connected.as_deref());
            found.extend(roots(job, &source));
            found.extend(restores(job, host, connected.as_deref(), stop));
            found.extend(key_lines(job, host, connected.as_deref(), stop));
            found
        }
        Err(error) => {
            let error = RunError::NoConnection(error);
            vec![DoctorFinding::bad("connection", error.to_string(), hint_for(job, &error))]
        }
    };
    close(connected);
    found
}

/// How a host is read.
fn way(host: &Remote, job: &NamedJob, source: Option<&RemoteSource>) -> Vec<DoctorFinding> {
    let address = &host.address;
    let good = |what: String| DoctorFinding::good("connection", what);
    match source {
        Some(source @ RemoteSource::Helper(_)) => {
            let runs = good(format!("{address} knows this user and runs backup_manager"));
            let note = source.note().map(|note| DoctorFinding::good("helper", note));
            [runs].into_iter().chain(note).collect()
        }
        Some(RemoteSource::Sftp(_, Some(why))) => {
            let offers = good(format!("{address} knows this user and offers SFTP"));
            vec![offers, over_sftp(host, job, why)]
        }
        _ => vec![good(format!("{address} knows this user and offers SFTP"))],
    }
}

/// Why a host is read over SFTP although a helper is wanted.
fn over_sftp(host: &Remote, job: &NamedJob, why: &NoHelper) -> DoctorFinding {
    const CHECK: &str = "helper";
    let address = &host.address;
    let read = |why: &str| {
        format!("{address} is read over SFTP, without hard links, attributes and devices: {why}")
    };
    let missing = read(&format!("it runs no backup_manager ({why})"));
    let next = unstarted((host, &host.helper), why, &job.wanted);
    match (&host.helper, next) {
        (RemoteHelper::Auto | RemoteHelper::Present | RemoteHelper::Off, next) => {
            let next = next.map_or_else(String::new, |next| format!("; {next}"));
            DoctorFinding::good(CHECK, format!("{missing}{next}, or see docs/remote.md"))
        }
        (_, Some(next)) => DoctorFinding::warning(CHECK, missing, next),
        (_, None) => {
            let why = why.to_string();
            let (why, fix) = why.rsplit_once("; ").unwrap_or((&why, "see docs/remote.md"));
            DoctorFinding::warning(CHECK, read(why), fix.to_owned())
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
            DoctorFinding::warning(CHECK, what, crate::hint::unconnected(&error, address))
        }
    })
}

/// What to do first on a host that has no helper.
const PUT: &str =
    "after backup_manager was put into a folder in the PATH of that user, such as /usr/local/bin: ";

/// What to do where the key has a forced command already, which hides where the helper is.
const KEEP: &str = "with the program that the line of the present key names: ";

/// The lines for the hosts of the copies with which a key can add snapshots, and nothing else.
pub(crate) fn copy_keys(job: &NamedJob) -> Vec<DoctorFinding> {
    let hosts = job.copies.to.iter().filter_map(|to| HostDir::of(to));
    let line = |HostDir { address, dir }: HostDir| {
        let program = match &job.copies.reach.helper {
            Some(RemoteHelper::Command(command)) => command.clone(),
            _ => "backup_manager".to_owned(),
        };
        let root = if dir.is_empty() { b"/srv/copies".to_vec() } else { dir };
        let command = format!("{program} serve --append-only --root {}", shell::word(&root));
        let line = format!("command=\"{}\",restrict", command.replace('"', "\\\""));
        DoctorFinding::good(
            "copy key",
            format!(
                "a key that can add copies to {} and do nothing else has this in front of it in ~/.ssh/authorized_keys there: {line}",
                host_dir::account(&address)
            ),
        )
    };
    hosts.map(line).collect()
}

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
        RemoteHelper::Auto | RemoteHelper::Install | RemoteHelper::Present => {
            let (install, stop) = (host.helper == RemoteHelper::Install, Arc::clone(stop));
            let asks_anew = || {
                let options = options(host, &job.wanted);
                look_for_helper_place(&host.address, &options, install, move || stop.asked())
            };
            let asked = source.and_then(|source| source.helper_place(install));
            match asked.unwrap_or_else(asks_anew) {
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
