//! Folders that the near end knows from its base, and how the far end confirms them instead of listing them.

use std::ffi::CString;

use engine::entry::folder_digest::{Digest, DigestKey};
use engine::entry::{FileId, Time, check_name};
use engine::source::{Confirmed, Expected, SeveralNames, Terms};
use serde::{Deserialize, Serialize};

use crate::helper::protocol::entry::{SentId, sent_id};

/// What holds for all digests that follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentTerms {
    key: [u8; 32],
    since: Option<Time>,
    links: bool,
}

impl From<&Terms> for SentTerms {
    fn from(terms: &Terms) -> Self {
        Self { key: terms.key.bytes(), since: terms.since, links: terms.links }
    }
}

impl From<SentTerms> for Terms {
    fn from(sent: SentTerms) -> Self {
        Self { key: DigestKey::new(sent.key), since: sent.since, links: sent.links }
    }
}

/// The digest of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentExpected {
    pub(crate) digest: Digest,
    /// Whether it covers everything below the folder.
    pub(crate) below: bool,
    /// The number of entries that it covers.
    pub(crate) entries: u64,
    /// See [`Expected::chain`].
    pub(crate) chain: Vec<Digest>,
}

impl From<&Expected> for SentExpected {
    fn from(expected: &Expected) -> Self {
        let Expected { digest, below, entries, .. } = *expected;
        Self { digest, below, entries, chain: expected.chain.clone() }
    }
}

/// What the near end cannot know of entries that are as expected, see [`Confirmed`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentSame {
    folders: Vec<SentId>,
    several: Vec<SentSeveral>,
}

/// An entry with several names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SentSeveral {
    folder: u64,
    name: Vec<u8>,
    id: SentId,
    links: u64,
    ctime: Time,
}

/// An answer that confirms something else than was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer about other entries")]
pub(crate) struct BadSame;

impl From<Confirmed> for SentSame {
    fn from(confirmed: Confirmed) -> Self {
        let several = confirmed.several.into_iter().map(|one| SentSeveral {
            folder: one.folder as u64,
            name: one.name.into_bytes(),
            id: sent_id(one.id),
            links: one.links,
            ctime: one.ctime,
        });
        let folders = confirmed.folders.into_iter().map(sent_id).collect();
        Self { folders, several: several.collect() }
    }
}

impl SentSame {
    /// What the answer to a request for `expected` says.
    ///
    /// # Errors
    /// [`BadSame`]. Whether the named entries exist is known to the caller.
    pub(crate) fn confirmed(self, expected: &Expected) -> Result<Confirmed, BadSame> {
        let id = |(dev, ino): SentId| FileId { dev, ino };
        let further = self.folders.len().checked_sub(expected.folders).ok_or(BadSame)?;
        if further > expected.chain.len() {
            return Err(BadSame);
        }
        if self.several.len() as u64 > expected.entries {
            return Err(BadSame);
        }
        let several = self.several.into_iter().map(|one| {
            check_name(&one.name).map_err(|_| BadSame)?;
            if one.links < 2 || one.ctime.nanos >= 1_000_000_000 {
                return Err(BadSame);
            }
            Ok(SeveralNames {
                folder: usize::try_from(one.folder).map_err(|_| BadSame)?,
                name: CString::new(one.name).map_err(|_| BadSame)?,
                id: id(one.id),
                links: one.links,
                ctime: one.ctime,
            })
        });
        let several = several.collect::<Result<_, _>>()?;
        Ok(Confirmed { folders: self.folders.into_iter().map(id).collect(), several })
    }
}
