//! Target folders in which no other user can exchange a name. Symlinks, fifos, sockets, devices and hard links
//! are created by name, not through a handle. The restore creates them in such a folder and renames each to its
//! final folder when it is complete.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use crate::entry;
use crate::entry::Meta;
use crate::fs::dir::Dir;
use crate::fs::metadata::exchanged;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;

/// The location where an entry is created before it moves to its final folder.
pub(crate) struct Private<'a> {
    folder: &'a Dir,
    /// The name and the handle of a private subfolder; `None` where the folder itself is closed to other users.
    own: Option<(CString, Dir)>,
}

impl<'a> Private<'a> {
    /// Prepares a location in `folder`. `name` is an unused name for a private subfolder.
    ///
    /// # Errors
    /// Any error of `mkdirat(2)`.
    pub(crate) fn in_folder(folder: &'a Dir, name: &CStr) -> io::Result<Self> {
        let own = match is_closed(&folder.meta()?) {
            true => None,
            false => Some((name.to_owned(), make_folder(folder, name)?)),
        };
        Ok(Self { folder, own })
    }

    /// The folder in which to create the entry.
    pub(crate) fn dir(&self) -> &Dir {
        self.own.as_ref().map_or(self.folder, |(_, dir)| dir)
    }

    /// Moves `from` to its final name in the folder. With `replace` it replaces an existing entry.
    ///
    /// # Errors
    /// `EEXIST` when the name exists and `replace` is false; any other error of `renameat2(2)`.
    pub(crate) fn place(&self, from: &CStr, name: &CStr, replace: bool) -> io::Result<()> {
        match replace {
            true => self.dir().move_to(from, self.folder, name),
            false => self.dir().move_new(from, self.folder, name),
        }
    }
}

impl Drop for Private<'_> {
    fn drop(&mut self) {
        if let Some((name, _)) = &self.own {
            let _ = self.folder.remove_folder(name);
        }
    }
}

/// Whether only this process's user and root can add and remove names in a folder. An ACL that gives others
/// write access shows in the group bits of the mode (acl(5)).
pub(crate) fn is_closed(folder: &Meta) -> bool {
    let ours = [0, rustix::process::geteuid().as_raw()].contains(&folder.uid);
    ours && folder.mode & 0o022 == 0
}

/// Creates the folder `name`, which only its owner may enter, and opens it.
///
/// # Errors
/// Any I/O error; an error when another process exchanged the folder before it was opened.
pub(crate) fn make_folder(folder: &Dir, name: &CStr) -> io::Result<Dir> {
    folder.make_folder(name, 0o700)?;
    let made = folder.child(name)?;
    if !is_just_made(folder, name, &made)? {
        return Err(exchanged());
    }
    // A setgid bit or default ACL of the parent must not apply to the content (mkdir(2)).
    xattrs::remove_acls(&made);
    stat::set_mode(made.as_fd(), 0o700)?;
    Ok(made)
}

/// Whether this process has just created the opened folder. Another user with write access to `folder` can move
/// a folder of their own there, or one with content, but not an empty one that this user owns and that is
/// closed to others.
fn is_just_made(folder: &Dir, name: &CStr, made: &Dir) -> io::Result<bool> {
    let mut empty = true;
    made.names(|_| {
        empty = false;
        ControlFlow::Break(())
    })?;
    let meta = made.meta()?;
    if meta.uid == rustix::process::geteuid().as_raw() {
        return Ok(empty && meta.mode & 0o777 == 0o700);
    }
    // A file system without owners reports the same owner for everything. Create a file with O_EXCL to find it.
    let mut probe = name.to_bytes().to_vec();
    probe.truncate(200);
    probe.extend_from_slice(b".owner");
    let probe = entry::c_name(probe)?;
    let owner = stat::meta(folder.create_file(&probe, 0o600)?)?.uid;
    folder.unlink(&probe)?;
    Ok(empty && owner == meta.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_open_folder_a_closed_one_is_used_and_removed() {
        let top = tempfile::tempdir().unwrap();
        let dir = Dir::at(top.path()).unwrap();
        for (mode, names) in [(0o700, 0), (0o755, 0), (0o775, 1), (0o757, 1)] {
            stat::set_mode(&dir, mode).unwrap();
            let private = Private::in_folder(&dir, c"t").unwrap();
            assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), names, "{mode:o}");
            private.dir().make_symlink(c"new", b"x").unwrap();
            assert!(is_closed(&private.dir().meta().unwrap()));
            private.place(c"new", c"link", false).unwrap();
            private.dir().make_symlink(c"new", b"y").unwrap();
            let again = private.place(c"new", c"link", false).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
            private.place(c"new", c"link", true).unwrap();
            drop(private);
            assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 1, "{mode:o}");
            assert_eq!(dir.read_link(c"link").unwrap(), b"y");
            dir.unlink(c"link").unwrap();
        }
    }

    #[test]
    fn a_folder_that_holds_something_was_not_just_made() {
        let top = tempfile::tempdir().unwrap();
        let dir = Dir::at(top.path()).unwrap();
        let made = make_folder(&dir, c"made").unwrap();
        assert!(is_just_made(&dir, c"made", &made).unwrap());
        made.make_symlink(c"x", b"y").unwrap();
        assert!(!is_just_made(&dir, c"made", &made).unwrap());
        made.unlink(c"x").unwrap();
        stat::set_mode(&made, 0o755).unwrap();
        assert!(!is_just_made(&dir, c"made", &made).unwrap());
    }
}
