//! The reasons for which a remote file is not read, as errors.

use std::io;

use engine::SourceError;

/// Maximum bytes read from a file that is listed with size 0. Without it, an endless file would never end.
pub(crate) const UNSIZED_MOST: u64 = 4 << 30;

/// U+FFFD, which servers put in place of name bytes that are not UTF-8.
const REPLACED: &[u8] = "\u{fffd}".as_bytes();

/// Whether the name of a path contains U+FFFD, so that the server may have replaced bytes of the real name.
pub(crate) fn is_replaced(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.windows(REPLACED.len()).any(|part| part == REPLACED)
}

/// Whether a path leads to the kernel's virtual files. Some of them block the server forever (`/proc/kmsg`,
/// `trace_pipe`), others have no end (`pagemap`). Files there that are listed as empty are therefore not
/// read.
pub(crate) fn is_of_the_kernel(path: &[u8]) -> bool {
    [&b"/proc/"[..], b"/sys/"].iter().any(|folder| path.starts_with(folder))
}

pub(crate) fn denied() -> SourceError {
    let error = io::Error::other("the server says that it does not exist, and that it is there");
    SourceError::Unreadable { action: "open", error }
}

pub(crate) fn endless() -> SourceError {
    let error = io::Error::other(format!(
        "the server lists it as empty, and it continues after {UNSIZED_MOST} bytes; exclude it"
    ));
    SourceError::Unreadable { action: "read", error }
}

pub(crate) fn cut_short() -> SourceError {
    let error = io::Error::other(
        "the connection was lost during the read, and the server lists no size to compare; the next run tries again",
    );
    SourceError::Unreadable { action: "read", error }
}

pub(crate) fn unaskable() -> SourceError {
    let error = io::Error::other(
        "the server lists it under a name that it does not know: it puts U+FFFD for what is not UTF-8; rename it there",
    );
    SourceError::Unreadable { action: "open", error }
}
