//! Converts the layers to jobs: the first layer with a value takes precedence, and the values within a job
//! and across jobs must be consistent.

pub(crate) mod alerts;
pub(crate) mod between_jobs;
pub(crate) mod broken;
pub(crate) mod copies;
pub(crate) mod draft;
pub(crate) mod filters;
pub(crate) mod image_root;
pub(crate) mod job;
pub(crate) mod mistyped;
pub(crate) mod overlap;
pub(crate) mod snapshot_places;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::config::checks::value::GivenValue;
use crate::config::layers::{Layers, first};
use crate::config::mistake::Mistake;
use crate::config::resolve::between_jobs::{
    check_each_has_its_own, check_names, check_shared_sources,
};
use crate::config::resolve::draft::drafts;
use crate::config::types::{NamedJob, WebSettings};
use crate::config::values::log_format::Format;

/// The path and the format of the log.
pub(crate) fn log(layers: &Layers, current_dir: &Path) -> (Option<PathBuf>, Format) {
    let all = [&layers.flags, &layers.environment, &layers.file.top, &layers.defaults];
    let file = first(&all, |layer| layer.log_file.as_ref()).and_then(|given| given.value.as_ref());
    let format = first(&all, |layer| layer.log_format.as_ref()).and_then(|given| given.value);
    let file = file.filter(|path| !path.as_os_str().is_empty());
    (file.map(|path| current_dir.join(path)), format.unwrap_or_default())
}

/// How many jobs run at the same time.
pub(crate) fn jobs_at_once(layers: &Layers) -> NonZeroUsize {
    let all = [&layers.flags, &layers.environment, &layers.file.top, &layers.defaults];
    let given = first(&all, |layer| layer.jobs_at_once.as_ref()).and_then(|given| given.value);
    // A mistake in it is already reported.
    given.unwrap_or(NonZeroUsize::MIN)
}

/// The settings of the web page.
pub(crate) fn web(layers: &Layers, current_dir: &Path) -> WebSettings {
    let all = [&layers.flags, &layers.environment, &layers.file.top, &layers.defaults];
    fn value<T: Clone>(given: Option<&GivenValue<T>>) -> Option<T> {
        given.and_then(|given| given.value.clone())
    }
    let users_file = value(first(&all, |layer| layer.web_users_file.as_ref()));
    WebSettings {
        listen: value(first(&all, |layer| layer.web_listen.as_ref())),
        users_file: users_file.map(|path| current_dir.join(path)),
        base_path: value(first(&all, |layer| layer.web_base_path.as_ref())).unwrap_or_default(),
        hosts: value(first(&all, |layer| layer.web_hosts.as_ref())).unwrap_or_default(),
    }
}

/// The jobs called `names`, or all jobs if there are no names. They are checked one by one and together.
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
        draft.check_backups_dir(current_dir, mistakes);
        let job = draft.build(current_dir, mistakes);
        if let (true, Some(job)) = (draft.selected, &job) {
            image_root::check(draft, job, engine::fs::container::meant_sources, mistakes);
        }
        jobs.push((draft, job));
    }
    check_each_has_its_own(&drafts, current_dir, mistakes);
    jobs.into_iter().filter(|(draft, _)| draft.selected).filter_map(|(_, job)| job).collect()
}
