//! The command line: flags that verbs share, and the configuration that they load.

pub(crate) mod flags;
pub(crate) mod load;
