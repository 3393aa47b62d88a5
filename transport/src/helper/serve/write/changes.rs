//! Carries out requests for single entries and folders.

use std::ffi::{CStr, CString};
use std::io;

use engine::entry::{Entry, FileId};
use engine::fs::Dir;
use engine::restore::{LocalTarget, StoreOutcome, Target};

use crate::helper::protocol::write::SentFolder;
use crate::helper::serve::folders::NamedFolder;
use crate::helper::serve::write::state::{WriteState, described};

type Folder = NamedFolder<LocalTarget>;

/// Opens a child folder to describe it.
pub(crate) fn enter(state: &WriteState, folder: &Folder, name: &CStr) -> io::Result<SentFolder> {
    state.on(folder, |target, dir| described(target, &target.enter(dir, name)?))
}

/// Sets the mode of a folder, which is open with it afterwards.
pub(crate) fn set_mode(state: &WriteState, folder: &Folder, mode: u32) -> io::Result<()> {
    let opened = state.on(folder, |target, dir| {
        // Without read permission the mode can be set, and the folder not be opened.
        match mode & 0o400 {
            0 => target.set_mode(dir, mode).map(|()| None),
            _ => target.reopen_with_mode(dir, mode).map(Some),
        }
    })?;
    opened.into_iter().for_each(|opened| folder.reopened(opened));
    Ok(())
}

/// Creates a folder. When the request is sent `again`, the folder may be the one that it made before.
pub(crate) fn make_folder(
    state: &WriteState,
    folder: &Folder,
    name: &CStr,
    again: bool,
) -> io::Result<SentFolder> {
    state.on(folder, |target, dir| {
        let id = match target.make_folder(dir, name) {
            Err(error) if again && exists(&error) => {
                let made = target.enter(dir, name)?;
                let meta = made.meta()?;
                let ours = meta.uid == rustix::process::geteuid().as_raw();
                let empty = target.names(&made, 0)?.is_none_or(|names| names.is_empty());
                if !ours || !empty || meta.mode & 0o777 != 0o700 {
                    return Err(error);
                }
                meta.id
            }
            made => made?,
        };
        let made = described(target, &target.enter(dir, name)?)?;
        match made.id == id.map(crate::helper::protocol::entry::sent_id) {
            true => Ok(made),
            false => Err(io::Error::other("another process replaced the folder")),
        }
    })
}

/// Creates a symlink, fifo, socket or device.
pub(crate) fn make(
    state: &WriteState,
    folder: &Folder,
    entry: &Entry,
    (replace, again): (bool, bool),
) -> io::Result<StoreOutcome> {
    state.on(folder, |target, dir| {
        if again {
            state.clear(target, dir, &entry.name);
        }
        match target.make(dir, entry, replace) {
            Err(error) if again && exists(&error) => {
                let there = target.look(dir, &entry.name)?;
                let same = there.filter(|there| {
                    let (found, wanted) = (&there.meta, &entry.meta);
                    found.kind == wanted.kind
                        && found.rdev == wanted.rdev
                        && found.mtime == wanted.mtime
                        && there.target.as_deref() == entry.target()
                });
                let id = same.ok_or(error)?.meta.id;
                Ok(StoreOutcome { id, ..StoreOutcome::default() })
            }
            made => made,
        }
    })
}

/// A new name for a file.
pub(crate) struct NewLink {
    pub(crate) name: CString,
    /// The name of the file, and its inode.
    pub(crate) to: (CString, Option<FileId>),
    pub(crate) replace: bool,
    pub(crate) again: bool,
}

/// Makes a hard link.
pub(crate) fn link(
    state: &WriteState,
    folder: &Folder,
    to: &Folder,
    link: &NewLink,
) -> io::Result<()> {
    state.on(folder, |target, dir| {
        state.on(to, |_, leading| {
            let NewLink { name, to: (file, id), replace, again } = link;
            if *again {
                state.clear(target, dir, name);
            }
            match target.link(dir, name, (leading, file, *id), *replace) {
                Err(error) if *again && exists(&error) => {
                    let id = |dir: &Dir, name: &CStr| -> io::Result<Option<FileId>> {
                        Ok(dir.find(name)?.and_then(|meta| meta.id))
                    };
                    let (made, first) = (id(dir, name)?, id(leading, file)?);
                    if made.is_some() && made == first { Ok(()) } else { Err(error) }
                }
                linked => linked,
            }
        })
    })
}

/// Removes an entry that is no folder, or a folder with all that is in it. When the request is sent `again`, it may
/// be gone already.
pub(crate) fn remove(
    state: &WriteState,
    folder: &Folder,
    name: &CStr,
    (is_folder, again): (bool, bool),
) -> io::Result<()> {
    let removed = state.on(folder, |target, dir| match is_folder {
        true => target.remove_folder(dir, name),
        false => target.remove(dir, name),
    });
    match removed {
        Err(error) if again && error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether an entry of the name exists already.
pub(crate) fn exists(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}
