//! Finds an entry of the other side that is what was backed up, and proves entries of the side that is healed.

use std::ffi::OsStr;
use std::io;

use crate::entry::{Kind, Meta};
use crate::fs::metadata::fake_super::STAT;
use crate::fs::metadata::{SET_ID, stat, xattrs};
use crate::repository::records::damage;
use crate::verify::heal::Heal;
use crate::verify::heal::make::{Made, Offer, check};
use crate::verify::heal::side::{ALL, NameIn, OpenSnapshot, Recorded};
use crate::verify::read::{Finding, judge};

impl Heal<'_> {
    /// Makes a new inode that is what was `recorded`, from the first of `names` under which the other side has it. In a
    /// dry run it only looks whether it could, and returns `None`.
    pub(super) fn copied_from_other(
        &mut self,
        names: &[NameIn],
        recorded: &Recorded,
    ) -> Result<Option<Made>, String> {
        let mut why = None;
        for name in names {
            let made = self.offer(name, recorded).and_then(|offer| match &self.maker {
                Some(maker) => maker.make(&offer, recorded, self.context).map(Some),
                None => check(&offer, recorded, self.context).map(|()| None),
            });
            match made {
                Ok(made) => return Ok(made),
                Err(reason) => why = why.or(Some(reason)),
            }
            if self.context.stop.asked() {
                break;
            }
        }
        Err(why.unwrap_or_else(|| "the other folder has none of its names".to_owned()))
    }

    /// The entry of the other side under `name`, with metadata that is what was `recorded`.
    pub(super) fn offer(&mut self, name: &NameIn, recorded: &Recorded) -> Result<Offer, String> {
        let unread = |error: io::Error| format!("the other folder cannot be read: {error}");
        let (snapshot, path) = name;
        let theirs = self.other.snapshot(snapshot).map_err(unread)?;
        let theirs = theirs.ok_or("the other folder has no snapshot of this name")?;
        let found = theirs.entry(path).map_err(unread)?;
        let (dir, file_name, mut stored) = found.ok_or_else(|| self.lacked_there(name))?;
        if stored.meta.kind == Kind::Folder {
            return Err("the other folder has a folder under this name".to_owned());
        }
        let is_file = stored.meta.kind == Kind::File;
        if is_file
            && !recorded.content.is_known()
            && (stored.meta.size > 0 || recorded.meta.is_none())
        {
            return Err("nothing records what it held".to_owned());
        }
        let ours = self.our(snapshot)?.entry(path).ok().flatten();
        let mut fake_super = None;
        if is_file {
            // What is missing here has its owner there.
            let (dir, name) = match &ours {
                Some((dir, name, _)) => (dir, name),
                None => (&dir, &file_name),
            };
            fake_super = xattrs::value(dir, name, OsStr::new(STAT)).ok().flatten();
        }
        // The damaged inode itself may still have the right metadata, with values that the other side cannot hold.
        if let Some((our_dir, our_name, our_stored)) = ours
            && recorded.meta.is_some()
            && let Ok(our_meta) = our_dir.stat(&our_name)
        {
            let meta = Meta { size: stored.meta.size, ..our_meta };
            if our_stored.on_disk
                && meta.kind == stored.meta.kind
                && recorded.is_meta(&meta, stored.target.as_deref())
            {
                stored.xattrs = xattrs::read(&our_dir, &our_name, ALL).unwrap_or(stored.xattrs);
                stored.meta = meta;
                return Ok(Offer { dir, name: file_name, stored, fake_super });
            }
        }
        if !self.is_metadata_trusted(
            &theirs,
            name,
            recorded,
            &stored.meta,
            stored.target.as_deref(),
        ) {
            // A user who could not set the owner stored no setuid bit either. What is beside the snapshot has both.
            let stored_by_user = Meta { mode: stored.meta.mode & !SET_ID, ..stored.meta.clone() };
            if recorded.meta.is_none() || !recorded.is_meta(&stored_by_user, None) {
                return Err(OTHER_METADATA.to_owned());
            }
            stored.meta = stored_by_user;
        }
        Ok(Offer { dir, name: file_name, stored, fake_super })
    }

    /// Why the other side does not have the name.
    fn lacked_there(&self, (snapshot, path): &NameIn) -> String {
        let marks = damage::load(self.other.repository, snapshot);
        let why = marks.get(path).and_then(|what| what.strip_prefix(damage::LACKED));
        format!("the other folder lacks it too{}", why.unwrap_or_default())
    }

    /// Whether the metadata of the other side's entry is what was recorded. Without a manifest on this side it has to be
    /// what the other side's manifest records, or else what the damaged inode has.
    fn is_metadata_trusted(
        &mut self,
        theirs: &OpenSnapshot,
        (snapshot, path): &NameIn,
        recorded: &Recorded,
        meta: &Meta,
        target: Option<&[u8]>,
    ) -> bool {
        if recorded.meta.is_some() {
            return recorded.is_meta(meta, target);
        }
        if let Ok(Some((fields, record))) = theirs.record(path) {
            let on_disk = theirs.on_disk(path).ok().flatten();
            return on_disk.is_some_and(|meta| fields.digest(&meta, target, true) == record.meta);
        }
        let ours = self
            .our(snapshot)
            .and_then(|ours| ours.on_disk(path).ok().flatten().ok_or_else(String::new));
        ours.is_ok_and(|ours| {
            (ours.kind, ours.mode, ours.uid, ours.gid, ours.mtime)
                == (meta.kind, meta.mode, meta.uid, meta.gid, meta.mtime)
        })
    }

    /// Whether the entry of the side that is healed is what was recorded. Reads the content from the disk.
    pub(super) fn is_good(&mut self, (snapshot, path): &NameIn, recorded: &Recorded) -> bool {
        let Ok(ours) = self.our(snapshot) else { return false };
        let Ok(Some((dir, name, stored))) = ours.entry(path) else { return false };
        if !stored.on_disk {
            return false;
        }
        let stop = || self.context.stop.asked();
        match stored.meta.kind {
            Kind::Folder => false,
            Kind::File => dir.open_file(&name).is_ok_and(|file| {
                let is_meta = stat::meta(&file).is_ok_and(|meta| recorded.is_meta(&meta, None));
                let is_empty = stored.meta.size == 0 && recorded.meta.is_some();
                let is_content = || match recorded.content.is_known() {
                    true => {
                        judge(&file, Some(recorded.content), false, &stop, &|_| {}).0
                            == Finding::Good
                    }
                    false => is_empty,
                };
                is_meta && is_content()
            }),
            _ => dir.stat(&name).is_ok_and(|meta| {
                recorded.meta.is_some() && recorded.is_meta(&meta, stored.target.as_deref())
            }),
        }
    }
}

const OTHER_METADATA: &str =
    "the other folder has another kind, owner, mode, size, time or target than was backed up";
