//! What a snapshot holds: sources, names, metadata, and what rsync's options change.

mod keep;
mod layout;
mod names;
mod rsync_options;
