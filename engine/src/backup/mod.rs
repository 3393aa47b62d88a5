//! A run: list, compare, plan, apply, seal.

pub(crate) mod apply;
pub(crate) mod attempt;
pub mod change;
pub(crate) mod checkpoints;
pub mod dry_run;
pub mod itemize;
pub mod plan;
pub(crate) mod preview;
pub mod roots;
pub mod run;
pub(crate) mod seal;
pub(crate) mod shrink_guard;
pub(crate) mod walk;
pub(crate) mod withheld;
