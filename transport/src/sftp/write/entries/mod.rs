//! Single entries on the host: creates, renames, links them, and sets their attributes.

pub(crate) mod attributes;
pub(crate) mod create;
pub(crate) mod links;
pub(crate) mod rename;
pub(crate) mod symlink_order;
pub(crate) mod verify_attributes;
