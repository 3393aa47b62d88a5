//! Runs: the content of a snapshot, when it is taken, and what happens after errors.

mod access;
mod bad_source;
mod clock;
mod concurrency;
mod file_systems;
mod filters;
mod in_use;
mod interrupted;
mod keep;
mod layout;
mod lineage;
mod memory;
mod mounted_inside;
mod mounts;
mod names;
mod prune;
mod refused;
mod removal;
mod resume;
mod rsync_made;
mod rsync_options;
mod snapshot_links;
mod source_roots;
mod trusted;
mod unchanged;
mod unruly;
