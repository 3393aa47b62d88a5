//! What commands print: summaries, columns, progress, paths to paste, questions on a terminal.

mod columns;
mod pasted;
mod progress;
mod summary;
mod terminal;
