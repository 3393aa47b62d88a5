//! The verbs, one file each.

pub(crate) mod completions;
pub(crate) mod man;
pub(crate) mod rsync_options;
pub(crate) mod run;
pub(crate) mod sync_file_system;

use std::io::{self, ErrorKind, Write};

use crate::exit::Exit;

/// Writes a text to stdout; a reader that went away is no failure.
fn print(text: &[u8]) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "backup_manager: cannot write to stdout: {error}");
            Exit::Failed
        }
        _ => Exit::Done,
    }
}
