//! Why nothing was copied to a host.

use crate::ssh::ConnectError;

/// Why nothing was copied, and what the user can do.
#[derive(Debug, thiserror::Error)]
pub enum NotInstalled {
    /// The host has no shell for this user, or does not answer.
    #[error("the script that copies backup_manager does not run there: {0}")]
    NoShell(ConnectError),
    /// The name of the host's system and machine, of which there is no program here.
    #[error(
        "there is no backup_manager here for its system ({0}); build one for it and put it into a folder in the PATH of that user, or write the static one into /usr/libexec/backup_manager/ here (docs/remote.md)"
    )]
    NoBinary(String),
    /// The home folder cannot be entered.
    #[error(
        "the home folder of that user cannot be entered ({0}); create it, or put backup_manager into a folder in the PATH of that user"
    )]
    NoHome(String),
    /// A folder on the way is a symlink, or another user's.
    #[error("~/{0} there is a symlink, or leads through one; remove it")]
    Link(String),
    /// The folder cannot be written.
    #[error(
        "~/.cache/backup_manager there cannot be written: {0}; make it writable, or put backup_manager into a folder in the PATH of that user"
    )]
    Unwritable(String),
    /// There is too little space.
    #[error(
        "the home folder of that user has {free} KiB free, and backup_manager needs {needed} KiB; free some, or put backup_manager into a folder in the PATH of that user"
    )]
    Full {
        /// What is free, KiB.
        free: u64,
        /// What the program takes, KiB.
        needed: u64,
    },
    /// No program starts there.
    #[error(
        "programs in ~/.cache there do not start (mount option noexec?): {0}; put backup_manager into a folder in the PATH of that user"
    )]
    NoExec(String),
    /// The copy does not start, or is not what was sent.
    #[error("the copy does not answer there as it should: {said}{}", hint(*.is_static))]
    WrongAnswer {
        /// What it printed.
        said: String,
        /// Whether it needs nothing of the host.
        is_static: bool,
    },
    /// The program here cannot be read.
    #[error("cannot read the program to copy: {0}")]
    Unreadable(String),
    /// The host broke the conversation.
    #[error("the copy was interrupted: {0}; the next run tries again")]
    Interrupted(String),
    /// The program is being stopped.
    #[error("it was stopped")]
    Stopped,
}

fn hint(is_static: bool) -> &'static str {
    match is_static {
        true => "; put the backup_manager for its system into a folder in the PATH of that user",
        false => {
            "; this backup_manager needs the libraries of this machine: use the static one of the packages or of `make dist`"
        }
    }
}
