//! Read-only queries over snapshots: differences, versions, sizes, searches.

pub(crate) mod browse;
pub(crate) mod diff;
pub(crate) mod diff_source;
pub(crate) mod difference;
pub(crate) mod disk_usage;
pub(crate) mod equality;
pub(crate) mod explain;
pub(crate) mod find;
pub(crate) mod job_state;
pub(crate) mod renames;
pub(crate) mod versions;

pub use self::browse::{FolderName, OpenFolder, OpenSnapshot};
pub use self::diff::diff;
pub use self::diff_source::{DifferenceSink, against};
pub use self::difference::{Difference, DifferenceKind, Differences};
pub use self::disk_usage::{Measured, Usage, measure};
pub use self::explain::{Explanation, Judged, PathEnd, explain};
pub use self::find::{Finds, FoundEntry, NamePattern, find};
pub use self::job_state::{Look, look};
pub use self::versions::{Span, VersionStart, renamed_from, versions};
