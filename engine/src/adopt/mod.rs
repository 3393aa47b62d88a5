//! Renames the snapshots of other programs (rsnapshot, Back In Time, rsync-time-backup) to the names of this
//! program, so that they continue as a history. The plan is a value; carrying it out only renames folders.

pub(crate) mod apply;
pub(crate) mod name;
pub(crate) mod plan;
pub(crate) mod reason;
pub(crate) mod survey;

pub use self::apply::{Adoption, adopt};
pub use self::name::Program;
pub use self::plan::{Plan, Rename, Zone};
pub use self::reason::{LeftAlone, Note, Obstacle};
pub use self::survey::{Request, plan};
