//! The checks of single values: text becomes a typed value, or what is wrong with it.

pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod list;
pub(crate) mod value;
