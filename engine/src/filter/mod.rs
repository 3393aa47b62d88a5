//! Decides which entries of a source are excluded: rsync's filter rules, and folders marked by a
//! tag file.
//!
//! Pure: rules, paths and the texts of rule files go in, verdicts come out. It follows rsync(1),
//! FILTER RULES; where the manual page is silent, it does what rsync 3.5.0 does. A run always
//! deletes what the source does not show (`--delete --delete-excluded`), so rules for the receiving
//! side alone (`P`, `R`, `r`) and the modifier `p` have no effect.
//!
//! ```
//! use std::sync::Arc;
//!
//! use engine::filter::{FilterOption, Outside};
//! use engine::Filters;
//!
//! let option = |pattern: &str| {
//!     let origin = format!("--exclude={pattern}");
//!     (FilterOption::Exclude(pattern.as_bytes().to_vec()), origin)
//! };
//! // These options name no file, so none is read.
//! let outside = Outside {
//!     read: &|_| Err(std::io::ErrorKind::NotFound.into()),
//!     cvs_home: &|| None,
//!     cvs_variable: None,
//! };
//! let filters = Filters::read(&[option("*.tmp"), option("cache/")], &outside).expect("valid rules");
//! let scope = Arc::new(filters).scope();
//! let mut judging = scope.judging();
//! let verdict = judging.judge(b"notes.tmp", false);
//! assert!(!verdict.included);
//! assert_eq!(verdict.by.unwrap().to_string(), "'*.tmp' (--exclude=*.tmp)");
//! assert!(judging.judge(b"cache", false).included, "the rule is for folders");
//! ```

pub(crate) mod budget;
pub(crate) mod error;
pub(crate) mod filters;
pub(crate) mod options;
pub(crate) mod parse;
pub(crate) mod pattern;
pub(crate) mod rule;
pub(crate) mod rule_list;
pub(crate) mod scope;
pub(crate) mod steps;
pub(crate) mod wildmatch;

pub use self::error::{FilterError, RuleError};
pub use self::filters::FilterOption;
pub use self::options::Outside;
pub use self::rule::{Origin, WrittenRule};
pub use self::scope::{EnteredScope, FilterVerdict, Judging, Scope, Text, Texts};
