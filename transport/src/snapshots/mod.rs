//! Snapshots of a backups folder as sources of a copy.

pub(crate) mod content;
pub(crate) mod source;
pub(crate) mod store;

pub use self::source::SnapshotSource;
pub use self::store::LocalStore;
