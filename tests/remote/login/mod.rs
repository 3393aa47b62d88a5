//! How a host is reached: accounts, keys of users and hosts, jump hosts.

mod account;
mod host_keys;
mod jump_hosts;
mod keys;
