//! Restores, to this machine and to others.

mod delete;
mod local;
mod refused;
mod remote;
mod remote_lost;
