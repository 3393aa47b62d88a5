//! Makes a new inode in `.backup_manager/healing/` from an entry of the other side: content, metadata and hash, durable
//! and proved, before any name of a snapshot gets it.

use std::ffi::{CStr, CString};
use std::io;

use crate::entry::preserve::Preserve;
use crate::entry::stored::StoredEntry;
use crate::entry::{Entry, FileId, Kind, ListedEntry, Meta};
use crate::fs::dir::Dir;
use crate::fs::file_system::capabilities::probe;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::{MetadataWriter, entry_of, fake_super, stat};
use crate::fs::temporary::unfinished_name;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::content::{Content, Proof, copy};
use crate::repository::healing::clear_left;
use crate::repository::store::Store;
use crate::snapshot::name::Prefix;
use crate::verify::heal::side::Recorded;
use crate::verify::read::{Finding, hash, judge};

/// Writes new inodes.
pub(crate) struct Maker {
    /// `.backup_manager/healing/`.
    pub(crate) store: Dir,
    /// What the names of new inodes begin with.
    mark: String,
    /// Sets all metadata.
    pub(crate) whole: MetadataWriter,
    /// Sets metadata without attributes and ACLs, of folders.
    pub(crate) plain: MetadataWriter,
}

/// A new inode under its temporary name.
pub(crate) struct Made {
    pub(crate) name: CString,
    pub(crate) id: FileId,
}

/// An entry of the other side with the metadata that was recorded.
pub(crate) struct Offer {
    pub(crate) dir: Dir,
    pub(crate) name: CString,
    pub(crate) stored: StoredEntry,
    /// The attribute of rsync's `--fake-super`, as it is on the side that is healed, or else on the other.
    pub(crate) fake_super: Option<Vec<u8>>,
}

impl Maker {
    /// Opens or makes the folder for new inodes, and removes what a killed healing left there. The caller has the lock of
    /// the job with this `prefix`. Another job may be healed meanwhile.
    pub(crate) fn open(repository: &Repository, prefix: &Prefix) -> io::Result<Self> {
        let store = repository.make_store(Store::Healing)?;
        clear_left(&store, None);
        let mut digest = blake3::hash(prefix.as_str().as_bytes()).to_hex();
        digest.truncate(16);
        let mark = format!("heal.{digest}");
        let mut left = Vec::new();
        store.names(|entry| {
            left.push(entry.name.to_owned());
            std::ops::ControlFlow::Continue(())
        })?;
        let of_this = format!(".{mark}.");
        for name in left.iter().filter(|name| name.to_bytes().starts_with(of_this.as_bytes())) {
            store.unlink(name).or_else(|error| store.remove_folder(name).map_err(|_| error))?;
        }
        let own = repository.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let (plain, abilities) = (Preserve::default(), probe(own)?);
        let whole = Preserve { xattrs: true, acls: true, ..plain };
        Ok(Self {
            store,
            mark,
            whole: MetadataWriter::new(whole, abilities.clone()),
            plain: MetadataWriter::new(plain, abilities),
        })
    }

    /// A name for an entry that is removed when it is left: by the next healing of the job, or by a run a day later.
    pub(crate) fn temporary(&self) -> io::Result<CString> {
        unfinished_name(&self.mark)
    }

    /// Makes the inode that `recorded` describes from `offer`.
    ///
    /// # Errors
    /// The words for the user: the other side has something else, or the disk refuses it.
    pub(crate) fn make(
        &self,
        offer: &Offer,
        recorded: &Recorded,
        context: &Context,
    ) -> Result<Made, String> {
        let name = self.temporary().map_err(|error| error.to_string())?;
        let made = match offer.stored.meta.kind {
            Kind::File => self.file(&name, offer, recorded, context),
            _ => self.node(&name, offer, recorded),
        };
        if made.is_err() {
            let _ = self.store.unlink(&name);
        }
        Ok(Made { id: made?, name })
    }

    fn file(
        &self,
        name: &CStr,
        offer: &Offer,
        recorded: &Recorded,
        context: &Context,
    ) -> Result<FileId, String> {
        let refused = |error: io::Error| format!("a new file cannot be written: {error}");
        let from = open(offer)?;
        let to = self.store.create_file(name, 0o600).map_err(refused)?;
        let stop = || context.stop.asked();
        let content = Content {
            recorded: Some(Proof::new(recorded.content.bytes())),
            method: recorded.content.method(),
            stop: &stop,
            ..Content::unproved(&from)
        };
        let hash = copy(&content, &to, true).map_err(|error| error.to_string())?;
        // An empty file needs no hash.
        let is_empty = offer.stored.meta.size == 0 && !recorded.content.is_known();
        if !is_empty && !recorded.content.is(&hash) {
            return Err(OTHER_CONTENT.to_owned());
        }
        xattrs::set_hash_by(&to, content.method, &hash).map_err(refused)?;
        if let Some(value) = &offer.fake_super {
            fake_super::give(&to, value).map_err(refused)?;
        }
        let entry = entry_of(name, &offer.stored);
        self.whole.existing(&to, ListedEntry::from(&entry)).map_err(refused)?;
        to.sync_all().map_err(refused)?;
        let now = stat::meta(&to).map_err(refused)?;
        if !recorded.is_meta(&now, None) {
            return Err(NOT_HERE.to_owned());
        }
        if !is_empty {
            match judge(&to, Some(recorded.content), false, &stop, &|_| {}).0 {
                Finding::Good => {}
                Finding::Stopped => return Err("stopped".to_owned()),
                _ => return Err("the disk does not return what was written to it".to_owned()),
            }
        }
        now.id.ok_or_else(|| "the file system has no inode numbers".to_owned())
    }

    /// A symlink, fifo, socket or device.
    fn node(&self, name: &CStr, offer: &Offer, recorded: &Recorded) -> Result<FileId, String> {
        let refused = |error: io::Error| format!("a new entry cannot be made: {error}");
        let Entry { meta, extra, .. } = entry_of(name, &offer.stored);
        let target = offer.stored.target.as_deref();
        match target {
            Some(target) => self.store.make_symlink(name, target),
            None => self.store.make_node(name, meta.kind, meta.mode & 0o777, meta.rdev),
        }
        .map_err(refused)?;
        let entry = Entry { name: name.to_owned(), meta, extra };
        self.whole.new_node(&self.store, ListedEntry::from(&entry), false).map_err(refused)?;
        let now = self.store.stat(name).map_err(refused)?;
        if !recorded.is_meta(&now, target) {
            return Err(NOT_HERE.to_owned());
        }
        now.id.ok_or_else(|| "the file system has no inode numbers".to_owned())
    }
}

pub(crate) const OTHER_CONTENT: &str = "the other folder has other content under this name";
const NOT_HERE: &str = "this file system or user cannot give it the metadata that was backed up";

fn open(offer: &Offer) -> Result<std::fs::File, String> {
    let unread = |error: io::Error| format!("the other folder's file cannot be read: {error}");
    let file = offer.dir.open_file(&offer.name).map_err(unread)?;
    match stat::meta(&file).map_err(unread)? {
        Meta { kind: Kind::File, .. } => Ok(file),
        _ => Err(OTHER_CONTENT.to_owned()),
    }
}

/// Reads the file of an offer and compares it with what was recorded, for a dry run.
pub(crate) fn check(offer: &Offer, recorded: &Recorded, context: &Context) -> Result<(), String> {
    if offer.stored.meta.kind != Kind::File || !recorded.content.is_known() {
        return Ok(());
    }
    let file = open(offer)?;
    let method = Some(recorded.content.method());
    match hash(&file, method, &|| context.stop.asked(), &|_| {}) {
        Ok((_, now)) if recorded.content.is(&now) => Ok(()),
        Ok(_) => Err(OTHER_CONTENT.to_owned()),
        Err(error) => Err(format!("the other folder's file cannot be read: {error}")),
    }
}
