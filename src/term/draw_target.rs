//! The terminal as indicatif draws on it: every drawing is one write.

use std::io::{self, Write};
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use crate::term::terminal;

/// Collects a drawing and writes it to stderr with the cursor at the start of its last line. indicatif leaves the
/// cursor at the right edge. There the `^C` that the terminal echoes would begin a new line, and the display would be
/// cleared from one line too low. With a second write for the cursor, the echo could arrive between the two.
#[derive(Debug, Default)]
pub(crate) struct DrawTarget {
    drawing: Mutex<Vec<u8>>,
}

impl DrawTarget {
    fn drawing(&self) -> MutexGuard<'_, Vec<u8>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the cursor by `n` lines or columns: `CUU`, `CUD`, `CUF` and `CUB` of ECMA-48.
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        match n {
            0 => Ok(()),
            _ => write!(self.drawing(), "\x1b[{n}{direction}"),
        }
    }
}

impl TermLike for DrawTarget {
    fn width(&self) -> u16 {
        u16::try_from(terminal::columns()).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        terminal::rows()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        writeln!(self.drawing(), "{text}")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawing().write_all(text.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.drawing().write_all(b"\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawing = take(&mut *self.drawing());
        drawing.push(b'\r');
        io::stderr().write_all(&drawing)
    }
}
