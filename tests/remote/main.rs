//! Remote sources over ssh.

mod at_once;
mod entries;
mod login;
mod lost;
mod network_faults;
mod options;
mod other_servers;
mod refused;
mod snapshots;
mod stopped;
mod unruly;
