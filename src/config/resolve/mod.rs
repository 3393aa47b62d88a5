//! Layers become jobs: who wins, and what has to fit together.

pub(crate) mod alerts;
pub(crate) mod filters;
pub(crate) mod overlap;
pub(crate) mod snapshot_places;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use engine::entry::preserve::Keep;
use engine::job::Job;
use engine::snapshot::host::Host;
use engine::snapshot::layout::{Layout, LayoutError};
use engine::snapshot::name::Prefix;
use engine::snapshot::retention::{Periods, Retention};
use engine::source::files_from::Selection;
use transport::local::Follow;
use transport::sftp::ssh::address::{Address, BadAddress};

use crate::config::layers::file::{FileJob, FileSettings};
use crate::config::layers::value::Given;
use crate::config::layers::{Layer, first};
use crate::config::mistake::{Mistake, Origin, shown_path};
use crate::config::rsync::Param;
use crate::config::rsync::parsed::Wanted;
use crate::config::setting::nearest;
use crate::config::types::{Alert, Format, NamedJob, Remote};
use crate::config::{bounded, rsync};

/// Everything that was given, by the place it came from.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) flags: Layer,
    /// rsync options on the command line; they add to what the layers say.
    pub(crate) rsync_args: Given<Vec<Param>>,
    /// What is added to jobs that are not run.
    pub(crate) no_args: Given<Vec<Param>>,
    pub(crate) environment: Layer,
    pub(crate) file: FileSettings,
    pub(crate) defaults: Layer,
}

/// The file and the format of the log.
pub(crate) fn log(layers: &Layers, current_dir: &Path) -> (Option<PathBuf>, Format) {
    let all = [&layers.flags, &layers.environment, &layers.file.top, &layers.defaults];
    let file = first(&all, |layer| layer.log_file.as_ref()).and_then(|given| given.value.as_ref());
    let format = first(&all, |layer| layer.log_format.as_ref()).and_then(|given| given.value);
    let file = file.filter(|path| !path.as_os_str().is_empty());
    (file.map(|path| current_dir.join(path)), format.unwrap_or_default())
}

/// The jobs called `names` (all of them if there are no names), checked one by one and together.
pub(crate) fn jobs(
    layers: &Layers,
    names: &[String],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Vec<NamedJob> {
    let drafts = drafts(layers, names, mistakes);
    check_names("run", names, &drafts, mistakes);
    check_shared_sources(layers, &drafts, mistakes);
    let mut jobs = Vec::new();
    for draft in &drafts {
        let job = draft.build(current_dir, mistakes);
        jobs.push((draft, job));
    }
    check_each_has_its_own(&drafts, current_dir, mistakes);
    jobs.into_iter().filter(|(draft, _)| draft.selected).filter_map(|(_, job)| job).collect()
}

/// A job before it is checked.
pub(crate) struct Draft<'a> {
    pub(crate) name: String,
    pub(crate) selected: bool,
    /// Where it stands in the config file, if it does.
    pub(crate) origin: Option<&'a Origin>,
    /// Who says something about it, who wins first; the last are the defaults.
    pub(crate) layers: Vec<&'a Layer>,
    /// rsync options that are added.
    pub(crate) added: &'a Given<Vec<Param>>,
}

pub(crate) fn drafts<'a>(
    layers: &'a Layers,
    names: &[String],
    mistakes: &[Mistake],
) -> Vec<Draft<'a>> {
    let Layers { flags, environment, file, defaults, rsync_args: added, no_args } = layers;
    if file.jobs.is_empty() {
        let all = vec![flags, environment, &file.top, defaults];
        let name = prefix(&all).map_or_else(|| "job".to_owned(), ToString::to_string);
        // With a mistake in the config file its jobs may not be known.
        let selected = names.is_empty() || names.contains(&name) || !mistakes.is_empty();
        return vec![Draft { name, selected, origin: None, layers: all, added }];
    }
    let draft = |job: &'a FileJob| {
        let mut all = vec![&job.layer, environment, &file.top, defaults];
        let name = job.name.clone().or_else(|| prefix(&all).map(ToString::to_string));
        let name = name.unwrap_or_else(|| "job".to_owned());
        let selected = names.is_empty() || names.contains(&name);
        if selected {
            all.insert(0, flags);
        }
        let added = if selected { added } else { no_args };
        Draft { name, selected, origin: Some(&job.origin), layers: all, added }
    };
    file.jobs.iter().map(draft).collect()
}

pub(crate) fn prefix<'a>(layers: &[&'a Layer]) -> Option<&'a Prefix> {
    first(layers, |layer| layer.prefix.as_ref()).and_then(|given| given.value.as_ref())
}

/// What SFTP version 3 can tell of it: no device numbers, inodes, attributes or mount points
/// (draft-ietf-secsh-filexfer-02).
fn over_sftp(keep: Keep) -> Keep {
    Keep {
        devices: false,
        hard_links: false,
        acls: false,
        xattrs: false,
        one_file_system: false,
        ..keep
    }
}

/// The machine that the sources are on, as reports record it.
fn host(remote: Option<&Remote>) -> Host {
    match remote {
        Some(Remote { address, .. }) => {
            Host { name: Some(address.host().to_lowercase()), port: address.port(), machine: None }
        }
        None => Host { machine: machine(), ..Host::default() },
    }
}

/// A hash of the identity of this machine, which machine-id(5) asks not to publish as it is. Containers
/// usually have none.
fn machine() -> Option<String> {
    let id = fs::read("/etc/machine-id").ok()?;
    let id = id.trim_ascii();
    let set = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit);
    set.then(|| engine::repository::records::report::machine_hash(id))
}

impl Draft<'_> {
    /// The value of `field`, when there is one and it is no mistake.
    pub(crate) fn value<T: Clone>(&self, field: impl Fn(&Layer) -> Option<&Given<T>>) -> Option<T> {
        first(&self.layers, field).and_then(|given| given.value.clone())
    }

    /// The rsync options of `layers`, each with the place where it was given.
    pub(crate) fn params<'b>(&'b self, layers: &[&'b Layer]) -> Vec<(&'b Param, &'b str)> {
        let single = first(layers, |layer| layer.single_params.as_ref());
        let dict = first(layers, |layer| layer.dict_params.as_ref());
        let given = single.into_iter().chain(dict).chain([self.added]);
        given
            .flat_map(|given| {
                let place = given.origin.text();
                given.value.iter().flatten().map(move |param| (param, place))
            })
            .collect()
    }

    /// What the rsync options come to.
    pub(crate) fn wanted(&self, mistakes: &mut Vec<Mistake>) -> Option<Wanted> {
        match rsync::wanted(self.params(&self.layers)) {
            Ok(wanted) => Some(wanted),
            Err(refusals) => {
                let origin = Origin::other("rsync options");
                mistakes.extend(refusals.iter().map(|refusal| origin.mistake(refusal)));
                None
            }
        }
    }

    pub(crate) fn backups_dir(&self, current_dir: &Path) -> Option<PathBuf> {
        let dir = self.value(|layer| layer.backups_dir.as_ref())?;
        // For messages: without the '.' of './backups'.
        Some(current_dir.join(dir).components().collect())
    }

    /// Checks what belongs together within the job. `None` when something is wrong with it.
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
        let notify = alerts::notify(&self.layers, mistakes);
        if let (Some(remote), Some(wanted)) = (&mut remote, &mut wanted) {
            self.over_ssh(&mut remote.address, wanted, mistakes);
        }
        let wanted = wanted?;
        let filters = crate::config::resolve::filters::read(&wanted.filters, current_dir, mistakes);
        let job = Job {
            prefix: self.value(|layer| layer.prefix.as_ref())?,
            host: host(remote.as_ref()),
            layout: layout?,
            backups_dir: backups_dir?,
            backups_mode: self.value(|layer| layer.backups_mode.as_ref()),
            keep: Keep {
                ctime: self.value(|layer| layer.trust_ctime.as_ref())?,
                ..if remote.is_some() { over_sftp(wanted.keep) } else { wanted.keep }
            },
            retention: self.retention()?,
            minimum_time_guard: self.value(|layer| layer.minimum_time_guard.as_ref())?,
            max_shrink_percent: self.value(|layer| layer.max_shrink_percent.as_ref())?,
            filters: filters?,
            selection: selection?,
            max_delete: wanted.max_delete,
            prune_empty: wanted.prune_empty,
        };
        let alert = Alert {
            max_age: match self.value(|layer| layer.max_age.as_ref()) {
                Some(max_age) => max_age,
                None => job.minimum_time_guard + TimeDelta::hours(24),
            },
            failures: self.value(|layer| layer.failures_before_alert.as_ref())?,
        };
        let without_effect = self.without_effect(remote.is_some());
        Some(NamedJob {
            name: self.name.clone(),
            job,
            remote,
            alert,
            notify: notify?,
            hooks: alerts::hooks(&self.layers)?,
            wanted,
            without_effect,
        })
    }

    /// The options that somebody gave and that change nothing.
    pub(crate) fn without_effect(&self, remote: bool) -> Vec<String> {
        // The defaults come last; nobody gave those.
        let given = self.layers.split_last().map_or(&[][..], |(_, given)| given);
        let params = self.params(given);
        rsync::without_effect(params.into_iter().map(|(param, _)| param), remote)
    }

    /// What `--files-from` lists.
    pub(crate) fn selection(
        &self,
        wanted: &Wanted,
        current_dir: &Path,
    ) -> Result<Option<Arc<Selection>>, Mistake> {
        let Some(file) = &wanted.files_from else { return Ok(None) };
        let path = shown_path(file);
        let origin = Origin::other(&format!("--files-from={path}"));
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

    /// User and port may stand in `-e` too; SFTP has no way to say where a symlink ends.
    pub(crate) fn over_ssh(
        &self,
        address: &mut Address,
        wanted: &mut Wanted,
        mistakes: &mut Vec<Mistake>,
    ) {
        let Some(given) = first(&self.layers, |layer| layer.remote.as_ref()) else { return };
        let shell = &wanted.shell;
        match address.with(shell.user.as_deref(), shell.port) {
            Ok(whole) => *address = whole,
            Err(error) => mistakes.push(given.origin.mistake(format!("{error} (-e)"))),
        }
        if wanted.follow != Follow::default() {
            mistakes.push(given.origin.mistake(
                "-L, -k and --copy-unsafe-links follow no symlinks on another machine; remove them, or name in SRCS_TO_BACKUP what they lead to",
            ));
        }
    }

    /// How much of the history stays; `None` when something is wrong with it.
    pub(crate) fn retention(&self) -> Option<Retention> {
        let given = |layer: usize| self.value(|of| of.keep[layer].as_ref()).unwrap_or(0);
        let [last, hourly, daily, weekly, monthly, yearly] = [0, 1, 2, 3, 4, 5].map(given);
        let keep = Periods { last, hourly, daily, weekly, monthly, yearly };
        let max = self.value(|layer| layer.max_backups.as_ref())?;
        // The default count was made for those who say nothing; it must not cut what periods keep.
        let (_, said) = self.layers.split_last()?;
        let counted = !keep.any() || said.iter().any(|layer| layer.max_backups.is_some());
        Some(Retention { max: counted.then_some(max), keep })
    }

    /// How long an answer of another machine may take.
    pub(crate) fn answer_timeout(&self) -> Duration {
        // A mistake in it is named already.
        self.value(|layer| layer.answer_timeout.as_ref()).unwrap_or_default()
    }

    /// How many SFTP channels somebody wants.
    pub(crate) fn sftp_channels(&self) -> Option<NonZeroUsize> {
        first(&self.layers, |layer| layer.sftp_channels.as_ref())?.value
    }

    /// The host of remote sources, when one is named.
    pub(crate) fn remote(&self, mistakes: &mut Vec<Mistake>) -> Option<Remote> {
        let given = first(&self.layers, |layer| layer.remote.as_ref())?;
        let text = given.value.as_ref().filter(|host| !host.is_empty())?;
        match text.parse() {
            Ok(address) => {
                let answer_timeout = self.answer_timeout();
                let sftp_channels = self.sftp_channels();
                Some(Remote { address, answer_timeout, sftp_channels, known_hosts: None })
            }
            Err(error) => {
                let form = "write user@host, user@host:port or user@[v6]:port, and the folders into SRCS_TO_BACKUP";
                let error: BadAddress = error;
                mistakes.push(given.origin.mistake(format!("{error}; {form}")));
                None
            }
        }
    }

    /// On another machine there is no current folder that a path could start in.
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
            let nothing = "says nowhere what to back up; write for example SRCS_TO_BACKUP";
            mistakes.push(match self.origin {
                Some(origin) => origin.mistake(format!("it {nothing} = [\"/home\"]")),
                None => Origin::variable("SRCS_TO_BACKUP")
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
            // rsync keeps of the listed paths what is listed, as with --relative below the source.
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

/// `run NAME` (`said` before the name) has to name jobs that are there.
pub(crate) fn check_names(
    said: &str,
    names: &[String],
    drafts: &[Draft<'_>],
    mistakes: &mut Vec<Mistake>,
) {
    // A file that could not be read whole may hold the job that is missed.
    if drafts.iter().all(|draft| draft.origin.is_none()) && !mistakes.is_empty() {
        return;
    }
    for name in names {
        if drafts.iter().any(|draft| draft.name == *name) {
            continue;
        }
        let known: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        let origin = Origin::command_line(&format!("{said} {name}"));
        if name.contains('/') {
            mistakes.push(origin.mistake(
                "a name of a job is meant here; folders go to SRCS_TO_BACKUP (--srcs-to-backup) and BACKUPS_DIR (--backups-dir)",
            ));
            continue;
        }
        mistakes.push(origin.mistake(match nearest(name, known.iter().copied()) {
            Some((near, distance)) if distance <= 3 && distance < name.len() => {
                format!("there is no job of that name; did you mean {near}?")
            }
            _ => format!("there is no job of that name; there is {}", known.join(", ")),
        }));
    }
}

/// Sources that would silently belong to no job, or to all of them.
pub(crate) fn check_shared_sources(
    layers: &Layers,
    drafts: &[Draft<'_>],
    mistakes: &mut Vec<Mistake>,
) {
    let jobs = &layers.file.jobs;
    if jobs.is_empty() {
        return;
    }
    if let Some(given) = &layers.environment.sources {
        mistakes.push(given.origin.mistake(
            "the config file holds [[job]] entries; write the sources into them, or unset it",
        ));
    }
    if let Some(given) = &layers.file.top.sources
        && jobs.iter().all(|job| job.layer.sources.is_some())
    {
        mistakes.push(
            given.origin.mistake(
                "every [[job]] has sources of its own; move it into a [[job]], or remove it",
            ),
        );
    }
    if let Some(given) = &layers.flags.sources
        && drafts.iter().filter(|draft| draft.selected).count() > 1
    {
        mistakes.push(
            given
                .origin
                .mistake("it would hold for several jobs; name the one that is meant: run NAME"),
        );
    }
}

/// No two jobs may write the same snapshots, or answer to one name.
pub(crate) fn check_each_has_its_own(
    drafts: &[Draft<'_>],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) {
    for (index, draft) in drafts.iter().enumerate() {
        let (Some(origin), before) = (draft.origin, &drafts[..index]) else { continue };
        let same_prefix = |other: &&Draft<'_>| {
            let dirs = (draft.backups_dir(current_dir), other.backups_dir(current_dir));
            prefix(&draft.layers).is_some_and(|own| prefix(&other.layers) == Some(own))
                && matches!(dirs, (Some(own), Some(others)) if overlap::same(&own, &others))
        };
        if let (Some(other), Some(prefix)) =
            (before.iter().find(same_prefix), prefix(&draft.layers))
        {
            mistakes.push(origin.mistake(format!(
                "the job {} has the prefix {prefix} in the same backups folder; write another BACKUP_NAME_PREFIX",
                other.name
            )));
        } else if before.iter().any(|other| other.name == draft.name) {
            mistakes.push(origin.mistake(format!(
                "there are two jobs named {}; give each a NAME of its own",
                draft.name
            )));
        }
    }
}
