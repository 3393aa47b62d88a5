//! Who may see the page: the users file, and who is logged in.

pub(crate) mod reread;
pub(crate) mod sessions;
pub(crate) mod users;
pub(crate) mod users_file;
