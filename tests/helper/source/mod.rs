//! Sources on a host: what a snapshot of them holds, what crosses the line, and lost connections.

mod brake;
mod compressed;
mod deltas;
mod large_file;
mod lost;
mod memory;
mod renames;
mod snapshots;
mod unchanged;
