//! The messages of a restore: requests that write, and their answers. The position of a variant is its number in the
//! encoding: new ones go to the end.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use engine::fs::{UntrustedLink, untrusted};
use engine::repository::Method;
use engine::restore::{PlaceError, Shortfall, StoreOutcome};
use serde::{Deserialize, Serialize};

use crate::helper::protocol::entry::{SentEntry, SentId, file_id, sent_id};
use crate::helper::protocol::error::said;

/// Bytes of content that may be on their way to a far end before it grants more.
pub(crate) const WINDOW: i64 = 4 << 20;

/// Bytes of requests without an answer that a far end holds, beside content.
pub(crate) const REQUESTS: usize = 8 << 20;

/// The most names of missing attributes of one entry.
const MISSING: usize = 8;

/// The content of a small file, which travels in the message that creates it: the offset and the length of each
/// piece of data. What is between them is a hole.
pub(crate) type Pieces = Vec<(u64, u32)>;

/// The end of a content: its size, how it is hashed ([`method`]), and the hash.
pub(crate) type SentEnd = (u64, u8, [u8; blake3::OUT_LEN]);

/// A request of a near end that restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteRequest<'a> {
    /// Opens the folder to restore to, and calls it `folder`. `make` creates it where it is missing. With an `id`
    /// it was opened before, and must be the same.
    Target {
        folder: u64,
        #[serde(borrow)]
        path: &'a [u8],
        make: bool,
        id: Option<SentId>,
    },
    /// Calls the child folder `name` of `parent` `folder`. No answer.
    Name {
        folder: u64,
        parent: u64,
        name: &'a [u8],
        id: Option<SentId>,
    },
    /// The near end uses the folder no more. No answer.
    Forget {
        folder: u64,
    },
    /// Processes of lost connections of this restore: what they left of an entry that is requested `again` is
    /// removed or continued. No answer.
    Earlier {
        makers: Vec<&'a str>,
    },
    Enter {
        folder: u64,
        name: &'a [u8],
    },
    Look {
        folder: u64,
        names: Vec<&'a [u8]>,
    },
    /// Lists at most `most` names.
    Names {
        folder: u64,
        most: u64,
    },
    /// Describes everything in the folder `name`, and says whether the folder may be removed with it.
    Explore {
        folder: u64,
        name: &'a [u8],
    },
    /// Whether the process that made a temporary entry of this name is running.
    Creator {
        name: &'a [u8],
    },
    /// Sets the mode of a folder and opens it again.
    SetMode {
        folder: u64,
        mode: u32,
    },
    MakeFolder {
        folder: u64,
        name: &'a [u8],
        again: bool,
    },
    /// Stores small files. The rest of the frame is their content, one after the other.
    Store {
        folder: u64,
        files: Vec<SentNewFile>,
        again: bool,
    },
    /// Begins a large file. [`WriteRequest::Part`] and [`WriteRequest::End`] have the same number.
    Begin {
        folder: u64,
        file: SentEntry,
        method: u8,
        replace: bool,
        again: bool,
    },
    /// The rest of the frame is content of the file, from `offset` on.
    Part {
        offset: u64,
    },
    End {
        end: SentEnd,
    },
    /// The near end does not want the large file any more. No answer.
    Discard,
    Make {
        folder: u64,
        entry: SentEntry,
        replace: bool,
        again: bool,
    },
    Link {
        folder: u64,
        name: &'a [u8],
        to: (u64, &'a [u8], Option<SentId>),
        replace: bool,
        again: bool,
    },
    FileMetadata {
        folder: u64,
        entry: SentEntry,
        id: Option<SentId>,
    },
    FolderMetadata {
        folder: u64,
        entry: SentEntry,
        new: bool,
    },
    Remove {
        folder: u64,
        name: &'a [u8],
        again: bool,
    },
    RemoveFolder {
        folder: u64,
        name: &'a [u8],
        again: bool,
    },
    Sync,
}

/// A small file to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentNewFile {
    pub(crate) entry: SentEntry,
    pub(crate) pieces: Pieces,
    pub(crate) end: SentEnd,
    pub(crate) replace: bool,
}

/// An answer to a near end that restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteAnswer {
    Target(Result<SentTarget, SentPlaceError>),
    Folder(Result<SentFolder, SentFault>),
    /// Some of the entries of a `Look`, in its order.
    Looked(Vec<Result<Option<SentEntry>, SentFault>>),
    Names(Vec<Vec<u8>>),
    /// Entries below an explored folder: the path of each, and what it is.
    Found(Vec<(Vec<u8>, SentEntry)>),
    /// The last answer to `Names`: whether these are all names; to `Explore`: whether the folder may be removed.
    Ended(Result<bool, SentFault>),
    /// The creator of a temporary entry: `None` no such name, 0 running, 1 ended, 2 unknown.
    Creator(Option<u8>),
    /// The results of files, or of one entry that was made.
    Stored(Vec<Result<SentOutcome, SentFault>>),
    /// Where a large file goes on that an earlier process had begun.
    From(u64),
    Shortfall(Result<SentShortfall, SentFault>),
    Done(Result<(), SentFault>),
    /// The far end takes this many more bytes of content.
    Credit(u64),
    /// A request takes long, and is being worked on.
    Working,
}

/// The folder to restore to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentTarget {
    /// Its path without symlinks.
    pub(crate) path: Vec<u8>,
    /// `None`: it does not exist, and was not to be created.
    pub(crate) folder: Option<SentFolder>,
    /// The user of the far end.
    pub(crate) user: u32,
    /// This process, as its temporary names have it.
    pub(crate) maker: String,
}

/// An opened folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentFolder {
    pub(crate) id: Option<SentId>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    /// The device number of its file system and the mount.
    pub(crate) file_system: Option<(u64, u64)>,
}

/// The metadata that could not be set: owner, mode, time, and the names of attributes.
pub(crate) type SentShortfall = (bool, bool, bool, Vec<Vec<u8>>);

/// What was stored: what is missing, and the inode.
pub(crate) type SentOutcome = (SentShortfall, Option<SentId>);

/// Why the far end cannot write to a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SentPlaceError {
    /// The backups folder in which it lies.
    InBackups(Vec<u8>),
    /// Whether it could not be made, or not be opened.
    Impossible(bool, SentFault),
}

/// An error of the far end's system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SentFault {
    /// The errno.
    System(i32),
    /// The number of a kind, and a text.
    Said(u8, String),
    /// The symlink, what other users control, and its owner.
    UntrustedLink(Vec<u8>, Vec<u8>, Option<u32>),
}

/// The kinds of errors without an errno; the position of a kind is its number. The first stands for all others.
const KINDS: [ErrorKind; 6] = [
    ErrorKind::Other,
    ErrorKind::AlreadyExists,
    ErrorKind::NotFound,
    ErrorKind::NotADirectory,
    ErrorKind::Unsupported,
    ErrorKind::PermissionDenied,
];

impl From<&io::Error> for SentFault {
    fn from(error: &io::Error) -> Self {
        use std::os::unix::ffi::OsStrExt;
        if let Some(errno) = error.raw_os_error() {
            return Self::System(errno);
        }
        if let Some(link) = untrusted(error) {
            let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
            return Self::UntrustedLink(bytes(&link.link), bytes(&link.at), link.uid);
        }
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or_default();
        Self::Said(u8::try_from(kind).unwrap_or_default(), error.to_string())
    }
}

impl From<SentFault> for io::Error {
    fn from(fault: SentFault) -> Self {
        use std::os::unix::ffi::OsStringExt;
        match fault {
            SentFault::System(errno) => {
                let error = Self::from_raw_os_error(errno);
                // These kinds have a meaning of their own at the near end.
                match error.kind() {
                    ErrorKind::NotConnected | ErrorKind::Interrupted => {
                        Self::other(error.to_string())
                    }
                    _ => error,
                }
            }
            SentFault::Said(kind, text) => {
                let kind = KINDS.get(usize::from(kind)).copied().unwrap_or(ErrorKind::Other);
                Self::new(kind, said(&text))
            }
            SentFault::UntrustedLink(link, at, uid) => {
                let path = |bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes));
                Self::other(UntrustedLink { link: path(link), at: path(at), uid })
            }
        }
    }
}

impl From<&PlaceError> for SentPlaceError {
    fn from(error: &PlaceError) -> Self {
        use std::os::unix::ffi::OsStrExt;
        match error {
            PlaceError::InBackups { backups, .. } => {
                Self::InBackups(backups.as_os_str().as_bytes().to_vec())
            }
            PlaceError::Impossible { action, error, .. } => {
                Self::Impossible(*action == "make", error.into())
            }
        }
    }
}

impl SentPlaceError {
    /// The error for the folder `path`.
    pub(crate) fn at(self, path: PathBuf) -> PlaceError {
        use std::os::unix::ffi::OsStringExt;
        match self {
            Self::InBackups(backups) => PlaceError::InBackups {
                path,
                backups: std::ffi::OsString::from_vec(backups).into(),
            },
            Self::Impossible(makes, fault) => {
                let action = if makes { "make" } else { "open" };
                PlaceError::Impossible { action, path, error: fault.into() }
            }
        }
    }
}

/// The number of a hash method.
pub(crate) fn method(method: Method) -> u8 {
    u8::from(method == Method::Runs)
}

/// The hash method with this number.
pub(crate) fn method_of(number: u8) -> Method {
    if number == 0 { Method::Plain } else { Method::Runs }
}

pub(crate) fn sent_shortfall(shortfall: Shortfall) -> SentShortfall {
    let Shortfall { owner, mode, time, mut xattrs, link: _ } = shortfall;
    xattrs.truncate(MISSING);
    (owner, mode, time, xattrs)
}

/// The names of attributes are those of the near end; a far end that invents others cannot make it show more.
pub(crate) fn shortfall((owner, mode, time, mut xattrs): SentShortfall) -> Shortfall {
    xattrs.truncate(MISSING);
    xattrs.iter_mut().for_each(|name| name.truncate(255));
    Shortfall { owner, mode, time, xattrs, link: false }
}

pub(crate) fn sent_outcome(stored: StoreOutcome) -> SentOutcome {
    (sent_shortfall(stored.shortfall), stored.id.map(sent_id))
}

pub(crate) fn outcome((missing, id): SentOutcome) -> StoreOutcome {
    StoreOutcome { shortfall: shortfall(missing), damaged: false, id: file_id(id) }
}
