//! Decides what of a source is left out: rsync's filter rules, and folders marked as not worth keeping.
//!
//! Pure: rules, paths and the texts of rule files in, verdicts out. By rsync(1), FILTER RULES; where the
//! manual page is silent, by what rsync 3.5.0 does. A run always deletes what the source does not show
//! (`--delete --delete-excluded`), so that rules for the receiving side alone (`P`, `R`, `r`) say nothing
//! here, and neither does `p`.

pub(crate) mod budget;
pub(crate) mod error;
pub mod filters;
pub mod options;
pub(crate) mod parse;
pub(crate) mod pattern;
pub(crate) mod rule;
pub(crate) mod rule_list;
pub mod scope;
pub(crate) mod steps;
pub(crate) mod wildmatch;

pub use crate::filter::error::{Fault, FilterError};
pub use crate::filter::filters::FilterOption;
pub use crate::filter::options::Outside;
pub use crate::filter::rule::{Origin, Reason};
pub use crate::filter::scope::{Entered, Judging, Scope, Text, Texts, Verdict};
