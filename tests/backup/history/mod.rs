//! The snapshots of a job: which it continues, which are removed, and the symlinks to them.

mod in_use;
mod lineage;
mod prune;
mod removal;
mod rsync_made;
mod snapshot_links;
