//! Remote sources over ssh.

mod account;
mod at_once;
mod entries;
mod host_keys;
mod jump_hosts;
mod keys;
mod lost;
mod network_faults;
mod options;
mod other_servers;
mod refused;
mod snapshots;
mod stopped;
mod unruly;
