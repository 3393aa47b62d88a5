//! The purpose of each request: the listing, file or query that its answer belongs to.

use engine::entry::Meta;

use crate::sftp::protocol::channel::{Channel, HandleKind};

/// The steps of a folder's listing.
pub(crate) enum ListingStep {
    Open,
    Check,
    Real,
    Read,
    /// Looks up an entry that READDIR did not describe.
    Look(Box<[u8]>),
    /// Looks up `.` to find out whether entries of the folder can be looked up.
    Inside,
    /// Reads the target of a symlink.
    Link(Box<(Box<[u8]>, Meta)>),
}

/// The steps of a file.
pub(crate) enum FileStep {
    /// Checks before OPEN whether it is still a file.
    CheckFirst,
    Open(usize),
    Location,
    Stat(usize),
    Read {
        stream: usize,
        offset: u64,
        length: u32,
        small: bool,
    },
    /// Checks whether the name is still a file, because the open file is not as listed.
    Name,
    /// Checks whether the file exists, after OPEN failed with "no such file".
    There,
}

/// The state of a listing or a file after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StepOutcome {
    Continues,
    Ended,
    /// It must be started again later.
    Restart,
}

/// What an answer belongs to.
pub(crate) enum Purpose {
    /// A folder's listing.
    Folder(u64, ListingStep),
    /// A file's content.
    File(u64, FileStep),
    /// A query of a waiting thread.
    Query(u64),
    /// Closes a handle.
    Close(HandleKind),
}

/// A channel used for reading.
pub(crate) type ReadChannel = Channel<Purpose>;
