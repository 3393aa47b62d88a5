//! The project itself: layers, dependencies, documents, static binaries, packages, deployment files.

mod dependencies;
mod deploy;
mod dist;
mod documents;
mod layers;
mod packagers;
mod packages;
mod release;
