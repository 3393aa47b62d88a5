//! Removes entries of the target that the source provably did not have when the snapshot was made (`--delete`).

pub(crate) mod absence;
pub(crate) mod remove;
