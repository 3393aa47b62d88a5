//! Why a file of the server is not read, in words.

use std::io;

use engine::source::SourceError;

/// Most bytes that are read of a file that is listed with the size 0: one that goes on has no end.
pub(crate) const MOST_UNTOLD: u64 = 4 << 30;

/// What servers put for bytes of a name that are not UTF-8: U+FFFD.
const REPLACED: &[u8] = "\u{fffd}".as_bytes();

/// Whether the name of a path may be what a server shows in place of another one.
pub(crate) fn is_replaced(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.windows(REPLACED.len()).any(|part| part == REPLACED)
}

/// Whether a path leads to the kernel's own files. Some of them block the server for ever (`/proc/kmsg`, `trace_pipe`), others have no
/// end (`pagemap`), so files there that are listed as empty are not read.
pub(crate) fn is_of_the_kernel(path: &[u8]) -> bool {
    [&b"/proc/"[..], b"/sys/"].iter().any(|folder| path.starts_with(folder))
}

pub(crate) fn denied() -> SourceError {
    let error = io::Error::other("the server says that it does not exist, and that it is there");
    SourceError::Unreadable { action: "open", error }
}

pub(crate) fn endless() -> SourceError {
    let error = io::Error::other(format!(
        "no size is told of it, and it goes on after {MOST_UNTOLD} bytes"
    ));
    SourceError::Unreadable { action: "read", error }
}

pub(crate) fn cut_short() -> SourceError {
    let error = io::Error::other(
        "the connection was lost while it was read, and no size tells whether it is the same file",
    );
    SourceError::Unreadable { action: "read", error }
}

pub(crate) fn unaskable() -> SourceError {
    let error = io::Error::other(
        "the server lists it under a name that it does not know: it puts U+FFFD for what is not UTF-8; rename it there",
    );
    SourceError::Unreadable { action: "open", error }
}
