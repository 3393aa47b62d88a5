//! Commands that generate files for packages: completions, manual pages, documentation.

pub(crate) mod completions;
pub(crate) mod man;
pub(crate) mod rsync_options;
