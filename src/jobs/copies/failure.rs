//! Why a copy failed, and what to do next.

use engine::RunError;

use crate::config::mistake::shown_path;
use crate::exit::Exit;
use crate::hint;

/// What to do about a folder that is no place for copies.
pub(crate) const ANOTHER_FOLDER: &str = "write another folder";

/// Why a copy failed.
#[derive(Debug)]
pub(crate) struct CopyFailure {
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
    /// It was stopped.
    pub(crate) is_stop: bool,
}

impl CopyFailure {
    /// A failure that another attempt may not have.
    pub(crate) fn new(what: String, hint: Option<String>) -> Self {
        Self { what, hint, exit: Exit::Failed, is_stop: false }
    }

    /// The copy was stopped.
    pub(crate) fn stopped() -> Self {
        Self { is_stop: true, ..Self::new("it was stopped".to_owned(), None) }
    }
}

impl From<RunError> for CopyFailure {
    fn from(error: RunError) -> Self {
        let exit = match error {
            RunError::NotForCopies { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        let is_stop = matches!(error, RunError::Stopped);
        Self { what: error.to_string(), hint: hint_for(&error), exit, is_stop }
    }
}

/// The next step after a failed copy.
fn hint_for(error: &RunError) -> Option<String> {
    match error {
        RunError::NoSpace { .. } => Some(
            "free space there, or lower COPY_MAX_BACKUPS; what was copied so far stays for the next copy"
                .to_owned(),
        ),
        RunError::NotForCopies { .. } => Some(ANOTHER_FOLDER.to_owned()),
        RunError::Destination { action: "cannot create", path, .. } => {
            let above = shown_path(path.parent().unwrap_or(path));
            Some(format!("mount or make {above}, or write another folder"))
        }
        RunError::Destination { .. } => {
            Some("check that both folders are mounted, and that of the copy writable".to_owned())
        }
        error => hint::hint(error).map(|step| step.to_string()),
    }
}
