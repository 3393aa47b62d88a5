//! Checks of single values: each converts a text to a typed value, or describes what is wrong with it.

pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod copies;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod value;
pub(crate) mod web;
