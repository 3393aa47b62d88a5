//! Sets owner, mode, attributes and times of stored entries, and collects the values that the
//! destination cannot hold.

pub(crate) mod by_name;
pub(crate) mod fake_super;
mod listed_at;
pub mod stat;
pub mod xattrs;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::entry::overlay::SidecarRecord;
use crate::entry::preserve::Preserve;
use crate::entry::{Entry, Kind, ListedEntry, Meta, Time};
use crate::fs::access::own_umask;
use crate::fs::dir::Dir;
use crate::fs::file_system::capabilities::Abilities;
use crate::fs::metadata::stat::OpenFile;
use crate::fs::metadata::xattrs::XattrSelection;

/// Sets the metadata that the job preserves, as far as the destination can hold it.
#[derive(Debug, Clone)]
pub(crate) struct MetadataWriter {
    keep: Preserve,
    asked: XattrSelection,
    /// The mode bits that a new file lacks (umask(2)).
    withheld: u32,
    pub(crate) abilities: Abilities,
}

/// setuid and setgid.
pub(crate) const SET_ID: u32 = 0o6000;

impl MetadataWriter {
    pub(crate) fn new(keep: Preserve, abilities: Abilities) -> Self {
        let asked = XattrSelection { xattrs: keep.xattrs, acls: keep.acls };
        Self { keep, asked, withheld: own_umask(), abilities }
    }

    /// The mode to create a file with, which is the final mode of most files and saves a `fchmod`.
    /// It includes read and write for the owner: without them, an ordinary user could not set the
    /// hash attribute (xattr(7)) or continue the file.
    pub(crate) fn creation_mode(&self, meta: &Meta) -> u32 {
        let mode = if self.keep.mode { meta.mode & 0o777 } else { self.plain_mode(meta) };
        mode | 0o600
    }

    /// Sets the metadata of a file that was just created with [`MetadataWriter::creation_mode`]. In
    /// a folder that is not `fresh`, the file may have inherited a group or attributes (setgid,
    /// default ACLs).
    ///
    /// # Errors
    /// The destination is full or fails.
    pub(crate) fn new_file(
        &self,
        file: impl OpenFile,
        entry: ListedEntry<'_>,
        fresh: bool,
    ) -> io::Result<SidecarRecord> {
        let mode = self.creation_mode(entry.meta) & !self.withheld;
        self.open(&file, entry, Some(mode), !fresh)
    }

    /// Sets the metadata of a file or folder that may already have other values.
    ///
    /// # Errors
    /// The destination is full or fails.
    pub(crate) fn existing(
        &self,
        file: impl OpenFile,
        entry: ListedEntry<'_>,
    ) -> io::Result<SidecarRecord> {
        self.open(&file, entry, None, true)
    }

    fn open(
        &self,
        file: &impl OpenFile,
        entry: ListedEntry<'_>,
        mode_now: Option<u32>,
        existing: bool,
    ) -> io::Result<SidecarRecord> {
        let (fd, meta) = (file.as_fd(), entry.meta);
        let mut record =
            self.owner(fd, meta, existing, &mut |uid, gid| stat::set_owner(fd, uid, gid))?;
        let mode = self.mode(meta, &mut record);
        // Attributes are set before the mode, because an ordinary user cannot set attributes of a
        // file without write permission.
        self.attributes(fd, entry, existing, &mut record)?;
        if mode_now != Some(mode) && self.abilities.mode {
            ignore_refusal(fd, stat::set_mode(fd, mode), || record.mode = Some(meta.mode))?;
        }
        let owned = record.uid.is_some() || record.gid.is_some() || record.mode.is_some();
        if self.keep.fake_super && owned && fake_super::keep(fd, meta)? {
            (record.uid, record.gid, record.mode) = (None, None, None);
        } else if self.keep.fake_super && existing && !owned {
            fake_super::forget(fd);
        }
        if self.keep.times_of(meta.kind) {
            stat::set_mtime(file, meta.mtime)?;
            self.check_time(meta.mtime, &mut record, || stat::meta(fd))?;
        }
        Ok(record)
    }

    /// Sets the metadata of a symlink, fifo, socket or device that was just created.
    ///
    /// # Errors
    /// The destination is full or fails, or the name now belongs to another entry.
    pub(crate) fn new_node(
        &self,
        dir: &Dir,
        entry: ListedEntry<'_>,
        fresh: bool,
    ) -> io::Result<SidecarRecord> {
        let meta = entry.meta;
        let node = dir.node(entry.name)?;
        if node.meta()?.kind != meta.kind {
            return Err(exchanged());
        }
        let mut record =
            self.owner(node.as_fd(), meta, !fresh, &mut |uid, gid| node.set_owner(uid, gid))?;
        if meta.kind != Kind::Symlink {
            let mode = self.mode(meta, &mut record);
            if self.abilities.mode && mode != meta.mode & 0o777 & !self.withheld {
                ignore_refusal(node.as_fd(), node.set_mode(mode), || {
                    record.mode = Some(meta.mode)
                })?;
            }
        }
        self.attributes(node.as_fd(), entry, false, &mut record)?;
        if self.keep.times_of(meta.kind) {
            node.set_mtime(meta.mtime)?;
            self.check_time(meta.mtime, &mut record, || node.meta())?;
        }
        Ok(record)
    }

    /// Sets owner and group, unless a new inode has them anyway.
    fn owner(
        &self,
        fd: BorrowedFd<'_>,
        meta: &Meta,
        existing: bool,
        set: &mut dyn FnMut(Option<u32>, Option<u32>) -> io::Result<()>,
    ) -> io::Result<SidecarRecord> {
        let mut record = SidecarRecord::default();
        let able = &self.abilities;
        let uid = self.keep.owner.then_some(meta.uid);
        let gid = self.keep.group.then_some(meta.gid);
        let (other_uid, other_gid) =
            (uid.is_some_and(|uid| uid != able.uid), gid.is_some_and(|gid| gid != able.gid));
        if !other_uid && !other_gid && !existing {
            return Ok(record);
        }
        if able.owner {
            ignore_refusal(fd, set(uid, gid), || (record.uid, record.gid) = (uid, gid))?;
            return Ok(record);
        }
        // An ordinary user may give files to its own groups (chown(2)).
        if other_gid || existing {
            ignore_refusal(fd, set(None, gid), || record.gid = gid)?;
        }
        if other_uid {
            record.uid = uid;
        }
        Ok(record)
    }

    /// The mode of an entry whose mode is not preserved.
    fn plain_mode(&self, meta: &Meta) -> u32 {
        let executable = self.keep.executability && meta.mode & 0o111 != 0;
        if meta.kind == Kind::Folder || executable { 0o755 } else { 0o644 }
    }

    /// The mode to set. A setuid file without its owner would grant the rights of the wrong user.
    fn mode(&self, meta: &Meta, record: &mut SidecarRecord) -> u32 {
        if !self.keep.mode {
            return self.plain_mode(meta);
        }
        if !self.abilities.mode {
            record.mode = Some(meta.mode);
        } else if meta.mode & SET_ID != 0 && (record.uid.is_some() || record.gid.is_some()) {
            record.mode = Some(meta.mode);
            return meta.mode & !SET_ID;
        }
        meta.mode
    }

    fn attributes(
        &self,
        fd: BorrowedFd<'_>,
        entry: ListedEntry<'_>,
        existing: bool,
        record: &mut SidecarRecord,
    ) -> io::Result<()> {
        let wanted = entry.extra.map_or(&[][..], |extra| &extra.xattrs);
        if self.asked.any() && (existing || !wanted.is_empty()) {
            record.add_xattrs(&xattrs::write(fd, wanted, self.asked)?);
        }
        Ok(())
    }

    /// Records a time that the file system silently clamped to its range (ext4: 1901 to 2446).
    fn check_time(
        &self,
        wanted: Time,
        record: &mut SidecarRecord,
        look: impl Fn() -> io::Result<Meta>,
    ) -> io::Result<()> {
        let everywhere = 315_532_800..=i64::from(i32::MAX);
        if !everywhere.contains(&wanted.secs) && look()?.mtime.secs != wanted.secs {
            record.mtime = Some(wanted);
        }
        Ok(())
    }
}

/// The error when another process replaced an entry that was just created.
pub(crate) fn exchanged() -> io::Error {
    io::Error::other("another process replaced the entry while it was being created")
}

/// If the destination will never accept a value of the entry `fd`, calls `note` and continues.
fn ignore_refusal(fd: impl AsFd, result: io::Result<()>, note: impl FnOnce()) -> io::Result<()> {
    match result {
        Err(error) if xattrs::may_be_refused(&error, fd) => {
            note();
            Ok(())
        }
        result => result,
    }
}

/// An entry with the stored metadata, to give a copy the same metadata.
pub(crate) fn entry_of(name: &CStr, held: &crate::entry::stored::StoredEntry) -> Entry {
    let extra = crate::entry::Extra {
        target: held.target.clone(),
        xattrs: held.xattrs.clone(),
        xattrs_unread: false,
    };
    Entry { name: name.to_owned(), meta: held.meta.clone(), extra: Some(Box::new(extra)) }
}
