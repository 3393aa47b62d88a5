//! Properties of entries that the sidecar of a snapshot stores, because the destination cannot hold
//! them.

use std::collections::HashMap;
use std::ffi::CString;

use serde::{Deserialize, Serialize};

use crate::entry::escape::{shown, unshown};
use crate::entry::stored::StoredEntry;
use crate::entry::{Entry, Kind, Meta, Time, Xattrs};

/// Attributes that could not be set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Names and values.
    pub(crate) attributes: Xattrs,
    /// Whether an attribute was too large for a file system that does hold attributes.
    pub(crate) no_room: bool,
}

/// The properties of one entry that its inode does not hold. The inode holds those that are absent
/// here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SidecarRecord {
    /// The type, if the destination lacks the whole entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rdev: Option<u64>,
    /// Escaped as [`crate::entry::escape::Shown`] does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// Names and values, escaped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) xattrs: Vec<(String, String)>,
    /// The attributes are here because they are too large for the file system, and this was not
    /// reported yet.
    #[serde(skip)]
    pub(crate) no_room: bool,
}

impl SidecarRecord {
    /// A record of an entry that the destination cannot hold at all.
    pub(crate) fn whole(entry: &Entry) -> Self {
        let meta = &entry.meta;
        Self {
            kind: Some(meta.kind),
            uid: Some(meta.uid),
            gid: Some(meta.gid),
            mode: Some(meta.mode),
            mtime: Some(meta.mtime),
            rdev: meta.kind.is_device().then_some(meta.rdev),
            target: entry.target().map(shown),
            xattrs: escape(entry.xattrs()),
            no_room: false,
        }
    }

    /// Adds attributes that could not be set.
    pub(crate) fn add_xattrs(&mut self, refused: &crate::entry::overlay::Refused) {
        self.xattrs.extend(escape(&refused.attributes));
        self.no_room |= refused.no_room;
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Combines the record with `on_disk`, the entry as the inode describes it.
    pub(crate) fn complete(&self, on_disk: Option<StoredEntry>) -> Option<StoredEntry> {
        let kind = self.kind;
        // A destination that changes names finds another entry under this name.
        let on_disk = on_disk.filter(|held| kind.is_none_or(|kind| kind == held.meta.kind));
        let missing = kind.is_some() && on_disk.is_none();
        let mut held = match (on_disk, kind) {
            (Some(held), _) => held,
            (None, Some(kind)) => StoredEntry {
                meta: Meta::of(kind),
                target: None,
                xattrs: Xattrs::new(),
                on_disk: false,
            },
            (None, None) => return None,
        };
        held.on_disk = !missing;
        let meta = &mut held.meta;
        meta.uid = self.uid.unwrap_or(meta.uid);
        meta.gid = self.gid.unwrap_or(meta.gid);
        meta.mode = self.mode.unwrap_or(meta.mode);
        meta.mtime = self.mtime.unwrap_or(meta.mtime);
        meta.rdev = self.rdev.unwrap_or(meta.rdev);
        if let Some(target) = self.target.as_deref().and_then(unshown) {
            held.target = Some(target);
        }
        let pairs =
            self.xattrs.iter().filter_map(|(name, value)| Some((unshown(name)?, unshown(value)?)));
        held.xattrs.extend(pairs);
        held.xattrs.sort();
        Some(held)
    }
}

pub(crate) fn escape(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
    xattrs.iter().map(|(name, value)| (shown(name), shown(value))).collect()
}

/// The records of one folder, keyed by name.
pub(crate) type SidecarRecords = HashMap<CString, SidecarRecord>;
