//! The pages, a file each.

pub(crate) mod compare;
pub(crate) mod failure;
pub(crate) mod file;
pub(crate) mod folder;
pub(crate) mod front;
mod health;
mod layout;
pub(crate) mod login;
mod parts;
pub(crate) mod place;
pub(crate) mod restore;
pub(crate) mod search;
mod text_diff;
pub(crate) mod timeline;
mod versions;
