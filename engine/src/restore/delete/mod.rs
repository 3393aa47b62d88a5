//! Removes what a restore with `--delete` finds in the target and the snapshot shows to have been absent.

pub mod absence;
pub(crate) mod remove;
