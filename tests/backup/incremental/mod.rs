//! What a run takes from the previous snapshot: unchanged files, renamed files, shared blocks.

mod renames;
mod shared_blocks;
mod trusted;
mod unchanged;
