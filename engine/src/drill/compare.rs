//! Compares restored entries with the records of the snapshot, and with the source.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::drill::outcome::Fault;
use crate::drill::source::SourceFiles;
use crate::entry::digest::Method;
use crate::entry::digest::name_digest;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::{TreePath, place_of};
use crate::entry::{Kind, Meta, Time};
use crate::fs::dir::Dir;
use crate::fs::lookup::held;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::fs::metadata::{fake_super, stat};
use crate::repository::content::{self, Proof};
use crate::repository::manifest::read::{FolderRecords, ManifestReader};
use crate::repository::manifest::record::{MetaDigest, RecordedFields};
use crate::repository::records::sidecar::Sidecar;

const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

/// What a drill compares.
pub(crate) struct Comparison<'a> {
    pub(crate) snapshot: Dir,
    pub(crate) kept: Sidecar,
    pub(crate) manifest: Option<ManifestReader>,
    /// The scratch folder with what was restored.
    pub(crate) restored: &'a Dir,
    pub(crate) source: Option<SourceFiles>,
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
    /// The users who wrote the snapshot, with rsync's `--fake-super`.
    pub(crate) fake_super: &'a [u32],
    /// The folder that was compared last, with its records.
    pub(crate) folder: Option<Folder>,
}

/// A folder of the sample in the snapshot, and in the scratch folder.
pub(crate) struct Folder {
    inside: Vec<u8>,
    from: Dir,
    to: Dir,
    sidecar: HashMap<CString, crate::entry::overlay::SidecarRecord>,
    records: Option<FolderRecords>,
}

/// An entry that came back as it was backed up.
#[derive(Debug, Default)]
pub(crate) struct Same {
    pub(crate) unproved: bool,
    pub(crate) with_source: bool,
}

/// Why an entry is not as it should be.
pub(crate) type Wrong = (Fault, String);

fn damaged(what: &str) -> Wrong {
    (Fault::Damaged, what.to_owned())
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Wrong {
    move |error| (Fault::Failed, format!("{what}: {error}"))
}

impl Comparison<'_> {
    /// Compares the entry at `path`. With `partly`, the restore could not set all of its metadata.
    pub(crate) fn entry(&mut self, path: &[u8], partly: bool) -> Result<Same, Wrong> {
        let place = place_of(path);
        let parent = place.parent().map_or_else(|| TreePath::top(None), Arc::clone);
        let (name, inside) = (place.name(), parent.inside());
        let folder = match self.folder.take().filter(|folder| folder.inside == inside) {
            Some(folder) => folder,
            None => self.open(&parent).map_err(failed("its folder cannot be read"))?,
        };
        let folder = self.folder.insert(folder);
        let expected = held(&folder.from, name, &folder.sidecar, ALL)
            .map_err(failed("it cannot be read in the snapshot"))?
            .map(|found| match self.fake_super.contains(&found.meta.uid) {
                true => fake_super::plain(&folder.from, name, Some(found.clone())).unwrap_or(found),
                false => found,
            })
            .ok_or_else(|| damaged("it vanished from the snapshot during the drill"))?;
        let record = folder.records.as_ref().and_then(|records| records.get(&name_digest(name)));
        let coverage = self.manifest.as_ref().map(ManifestReader::coverage);
        if let (Some(record), Some(coverage)) = (record, coverage)
            && expected.on_disk
            && !is_recorded(&folder.from, &place, coverage, record.meta)
                .map_err(failed("it cannot be read in the snapshot"))?
        {
            return Err(damaged(
                "in the snapshot its kind, owner, mode, size, time or target is not what was backed up",
            ));
        }
        let back = held(&folder.to, name, &HashMap::new(), ALL)
            .map_err(failed("what was restored cannot be read"))?
            .ok_or_else(|| damaged("it was not restored"))?;
        let differing = differing(&expected, &back);
        let missing = if partly { differing.filter(|what| is_content(what)) } else { differing };
        if let Some(what) = missing {
            return Err((Fault::Damaged, format!("it came back with another {what}")));
        }
        if expected.meta.kind != Kind::File {
            return Ok(Same::default());
        }
        let opened =
            folder.to.open_file(name).map_err(failed("what was restored cannot be read"))?;
        let stored =
            folder.from.open_file(name).map_err(failed("it cannot be read in the snapshot"))?;
        let recorded = match record.map(|record| record.content).filter(|hash| hash.is_known()) {
            Some(hash) => Some((hash.method(), Proof::new(hash.bytes()))),
            None => xattrs::recorded(&stored)
                .map_err(failed("its recorded hash cannot be read"))?
                .map(|(method, bytes)| (method, Proof::new(&bytes))),
        };
        let unproved = recorded.is_none();
        let (method, proof) = match recorded {
            Some(recorded) => recorded,
            None => {
                let hash = self.hash(&stored, Method::Plain);
                let hash = hash.map_err(failed("it cannot be read in the snapshot"))?;
                (Method::Plain, Proof::new(hash.as_bytes()))
            }
        };
        let now = self.hash(&opened, method).map_err(failed("what was restored cannot be read"))?;
        if !proof.is(&now) {
            return Err(damaged("it came back with other content than was backed up"));
        }
        let with_source = self.with_source(path, &expected.meta, method, &proof)?;
        Ok(Same { unproved: unproved && expected.meta.size > 0, with_source })
    }

    fn open(&self, place: &Arc<TreePath>) -> io::Result<Folder> {
        let down = |top: &Dir| {
            let chain = place.chain();
            chain[1..].iter().try_fold(top.try_clone()?, |dir, at| dir.child(at.name()))
        };
        // A manifest that cannot be read proves nothing; verify reports it.
        let records = self.manifest.as_ref().and_then(|it| it.folder(place).ok().flatten());
        let inside = place.inside();
        let (from, to) = (down(&self.snapshot)?, down(self.restored)?);
        Ok(Folder { inside, from, to, sidecar: self.kept.load(place)?, records })
    }

    fn hash(&self, file: &File, method: Method) -> io::Result<blake3::Hash> {
        content::hash(file, &stat::meta(file)?, method, self.stop, &|_| {})
    }

    /// Compares the content with that of the source, if the source has the same size and time and was not changed
    /// since. Returns whether it was compared.
    fn with_source(
        &self,
        path: &[u8],
        expected: &Meta,
        method: Method,
        proof: &Proof,
    ) -> Result<bool, Wrong> {
        let Some(source) = &self.source else { return Ok(false) };
        // What the source no longer has, or this user may not read, is not compared.
        let Ok(file) = source.open(path) else { return Ok(false) };
        let (Ok(before), Ok(hash)) =
            (stat::meta(&file), self.hash_if(source, &file, expected, method))
        else {
            return Ok(false);
        };
        let Some(hash) = hash else { return Ok(false) };
        let is_still = stat::meta(&file).is_ok_and(|now| {
            (now.size, now.mtime, now.ctime) == (before.size, before.mtime, before.ctime)
        });
        match (is_still, proof.is(&hash)) {
            (false, _) => Ok(false),
            (true, true) => Ok(true),
            (true, false) => Err((
                Fault::Source,
                "it came back as it was backed up, but the source has other content, although its size and times are those of the backup".to_owned(),
            )),
        }
    }

    fn hash_if(
        &self,
        source: &SourceFiles,
        file: &File,
        expected: &Meta,
        method: Method,
    ) -> io::Result<Option<blake3::Hash>> {
        match source.is_unchanged(&stat::meta(file)?, expected) {
            true => self.hash(file, method).map(Some),
            false => Ok(None),
        }
    }
}

/// Whether the entry on the disk of the snapshot has the metadata that the manifest records.
fn is_recorded(
    dir: &Dir,
    place: &Arc<TreePath>,
    coverage: RecordedFields,
    recorded: MetaDigest,
) -> io::Result<bool> {
    let meta = dir.stat(place.name())?;
    let target = (meta.kind == Kind::Symlink).then(|| dir.read_link(place.name())).transpose()?;
    Ok(coverage.digest(&meta, target.as_deref(), true) == recorded)
}

/// The first property in which the restored entry differs from the one that was expected.
fn differing(expected: &StoredEntry, back: &StoredEntry) -> Option<&'static str> {
    let (then, now) = (&expected.meta, &back.meta);
    let root = rustix::process::geteuid().is_root();
    let is_file = then.kind == Kind::File;
    let differs = [
        ("kind", then.kind != now.kind),
        ("size", is_file && then.size != now.size),
        ("target", expected.target != back.target),
        ("mode", then.kind != Kind::Symlink && then.mode != now.mode),
        ("owner", root && (then.uid, then.gid) != (now.uid, now.gid)),
        ("time", !is_same_time(then.mtime, now.mtime)),
        ("attribute", !expected.xattrs.iter().all(|pair| back.xattrs.contains(pair))),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
}

/// Whether `now` is the time `then`, as far as the file system of the scratch folder can hold it: in nanoseconds, tenths of
/// microseconds (NTFS), seconds, or two seconds (FAT).
fn is_same_time(then: Time, now: Time) -> bool {
    let second =
        then.secs == now.secs && [0, then.nanos, then.nanos / 100 * 100].contains(&now.nanos);
    second || now.nanos == 0 && now.secs % 2 == 0 && then.secs - now.secs == 1
}

/// Whether every file system can hold this property.
fn is_content(what: &str) -> bool {
    matches!(what, "kind" | "size" | "target")
}
