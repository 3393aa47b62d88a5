//! Refuses `--in-place` for a snapshot of a remote host: its paths are those of the host, not of this machine.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::Report;
use engine::SnapshotName;
use engine::entry::escape::shown;
use transport::ssh::connect::address::Address;

use crate::config::host_dir;
use crate::exit::Exit;
use crate::snapshots::open::Series;
use crate::term::print::fail;
use crate::term::shell::word;

/// Prints what to write instead of `--in-place` where the snapshot is of a remote host. The report says whether it is;
/// without a report the setting of the job does.
///
/// # Errors
/// It is of a remote host.
pub(super) fn refuse(
    series: &Series,
    name: &SnapshotName,
    report: Option<&Report>,
    paths: &[Vec<u8>],
) -> Result<(), Exit> {
    let Some(source) = SourceHost::of(series, report) else { return Ok(()) };
    let host = shown(source.name.as_bytes());
    let back = match &dirs(series, name, paths)[..] {
        [] => source.option(b"/"),
        [dir] => source.option(dir),
        [dir, ..] => format!("{}, with one PATH at a time,", source.option(dir)),
    };
    fail(&format!(
        "--in-place restores to this machine, and {name} is a snapshot of {host}; write {back} to restore to that host, or --to DIR for a folder of this machine"
    ));
    Err(Exit::Usage)
}

/// Refuses `--to HOST` without a colon where the snapshot is of that host: it would be a folder of this machine.
///
/// # Errors
/// It is that host, and no folder has this name.
pub(super) fn refuse_bare(series: &Series, name: &SnapshotName, to: &OsStr) -> Result<(), Exit> {
    let report = series.catalog.report(name);
    let source = SourceHost::of(series, report.as_ref());
    let is_host = source.is_some_and(|source| source.name.as_bytes() == to.as_bytes());
    if !is_host || Path::new(to).is_dir() {
        return Ok(());
    }
    let to = shown(to.as_bytes());
    fail(&format!(
        "--to {to}: that is the host of the snapshot; write --to {to}:DIR for a folder there, or ./{to} for a folder here"
    ));
    Err(Exit::Usage)
}

/// The remote host that a snapshot is of.
struct SourceHost {
    name: String,
    /// Its address, and the port that `--to` needs besides.
    address: Option<(Address, Option<u16>)>,
}

impl SourceHost {
    fn of(series: &Series, report: Option<&Report>) -> Option<Self> {
        let of_job = series.job.as_ref().and_then(|job| Some(&job.remote.as_ref()?.address));
        let Some(recorded) = report.and_then(|report| report.host.as_ref()) else {
            let address = of_job?.clone();
            return Some(Self { name: address.host().to_owned(), address: Some((address, None)) });
        };
        let name = recorded.name.clone()?;
        // A restore to the host of the job takes the port from the job.
        let same = of_job.filter(|address| address.host().eq_ignore_ascii_case(&name));
        let address = match same {
            Some(address) => Some((address.clone(), None)),
            None => {
                let address = host_dir::address(name.as_bytes(), None).ok();
                address.map(|address| (address, recorded.port))
            }
        };
        Some(Self { name, address })
    }

    /// The option that restores into the folder `dir` of the host.
    fn option(&self, dir: &[u8]) -> String {
        let (host, port) = match &self.address {
            Some((address, port)) => (host_dir::account(address), *port),
            None => ("HOST".to_owned(), None),
        };
        let port = port.map_or_else(String::new, |port| format!(" --ssh-port {port}"));
        format!("--to {}{port}", word(&[host.as_bytes(), b":", dir].concat()))
    }
}

/// The folders of the host into which `--to` restores `paths`, or else everything, to where it came from.
fn dirs(series: &Series, name: &SnapshotName, paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let roots = series.roots_of(name);
    let mut dirs: Vec<Vec<u8>> = match paths {
        [] => roots.pairs().iter().filter_map(|(path, inside)| above(path, inside)).collect(),
        paths => paths.iter().map(|path| parent(path)).collect(),
    };
    dirs.sort();
    dirs.dedup();
    dirs
}

/// The folder that contains `path`.
fn parent(path: &[u8]) -> Vec<u8> {
    let names = names(path);
    absolute(&names[..names.len().saturating_sub(1)])
}

/// The folder below which `inside` is the path of the root `path`.
fn above(path: &[u8], inside: &[u8]) -> Option<Vec<u8>> {
    names(path).strip_suffix(&names(inside)[..]).map(absolute)
}

fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect()
}

fn absolute(names: &[&[u8]]) -> Vec<u8> {
    [b"/", &names.join(&b'/')[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_from_which_it_came() {
        for (path, expected) in
            [("/home/u/f", "/home/u"), ("/f", "/"), ("/", "/"), ("/a//b/", "/a")]
        {
            assert_eq!(parent(path.as_bytes()), expected.as_bytes(), "{path}");
        }
        for (path, inside, expected) in [
            ("/home/u", "home/u", Some("/")),
            ("/home/u", "u", Some("/home")),
            ("/home/u", "", Some("/home/u")),
            ("/home/u", "elsewhere", None),
        ] {
            let expected = expected.map(|dir| dir.as_bytes().to_vec());
            assert_eq!(above(path.as_bytes(), inside.as_bytes()), expected, "{path} {inside}");
        }
    }
}
