//! Copies of a history in another backups folder.

mod damage;
mod judge;
mod kept;
mod linked;
mod memory;
mod mixed;
mod refused;
mod resume;
