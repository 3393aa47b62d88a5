//! The content of files on the host: uploads it, and reads it back to check it.

pub(crate) mod large_file;
pub(crate) mod readback;
pub(crate) mod small_files;
pub(crate) mod store;
