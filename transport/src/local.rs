//! Folders of this machine as a source.

use engine::source::Source;

/// Reads folders of this machine.
#[derive(Debug, Default)]
pub struct LocalSource;

impl Source for LocalSource {}
