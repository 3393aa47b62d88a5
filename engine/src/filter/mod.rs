//! Decides which entries of a source are excluded: rsync's filter rules, and folders marked by a
//! tag file.
//!
//! Pure: rules, paths and the texts of rule files go in, verdicts come out. It follows rsync(1),
//! FILTER RULES; where the manual page is silent, it does what rsync 3.5.0 does. A run always
//! deletes what the source does not show (`--delete --delete-excluded`), so rules for the receiving
//! side alone (`P`, `R`, `r`) and the modifier `p` have no effect.

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
