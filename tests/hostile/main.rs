//! SFTP servers that lie, and users who exchange names while root works in their folders.

mod folders;
mod restore;
mod server;
