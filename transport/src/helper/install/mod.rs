//! Copies this program to `~/.cache/backup_manager/` of a remote account, for `serve` to be started from there.
//!
//! `binaries` finds what can be copied, `script` is what the shell of the host runs and says, `names` decides what is
//! removed, `conversation` performs. `place` asks where a copy is.

pub(crate) mod binaries;
pub(crate) mod conversation;
pub(crate) mod names;
pub(crate) mod not_installed;
pub(crate) mod place;
pub(crate) mod script;

pub use crate::helper::install::binaries::own_hash;
pub use crate::helper::install::not_installed::NotInstalled;
pub use crate::helper::install::place::{HelperPlace, look_for_helper_place};

use crate::helper::install::binaries::Binaries;
use crate::helper::install::conversation::converse;
use crate::ssh::{Address, Options};

/// Copies the program for the host's machine, unless it is there already. Returns the file's name.
///
/// # Errors
/// See [`NotInstalled`].
pub(crate) fn install(
    address: &Address,
    options: &Options,
    binaries: &Binaries,
    stopped: impl Fn() -> bool + Send + 'static,
) -> Result<String, NotInstalled> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| NotInstalled::Interrupted(error.to_string()))?;
    let done = tokio::task::LocalSet::new()
        .block_on(&runtime, converse(address, options, binaries, stopped));
    // The remaining tasks only wait, so they can be dropped.
    runtime.shutdown_background();
    done
}
