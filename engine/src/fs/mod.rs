//! Linux file system calls on held directories.

pub(crate) mod access;
pub mod container;
pub(crate) mod dir;
pub(crate) mod disks;
pub(crate) mod extents;
pub(crate) mod file_system;
pub(crate) mod hard_links;
pub(crate) mod lookup;
pub(crate) mod metadata;
pub(crate) mod mount;
pub(crate) mod refusal;
pub(crate) mod remove_tree;
pub(crate) mod small_file;
pub(crate) mod temporary;
pub(crate) mod traverse;
pub(crate) mod unnamed;

pub use self::access::{open_to_others, own_umask};
pub use self::dir::Dir;
pub use self::dir::node::{file_system, proc_is_mounted};
pub use self::dir::resolve::append::append_to;
pub use self::dir::resolve::{Resolved, UntrustedFolder, UntrustedLink, exchangeable, untrusted};
pub use self::disks::rotating_disks;
pub use self::extents::next_data;
pub use self::file_system::{is_on_disk, sync_file_system};
pub use self::metadata::by_name::ByName;
pub use self::metadata::xattrs::XattrSelection;
pub use self::metadata::{stat, xattrs};
pub use self::mount::point::{MountPoint, is_mount_point};
pub use self::mount::{Mount, missing_mount, mount_of};
