//! A restore target for the dry run. It writes nothing.

use std::ffi::{CStr, CString};
use std::io;

use rustix::io::Errno;

use crate::entry::stored::StoredEntry;
use crate::entry::{Entry, FileId};
use crate::repository::content::{Content, StoreError};
use crate::restore::targets::temporary::CreatorProcess;
use crate::restore::targets::{
    MountedFileSystem, MustStay, Shortfall, StoreOutcome, Target, TargetFacts,
};

/// Reads the inner target and never writes to it. The restore then reports what it would do.
pub struct PreviewTarget<'a, T>(pub &'a T);

impl<T: Target> Target for PreviewTarget<'_, T> {
    /// `None`: a folder that does not exist yet and would be created.
    type Folder = Option<T::Folder>;

    fn facts(&self) -> TargetFacts {
        self.0.facts()
    }

    fn top(&self) -> io::Result<Self::Folder> {
        match self.0.top() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            top => top.map(Some),
        }
    }

    fn enter(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Self::Folder> {
        let Some(folder) = folder else { return Ok(None) };
        match self.0.enter(folder, name) {
            // Nothing exists there, or an entry that the restore would have replaced.
            Err(error)
                if Errno::from_io_error(&error) == Some(Errno::LOOP)
                    || matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
            {
                Ok(None)
            }
            entered => entered.map(Some),
        }
    }

    fn look(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Option<StoredEntry>> {
        folder.as_ref().map_or(Ok(None), |folder| self.0.look(folder, name))
    }

    fn look_each(
        &self,
        folder: &Self::Folder,
        names: &[&CStr],
        each: &mut dyn FnMut(io::Result<Option<StoredEntry>>),
    ) {
        match folder {
            Some(folder) => self.0.look_each(folder, names, each),
            None => names.iter().for_each(|_| each(Ok(None))),
        }
    }

    fn creator(&self, name: &CStr) -> Option<CreatorProcess> {
        self.0.creator(name)
    }

    fn names(&self, folder: &Self::Folder, most: usize) -> io::Result<Option<Vec<CString>>> {
        folder.as_ref().map_or(Ok(Some(Vec::new())), |folder| self.0.names(folder, most))
    }

    fn id(&self, folder: &Self::Folder) -> io::Result<Option<FileId>> {
        folder.as_ref().map_or(Ok(None), |folder| self.0.id(folder))
    }

    fn make_folder(&self, _: &Self::Folder, _: &CStr) -> io::Result<Option<FileId>> {
        Ok(None)
    }

    fn store(
        &self,
        _: &Self::Folder,
        _: &Entry,
        _: &Content<'_>,
        _: bool,
    ) -> Result<StoreOutcome, StoreError> {
        Ok(StoreOutcome::default())
    }

    fn make(&self, _: &Self::Folder, _: &Entry, _: bool) -> io::Result<StoreOutcome> {
        Ok(StoreOutcome::default())
    }

    fn link(
        &self,
        _: &Self::Folder,
        _: &CStr,
        _: (&Self::Folder, &CStr, Option<FileId>),
        _: bool,
    ) -> io::Result<()> {
        Ok(())
    }

    fn set_file_metadata(
        &self,
        _: &Self::Folder,
        _: &Entry,
        _: Option<FileId>,
    ) -> io::Result<Shortfall> {
        Ok(Shortfall::default())
    }

    fn set_folder_metadata(&self, _: &Self::Folder, _: &Entry, _: bool) -> io::Result<Shortfall> {
        Ok(Shortfall::default())
    }

    fn remove(&self, _: &Self::Folder, _: &CStr) -> io::Result<()> {
        Ok(())
    }

    fn file_system(&self, folder: &Self::Folder) -> io::Result<Option<MountedFileSystem>> {
        folder.as_ref().map_or(Ok(None), |folder| self.0.file_system(folder))
    }

    fn may_remove(
        &self,
        folder: &Self::Folder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> io::Result<bool> {
        folder.as_ref().map_or(Ok(true), |folder| self.0.may_remove(folder, name, spared))
    }

    fn remove_folder(&self, _: &Self::Folder, _: &CStr) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
