//! A file of a local target while its content arrives, under a temporary name.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;

use crate::entry::{Entry, ListedEntry};
use crate::fs::dir::Dir;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::restore::targets::StoreOutcome;
use crate::restore::targets::local::{LocalTarget, judged, made};
use crate::restore::targets::temporary::{name_by, temporary_name};

/// A file under its temporary name.
#[derive(Debug)]
pub struct NewFile {
    name: CString,
    file: File,
}

impl NewFile {
    /// The file, open for writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Removes the file.
    pub fn discard(self, folder: &Dir) {
        let _ = folder.unlink(&self.name);
    }
}

impl LocalTarget {
    /// Creates an empty file for the entry `name`.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn new_file(&self, folder: &Dir, name: &CStr) -> io::Result<NewFile> {
        let name = temporary_name(name)?;
        let file = made(folder, &name, || folder.create_file(&name, 0o600))
            .map_err(|error| judged(folder, error))?;
        Ok(NewFile { name, file })
    }

    /// Takes over the file that another process of the same restore, `maker`, had begun for the entry `name`.
    /// `None` when there is none.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn take_over_file(
        &self,
        folder: &Dir,
        name: &CStr,
        maker: &str,
    ) -> io::Result<Option<NewFile>> {
        let Some(before) = name_by(name, maker) else { return Ok(None) };
        let name = temporary_name(name)?;
        match folder.rename_new(&before, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            moved => moved?,
        }
        let opened = folder.open_to_write(&name).and_then(|file| {
            let found = stat::meta(&file)?;
            // Nobody else can have put it there: another user cannot make files of this one.
            let ours = found.uid == rustix::process::geteuid().as_raw();
            Ok((ours && found.links == 1).then_some(file))
        });
        match opened {
            Ok(Some(file)) => Ok(Some(NewFile { name, file })),
            _ => {
                let _ = folder.unlink(&name);
                Ok(None)
            }
        }
    }

    /// Gives a file whose content is complete its metadata and its final name. Removes it when that fails.
    ///
    /// # Errors
    /// As [`Target::store`](crate::restore::Target::store).
    pub fn finish_file(
        &self,
        folder: &Dir,
        new: NewFile,
        entry: &Entry,
        replace: bool,
    ) -> io::Result<StoreOutcome> {
        let stored = match self.set_metadata(&new.file, entry) {
            Ok(stored) => stored,
            Err(error) => return Err(self.give_up_file(folder, new, error)),
        };
        self.placed(folder, &new.name, &entry.name, replace)?;
        Ok(stored)
    }

    /// Removes a file that could not be written. Returns the error of the write; whether the file system is full
    /// is checked while the data still occupies its space.
    pub fn give_up_file(&self, folder: &Dir, new: NewFile, error: io::Error) -> io::Error {
        let error = judged(folder, error);
        new.discard(folder);
        error
    }

    /// Sets the mode of a folder, and opens it again with the permissions that it has then.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn reopen_with_mode(&self, folder: &Dir, mode: u32) -> io::Result<Dir> {
        folder.with_mode(mode)
    }

    fn set_metadata(&self, file: &File, entry: &Entry) -> io::Result<StoreOutcome> {
        if !self.root && entry.meta.mode & 0o200 == 0 {
            // An ordinary user cannot set attributes after the mode denies write access (xattr(7)).
            let user = |pair: &&(Vec<u8>, Vec<u8>)| pair.0.starts_with(b"user.");
            let user: Vec<_> = entry.xattrs().iter().filter(user).cloned().collect();
            xattrs::write(file, &user, XattrSelection { xattrs: true, acls: false })?;
        }
        let record = self.whole.existing(file, ListedEntry::from(entry))?;
        let shortfall = self.shortfall(file, record);
        if self.sync_each {
            file.sync_all()?;
        }
        Ok(StoreOutcome { shortfall, damaged: false, id: stat::meta(file)?.id })
    }
}
