//! Verification, and damaged files of the program itself.

mod damage;
mod damaged_state;
mod heal;
mod manifest;
mod recorded;
mod snapshots;
