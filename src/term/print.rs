//! Prints to stdout and ends quietly when the reader is gone.

use std::io::{self, ErrorKind, Write};

use crate::exit::Exit;

/// Says something where there is no log.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "backup_manager: {text}");
}

/// Writes a text to stdout; a reader that went away is no failure.
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
