//! A run: list, compare, plan, apply, seal.

pub(crate) mod apply;
pub mod change;
pub mod dry_run;
pub mod itemize;
pub mod plan;
pub(crate) mod preview;
pub mod roots;
pub mod run;
pub(crate) mod shrink_guard;
pub(crate) mod walk;
pub(crate) mod withheld;
