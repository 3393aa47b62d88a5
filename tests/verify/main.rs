//! Verification, and damaged files of the program itself.

mod damage;
mod damaged_state;
mod heal;
mod heal_host;
mod heal_kept;
mod manifest;
mod recorded;
mod snapshots;
