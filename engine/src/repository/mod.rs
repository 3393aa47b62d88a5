//! The backups folder: its snapshots, and `.backup_manager/` with all other files.

pub(crate) mod app_files;
pub(crate) mod backups_folder;
pub(crate) mod catalog;
pub(crate) mod content;
pub(crate) mod destination;
pub(crate) mod healing;
pub(crate) mod lineage;
pub(crate) mod lock;
pub(crate) mod manifest;
pub(crate) mod ownership;
pub(crate) mod records;
pub(crate) mod removal;
pub(crate) mod snapshot_links;
pub(crate) mod source_path;
pub(crate) mod store;
pub(crate) mod uptime;

pub use self::app_files::AppFiles;
pub use self::backups_folder::Repository;
pub(crate) use self::backups_folder::{check_mounted, folder_name};
pub use self::catalog::Standing;
pub use self::content::{Content, Piece, StoreError, is_damaged, read_through};
pub use self::destination::{DestinationReport, examine};
pub use self::lineage::{Sources, not_after};
pub use self::ownership::{give_to_folder_owner, shut_out};
pub use self::records::holds::{Hold, pin, release};
pub use self::records::last_drill::LastDrill;
pub use self::records::progress::Reached;
pub use self::records::report::{Counts, RenamedPath, RootDropped, machine_hash};
pub use self::records::status::JobStatus;
pub use self::removal::orphans::{orphans, remove_orphans};
pub use self::removal::prune::prune;
pub use self::source_path::SourceRoots;
pub use crate::entry::digest::{Digest, Method};
