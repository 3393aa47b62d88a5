//! Copies the history of a prefix into another backups folder. The copy of a snapshot is a run whose source is that snapshot,
//! carried out by the side that gets it.

pub(crate) mod beside;
pub(crate) mod choose;
pub(crate) mod holds;
pub(crate) mod job;
pub(crate) mod one;
pub(crate) mod parts;
pub(crate) mod read;
pub(crate) mod retain;
pub(crate) mod run;

pub use self::beside::{Beside, DamagedPath, RunTimes, held};
pub use self::choose::CopyStep;
pub use self::job::{CopiedSnapshot, CopyJob, CopyOutcome, SnapshotStore};
pub use self::parts::Fetched;
pub use self::read::content::{OpenedContent, RecordedContent};
pub use self::read::{SnapshotFolder, SnapshotReader};
pub use self::run::{copy, preview};
pub use crate::repository::content::Proof;
