//! Remote sources that are read, and folders that are restored to, through `backup_manager serve` on the host, behind a
//! real sshd.

mod copy;
mod restore;
mod setup;
mod source;

use fixtures::run::Run;
use fixtures::sshd::Sshd;
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A run from the server, with this program as the helper.
fn run(server: &Sshd, stage: &Stage) -> Run {
    server.reached_by(stage.run()).env("REMOTE_HELPER", BIN)
}

/// What a run logs when it reads the host over SFTP.
const OVER_SFTP: &str = "is read over SFTP";
