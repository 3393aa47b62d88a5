//! Syncs a file system in a child process, so that a stop need not wait for a slow disk.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::config::setting::find::secret_variables;

/// The child's exit code for errors without a number.
pub(crate) const NO_NUMBER: i32 = 255;

/// Syncs the file system of `folder` in a child process, or in this process if no child can be started. The
/// child has the same open file description, so it gets every write error since `folder` was opened.
///
/// # Errors
/// The error that the child reports.
pub(crate) fn in_a_child(folder: BorrowedFd<'_>) -> io::Result<()> {
    let stdin = File::from(folder.try_clone_to_owned()?);
    let mut child = Command::new("/proc/self/exe");
    for secret in secret_variables() {
        child.env_remove(secret);
    }
    let child = child
        .arg("sync-file-system")
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for the run only: the child does not get the signal and continues.
        .process_group(0)
        .status();
    match child.map(|status| status.code()) {
        Ok(Some(0)) => Ok(()),
        Ok(Some(NO_NUMBER)) => Err(io::Error::other("the sync failed")),
        Ok(Some(number)) => Err(io::Error::from_raw_os_error(number)),
        Ok(None) => Err(io::Error::other("the sync was killed")),
        Err(_) => engine::fs::sync_file_system(folder),
    }
}
