//! Listed subfolders that wait to be entered, in packed form: a folder may have a million of them.

use std::ffi::CStr;

use crate::backup::walk::expect::known::ConfirmedFolder;
use crate::backup::walk::state::setting::CountedArea;
use crate::entry::{Entry, Extra, FileId, Kind, ListedEntry, Meta, Time, Xattrs};

/// Some subfolders of one folder.
#[derive(Debug, Default)]
pub(crate) struct Subfolders {
    /// The names, each with its NUL.
    names: Vec<u8>,
    slots: Vec<Slot>,
    /// Memory of the attributes, bytes.
    attributes: usize,
}

/// A folder that waits to be entered.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) entry: Entry,
    pub(crate) beyond: CountedArea,
    pub(crate) confirmed: Option<Box<ConfirmedFolder>>,
}

/// The metadata that the walk needs to enter and to finish a folder.
#[derive(Debug)]
struct Slot {
    name_at: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
    id: Option<FileId>,
    xattrs: Option<Box<Extra>>,
    beyond: CountedArea,
    confirmed: Option<Box<ConfirmedFolder>>,
}

impl Subfolders {
    /// Adds a folder. `beyond` says where its files are counted, and whether they are left out. `confirmed` is its
    /// content, if the source has confirmed it.
    pub(crate) fn push(
        &mut self,
        entry: ListedEntry<'_>,
        beyond: CountedArea,
        confirmed: Option<Box<ConfirmedFolder>>,
    ) {
        let meta = entry.meta;
        self.attributes += entry.extra.map_or(0, Extra::bytes);
        self.slots.push(Slot {
            // A batch of names is far below 4 GiB.
            name_at: u32::try_from(self.names.len()).unwrap_or(u32::MAX),
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            id: meta.id,
            xattrs: entry.extra.map(|extra| Box::new(extra.clone())),
            beyond,
            confirmed,
        });
        self.names.extend_from_slice(entry.name.to_bytes_with_nul());
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Approximate memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.names.len() + self.slots.len() * size_of::<Slot>() + self.attributes
    }

    /// The folders as bytes; `None` if they cannot be encoded, because the source has confirmed what is in one of them.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let slots = self.slots.iter().map(|slot| {
            let confirmed = slot.confirmed.is_some();
            let Slot { name_at, mode, uid, gid, mtime, id, xattrs, beyond, .. } = slot;
            let id = id.map(|id| (id.dev, id.ino));
            let extra = xattrs.as_ref().map(|extra| (&extra.xattrs, extra.xattrs_unread));
            let (area, left_out) = (beyond.area, beyond.left_out);
            let times = (mtime.secs, mtime.nanos);
            (!confirmed).then_some((name_at, (mode, uid, gid), times, id, extra, area, left_out))
        });
        let slots = slots.collect::<Option<Vec<_>>>()?;
        let mut encoded = u64::try_from(self.names.len()).ok()?.to_le_bytes().to_vec();
        encoded.extend_from_slice(&self.names);
        serde_json::to_writer(&mut encoded, &slots).ok()?;
        Some(encoded)
    }

    /// The folders of [`Subfolders::encode`].
    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        type Encoded = (
            u32,
            (u32, u32, u32),
            (i64, u32),
            Option<(u64, u64)>,
            Option<(Xattrs, bool)>,
            Option<usize>,
            bool,
        );
        let (length, rest) = encoded.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (names, rest) = rest.split_at_checked(length)?;
        let slots: Vec<Encoded> = serde_json::from_slice(rest).ok()?;
        let slots = slots.into_iter().map(|slot| {
            let (name_at, (mode, uid, gid), (secs, nanos), id, extra, area, left_out) = slot;
            Slot {
                name_at,
                mode,
                uid,
                gid,
                mtime: Time { secs, nanos },
                id: id.map(|(dev, ino)| FileId { dev, ino }),
                xattrs: extra.and_then(Extra::of_attributes),
                beyond: CountedArea { area, left_out },
                confirmed: None,
            }
        });
        let mut this = Self { names: names.to_vec(), slots: slots.collect(), attributes: 0 };
        let extras = this.slots.iter().filter_map(|slot| slot.xattrs.as_ref());
        this.attributes = extras.map(|extra| extra.bytes()).sum();
        Some(this)
    }

    /// Removes and returns the folder that was added last.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let slot = self.slots.pop()?;
        let name = CStr::from_bytes_until_nul(self.names.get(slot.name_at as usize..)?).ok()?;
        let name = name.to_owned();
        self.names.truncate(slot.name_at as usize);
        self.attributes -= slot.xattrs.as_ref().map_or(0, |extra| extra.bytes());
        let meta = Meta {
            mode: slot.mode,
            uid: slot.uid,
            gid: slot.gid,
            mtime: slot.mtime,
            id: slot.id,
            ..Meta::of(Kind::Folder)
        };
        let entry = Entry { name, meta, extra: slot.xattrs };
        Some(Waiting { entry, beyond: slot.beyond, confirmed: slot.confirmed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subfolders_leave_the_list_last_in_first_out() {
        let mut waiting = Subfolders::default();
        let entry = |name: &CStr, mode, id| Entry {
            name: name.to_owned(),
            meta: Meta {
                kind: Kind::Folder,
                mode,
                uid: 1,
                gid: 2,
                size: 0,
                mtime: Time { secs: -1, nanos: 9 },
                ctime: Time::default(),
                id,
                links: 1,
                rdev: 0,
                allocated: 0,
                is_shared: false,
            },
            extra: None,
        };
        let one = entry(c"one", 0o755, Some(FileId { dev: 3, ino: 4 }));
        let two = entry(c"\xff\n", 0o7, None);
        let [here, there] = [false, true]
            .map(|left_out| CountedArea { area: Some(usize::from(left_out)), left_out });
        let pop = |waiting: &mut Subfolders| {
            waiting.pop().map(|Waiting { entry, beyond, .. }| (entry, beyond))
        };
        waiting.push((&one).into(), here, None);
        waiting.push((&two).into(), there, None);
        assert_eq!(waiting.len(), 2);
        assert_eq!(pop(&mut waiting), Some((two, there)));
        waiting.push((&one).into(), there, None);
        assert_eq!(pop(&mut waiting), Some((one.clone(), there)));
        assert_eq!(pop(&mut waiting), Some((one, here)));
        assert!(waiting.pop().is_none() && waiting.is_empty());
    }
}
