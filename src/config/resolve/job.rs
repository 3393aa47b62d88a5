//! Checks the values of one job against each other, and builds the job.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use engine::Host;
use engine::Job;
use engine::Layout;
use engine::Preserve;
use engine::Retention;
use engine::snapshot::LayoutError;
use engine::snapshot::Periods;
use engine::snapshot::SnapshotLinks;
use engine::source::Selection;
use transport::local::Follow;
use transport::remote::RemoteHelper;
use transport::ssh::connect::address::BadAddress;

use crate::config::checks::value::GivenValue;
use crate::config::layers::first;
use crate::config::mistake::{Mistake, SettingOrigin, shown_path};
use crate::config::resolve::draft::Draft;
use crate::config::resolve::mistyped::Known;
use crate::config::resolve::{alerts, mistyped, overlap};
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::rsync::remote_program::RemoteProgram;
use crate::config::setting::Layer;
use crate::config::types::{HealthLimits, NamedJob, Remote, RunLimits};
use crate::config::values::bandwidth::Bandwidth;
use crate::config::{bounded, rsync};
use crate::schedule::timetable::Timetable;
use crate::schedule::window::OpenHours;

/// The host of the sources, as reports record it.
fn host(remote: Option<&Remote>) -> Host {
    match remote {
        Some(Remote { address, .. }) => {
            Host { name: Some(address.host().to_lowercase()), port: address.port(), machine: None }
        }
        None => Host { machine: machine(), ..Host::default() },
    }
}

/// A hash of the local machine's ID. machine-id(5) requires that the ID itself is not published. Containers
/// usually have no ID.
pub(crate) fn machine() -> Option<String> {
    let id = fs::read("/etc/machine-id").ok()?;
    let id = id.trim_ascii();
    let set = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit);
    set.then(|| engine::repository::machine_hash(id))
}

/// `--rsync-path`, if it does not say how the helper is started, with the reason.
fn unused_program(remote: &Remote, wanted: &RsyncOptions) -> Option<String> {
    let reason = match (wanted.program.as_ref()?, &remote.helper) {
        (RemoteProgram::Command(command), RemoteHelper::Command(used)) if command == used => {
            return None;
        }
        (RemoteProgram::Command(_), _) => "REMOTE_HELPER is set",
        (RemoteProgram::Rsync, _) => "it only names the path of rsync, which is not used",
        (RemoteProgram::Other, _) => {
            "it does not end in rsync; write what starts backup_manager there into REMOTE_HELPER"
        }
    };
    Some(format!("--rsync-path ({reason})"))
}

impl Draft<'_> {
    /// Checks the values of the job against each other. `None` if there is a mistake.
    pub(crate) fn build(
        &self,
        current_dir: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<NamedJob> {
        let mut remote = self.remote(mistakes);
        let mut wanted = self.wanted(mistakes);
        let selection = wanted.as_ref().map_or(Ok(None), |w| self.selection(w, current_dir));
        let selection = selection.map_err(|mistake| mistakes.push(mistake)).ok();
        let backups_dir = self.backups_dir(current_dir);
        let listed = wanted.as_ref().is_some_and(|wanted| wanted.files_from.is_some());
        let relative = wanted.as_ref().is_some_and(|wanted| wanted.relative);
        let layout = self.layout(relative, listed, current_dir, mistakes);
        match (&remote, &layout, &backups_dir) {
            (None, Some(layout), Some(backups_dir)) => {
                self.check_sources_outside(layout, backups_dir, mistakes);
            }
            (Some(_), ..) => self.check_absolute(mistakes),
            _ => {}
        }
        self.check_typed(remote.is_some(), current_dir, mistakes);
        let notify = alerts::notify(&self.layers, mistakes);
        if let (Some(remote), Some(wanted)) = (&mut remote, &mut wanted) {
            self.over_ssh(remote, wanted, mistakes);
        }
        let wanted = wanted?;
        let filters = crate::config::resolve::filters::read(&wanted.filters, current_dir, mistakes);
        let job = Job {
            prefix: self.value(|layer| layer.prefix.as_ref())?,
            host: host(remote.as_ref()),
            layout: layout?,
            backups_dir: backups_dir?,
            backups_mode: self.value(|layer| layer.backups_mode.as_ref()),
            keep: Preserve {
                ctime: self.value(|layer| layer.trust_ctime.as_ref())?,
                ..wanted.keep
            },
            retention: self.retention()?,
            minimum_time_guard: self.value(|layer| layer.minimum_time_guard.as_ref())?,
            max_shrink_percent: self.value(|layer| layer.max_shrink_percent.as_ref())?,
            filters: filters?,
            selection: selection?,
            max_delete: wanted.max_delete,
            links: SnapshotLinks {
                latest: self.value(|layer| layer.latest_link.as_ref())?,
                previous_versions: self.value(|layer| layer.previous_versions.as_ref())?,
            },
            change_brake: self.value(|layer| layer.change_brake.as_ref())?,
            rename_from: self.value(|layer| layer.rename_detection.as_ref())?,
            prune_empty: wanted.prune_empty,
        };
        let alert = self.alert()?;
        let copies = self.copies(current_dir, mistakes)?;
        let (mut without_effect, over_sftp) = self.without_effect(remote.is_some());
        without_effect.extend(remote.as_ref().and_then(|remote| unused_program(remote, &wanted)));
        match &mut remote {
            Some(Remote { helper: RemoteHelper::Off, .. }) => without_effect.extend(over_sftp),
            Some(remote) => remote.without_effect_over_sftp = over_sftp,
            None => {}
        }
        Some(NamedJob {
            name: self.name.clone(),
            job,
            remote,
            alert,
            notify: notify?,
            hooks: alerts::hooks(&self.layers)?,
            copies,
            limits: self.limits(&wanted),
            wanted,
            without_effect,
        })
    }

    /// The given options that have no effect, and those that have none over SFTP.
    fn without_effect(&self, remote: bool) -> (Vec<String>, Vec<String>) {
        // The defaults come last; the user did not give them.
        let given = self.layers.split_last().map_or(&[][..], |(_, given)| given);
        let params = self.params(given);
        let params = || params.iter().map(|(param, _)| *param);
        let over_sftp = if remote { rsync::only_local(params()) } else { Vec::new() };
        (rsync::without_effect(params(), remote), over_sftp)
    }

    /// The selection from `--files-from`.
    pub(crate) fn selection(
        &self,
        wanted: &RsyncOptions,
        current_dir: &Path,
    ) -> Result<Option<Arc<Selection>>, Mistake> {
        let Some(file) = &wanted.files_from else { return Ok(None) };
        let path = shown_path(file);
        let origin = SettingOrigin::other(&format!("--files-from={path}"));
        let list = bounded::read(&current_dir.join(file), bounded::LIST).map_err(|error| {
            origin.mistake(format!("cannot read it: {error}; write the path of a readable file"))
        })?;
        match Selection::read(&list, wanted.from0, wanted.recursive) {
            Ok(selection) => Ok(Some(Arc::new(selection))),
            Err(lines) => {
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                Err(origin.mistake(lines.join("; ")))
            }
        }
    }

    /// Takes user and port from `-e`, and rejects following symlinks over SFTP, which cannot report where a
    /// symlink leads.
    pub(crate) fn over_ssh(
        &self,
        Remote { address, helper, .. }: &mut Remote,
        wanted: &mut RsyncOptions,
        mistakes: &mut Vec<Mistake>,
    ) {
        let Some(given) = first(&self.layers, |layer| layer.remote.as_ref()) else { return };
        let shell = &wanted.shell;
        match address.with(shell.user.as_deref(), shell.port) {
            Ok(whole) => *address = whole,
            Err(error) => mistakes.push(given.origin.mistake(format!("{error} (-e)"))),
        }
        let helper_given = first(&self.layers[..self.layers.len().saturating_sub(1)], |layer| {
            layer.remote_helper.as_ref()
        });
        if let (None, Some(RemoteProgram::Command(command))) = (helper_given, &wanted.program) {
            *helper = RemoteHelper::Command(command.clone());
        }
        if wanted.follow != Follow::default() && *helper == RemoteHelper::Off {
            mistakes.push(given.origin.mistake(
                "-L, -k and --copy-unsafe-links follow no symlinks over SFTP; remove them or REMOTE_HELPER=off, or name in SRCS_TO_BACKUP what they lead to",
            ));
        }
    }

    /// The retention; `None` if there is a mistake.
    pub(crate) fn retention(&self) -> Option<Retention> {
        let given = |field: fn(&Layer) -> Option<&GivenValue<u32>>| self.value(field).unwrap_or(0);
        let keep = Periods {
            last: given(|layer| layer.keep_last.as_ref()),
            hourly: given(|layer| layer.keep_hourly.as_ref()),
            daily: given(|layer| layer.keep_daily.as_ref()),
            weekly: given(|layer| layer.keep_weekly.as_ref()),
            monthly: given(|layer| layer.keep_monthly.as_ref()),
            yearly: given(|layer| layer.keep_yearly.as_ref()),
        };
        let max = self.value(|layer| layer.max_backups.as_ref())?;
        // The default count applies only if the user sets no retention; it must not remove snapshots that
        // periods keep.
        let (_, said) = self.layers.split_last()?;
        let counted = !keep.any() || said.iter().any(|layer| layer.max_backups.is_some());
        Some(Retention { max: counted.then_some(max), keep })
    }

    /// When the job counts as unhealthy; `None` if there is a mistake.
    pub(crate) fn alert(&self) -> Option<HealthLimits> {
        let guard = self.value(|layer| layer.minimum_time_guard.as_ref())?;
        let max_age = self.value(|layer| layer.max_age.as_ref());
        Some(HealthLimits {
            max_age: max_age.unwrap_or(guard + TimeDelta::hours(24)),
            guard,
            hours: self.hours(),
            failures: self.value(|layer| layer.failures_before_alert.as_ref())?,
        })
    }

    /// The window in which the job may run.
    fn hours(&self) -> Option<OpenHours> {
        let window = self.value(|layer| layer.window.as_ref())?;
        Some(OpenHours { window, zone: self.zone })
    }

    /// When the job runs, how fast, and at which priority.
    fn limits(&self, wanted: &RsyncOptions) -> RunLimits {
        let set = || self.value(|layer| layer.bwlimit.as_ref());
        let table = wanted.bwlimit.clone().or_else(set).filter(Timetable::limits);
        RunLimits {
            hours: self.hours(),
            bandwidth: table.map(|table| Bandwidth::new(table, self.zone)),
            nice: self.value(|layer| layer.nice.as_ref()),
            ionice: self.value(|layer| layer.ionice.as_ref()),
        }
    }

    /// The time limit for an answer of a remote host.
    pub(crate) fn answer_timeout(&self) -> Duration {
        // A mistake in it is already reported.
        self.value(|layer| layer.answer_timeout.as_ref()).unwrap_or_default()
    }

    /// The value of `SFTP_CHANNELS`, if set.
    pub(crate) fn sftp_channels(&self) -> Option<NonZeroUsize> {
        first(&self.layers, |layer| layer.sftp_channels.as_ref())?.value
    }

    /// The program at the far end of a remote host.
    pub(crate) fn helper(&self) -> RemoteHelper {
        // A mistake in it is already reported.
        self.value(|layer| layer.remote_helper.as_ref()).unwrap_or(RemoteHelper::Off)
    }

    /// The host of the sources, if the sources are remote.
    pub(crate) fn remote(&self, mistakes: &mut Vec<Mistake>) -> Option<Remote> {
        let given = first(&self.layers, |layer| layer.remote.as_ref())?;
        let text = given.value.as_ref().filter(|host| !host.is_empty())?;
        match text.parse() {
            Ok(address) => {
                let answer_timeout = self.answer_timeout();
                let sftp_channels = self.sftp_channels();
                Some(Remote {
                    address,
                    answer_timeout,
                    sftp_channels,
                    helper: self.helper(),
                    without_effect_over_sftp: Vec::new(),
                    known_hosts: None,
                })
            }
            Err(error) => {
                let form = "write user@host, user@host:port or user@[v6]:port, and the folders into SRCS_TO_BACKUP";
                let error: BadAddress = error;
                mistakes.push(given.origin.mistake(format!("{error}; {form}")));
                None
            }
        }
    }

    /// Checks for quotes and separators that a user typed for a shell. What exists on another machine is not
    /// known here.
    pub(crate) fn check_typed(
        &self,
        remote: bool,
        current_dir: &Path,
        mistakes: &mut Vec<Mistake>,
    ) {
        let Some(given) = first(&self.layers, |layer| layer.sources.as_ref()) else { return };
        for path in given.value.iter().flatten() {
            let bytes = path.as_os_str().as_bytes();
            let known = match remote {
                true => Known::Remote,
                false if mistyped::exists(path, current_dir) => Known::Exists,
                false => Known::Missing,
            };
            mistakes
                .extend(mistyped::in_source(bytes, known).map(|what| given.origin.mistake(what)));
        }
    }

    /// Checks that remote paths are absolute: a remote host has no current folder in which a path could
    /// start.
    pub(crate) fn check_absolute(&self, mistakes: &mut Vec<Mistake>) {
        let Some(given) = first(&self.layers, |layer| layer.sources.as_ref()) else { return };
        for path in given.value.iter().flatten().filter(|path| !path.is_absolute()) {
            let path = path.display();
            let what =
                format!("'{path}' is on another machine (REMOTE_SRC_HOST): write it from '/' on");
            mistakes.push(given.origin.mistake(what));
        }
    }

    pub(crate) fn layout(
        &self,
        relative: bool,
        listed: bool,
        current_dir: &Path,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Layout> {
        let Some(given) = first(&self.layers, |layer| layer.sources.as_ref()) else {
            let nothing = "does not say what to back up; write for example SRCS_TO_BACKUP";
            mistakes.push(match self.origin {
                Some(origin) => origin.mistake(format!("it {nothing} = [\"/home\"]")),
                None => SettingOrigin::variable("SRCS_TO_BACKUP")
                    .mistake("it is not set; write for example SRCS_TO_BACKUP=/home,/etc (or --srcs-to-backup)"),
            });
            return None;
        };
        let mut paths = given.value.clone()?;
        if listed {
            let [path] = &mut paths[..] else {
                mistakes.push(given.origin.mistake(
                    "the paths in --files-from lie below one source; write one path, or remove --files-from",
                ));
                return None;
            };
            // As in rsync, the listed paths are kept below the source as with --relative.
            *path = path.components().collect();
            path.push("./");
        }
        match Layout::new(&paths, relative || listed, current_dir) {
            Ok(layout) => Some(layout),
            Err(errors) => {
                mistakes.extend(errors.iter().map(|error| match error {
                    LayoutError::Empty => {
                        given.origin.mistake("it names no path; write for example /home,/etc")
                    }
                    error => given.origin.mistake(error),
                }));
                None
            }
        }
    }

    pub(crate) fn check_sources_outside(
        &self,
        layout: &Layout,
        backups_dir: &Path,
        mistakes: &mut Vec<Mistake>,
    ) {
        let Some(given) = first(&self.layers, |layer| layer.sources.as_ref()) else { return };
        for (root, _) in layout.roots() {
            if overlap::lies_in(&root, backups_dir) {
                mistakes.push(given.origin.mistake(format!(
                    "the source {} lies inside the backups folder {}; remove it, or write another BACKUPS_DIR",
                    shown_path(&root),
                    shown_path(backups_dir)
                )));
            }
        }
    }
}
