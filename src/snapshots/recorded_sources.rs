//! The sources that the report of a snapshot records, as a job that reads them again.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use chrono::TimeDelta;
use engine::SnapshotName;
use engine::entry::escape::unshown;

use crate::config::checks::list;
use crate::config::load_for_reading;
use crate::config::resolve::job::machine;
use crate::config::setting::Key;
use crate::config::types::{Inputs, NamedJob};
use crate::snapshots::open::Series;

/// Why the recorded sources of a snapshot cannot be read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoSources {
    /// The snapshot has no report, or its report does not record them.
    Unknown,
    /// They are on this host, whose user the report does not record.
    OnHost(String),
    /// They are on another machine.
    OtherMachine,
}

/// The job whose sources and filters are those that the report of `snapshot` records.
///
/// # Errors
/// The sources are not known, or not on this machine.
pub(crate) fn recorded_job(
    series: &Series,
    snapshot: &SnapshotName,
    current: &Inputs,
) -> Result<Arc<NamedJob>, NoSources> {
    let report = series.catalog.report(snapshot).ok_or(NoSources::Unknown)?;
    let host = report.host.as_ref().ok_or(NoSources::Unknown)?;
    if let Some(name) = &host.name {
        return Err(NoSources::OnHost(name.clone()));
    }
    if let (Some(theirs), Some(ours)) = (&host.machine, machine())
        && *theirs != ours
    {
        return Err(NoSources::OtherMachine);
    }
    let sources = report.roots.iter().map(|root| source(&root.path, &root.inside));
    let sources: Vec<Vec<u8>> = sources.collect::<Option<_>>().ok_or(NoSources::Unknown)?;
    let coverage = report.coverage.as_ref();
    let (filters, selection) = match coverage {
        Some(coverage) => (coverage.read_filters(), coverage.read_selection().flatten()),
        None => (None, None),
    };
    let mut flags = current.flags.clone();
    flags.retain(|(key, _)| !matches!(key, Key::BackupNamePrefix | Key::SrcsToBackup));
    flags.push((Key::SrcsToBackup, OsString::from_vec(list::join(&sources))));
    flags.push((Key::BackupNamePrefix, series.prefix.as_str().into()));
    let inputs = Inputs {
        flags,
        rsync_args: current.rsync_args.clone(),
        config_file: current.config_file.clone(),
        names: Vec::new(),
        variables: current.variables.clone(),
        current_dir: current.current_dir.clone(),
    };
    let reading = load_for_reading(&inputs).map_err(|_| NoSources::Unknown)?;
    let job = reading.places.into_iter().find_map(|place| place.job);
    let mut job = job.ok_or(NoSources::Unknown)?;
    if inputs.rsync_args.is_empty() {
        job.job.filters = filters.unwrap_or_else(|| Arc::clone(&job.job.filters));
        job.job.selection = selection.map(Arc::new);
    }
    job.job.minimum_time_guard = TimeDelta::zero();
    Ok(Arc::new(job))
}

/// The source path with rsync's `/./` marker for a root at `path` that lies at `inside` in its snapshot.
fn source(path: &str, inside: &str) -> Option<Vec<u8>> {
    let (path, inside) = (unshown(path)?, unshown(inside)?);
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names.map(<[u8]>::to_vec).collect()
    };
    let (path, inside) = (names(&path), names(&inside));
    let above = path.strip_suffix(&inside[..])?;
    let mut whole = Vec::new();
    for name in above {
        whole.push(b'/');
        whole.extend_from_slice(name);
    }
    if !above.is_empty() {
        whole.extend_from_slice(b"/.");
    }
    whole.push(b'/');
    whole.extend_from_slice(&inside.join(&b'/'));
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_written_so_that_it_lies_where_it_did() {
        for (path, inside, expected) in [
            ("/home/u", "home/u", Some("/home/u")),
            ("/home/u", "u", Some("/home/./u")),
            ("/home/u", "", Some("/home/u/./")),
            ("/", "", Some("/")),
            ("/a\\x0ab", "a\\x0ab", Some("/a\nb")),
            ("/home/u", "elsewhere", None),
        ] {
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(source(path, inside), expected, "{path} {inside}");
        }
    }
}
