//! A job with its layers of values, before the values are checked against each other.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine::Prefix;

use crate::config::checks::value::GivenValue;
use crate::config::layers::file::FileJob;
use crate::config::layers::{Layers, first};
use crate::config::mistake::{Mistake, SettingOrigin};
use crate::config::resolve::mistyped;
use crate::config::rsync;
use crate::config::rsync::Param;
use crate::config::rsync::parsed::RsyncOptions;
use crate::config::setting::Layer;
use crate::schedule::zone::Zone;

/// A job before it is checked.
pub(crate) struct Draft<'a> {
    pub(crate) name: String,
    pub(crate) selected: bool,
    /// Its position in the config file, if it is there.
    pub(crate) origin: Option<&'a SettingOrigin>,
    /// The layers with its values, the highest precedence first; the defaults are last.
    pub(crate) layers: Vec<&'a Layer>,
    /// The rsync options that are added.
    pub(crate) added: &'a GivenValue<Vec<Param>>,
    /// The zone of times of day.
    pub(crate) zone: Zone,
}

pub(crate) fn drafts<'a>(
    layers: &'a Layers,
    names: &[String],
    mistakes: &[Mistake],
) -> Vec<Draft<'a>> {
    let Layers { flags, environment, file, defaults, rsync_args: added, no_args, zone } = layers;
    let zone = *zone;
    if file.jobs.is_empty() {
        let all = vec![flags, environment, &file.top, defaults];
        let name = prefix(&all).map_or_else(|| "job".to_owned(), ToString::to_string);
        // With a mistake in the config file, the jobs in it may be unknown.
        let selected = names.is_empty() || names.contains(&name) || !mistakes.is_empty();
        return vec![Draft { name, selected, origin: None, layers: all, added, zone }];
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
        Draft { name, selected, origin: Some(&job.origin), layers: all, added, zone }
    };
    file.jobs.iter().map(draft).collect()
}

pub(crate) fn prefix<'a>(layers: &[&'a Layer]) -> Option<&'a Prefix> {
    first(layers, |layer| layer.prefix.as_ref()).and_then(|given| given.value.as_ref())
}

impl Draft<'_> {
    /// The value of `field`, unless it is missing or a mistake.
    pub(crate) fn value<T: Clone>(
        &self,
        field: impl Fn(&Layer) -> Option<&GivenValue<T>>,
    ) -> Option<T> {
        first(&self.layers, field).and_then(|given| given.value.clone())
    }

    /// The rsync options of `layers`, each with its origin.
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

    /// The effect of the rsync options.
    pub(crate) fn wanted(&self, mistakes: &mut Vec<Mistake>) -> Option<RsyncOptions> {
        match rsync::wanted(self.params(&self.layers)) {
            Ok(wanted) => Some(wanted),
            Err(refusals) => {
                let origin = SettingOrigin::other("rsync options");
                mistakes.extend(refusals.iter().map(|refusal| origin.mistake(refusal)));
                None
            }
        }
    }

    /// Checks for quotes, a `~` and separators in the path of the backups folder.
    pub(crate) fn check_backups_dir(&self, current_dir: &Path, mistakes: &mut Vec<Mistake>) {
        let Some(given) = first(&self.layers, |layer| layer.backups_dir.as_ref()) else { return };
        let Some(dir) = &given.value else { return };
        let exists = mistyped::exists(dir, current_dir);
        let wrong = mistyped::in_folder(dir.as_os_str().as_bytes(), exists);
        mistakes.extend(wrong.map(|what| given.origin.mistake(what)));
    }

    pub(crate) fn backups_dir(&self, current_dir: &Path) -> Option<PathBuf> {
        let dir = self.value(|layer| layer.backups_dir.as_ref())?;
        // This removes the '.' of './backups' for messages.
        Some(current_dir.join(dir).components().collect())
    }
}
