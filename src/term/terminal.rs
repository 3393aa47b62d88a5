//! The terminal that progress and log lines share, so that they do not tear each other.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;

/// A handle on it; clones are the same terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal {
    shown: Arc<Mutex<Option<ProgressBar>>>,
}

impl Terminal {
    /// Whether a person may be looking.
    pub(crate) fn is_there() -> bool {
        io::stderr().is_terminal()
    }

    /// Its width in columns.
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

    /// Takes the display away.
    pub(crate) fn clear(&self) {
        if let Ok(mut shown) = self.shown.lock()
            && let Some(bar) = shown.take()
        {
            bar.finish_and_clear();
        }
    }

    /// Runs `write` while the display is out of the way.
    pub(crate) fn suspended<R>(&self, write: impl FnOnce() -> R) -> R {
        match self.shown.lock() {
            Ok(shown) => match shown.as_ref() {
                Some(bar) => bar.suspend(write),
                // Still under the lock, so that no display appears in the middle of the line.
                None => write(),
            },
            Err(_) => write(),
        }
    }
}
