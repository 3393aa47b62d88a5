//! Prints to stdout, and ends without an error if the pipe is closed.

use std::io::{self, ErrorKind, Write};

use crate::exit::Exit;

/// Prints a message to stderr, for commands without a log.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "backup_manager: {text}");
}

/// Writes a text to stdout. A closed pipe is not a failure.
pub(crate) fn print(text: &[u8]) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "backup_manager: cannot write to stdout: {error}");
            Exit::Failed
        }
        _ => Exit::Done,
    }
}
