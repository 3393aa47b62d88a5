//! Starts the far end in the role that the near end asks for in its greeting.

pub(crate) mod prepare;
#[cfg(test)]
mod raw_tests;
pub(crate) mod receive;
pub(crate) mod tell;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io::BufReader;
use std::os::fd::OwnedFd;

use crate::helper::far_end::receive::receive;
use crate::helper::protocol::features::RECEIVES;
use crate::helper::serve::confine::Roots;
use crate::helper::serve::{answer_greeted, greeted};
use crate::ssh::line::Streams;

pub use crate::helper::serve::{ServeError, ServeOptions};

/// Answers requests from `input` on `output` until `input` ends, or receives the snapshots that the near end has. Confines
/// the calling process to the roots. Calls `broken` on another thread when `output` breaks; the call itself still waits
/// for `input` then.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(
    options: &ServeOptions,
    input: OwnedFd,
    output: OwnedFd,
    broken: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    let roots = Roots::new(&options.roots).map_err(ServeError::Root)?;
    roots.confine(options.writes).map_err(|error| ServeError::Confine(error.to_string()))?;
    let mut input = File::from(input);
    // Without a buffer: what follows is for whoever gets the input.
    let Some(hello) = greeted(&mut input)? else { return Ok(()) };
    if hello.features & RECEIVES != 0 && options.writes {
        return receive(options, &roots, Streams { from: input.into(), to: output });
    }
    let input = BufReader::new(input);
    answer_greeted(options, roots, hello, input, File::from(output), broken)
}
