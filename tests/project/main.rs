//! The project itself: layers, dependencies, documents, static binaries, deployment files.

mod dependencies;
mod deploy;
mod dist;
mod documents;
mod layers;
