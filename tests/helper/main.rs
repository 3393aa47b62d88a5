//! Remote sources that are read, and folders that are restored to, through `backup_manager serve` on the host, behind a
//! real sshd.

mod brake;
mod choice;
mod compressed;
mod deltas;
mod doctor;
mod forced_command;
mod install;
mod install_refused;
mod install_restore;
mod large_file;
mod lost;
mod memory;
mod renames;
mod restore;
mod restore_hostile;
mod snapshots;
mod sudo;
mod unchanged;

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
