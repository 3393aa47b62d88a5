//! The first stored name of an inode, and the bytes that stand for it in a file.

use std::ffi::CString;
use std::io::{self, Read};
use std::sync::Arc;

use crate::entry::overlay::SidecarRecord;
use crate::entry::tree_path::{TreePath, place_of};
use crate::entry::{FileId, Meta, Time};

/// The first name of an inode, and where it is in the snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    pub(crate) place: Arc<TreePath>,
    pub(crate) name: CString,
    /// The inode in the destination.
    pub(crate) id: Option<FileId>,
    /// The sidecar record, which is the same for all names of the inode.
    pub(crate) record: Option<Arc<SidecarRecord>>,
}

/// Approximate memory of a leader in addition to its name, bytes: its place in the table, its folder's path, its record.
const LEADER: usize = 450;

impl Leader {
    /// Approximate memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let attributes = self.record.iter().flat_map(|record| &record.xattrs);
        let attributes: usize = attributes.map(|(name, value)| name.len() + value.len()).sum();
        LEADER + self.name.as_bytes().len() + attributes
    }
}

/// Distinguishes an inode from a later one with the same number: size, mtime and ctime. Size and
/// mtime alone are not enough, because in some trees all files share them. No program can set the
/// ctime.
pub(super) type Version = (u64, Time, Time);

pub(super) fn version_of(meta: &Meta) -> Version {
    (meta.size, meta.mtime, meta.ctime)
}

/// An inode whose first name is stored.
#[derive(Debug, Clone)]
pub(super) struct StoredGroup {
    pub(super) id: FileId,
    pub(super) version: Version,
    pub(super) leader: Leader,
    /// How many names were not seen yet.
    pub(super) left: u64,
}

impl StoredGroup {
    /// The group as bytes. The first eight are `left`.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let Self { id, version: (size, mtime, ctime), leader, left } = self;
        let mut bytes = left.to_le_bytes().to_vec();
        let mut number = |number: u64| bytes.extend(number.to_le_bytes());
        let at = leader.id.unwrap_or(FileId { dev: 0, ino: 0 });
        [id.dev, id.ino, *size, u64::from(leader.id.is_some()), at.dev, at.ino]
            .into_iter()
            .for_each(&mut number);
        for time in [mtime, ctime] {
            number(time.secs.cast_unsigned());
            number(time.nanos.into());
        }
        let record = leader.record.as_deref().map(serde_json::to_vec).transpose()?;
        for text in [&leader.place.inside(), leader.name.as_bytes(), &record.unwrap_or_default()] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
        Ok(bytes)
    }

    /// The group of [`StoredGroup::encode`].
    pub(super) fn decode(from: &mut impl Read) -> io::Result<Self> {
        let left = number(from)?;
        let id = FileId { dev: number(from)?, ino: number(from)? };
        let size = number(from)?;
        let has_id = number(from)? == 1;
        let at = FileId { dev: number(from)?, ino: number(from)? };
        let (mtime, ctime) = (time(from)?, time(from)?);
        let place = place_of(&text(from)?);
        let name = CString::new(text(from)?)?;
        let record = text(from)?;
        let record = match record.is_empty() {
            true => None,
            false => Some(Arc::new(serde_json::from_slice(&record)?)),
        };
        let leader = Leader { place, name, id: has_id.then_some(at), record };
        Ok(Self { id, version: (size, mtime, ctime), leader, left })
    }
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn time(from: &mut impl Read) -> io::Result<Time> {
    let (secs, nanos) = (number(from)?.cast_signed(), number(from)?);
    Ok(Time { secs, nanos: u32::try_from(nanos).map_err(io::Error::other)? })
}

fn text(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(number(from)?).map_err(io::Error::other)?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
