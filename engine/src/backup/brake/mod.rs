//! The brake on mass changes: what a run records about its changes, and which of them are suspicious.

pub(crate) mod apply;
pub(crate) mod compare_heads;
pub(crate) mod judge;
pub(crate) mod sample;
#[cfg(test)]
mod simulation;
pub(crate) mod tally;
