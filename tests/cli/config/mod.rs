//! Settings and paths: where they come from, and what users write by mistake.

mod container_paths;
mod mistyped;
mod settings;
