//! Answers requests on one thread; pages are made on others.

mod accept;
mod base_path;
mod confine;
mod guard;
mod login;
mod routes;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use landlock::RulesetError;

use crate::access::sessions::Sessions;
use crate::access::users::UserError;
use crate::access::users_file::UsersFile;
use crate::program::Program;
use crate::server::accept::Listener;
use crate::settings::Settings;
use crate::site::Site;

/// Pages and downloads that are made at the same time.
const THREADS: usize = 32;

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everyone in the network could read all backups.
    #[error("anyone who reaches {0} could read all backups")]
    Open(String),
    /// The address cannot be used.
    #[error("cannot listen on {0}: {1}")]
    Listen(String, io::Error),
    /// The users file cannot be used.
    #[error(transparent)]
    Users(#[from] UserError),
    /// The kernel refuses to confine the process.
    #[error("the kernel refuses to confine it: {0}")]
    Confine(#[from] RulesetError),
    /// No thread can be started.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// Serves the page until the process ends. Calls `ready` with the URL once requests are accepted.
///
/// # Errors
/// See [`ServeError`]. Nothing was served.
pub fn serve(
    program: Box<dyn Program>,
    settings: Settings,
    ready: impl FnOnce(&str),
) -> Result<(), ServeError> {
    let program: Arc<dyn Program> = Arc::from(program);
    let open = |path| {
        let program = Arc::clone(&program);
        UsersFile::open(path, Box::new(move |complaint| program.complain(complaint)))
    };
    let users = settings.users_file.as_deref().map(open).transpose()?;
    if users.is_none() && !settings.listen.is_local() {
        return Err(ServeError::Open(settings.listen.to_string()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .map_err(ServeError::Start)?;
    let failed = |error| ServeError::Listen(settings.listen.to_string(), error);
    let listener = {
        let _guard = runtime.enter();
        Listener::bind(&settings.listen).map_err(failed)?
    };
    // Before the runtime starts its first other thread: each thread keeps what it may do.
    let read = settings.folders.iter().chain(&settings.sources);
    confine::to_read(read.map(PathBuf::as_path))?;
    let url = match listener.address().map_err(failed)? {
        Some(address) => format!("http://{address}{}/", settings.base_path),
        None => settings.listen.to_string(),
    };
    let site = Arc::new(Site::new(program, settings, Sessions::new(users)));
    runtime.block_on(async {
        ready(&url);
        listener.serve(routes::router(&site)).await;
    });
    Ok(())
}
