//! Restores, to this machine and to others.

mod delete;
mod drill;
mod drill_of_hosts;
mod local;
mod of_hosts;
mod refused;
mod remote;
mod remote_lost;

use fixtures::judge::Judge;
use fixtures::run::Run;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// How a restore reaches another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Sftp,
    /// This program, which sshd starts on the host.
    Helper,
}

impl Over {
    const BOTH: [Self; 2] = [Self::Sftp, Self::Helper];

    fn set(self, run: Run) -> Run {
        match self {
            Self::Sftp => run.env("REMOTE_HELPER", "off"),
            Self::Helper => run.env("REMOTE_HELPER", BIN),
        }
    }

    /// Compares a restored tree with the source.
    fn judge(self) -> Judge {
        match self {
            Self::Sftp => Judge::sent_by_sftp(),
            Self::Helper => Judge::plain(),
        }
    }
}
