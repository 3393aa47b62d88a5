//! Where snapshots are stored: file systems and their limits, what they refuse, and who else has access.

mod access;
mod file_systems;
mod mounted_inside;
mod refused;
mod stored_names;
