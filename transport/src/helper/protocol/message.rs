//! The messages. The position of a variant is its number in the encoding: new ones go to the end.

use engine::entry::Time;
use serde::{Deserialize, Serialize};

use crate::helper::protocol::content::SentFile;
use crate::helper::protocol::copy::{CopyAnswer, CopyRequest};
use crate::helper::protocol::delta::{SentChunk, SentPart, SentRun, SentSums};
use crate::helper::protocol::entry::{SentEntry, SentId, SentMeta};
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::known::{SentExpected, SentSame, SentTerms};
use crate::helper::protocol::write::{WriteAnswer, WriteRequest};

/// What the near end says first, and what the job asks of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The lowest and the highest protocol number that the near end speaks.
    pub(crate) protocols: (u16, u16),
    /// Bits of [`features`](crate::helper::protocol::features).
    pub(crate) features: u64,
    /// Whether entries come with extended attributes.
    pub(crate) xattrs: bool,
    /// Whether entries come with ACLs.
    pub(crate) acls: bool,
    /// Which symlinks are replaced by their targets: all, those that lead out of the source, those to folders.
    pub(crate) follow: (bool, bool, bool),
    /// The source roots, and for each the number of snapshot folders above its entries. They decide whether a
    /// symlink leads out of the source.
    pub(crate) depths: Vec<(Vec<u8>, u32)>,
}

/// A message of the near end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    Hello(Hello),
    /// Opens a source root and calls its folder `folder`. With an `id` it was opened before, and must be the same.
    Root {
        folder: u64,
        #[serde(borrow)]
        path: &'a [u8],
        id: Option<SentId>,
    },
    /// Calls the child folder `name` of `parent` `folder`. No answer: an error belongs to the first request
    /// that uses the folder.
    Folder {
        folder: u64,
        parent: u64,
        name: &'a [u8],
        id: Option<SentId>,
    },
    /// The near end uses the folder no more.
    Forget {
        folder: u64,
    },
    /// Reads the metadata of one entry.
    Look {
        folder: u64,
        name: &'a [u8],
    },
    /// Describes the file system that begins at a folder.
    Crossing {
        folder: u64,
        name: &'a [u8],
    },
    /// Reads the clock that sets the times of files.
    Clock,
    List {
        folder: u64,
    },
    Fetch {
        folder: u64,
        file: SentFile,
    },
    /// The near end wants no more answers to the request with this number.
    Cancel {
        request: u32,
    },
    /// Allows the far end to send this many more bytes of listings and of contents.
    Credit {
        listings: u64,
        contents: u64,
    },
    /// Like `Fetch`, for a file whose base the near end has: asks for its chunks.
    Delta {
        folder: u64,
        file: SentFile,
        sums: SentSums,
    },
    /// Asks for parts of a file whose `Delta` has the number `request`. After the last ones the file ends.
    Parts {
        request: u32,
        parts: Vec<SentPart>,
        last: bool,
    },
    /// What holds for the digests of all `Confirm` that follow.
    Terms(SentTerms),
    /// Lists a folder, unless its entries are as expected.
    Confirm {
        folder: u64,
        expected: SentExpected,
    },
    /// A request of a restore.
    Write(WriteRequest<'a>),
    /// Like `Fetch`, but at most so many bytes, and only if the file is as it was listed.
    Range {
        folder: u64,
        file: SentFile,
        length: u64,
    },
    /// Asks for the hash of a file of which the near end probably has the content, if the file is as it was listed.
    Hash {
        folder: u64,
        file: SentFile,
    },
    /// A request of a copy.
    Copy(CopyRequest<'a>),
}

/// An opened source root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentRoot {
    pub(crate) entry: SentEntry,
    pub(crate) was_link: bool,
    pub(crate) file_system: Option<String>,
}

/// A file system or subvolume that begins at a folder. The flags of a subvolume: read-only, a snapshot, encloses
/// the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentCrossing {
    pub(crate) file_system: Option<String>,
    pub(crate) subvolume: Option<(bool, bool, bool)>,
}

/// A message of the far end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The protocol number and the features in use, and the version of the program.
    Hello {
        protocol: u16,
        features: u64,
        version: String,
    },
    Root(Result<SentRoot, SentError>),
    Look(Result<SentEntry, SentError>),
    Crossing(SentCrossing),
    Clock(Option<Time>),
    /// Entries of a listing.
    Batch(Vec<SentEntry>),
    /// An entry of a listing that cannot be described.
    Unreadable(Vec<u8>, SentError),
    /// A listing ended.
    Listed(Result<(), SentError>),
    /// The rest of the frame is content.
    Data,
    /// The next bytes of the file are zeros without blocks.
    Hole(u64),
    /// A file ended: the metadata of its handle after the last byte.
    Read(Result<SentMeta, SentError>),
    /// The next chunks of a file that is sent as differences.
    Chunks(Vec<SentChunk>),
    /// The hash of the whole file: all of its chunks were sent, or only the hash was asked for.
    Hashed([u8; 32]),
    /// A part of a file, in the order in which they were asked for; the rest of the frame is what the base lacks.
    Part(Vec<SentRun>),
    /// The last answer to `Delta`, `Range` and `Hash`: the size of this file is not known, so it has to be fetched.
    Undivided,
    /// The entries are as expected.
    Same(SentSame),
    /// Something below the folder is not as expected.
    Differs,
    /// An answer to a restore.
    Write(WriteAnswer),
    /// An answer to a copy.
    Copy(CopyAnswer),
}
