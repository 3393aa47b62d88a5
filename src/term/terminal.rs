//! The terminal that the progress display and the log lines share, so that they do not overwrite each other.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;

/// A handle of the terminal. Clones refer to the same terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal {
    shown: Arc<Mutex<Option<ProgressBar>>>,
}

impl Terminal {
    /// Whether stderr is a terminal.
    pub(crate) fn is_there() -> bool {
        io::stderr().is_terminal()
    }

    /// The width in columns.
    pub(crate) fn columns() -> usize {
        let size = rustix::termios::tcgetwinsize(io::stderr());
        size.map_or(80, |size| usize::from(size.ws_col).max(20))
    }

    /// Shows `bar` from now on.
    pub(crate) fn show(&self, bar: ProgressBar) {
        if let Ok(mut shown) = self.shown.lock() {
            *shown = Some(bar);
        }
    }

    /// Removes the display.
    pub(crate) fn clear(&self) {
        if let Ok(mut shown) = self.shown.lock()
            && let Some(bar) = shown.take()
        {
            bar.finish_and_clear();
        }
    }

    /// Runs `write` while the display is hidden.
    pub(crate) fn suspended<R>(&self, write: impl FnOnce() -> R) -> R {
        match self.shown.lock() {
            Ok(shown) => match shown.as_ref() {
                Some(bar) => bar.suspend(write),
                // The lock is still held, so no display can appear in the middle of the line.
                None => write(),
            },
            Err(_) => write(),
        }
    }
}
