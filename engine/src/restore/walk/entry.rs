//! Restores the entries of a folder, one at a time, and reports the result of each.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::entry::Kind;
use crate::entry::digest::Method;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;
use crate::monitor::add;
use crate::repository::content::{Content, Proof, StoreError, is_damaged, read_through};
use crate::repository::manifest::record::RecordedHash as Recorded;
use crate::restore::outcome::{EntryOutcome, RestoredEntry};
use crate::restore::plan::{RestoreStep, decide};
use crate::restore::request::RestoreError;
use crate::restore::targets::{Shortfall, StoreOutcome, Target, is_lost};
use crate::restore::walk::folder::{EntryInProgress, RestoreFolder, RestoreTask};
use crate::restore::walk::{RestoreWalk, SharedOpenFolder};

/// Why a folder is not replaced.
pub(crate) const OCCUPIED: &str =
    "a folder is in its place, and in it something that must not be removed";

impl<T: Target> RestoreWalk<'_, T> {
    /// Restores one entry.
    pub(crate) fn entry(
        &self,
        one: EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        source: Option<&Dir>,
    ) {
        add(&self.context.progress.entries, 1);
        let there = match self.target.look(&opened.to, &one.entry.name) {
            Ok(there) => there,
            Err(error) => return self.trouble(&one.path(), false, &error),
        };
        one.inode.set(there.as_ref().and_then(|there| there.meta.id));
        let step = decide(&one.wanted, there.as_ref(), &self.rules);
        if one.wanted.meta.kind == Kind::Folder {
            self.folder(one, opened, step);
        } else if one.wanted.on_disk && self.several.has(&one.wanted.meta) {
            self.grouped(one, opened, source, step);
        } else {
            self.single(&one, opened, source, step);
        }
    }

    /// Enters a folder. Creates it when it is missing.
    fn folder(
        &self,
        one: EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        step: RestoreStep,
    ) {
        let (target, name, path) = (self.target, &one.entry.name, one.path());
        let new = !matches!(step, RestoreStep::Keep | RestoreStep::SetMetadata);
        let made = match step {
            RestoreStep::Leave(why) => {
                return self.report(EntryOutcome::Left, &path, true, 0, Some(why.to_owned()));
            }
            RestoreStep::Keep | RestoreStep::SetMetadata => Ok(one.inode.get()),
            RestoreStep::Create => target.make_folder(&opened.to, name),
            RestoreStep::Replace | RestoreStep::ReplaceFolder => {
                target.remove(&opened.to, name).and_then(|()| target.make_folder(&opened.to, name))
            }
        };
        let id = match made {
            Ok(id) => id,
            Err(error) => return self.trouble(&path, true, &error),
        };
        let what = match step {
            RestoreStep::Create => EntryOutcome::Created,
            RestoreStep::Keep => EntryOutcome::Equal,
            RestoreStep::SetMetadata => EntryOutcome::Metadata,
            _ => EntryOutcome::Replaced,
        };
        self.report(what, &path, true, 0, None);
        let to = one.folder.to.child(name, None);
        let EntryInProgress { folder, from, entry, .. } = one;
        let whole = folder.whole || self.is_whole(&from);
        let child = RestoreFolder::below(&folder, Some(from), to, Some(entry), new, whole);
        if id.is_some() {
            child.is(id);
        }
        self.queue.push(RestoreTask::List(child));
    }

    /// Restores an entry with a single name among the restored entries. Returns whether the target has the
    /// entry now.
    pub(crate) fn single(
        &self,
        one: &EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        source: Option<&Dir>,
        step: RestoreStep,
    ) -> bool {
        let (entry, path, bytes) = (&one.entry, one.path(), size_of(&one.wanted));
        let store = |replace| self.store(one, opened, source, replace);
        let (what, done) = match step {
            RestoreStep::Keep => {
                self.tally.count(EntryOutcome::Equal);
                add(&self.context.progress.bytes, bytes);
                return true;
            }
            RestoreStep::Leave(why) => {
                add(&self.context.progress.bytes, bytes);
                self.report(EntryOutcome::Left, &path, false, bytes, Some(why.to_owned()));
                return false;
            }
            RestoreStep::Create => (EntryOutcome::Created, store(false)),
            RestoreStep::Replace => (EntryOutcome::Replaced, store(true)),
            RestoreStep::ReplaceFolder => match self.way_for(one, opened, source) {
                Ok(true) => (EntryOutcome::Replaced, store(false)),
                Ok(false) => {
                    self.report(EntryOutcome::Left, &path, false, bytes, Some(OCCUPIED.to_owned()));
                    return false;
                }
                Err(error) => (EntryOutcome::Replaced, Err(error)),
            },
            RestoreStep::SetMetadata if entry.meta.kind != Kind::File => {
                (EntryOutcome::Metadata, store(true))
            }
            RestoreStep::SetMetadata => {
                add(&self.context.progress.bytes, bytes);
                match self.target.set_file_metadata(&opened.to, entry, one.inode.get()) {
                    // The file has other hard links, possibly in a snapshot.
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::MLINK) => {
                        (EntryOutcome::Replaced, store(true))
                    }
                    result => {
                        let stored = result.map(|shortfall| StoreOutcome {
                            shortfall,
                            damaged: false,
                            id: one.inode.get(),
                        });
                        (EntryOutcome::Metadata, stored.map_err(StoreError::Target))
                    }
                }
            }
        };
        self.done(one, what, done)
    }

    /// Removes a folder that occupies the name of an entry, after checking that the snapshot can provide the
    /// entry.
    fn way_for(
        &self,
        one: &EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        source: Option<&Dir>,
    ) -> Result<bool, StoreError> {
        if one.entry.meta.kind == Kind::File {
            self.with_content(one, source, &mut |content| {
                let (_, hash) = read_through(content, &mut |_| Ok(()))?;
                let damaged = is_damaged(content, &hash) && !content.accept_damage;
                if damaged { Err(StoreError::Damaged) } else { Ok(StoreOutcome::default()) }
            })?;
        }
        Ok(self.make_way(one, opened)?)
    }

    /// Reports the result for an entry. Returns whether the target has the entry now.
    pub(crate) fn done(
        &self,
        one: &EntryInProgress<T::Folder>,
        what: EntryOutcome,
        done: Result<StoreOutcome, StoreError>,
    ) -> bool {
        let (path, bytes) = (one.path(), size_of(&one.wanted));
        match done {
            Ok(StoreOutcome { shortfall, damaged, id }) => {
                one.inode.set(id);
                self.report(what, &path, false, bytes, None);
                if damaged {
                    let why = "restored as it is, but its content is not what was backed up";
                    self.report(EntryOutcome::Damaged, &path, false, bytes, Some(why.to_owned()));
                }
                self.short(&path, false, &shortfall);
                true
            }
            Err(StoreError::Target(error)) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    let why = "something came into its place meanwhile".to_owned();
                    self.report(EntryOutcome::Left, &path, false, bytes, Some(why));
                } else {
                    self.trouble(&path, false, &error);
                }
                false
            }
            Err(error) => {
                self.report(EntryOutcome::Damaged, &path, false, bytes, Some(error.to_string()));
                false
            }
        }
    }

    /// Creates an entry with its content and metadata.
    fn store(
        &self,
        one: &EntryInProgress<T::Folder>,
        opened: &SharedOpenFolder<T>,
        source: Option<&Dir>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        let entry = &one.entry;
        if entry.meta.kind != Kind::File {
            return Ok(self.target.make(&opened.to, entry, replace)?);
        }
        let mut proved = false;
        let stored = self.with_content(one, source, &mut |content| {
            proved = content.recorded.is_some();
            self.target.store(&opened.to, entry, content, replace)
        })?;
        self.count_stored(one, proved);
        Ok(stored)
    }

    /// Counts a stored file.
    pub(crate) fn count_stored(&self, one: &EntryInProgress<T::Folder>, proved: bool) {
        add(&self.context.progress.copied, 1);
        add(&self.tally.bytes, one.entry.meta.size);
        add(if proved { &self.tally.verified } else { &self.tally.unproved }, 1);
    }

    /// The hash of a file in the manifest. The owner of the file can change the hash in the file's own
    /// attribute, but not this one.
    fn manifest_of(&self, from: &Arc<TreePath>) -> Option<Recorded> {
        let folder = from.parent().map_or_else(Vec::new, TreePath::inside);
        // Damaged records verify nothing.
        self.manifest.as_ref()?.content(folder, from.name()).ok().flatten()
    }

    /// The hash in the attribute of a file.
    fn borne_by(&self, file: &File) -> Result<(Method, Option<Proof>), StoreError> {
        match xattrs::recorded(file).map_err(StoreError::Unreadable)? {
            Some((method, bytes)) if bytes.len() == blake3::OUT_LEN => {
                Ok((method, Some(Proof::new(&bytes))))
            }
            // The attribute does not contain a valid hash.
            Some(_) if !self.options.accept_damage => Err(StoreError::Damaged),
            Some((method, _)) => Ok((method, None)),
            None => {
                let meta = crate::fs::metadata::stat::meta(file).map_err(StoreError::Unreadable)?;
                Ok((Method::of(&meta), None))
            }
        }
    }

    /// Opens a file of the snapshot and passes its content to `store`.
    pub(crate) fn with_content(
        &self,
        one: &EntryInProgress<T::Folder>,
        source: Option<&Dir>,
        store: &mut dyn FnMut(&Content<'_>) -> Result<StoreOutcome, StoreError>,
    ) -> Result<StoreOutcome, StoreError> {
        let name = one.from.name();
        let file = match source {
            Some(source) => source.open_file(name),
            None => self.above(&one.from).and_then(|source| source.open_file(name)),
        };
        let file = file.map_err(StoreError::Unreadable)?;
        let (method, recorded) = match self.manifest_of(&one.from) {
            Some(content) => (content.method(), Some(Proof::new(content.bytes()))),
            None => self.borne_by(&file)?,
        };
        let (folder, named) = (&one.folder.to, &one.entry.name);
        let content = Content {
            file: &file,
            recorded,
            method,
            accept_damage: self.options.accept_damage,
            stop: &|| self.halted(),
            written: &|count| {
                add(&self.context.progress.bytes_copied, count);
                add(&self.context.progress.bytes, count);
                self.context
                    .progress
                    .set_file(|| crate::entry::escape::shown(&folder.inside_of(named)));
            },
        };
        store(&content)
    }

    pub(crate) fn report(
        &self,
        what: EntryOutcome,
        path: &[u8],
        folder: bool,
        bytes: u64,
        why: Option<String>,
    ) {
        self.tally.count(what);
        if what != EntryOutcome::Equal {
            self.sink.line(&RestoredEntry { what, path: path.to_vec(), folder, bytes, why });
        }
    }

    /// Reports the metadata that the target could not set.
    pub(crate) fn short(&self, path: &[u8], folder: bool, shortfall: &Shortfall) {
        if !shortfall.is_none() {
            self.report(EntryOutcome::Partly, path, folder, 0, Some(without(shortfall)));
        }
    }

    /// Reports an entry that could not be restored. A full or lost target ends the restore.
    pub(crate) fn trouble(&self, path: &[u8], folder: bool, error: &io::Error) {
        let ended = error.kind() == io::ErrorKind::Interrupted || is_lost(error);
        if ended && self.halted() {
            return;
        }
        if is_lost(error) {
            return self.fail(RestoreError::Lost(io::Error::new(error.kind(), error.to_string())));
        }
        if matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT)) {
            let error = io::Error::from(error.kind());
            return self
                .fail(RestoreError::NoSpace { path: crate::entry::escape::shown(path), error });
        }
        self.report(EntryOutcome::Failed, path, folder, 0, Some(error.to_string()));
    }
}

fn without(shortfall: &Shortfall) -> String {
    let mut missing = Vec::new();
    for (lacks, what) in [
        (shortfall.owner, "owner or group"),
        (shortfall.mode, "mode"),
        (shortfall.time, "modification time"),
        (shortfall.link, "hard link"),
    ] {
        if lacks {
            missing.push(what.to_owned());
        }
    }
    missing.extend(shortfall.xattrs.iter().map(|name| crate::entry::escape::shown(name)));
    format!("restored without its {}", missing.join(", "))
}

pub(crate) fn size_of(held: &StoredEntry) -> u64 {
    if held.meta.kind == Kind::File { held.meta.size } else { 0 }
}
