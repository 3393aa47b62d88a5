//! Linux file system calls on held directories.

pub mod access;
pub(crate) mod capabilities;
pub mod container;
pub mod dir;
pub mod file_system;
pub(crate) mod lookup;
pub mod metadata;
pub mod mount;
pub mod mount_point;
pub(crate) mod refusal;
pub(crate) mod remove_tree;
pub(crate) mod small_file;
pub mod space;
pub(crate) mod temporary;
pub(crate) mod traverse;
