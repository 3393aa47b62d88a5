//! Linux file system calls on held directories.

pub mod access;
pub(crate) mod capabilities;
pub mod dir;
pub(crate) mod fake_super;
pub mod file_system;
pub(crate) mod lookup;
pub(crate) mod metadata;
pub mod mount;
pub(crate) mod refusal;
pub(crate) mod remove_tree;
pub(crate) mod small_file;
pub mod space;
pub mod stat;
pub(crate) mod temporary;
pub(crate) mod traverse;
pub mod xattrs;
