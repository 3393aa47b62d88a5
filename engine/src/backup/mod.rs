//! A run: list, compare, plan, apply, seal.

pub(crate) mod apply;
pub(crate) mod brake;
pub(crate) mod change;
pub(crate) mod dry_run;
pub(crate) mod itemize;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod roots;
pub(crate) mod run;
pub(crate) mod shrink_guard;
pub(crate) mod walk;
pub(crate) mod withheld;

pub use self::change::{Change, ChangeKind, ChangeSink};
pub use self::dry_run::{DryRunReport, dry_run};
pub use self::run::ReadySource;
