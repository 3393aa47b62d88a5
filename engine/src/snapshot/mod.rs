//! Snapshots as values: name, history, selection, retention, layout. Pure.

pub(crate) mod changes;
pub(crate) mod history;
pub(crate) mod host;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod name;
pub(crate) mod retention;
pub(crate) mod spec;

pub use self::changes::{ChangeBrake, ExtensionChanges, Freeze, RootChanges, Sign, Suspicion};
pub use self::history::{Decision, never_set};
pub use self::layout::LayoutError;
pub use self::links::SnapshotLinks;
pub use self::name::{SnapshotState, Stamp};
pub use self::retention::{
    Candidate, Periods, PruneRefusal, RemovalReason, RetentionDecision, judge, may_go, surplus,
};
pub use self::spec::SelectError;
