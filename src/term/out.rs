//! The output of commands that look at snapshots: lines for people, or JSON lines for programs.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use serde_json::Value;

use crate::exit::Exit;
use crate::term::colour::Palette;
use crate::term::table::Table;
use crate::term::terminal;
use crate::term::wrap;

/// Stdout. After the first error nothing more is written.
pub(crate) struct Out {
    stdout: BufWriter<Stdout>,
    error: Option<io::Error>,
    pub(crate) palette: Palette,
    /// The columns of the terminal; `None` if stdout is none.
    width: Option<usize>,
}

impl Out {
    pub(crate) fn new() -> Self {
        let stdout = BufWriter::with_capacity(1 << 16, io::stdout());
        Self {
            stdout,
            error: None,
            palette: Palette::of_stdout(),
            width: terminal::columns_of_stdout(),
        }
    }

    /// Writes a text without changes.
    pub(crate) fn text(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = self.stdout.write_all(text.as_bytes()).err();
        }
    }

    /// Writes a text whose lines are wrapped to the terminal.
    pub(crate) fn prose(&mut self, text: &str) {
        self.text(&wrap::prose(text, self.width));
    }

    /// Writes an object on one line.
    pub(crate) fn object(&mut self, object: &Value) {
        self.text(&(crate::term::harmless::json(object, false) + "\n"));
    }

    pub(crate) fn table(&mut self, table: &Table) {
        self.text(&table.render(self.palette, self.width));
    }

    /// Whether writing has failed, for example because the output is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.error.is_some()
    }

    /// Writes the buffered output. Returns `exit` unless writing failed. A closed pipe is not a failure.
    pub(crate) fn finish(mut self, exit: Exit) -> Exit {
        if self.error.is_none() {
            self.error = self.stdout.flush().err();
        }
        match self.error {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                crate::term::print::fail(&format!("cannot write to stdout: {error}"));
                Exit::Failed
            }
            _ => exit,
        }
    }
}
