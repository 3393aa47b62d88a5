//! The SFTP source against a real sshd.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod connection;
mod content;
#[path = "../server/mod.rs"]
mod server;
