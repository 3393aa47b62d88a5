//! The project itself: layers, dependencies, static binaries, deployment files.

mod dependencies;
mod deploy;
mod dist;
mod layers;
