//! The commands, one file each.

pub(crate) mod adopt;
pub(crate) mod copy;
pub(crate) mod daemon;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod find;
pub(crate) mod generate;
mod heal;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod internal;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod web;
