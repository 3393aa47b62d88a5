//! Opens the source of a job according to its settings and rsync options.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use engine::MappedSource;
use engine::NoConnection;
use engine::Preserve;
use engine::Source;
use engine::Stop;
use engine::fs::XattrSelection;
use engine::source::MetadataMap;
use engine::source::RateLimit;
use engine::threads::share_of;
use transport::Follow;
use transport::helper::read::Asked;
use transport::local::LocalSource;
use transport::remote::{NoHelper, RemoteHelper, RemoteSource};
use transport::ssh::options::{Compression, LossReport, Options};

use crate::config::rsync::parsed::RsyncOptions;
use crate::config::rsync::remote_program::RemoteProgram;
use crate::config::setting::find::secret_variables;
use crate::config::types::{NamedJob, Remote};
use crate::config::values::log_format::Format;
use crate::hint::helper::{READS, Started, next};
use crate::hint::step::Step;
use crate::jobs::channels::ChannelMemory;
use crate::log::JobLog;

/// Minimum bytes in flight from a remote source with a limited rate: about one request.
const UNDER_WAY: u64 = 256 * 1024;

/// The bytes in flight, and those that wait for the disk, that several jobs share.
const MOST_UNDER_WAY: usize = 28 << 20;

/// The purpose for which a source is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Taking a snapshot.
    Run,
    /// An operation that writes nothing.
    Look,
    /// The same, except that it may copy the helper to the host: `doctor` shows whether that works.
    Check,
}

/// Opens the folders of a remote host. `connected` holds the connection until it is closed.
///
/// # Errors
/// If no connection can be made.
pub(crate) fn remote(
    host: &Remote,
    job: &NamedJob,
    stop: &Arc<Stop>,
    access: Access,
    connected: &mut Option<Arc<RemoteSource>>,
) -> Result<Arc<MappedSource<RemoteSource>>, NoConnection> {
    let stopped = Arc::clone(stop);
    let memory = memory(host, job, access);
    let log = JobLog::new(&job.name, Format::Text);
    let about = log.clone();
    let loss_report = loss_report(host.address.to_string(), {
        let log = log.clone();
        move |what| log.warn(what)
    });
    let channel_limit = memory.limit(move |what| log.warn(what));
    let options = Options {
        channel_limit,
        loss_report,
        under_way: under_way(job.limits.bandwidth.as_ref().and_then(|limit| limit.at(Utc::now()))),
        ..options(host, &job.wanted)
    };
    let Preserve { acls, xattrs, .. } = job.job.keep;
    let (follow, roots) = (job.wanted.follow, job.job.layout.roots());
    let asked =
        Asked::new(XattrSelection { acls, xattrs }, Arc::clone(&job.job.filters), follow, roots)
            .whole_files(job.job.keep.whole_files);
    if let (Some(RemoteProgram::Command(line)), RemoteHelper::Command(used)) =
        (&job.wanted.program, &host.helper)
        && line == used
    {
        about.info(&format!(
            "--rsync-path: the helper on {} is started with `{line} serve`",
            host.address
        ));
    }
    let helper = match access {
        Access::Run | Access::Check => host.helper.clone(),
        Access::Look => host.helper.without_copying(),
    };
    let source =
        RemoteSource::connect(&host.address, options, &helper, asked, move || stopped.asked())?;
    let source = connected.insert(Arc::new(source));
    if let Some(note) = source.note() {
        about.info(&format!("{}: {note}", host.address));
    }
    if let Some(why) = source.no_helper() {
        over_sftp((host, &helper), why, job, &about)?;
    }
    Ok(tailored(Arc::clone(source), job, stop))
}

/// Reports that a host is read over SFTP because of `why`.
///
/// # Errors
/// The job follows symlinks, which SFTP cannot do.
fn over_sftp(
    (host, helper): (&Remote, &RemoteHelper),
    why: &NoHelper,
    job: &NamedJob,
    log: &JobLog,
) -> Result<(), NoConnection> {
    let address = &host.address;
    let next = unstarted((host, helper), why, &job.wanted);
    if job.wanted.follow != Follow::default() {
        let next = next.map_or_else(String::new, |next| format!("{next}; or "));
        let what = format!(
            "-L, -k and --copy-unsafe-links need backup_manager on {address}, and it does not answer there ({why}); {next}remove these options"
        );
        return Err(what.into());
    }
    let next = next.map_or_else(String::new, |next| format!("; {next}"));
    let mut what =
        format!("{address} is read over SFTP, as it runs no backup_manager serve: {why}{next}");
    let lost = &host.without_effect_over_sftp;
    if !lost.is_empty() {
        what.push_str(&format!("; rsync options without effect: {}", lost.join(", ")));
    }
    // With `auto` nobody asked for a helper.
    match helper {
        RemoteHelper::Install | RemoteHelper::Command(_) => log.warn(&what),
        RemoteHelper::Auto | RemoteHelper::Present | RemoteHelper::Off => log.info(&what),
    }
    Ok(())
}

/// The next step where a host starts no helper to read from, unless `why` has it.
pub(crate) fn unstarted(
    (host, helper): (&Remote, &RemoteHelper),
    why: &NoHelper,
    wanted: &RsyncOptions,
) -> Option<Step> {
    let (address, options) = (&host.address, &options(host, wanted));
    next(&Started { helper, address, options, serve: READS }, why)
}

/// Reports each connection to `address` that is lost and made again.
pub(crate) fn loss_report(
    address: String,
    report: impl Fn(&str) + Send + Sync + 'static,
) -> LossReport {
    LossReport::new(move |why| {
        report(&format!("the connection to {address} was lost: {why}; connecting again"));
    })
}

fn memory<'a>(host: &'a Remote, job: &'a NamedJob, access: Access) -> ChannelMemory<'a> {
    ChannelMemory {
        backups_dir: &job.job.backups_dir,
        address: &host.address,
        setting: host.sftp_channels,
        may_write: access == Access::Run,
    }
}

/// Stores what a run found out about its host.
pub(crate) fn remember(job: &NamedJob, connected: Option<&Arc<RemoteSource>>, log: &JobLog) {
    if let (Some(host), Some(source)) = (&job.remote, connected)
        && let Err(error) = memory(host, job, Access::Run).keep(source.channel_limit())
    {
        log.warn(&error);
    }
}

/// Waits until a connection has ended. After the work was stopped, other threads may still use it while the
/// process ends.
pub(crate) fn close(connected: Option<Arc<RemoteSource>>) {
    if let Some(source) = connected {
        source.close();
    }
}

/// Opens local folders.
pub(crate) fn local(job: &NamedJob, stop: &Arc<Stop>) -> Arc<MappedSource<LocalSource>> {
    let Preserve { acls, xattrs, .. } = job.job.keep;
    let source =
        LocalSource::new(XattrSelection { acls, xattrs }).filtered(Arc::clone(&job.job.filters));
    let source = source.following(job.wanted.follow, job.job.layout.roots());
    tailored(Arc::new(source), job, stop)
}

fn tailored<S: Source>(source: Arc<S>, job: &NamedJob, stop: &Arc<Stop>) -> Arc<MappedSource<S>> {
    let wanted = &job.wanted;
    let shape = MetadataMap {
        chmod: wanted.chmod.clone(),
        users: wanted.users.clone(),
        groups: wanted.groups.clone(),
    };
    let limit = job
        .limits
        .bandwidth
        .clone()
        .map(|bandwidth| RateLimit::new(move || bandwidth.at(Utc::now()), Arc::clone(stop)));
    Arc::new(MappedSource::new(source, shape, limit))
}

/// The most bytes in flight from a source that is read at `rate`.
pub(crate) fn under_way(rate: Option<u64>) -> Option<u64> {
    match rate {
        Some(rate) => Some((rate / 8).max(UNDER_WAY)),
        // The limits of `transport` apply, unless other jobs share the memory.
        None => Some(share_of(MOST_UNDER_WAY) as u64).filter(|most| *most < MOST_UNDER_WAY as u64),
    }
}

/// The options of the connection.
pub(crate) fn options(host: &Remote, wanted: &RsyncOptions) -> Options {
    Options {
        known_hosts: host.known_hosts.clone(),
        channels_given: host.sftp_channels.map(NonZeroUsize::get),
        ..by_rsync(wanted, host.answer_timeout)
    }
}

/// The options of a connection that options of rsync have. `limit`: how long an answer may take unless they say it.
pub(crate) fn by_rsync(wanted: &RsyncOptions, limit: Duration) -> Options {
    let defaults = Options::default();
    let shell = &wanted.shell;
    let family = wanted.family.map(|letter| format!("-{letter}"));
    Options {
        ssh: shell.program.as_ref().map_or(defaults.ssh, Into::into),
        config: shell.config.as_ref().map(Into::into),
        compression: match wanted.compress {
            true => Compression::Protocol(wanted.compress_level),
            false => Compression::AsConfigured,
        },
        args: family.into_iter().chain(shell.args.iter().cloned()).collect(),
        connect_timeout: wanted.contimeout.map_or(defaults.connect_timeout, Duration::from_secs),
        answer_timeout: wanted.timeout.map_or(limit, Duration::from_secs),
        withheld: secret_variables().collect(),
        ..defaults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use transport::compress::Level;

    use crate::config::rsync::read_args;
    use crate::config::rsync::wanted;

    fn of(args: &[&str]) -> Options {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let params = read_args(&args).unwrap();
        let host = Remote {
            address: "host".parse().unwrap(),
            answer_timeout: Duration::from_secs(30),
            sftp_channels: None,
            helper: RemoteHelper::Off,
            without_effect_over_sftp: Vec::new(),
            known_hosts: None,
        };
        options(&host, &wanted(params.iter().map(|param| (param, ""))).unwrap())
    }

    #[test]
    fn options_of_rsync_become_those_of_the_connection() {
        let options =
            of(&["-z4", "--zl=7", "-e", "/opt/ssh -i key -F /c", "--timeout=7", "--bwlimit=1m"]);
        assert_eq!(options.ssh, std::path::Path::new("/opt/ssh"));
        assert_eq!(options.config.as_deref(), Some(std::path::Path::new("/c")));
        assert_eq!(options.args, ["-4", "-i", "key"]);
        assert_eq!(options.compression, Compression::Protocol(Level::nearest(7)));
        assert_eq!(of(&[]).compression, Compression::AsConfigured);
        assert_eq!(options.answer_timeout, Duration::from_secs(7));
        assert_eq!(options.connect_timeout, Options::default().connect_timeout);
        assert_eq!(under_way(Some(1 << 20)), Some(256 * 1024));
        assert_eq!(under_way(Some(80 << 20)), Some(10 << 20));
        assert_eq!(under_way(None), None);
        assert_eq!(of(&[]).answer_timeout, Duration::from_secs(30));
    }
}
