//! Loads the configuration from flags, environment and file.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::mistake::Mistake;
use crate::config::setting::Key;
use crate::config::types::Inputs;
use crate::term::print::fail;

/// The inputs of the configuration: the command line, the environment and the current folder.
pub(crate) fn inputs(
    flags: Vec<(Key, OsString)>,
    rsync_args: Vec<OsString>,
    config_file: Option<PathBuf>,
    names: Vec<String>,
) -> Option<Inputs> {
    let current_dir = match env::current_dir() {
        Ok(current_dir) => current_dir,
        Err(error) => {
            fail(&format!(
                "cannot determine the current folder: {error}; start it in one that exists"
            ));
            return None;
        }
    };
    let variables = env::vars_os().collect();
    Some(Inputs { flags, rsync_args, config_file, names, variables, current_dir })
}

/// Reads the configuration with `load`, and prints the mistakes in it.
pub(crate) fn configured<T>(
    inputs: &Inputs,
    load: impl FnOnce(&Inputs) -> Result<T, Vec<Mistake>>,
) -> Option<T> {
    match load(inputs) {
        Ok(config) => Some(config),
        Err(mistakes) => {
            print(&mistakes);
            None
        }
    }
}

/// Prints mistakes in the configuration.
pub(crate) fn print(mistakes: &[Mistake]) {
    let heading = match mistakes.len() {
        1 => "there is a mistake in the configuration; nothing was touched".to_owned(),
        count => format!("there are {count} mistakes in the configuration; nothing was touched"),
    };
    let lines: String = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    fail(&format!("{heading}{lines}"));
}
