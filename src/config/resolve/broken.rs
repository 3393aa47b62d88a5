//! The jobs of a configuration with mistakes, as far as the mistakes can be reported for them.

use std::num::NonZeroUsize;
use std::path::Path;

use chrono::TimeDelta;

use crate::config::layers::Layers;
use crate::config::mistake::Mistake;
use crate::config::resolve::alerts;
use crate::config::resolve::draft::{Draft, drafts};
use crate::config::types::{BrokenJob, HealthLimits};

/// The jobs called `names`, or all jobs if there are no names. Further mistakes in them are added to `mistakes`.
pub(crate) fn broken_jobs(
    layers: &Layers,
    names: &[String],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Vec<BrokenJob> {
    let drafts = drafts(layers, names, mistakes);
    let selected = drafts.iter().filter(|draft| draft.selected);
    selected.filter_map(|draft| broken_job(draft, current_dir, mistakes)).collect()
}

fn broken_job(
    draft: &Draft<'_>,
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<BrokenJob> {
    let soon = HealthLimits {
        max_age: TimeDelta::hours(44),
        guard: TimeDelta::hours(20),
        hours: None,
        failures: NonZeroUsize::MIN,
    };
    Some(BrokenJob {
        name: draft.name.clone(),
        backups_dir: draft.backups_dir(current_dir)?,
        prefix: draft.value(|layer| layer.prefix.as_ref())?,
        alert: draft.alert().unwrap_or(soon),
        notify: alerts::notify(&draft.layers, mistakes)?,
        hooks: alerts::hooks(&draft.layers)?,
    })
}
