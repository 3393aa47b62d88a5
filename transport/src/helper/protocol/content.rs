//! A file whose content the near end requests.

use engine::entry::{Entry, Kind, Meta, Time, c_name, check_name};
use engine::source::Wanted;
use serde::{Deserialize, Serialize};

use crate::helper::protocol::entry::{SentId, file_id, sent_id};

/// A file as it was listed: what tells whether it is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentFile {
    name: Vec<u8>,
    id: Option<SentId>,
    size: u64,
    mtime: Time,
    ctime: Time,
    from: u64,
    again: bool,
}

impl From<&Wanted> for SentFile {
    fn from(wanted: &Wanted) -> Self {
        let meta = &wanted.entry.meta;
        Self {
            name: wanted.entry.name.to_bytes().to_vec(),
            id: meta.id.map(sent_id),
            size: meta.size,
            mtime: meta.mtime,
            ctime: meta.ctime,
            from: wanted.from,
            again: wanted.again,
        }
    }
}

impl SentFile {
    /// The size that the listing reported, bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The request for the far end's own source; `None` for a name that no entry can have.
    pub(crate) fn wanted(self) -> Option<Wanted> {
        check_name(&self.name).ok()?;
        let meta = Meta {
            size: self.size,
            mtime: self.mtime,
            ctime: self.ctime,
            id: file_id(self.id),
            ..Meta::of(Kind::File)
        };
        let entry = Entry { name: c_name(self.name).ok()?, meta, extra: None };
        Some(Wanted { entry, from: self.from, again: self.again, base: None })
    }
}
