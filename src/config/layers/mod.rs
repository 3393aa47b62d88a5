//! The layers of the configuration, and which of them gives a value.

pub(crate) mod environment;
pub(crate) mod file;

use crate::config::checks::value::Given;
use crate::config::layers::file::FileSettings;
use crate::config::rsync::Param;
use crate::config::setting::Layer;

/// All values that were given, by the place that gave them.
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

/// The value of the first layer that gives one.
pub(crate) fn first<'a, T>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Layer) -> Option<&'a Given<T>>,
) -> Option<&'a Given<T>> {
    layers.iter().find_map(|layer| field(layer))
}
