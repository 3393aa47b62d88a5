//! The layers of the configuration, and the lookup of the first layer with a value.

pub(crate) mod environment;
pub(crate) mod file;

use crate::config::checks::value::GivenValue;
use crate::config::layers::file::FileSettings;
use crate::config::mistake::SettingOrigin;
use crate::config::rsync::Param;
use crate::config::setting::{Layer, SETTINGS};
use crate::schedule::zone::Zone;

/// All given values, by the layer that gives them.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) flags: Layer,
    /// rsync options on the command line. They are added to those of the layers.
    pub(crate) rsync_args: GivenValue<Vec<Param>>,
    /// The options added to jobs that are not run: none.
    pub(crate) no_args: GivenValue<Vec<Param>>,
    pub(crate) environment: Layer,
    pub(crate) file: FileSettings,
    pub(crate) defaults: Layer,
    /// The zone of times of day.
    pub(crate) zone: Zone,
}

/// The value of the first layer that has one.
pub(crate) fn first<'a, T>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Layer) -> Option<&'a GivenValue<T>>,
) -> Option<&'a GivenValue<T>> {
    layers.iter().find_map(|layer| field(layer))
}

/// For each setting that the environment and the config file give differently: which of the two is in force.
pub(crate) fn disagreements(layers: &Layers) -> Vec<String> {
    let mut notes = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| !setting.secret) {
        let key = setting.key;
        let Some((ours, origin)) = layers.environment.given(key) else { continue };
        if layers.flags.given(key).is_some() {
            continue;
        }
        let jobs = &layers.file.jobs;
        let in_force = |counts: &SettingOrigin, other: &SettingOrigin| {
            format!(
                "{} is given twice: {} is in force, {} is not",
                setting.name,
                counts.text(),
                other.text()
            )
        };
        let each_its_own =
            !jobs.is_empty() && jobs.iter().all(|job| job.layer.given(key).is_some());
        match layers.file.top.given(key) {
            Some((theirs, other)) if theirs != ours && !each_its_own => {
                notes.push(in_force(origin, other));
            }
            _ => {}
        }
        for (theirs, other) in jobs.iter().filter_map(|job| job.layer.given(key)) {
            if theirs != ours {
                notes.push(in_force(other, origin));
            }
        }
    }
    notes
}
