//! Read-only queries over snapshots: differences, versions, sizes, searches.

pub mod diff;
pub mod diff_source;
pub mod disk_usage;
pub mod explain;
pub mod find;
pub mod job_state;
pub mod renames;
pub mod versions;
