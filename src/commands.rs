//! The verbs, one file each.

pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod find;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod rsync_options;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod sync_file_system;
pub(crate) mod try_hosts;
pub(crate) mod verify;

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use crate::config::setting::Key;
use crate::config::{Inputs, Mistake};
use crate::exit::Exit;

/// What the configuration is read from: a command line and what surrounds this process.
pub(crate) fn inputs(
    flags: Vec<(Key, OsString)>,
    rsync_args: Vec<OsString>,
    config_file: Option<PathBuf>,
    names: Vec<String>,
) -> Option<Inputs> {
    let current_dir = match env::current_dir() {
        Ok(current_dir) => current_dir,
        Err(error) => {
            say(&format!("cannot tell the current folder: {error}; start it in one that exists"));
            return None;
        }
    };
    let variables = env::vars_os().collect();
    Some(Inputs { flags, rsync_args, config_file, names, variables, current_dir })
}

/// Reads the configuration with `load`; its mistakes are said.
pub(crate) fn configured<T>(
    inputs: &Inputs,
    load: impl FnOnce(&Inputs) -> Result<T, Vec<Mistake>>,
) -> Option<T> {
    match load(inputs) {
        Ok(config) => Some(config),
        Err(mistakes) => {
            let heading = match mistakes.len() {
                1 => "there is a mistake in the configuration; nothing was touched".to_owned(),
                count => {
                    format!("there are {count} mistakes in the configuration; nothing was touched")
                }
            };
            let lines: String = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
            say(&format!("{heading}{lines}"));
            None
        }
    }
}

/// Says something where there is no log.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "backup_manager: {text}");
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
