//! Entries and their metadata as both ends send them.

use std::ffi::CString;

use engine::entry::{Entry, Extra, FileId, Kind, ListedEntry, Meta, Time, Xattrs};
use serde::{Deserialize, Serialize};

/// The identity of an inode: device and number.
pub(crate) type SentId = (u64, u64);

/// The identity of an inode as it is sent.
pub(crate) fn sent_id(id: FileId) -> SentId {
    (id.dev, id.ino)
}

/// The identity of an inode that was sent.
pub(crate) fn file_id(id: Option<SentId>) -> Option<FileId> {
    id.map(|(dev, ino)| FileId { dev, ino })
}

/// The metadata of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentMeta {
    kind: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
    id: Option<SentId>,
    links: u64,
    rdev: u64,
    allocated: u64,
}

/// The attributes and the target of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SentExtra {
    target: Option<Vec<u8>>,
    xattrs: Xattrs,
    xattrs_unread: bool,
}

/// An entry; the name of a folder root is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentEntry {
    pub(crate) name: Vec<u8>,
    meta: SentMeta,
    extra: Option<SentExtra>,
}

/// The name, the metadata and the attributes of an entry.
type Parts = (Vec<u8>, Meta, Option<Box<Extra>>);

/// Metadata that no entry can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metadata of no entry")]
pub(crate) struct BadMeta;

/// The kinds; the position of a kind is its number.
const KINDS: [Kind; 7] = [
    Kind::File,
    Kind::Folder,
    Kind::Symlink,
    Kind::Fifo,
    Kind::Socket,
    Kind::BlockDevice,
    Kind::CharDevice,
];

/// The bit of a kind that stands for [`Meta::is_shared`].
const SHARED: u8 = 1 << 7;

/// Permission bits with setuid, setgid and sticky.
const MODE: u32 = 0o7777;

impl From<&Meta> for SentMeta {
    fn from(meta: &Meta) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == meta.kind).unwrap_or_default();
        Self {
            kind: u8::try_from(kind).unwrap_or_default() | if meta.is_shared { SHARED } else { 0 },
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            size: meta.size,
            mtime: (meta.mtime.secs, meta.mtime.nanos),
            ctime: (meta.ctime.secs, meta.ctime.nanos),
            id: meta.id.map(sent_id),
            links: meta.links,
            rdev: meta.rdev,
            allocated: meta.allocated,
        }
    }
}

impl TryFrom<SentMeta> for Meta {
    type Error = BadMeta;

    fn try_from(sent: SentMeta) -> Result<Self, BadMeta> {
        let time = |(secs, nanos): (i64, u32)| match nanos {
            0..1_000_000_000 => Ok(Time { secs, nanos }),
            _ => Err(BadMeta),
        };
        if sent.mode & !MODE != 0 || i64::try_from(sent.size).is_err() {
            return Err(BadMeta);
        }
        // No user and no group has this number. For chown(2) it means that nothing changes.
        if sent.uid == u32::MAX || sent.gid == u32::MAX {
            return Err(BadMeta);
        }
        Ok(Self {
            kind: *KINDS.get(usize::from(sent.kind & !SHARED)).ok_or(BadMeta)?,
            mode: sent.mode,
            uid: sent.uid,
            gid: sent.gid,
            size: sent.size,
            mtime: time(sent.mtime)?,
            ctime: time(sent.ctime)?,
            id: file_id(sent.id),
            links: sent.links,
            rdev: sent.rdev,
            allocated: sent.allocated,
            is_shared: sent.kind & SHARED != 0,
        })
    }
}

impl From<ListedEntry<'_>> for SentEntry {
    fn from(entry: ListedEntry<'_>) -> Self {
        let extra = entry.extra.map(|extra| SentExtra {
            target: extra.target.clone(),
            xattrs: extra.xattrs.clone(),
            xattrs_unread: extra.xattrs_unread,
        });
        Self { name: entry.name.to_bytes().to_vec(), meta: entry.meta.into(), extra }
    }
}

impl SentEntry {
    /// Name, metadata and attributes. The caller checks the name. `keeps` selects the attributes.
    ///
    /// # Errors
    /// [`BadMeta`]: also for a symlink without a target, and a target on anything else.
    pub(crate) fn parts(self, keeps: impl Fn(&[u8]) -> bool) -> Result<Parts, BadMeta> {
        let meta = Meta::try_from(self.meta)?;
        let extra = self.extra.unwrap_or_default();
        let fits = match &extra.target {
            Some(target) => {
                meta.kind == Kind::Symlink && !target.is_empty() && !target.contains(&0)
            }
            None => meta.kind != Kind::Symlink,
        };
        if !fits {
            return Err(BadMeta);
        }
        let mut xattrs = extra.xattrs;
        if xattrs.iter().any(|(name, _)| name.is_empty() || name.contains(&0)) {
            return Err(BadMeta);
        }
        xattrs.retain(|(name, _)| keeps(name));
        xattrs.sort();
        let extra = Extra { target: extra.target, xattrs, xattrs_unread: extra.xattrs_unread };
        let extra = (extra != Extra::default()).then(|| Box::new(extra));
        Ok((self.name, meta, extra))
    }

    /// The entry `name`.
    ///
    /// # Errors
    /// Those of [`SentEntry::parts`].
    pub(crate) fn entry(
        self,
        name: CString,
        keeps: impl Fn(&[u8]) -> bool,
    ) -> Result<Entry, BadMeta> {
        let (_, meta, extra) = self.parts(keeps)?;
        Ok(Entry { name, meta, extra })
    }

    /// Memory of the entry, bytes, approximately that of its encoding.
    pub(crate) fn bytes(&self) -> usize {
        let extra = self.extra.as_ref();
        let xattrs = extra.into_iter().flat_map(|extra| &extra.xattrs);
        let target = extra.and_then(|extra| extra.target.as_ref()).map_or(0, Vec::len);
        let xattrs: usize = xattrs.map(|(name, value)| name.len() + value.len() + 6).sum();
        64 + self.name.len() + target + xattrs
    }
}
