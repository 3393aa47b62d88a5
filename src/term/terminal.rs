//! The terminal that the progress display and all messages share, so that they do not overwrite each other. A process
//! has one terminal, so the display is global.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;

/// What the terminal shows besides lines.
enum Display {
    Nothing,
    Bar(ProgressBar),
    /// The process ends: nothing is shown any more.
    Closed,
}

static DISPLAY: Mutex<Display> = Mutex::new(Display::Nothing);

fn display() -> MutexGuard<'static, Display> {
    DISPLAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether stderr is a terminal.
pub(crate) fn is_there() -> bool {
    io::stderr().is_terminal()
}

/// Whether stderr is a terminal whose lines can be written again.
pub(crate) fn can_redraw() -> bool {
    is_there() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// The width of stderr in columns.
pub(crate) fn columns() -> usize {
    columns_of(io::stderr())
}

/// The width of stdout in columns; `None` if stdout is no terminal. Then lines are of any length, because programs read
/// them.
pub(crate) fn columns_of_stdout() -> Option<usize> {
    io::stdout().is_terminal().then(|| columns_of(io::stdout()))
}

fn columns_of(stream: impl AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(stream);
    size.map_or(80, |size| match size.ws_col {
        // A terminal that does not know its size.
        0 => 80,
        columns => usize::from(columns).max(20),
    })
}

/// The height of stderr in rows.
pub(crate) fn rows() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(24, |size| if size.ws_row == 0 { 24 } else { size.ws_row })
}

/// Shows `bar` from now on, unless the process ends.
pub(crate) fn show(bar: ProgressBar) {
    let mut display = display();
    if !matches!(*display, Display::Closed) {
        *display = Display::Bar(bar);
    }
}

/// Changes the bar that is shown, if there is one.
pub(crate) fn redraw(change: impl FnOnce(&ProgressBar)) {
    if let Display::Bar(bar) = &*display() {
        change(bar);
    }
}

/// Removes the bar. The cursor is then at the start of an empty line.
pub(crate) fn clear() {
    end(Display::Nothing);
}

/// Removes the bar and shows none later. To be called before the last message of a process that ends while threads
/// still work.
pub(crate) fn close() {
    end(Display::Closed);
}

fn end(next: Display) {
    let mut display = display();
    if matches!(*display, Display::Closed) {
        return;
    }
    if let Display::Bar(bar) = std::mem::replace(&mut *display, next) {
        bar.finish_and_clear();
    }
}

/// Runs `write` while the bar is hidden. No bar appears in the middle of a line.
pub(crate) fn suspended<R>(write: impl FnOnce() -> R) -> R {
    match &*display() {
        Display::Bar(bar) => bar.suspend(write),
        Display::Nothing | Display::Closed => write(),
    }
}
