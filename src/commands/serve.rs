//! `serve`: the far end of a remote source or of a restore, started by another backup_manager over ssh.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use transport::helper::serve::{ServeError, ServeOptions, serve};

use crate::exit::Exit;
use crate::term::print::fail;

const EXAMPLES: &str = "\
It talks to the backup_manager that has the snapshots, on its standard input and output, and ends with the \
connection. With --read-only it reads folders, regular files and metadata, and nothing else. Without it, restores to this \
host write through it, with the rights of the user that it runs as. Where the kernel has Landlock, it gives up the right \
to use anything but the roots, and with --read-only to write anything.

As a forced command in ~/.ssh/authorized_keys of the remote host (command=\"…\",restrict in front of the key), a \
key can use these folders and nothing else.

With REMOTE_HELPER=install the other end copies this program to ~/.cache/backup_manager/ of the account first.

Examples:
  backup_manager serve --read-only --root /home --root /etc
      A key that reads these folders
  backup_manager serve --root /srv/restored
      A key that restores into this folder

Exit codes: 0 the connection ended; 1 the other end is no backup_manager, the connection broke, or the kernel refuses to \
confine it; 2 usage, or a --root that is not absolute, not there or not to be entered.";

/// Nothing that is typed here is a request.
const TYPED: &str = "serve answers another backup_manager, which starts it over ssh; there is nothing to type here. \
On the machine that takes the snapshots set REMOTE_SRC_HOST=user@this-host and SRCS_TO_BACKUP, and type: backup_manager run";

/// Answer the backup_manager of another host over ssh; ssh starts this on the remote host
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Refuse every request to write; restores to this host then go over SFTP, if it offers that
    #[arg(long)]
    read_only: bool,
    /// A folder that may be used, with all that is in it; can be given several times [default: all that the user may use]
    #[arg(long = "root", value_name = "PATH")]
    roots: Vec<PathBuf>,
}

pub(crate) fn run(args: Args) -> Exit {
    let Args { read_only, roots } = args;
    if std::io::stdin().is_terminal() {
        fail(TYPED);
        return Exit::Usage;
    }
    let options =
        ServeOptions { roots, writes: !read_only, version: env!("CARGO_PKG_VERSION").to_owned() };
    // Without the buffer of lines that the standard output has: the messages are bytes.
    let output = match std::io::stdout().as_fd().try_clone_to_owned() {
        Ok(output) => File::from(output),
        Err(error) => {
            fail(&format!("cannot use the standard output: {error}"));
            return Exit::Failed;
        }
    };
    // A pipe that breaks while no request arrives: the near end is gone.
    let broken = || std::process::exit(i32::from(Exit::Failed.code()));
    match serve(&options, std::io::stdin().lock(), output, broken) {
        Ok(()) => Exit::Done,
        Err(error) => {
            fail(&error.to_string());
            match error {
                ServeError::Root(_) => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}
