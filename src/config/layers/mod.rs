//! The layers of the configuration, and the lookup of the first layer with a value.

pub(crate) mod environment;
pub(crate) mod file;

use crate::config::checks::value::GivenValue;
use crate::config::layers::file::FileSettings;
use crate::config::rsync::Param;
use crate::config::setting::Layer;

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
}

/// The value of the first layer that has one.
pub(crate) fn first<'a, T>(
    layers: &[&'a Layer],
    field: impl Fn(&'a Layer) -> Option<&'a GivenValue<T>>,
) -> Option<&'a GivenValue<T>> {
    layers.iter().find_map(|layer| field(layer))
}
