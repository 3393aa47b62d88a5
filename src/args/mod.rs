//! The command line: flags that several commands share, and loading the configuration from them.

pub(crate) mod flags;
pub(crate) mod foreign;
pub(crate) mod load;
