//! `own-hash`: a backup machine that has copied this program to a host starts it there with this command. The answer shows
//! that the copy runs on that host and is what was sent.

use crate::exit::Exit;
use crate::term::print::{fail, print};

/// Print the hash of this program (used by `REMOTE_HELPER=install` itself).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Exit {
    match transport::helper::install::own_hash() {
        Ok(hash) => print(format!("{hash}\n").as_bytes()),
        Err(error) => {
            fail(&format!("cannot read this program in /proc: {error}; mount /proc there"));
            Exit::Failed
        }
    }
}
