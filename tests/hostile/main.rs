//! SFTP servers that lie, and users who swap names while root works in their folders.

mod far_end;
mod folders;
mod restore;
mod server;
