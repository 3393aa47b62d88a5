//! What a request was sent for.

use engine::entry::Meta;

use crate::sftp::protocol::channel::Channel;

/// What was asked of a folder.
pub(crate) enum ListingStep {
    Open,
    Check,
    Real,
    Read,
    /// An entry that READDIR did not describe.
    Look(Box<[u8]>),
    /// Whether anything in it can be queried.
    Inside,
    /// The target of a symlink.
    Link(Box<(Box<[u8]>, Meta)>),
}

/// What was asked of a file.
pub(crate) enum FileStep {
    /// Looks whether it still is a file, before it is opened.
    Wary,
    Open(usize),
    Place,
    Stat(usize),
    Read {
        stream: usize,
        offset: u64,
        length: u32,
        small: bool,
    },
    /// Checks whether its name still is a file, because it is not as listed.
    Name,
    /// Looks whether it is there, as it was not opened because it does not exist.
    There,
}

/// Whom an answer is for.
pub(crate) enum Purpose {
    /// A folder's listing.
    Folder(u64, ListingStep),
    /// A file's content.
    File(u64, FileStep),
    /// A query of a thread that waits.
    Question(u64),
    /// Nobody.
    Nobody,
}

/// A channel that a source reads over.
pub(crate) type ReadChannel = Channel<Purpose>;
