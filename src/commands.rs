//! The verbs, one file each.

pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod find;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod sync_file_system;
pub(crate) mod verify;

use std::env;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use crate::config::{Inputs, Mistake};
use crate::exit::Exit;

/// Says something where there is no log.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "backup_manager: {text}");
}

/// Reads the configuration; its mistakes are said.
///
/// # Errors
/// [`Exit::Usage`].
pub(crate) fn configured<T>(
    inputs: impl FnOnce(PathBuf) -> Inputs,
    load: impl FnOnce(&Inputs) -> Result<T, Vec<Mistake>>,
) -> Result<T, Exit> {
    let current_dir = env::current_dir().map_err(|error| {
        say(&format!("cannot tell the current folder: {error}; start it in one that exists"));
        Exit::Usage
    })?;
    load(&inputs(current_dir)).map_err(|mistakes| {
        let heading = match mistakes.len() {
            1 => "there is a mistake in the configuration; nothing was touched".to_owned(),
            count => {
                format!("there are {count} mistakes in the configuration; nothing was touched")
            }
        };
        let lines: String = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        say(&format!("{heading}{lines}"));
        Exit::Usage
    })
}

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
