//! `serve`: the far end of a remote source or of a restore, started by another backup_manager over ssh.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use transport::helper::far_end::{ServeError, ServeOptions, serve};

use crate::exit::Exit;
use crate::term::print::fail;

const EXAMPLES: &str = "\
It talks to the backup_manager that has the snapshots, on its standard input and output, and ends with the \
connection. With --read-only it reads folders, regular files and metadata, and nothing else. Without it, restores to this \
host write through it, with the rights of the user that it runs as. Where the kernel has Landlock, it gives up the right \
to use anything but the roots, and with --read-only to write anything. A copy to this host (copy --to) also goes through it. \
With --append-only it only accepts the snapshots of such copies: it stores them below the root, and reads, changes and removes \
nothing there on request, so a machine that is not trusted with the history cannot harm what is stored.

As a forced command in ~/.ssh/authorized_keys of the remote host (command=\"…\",restrict in front of the key), a \
key can use these folders and nothing else.

With REMOTE_HELPER=install the other end copies this program to ~/.cache/backup_manager/ of the account first.

Examples:
  backup_manager serve --read-only --root /home --root /etc
      A key that reads these folders
  backup_manager serve --root /srv/restored
      A key that restores into this folder
  backup_manager serve --append-only --root /srv/copies
      A key that adds copies of snapshots, and does nothing else

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
    /// Accept the snapshots of copies to this host, and refuse everything else; needs exactly one --root
    #[arg(long, conflicts_with = "read_only", requires = "roots")]
    append_only: bool,
    /// A folder that may be used, with all that is in it; can be given several times [default: all that the user may use]
    #[arg(long = "root", value_name = "PATH")]
    roots: Vec<PathBuf>,
}

pub(crate) fn run(args: Args) -> Exit {
    let Args { read_only, append_only, roots } = args;
    if append_only && roots.len() != 1 {
        fail("--append-only needs exactly one --root: the folder that holds the copies");
        return Exit::Usage;
    }
    if io::stdin().is_terminal() {
        fail(TYPED);
        return Exit::Usage;
    }
    let options = ServeOptions {
        roots,
        writes: !read_only,
        only_adds: append_only,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    // Without the buffers that the standard streams have: the messages are bytes, and a copy exchanges the roles of the ends.
    let own = |stream: io::Result<OwnedFd>| {
        stream.map_err(|error| {
            fail(&format!("cannot use the standard streams: {error}"));
            Exit::Failed
        })
    };
    let streams = own(io::stdin().as_fd().try_clone_to_owned())
        .and_then(|input| Ok((input, own(io::stdout().as_fd().try_clone_to_owned())?)));
    let (input, output) = match streams {
        Ok(streams) => streams,
        Err(exit) => return exit,
    };
    // A pipe that breaks while no request arrives: the near end is gone.
    let broken = || std::process::exit(i32::from(Exit::Failed.code()));
    match serve(&options, input, output, broken) {
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
