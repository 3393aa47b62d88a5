//! Why a folder cannot be restored to.

use std::io;
use std::path::PathBuf;

use crate::entry::escape::shown_path;

/// Why the restore cannot write to a folder.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The folder is in a backups folder.
    #[error("{} lies in the backups folder {}", shown_path(.path), shown_path(.backups))]
    InBackups {
        /// The folder.
        path: PathBuf,
        /// The backups folder.
        backups: PathBuf,
    },
    /// The folder cannot be created or opened.
    #[error("cannot {action} {}: {error}", shown_path(.path))]
    Impossible {
        /// The failed action.
        action: &'static str,
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}
