//! Messages of commands without a log, on stderr; and texts on stdout, which end without an error if the pipe is
//! closed.

use std::io::{self, ErrorKind, Write};

use crate::exit::Exit;
use crate::term::colour::{Palette, Style};
use crate::term::terminal;

/// Prints a statement to stderr.
pub(crate) fn say(text: &str) {
    message(Style::Plain, text);
}

/// Prints a warning to stderr: the command goes on.
pub(crate) fn warn(text: &str) {
    message(Style::Warn, text);
}

/// Prints to stderr why the command fails.
pub(crate) fn fail(text: &str) {
    message(Style::Bad, text);
}

/// Prints a message whose first word is coloured. The text itself stays plain: it may be long, or copied.
fn message(style: Style, text: &str) {
    let name = Palette::of_stderr().paint(style, "backup_manager:");
    terminal::suspended(|| {
        let _ = writeln!(io::stderr(), "{name} {text}");
    });
}

/// Writes a text to stdout. A closed pipe is not a failure.
pub(crate) fn print(text: &[u8]) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to stdout: {error}"));
            Exit::Failed
        }
        _ => Exit::Done,
    }
}
