//! Opens the folder that a restore writes to.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use engine::SourceError;
use engine::entry::FileId;
use engine::fs::{Resolved, sync_file_system};
use engine::restore::{LocalTarget, PlaceError, Target, own_maker};

use crate::helper::protocol::write::{SentPlaceError, SentTarget};
use crate::helper::serve::confine::{OUTSIDE, Roots};
use crate::helper::serve::folders::Violation;
use crate::helper::serve::place::absolute;
use crate::helper::serve::write::state::{WriteState, described};

/// What the near end asks for.
pub(crate) struct AskedTarget<'a> {
    pub(crate) folder: u64,
    pub(crate) path: &'a [u8],
    pub(crate) make: bool,
    pub(crate) id: Option<FileId>,
}

/// Opens the folder once on a connection.
///
/// # Errors
/// The near end asks for a second folder.
pub(crate) fn open(
    state: &WriteState,
    roots: &Roots,
    asked: &AskedTarget<'_>,
) -> Result<Result<SentTarget, SentPlaceError>, Violation> {
    if state.target.get().is_some() {
        return Err(Violation("a second folder to restore to"));
    }
    let path = absolute(asked.path);
    let opened = resolved(&path, roots, asked.make).and_then(|(real, target)| {
        let failed = |error| PlaceError::Impossible { action: "open", path: path.clone(), error };
        let top = match target.top() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            top => Some(top.map_err(failed)?),
        };
        let id = top.as_ref().map(|top| top.meta()).transpose().map_err(failed)?;
        if asked.id.is_some() && id.and_then(|meta| meta.id) != asked.id {
            return Err(failed(io::Error::other("another folder has its place now")));
        }
        Ok((real, target, top))
    });
    let (real, target, top) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let sent = SentPlaceError::from(&error);
            state.folders.add_root(asked.folder, Err(SourceError::Replaced))?;
            return Ok(Err(sent));
        }
    };
    let described = top.as_ref().map(|top| described(&target, top)).transpose();
    let top = top.map(std::sync::Arc::new).ok_or(SourceError::Vanished);
    state.folders.add_root(asked.folder, top)?;
    let _ = state.target.set(target);
    Ok(match described {
        Err(error) => Err(SentPlaceError::Impossible(false, (&error).into())),
        Ok(folder) => Ok(SentTarget {
            path: real.into_os_string().into_vec(),
            folder,
            user: rustix::process::geteuid().as_raw(),
            maker: own_maker(),
        }),
    })
}

fn resolved(path: &Path, roots: &Roots, make: bool) -> Result<(PathBuf, LocalTarget), PlaceError> {
    let failed = |error| PlaceError::Impossible { action: "open", path: path.to_owned(), error };
    // Nothing outside the roots is looked at: the error does not show what exists there.
    if !roots.concerns(path) {
        return Err(failed(outside()));
    }
    let found = Resolved::at(path).map_err(failed)?;
    let real = found.path();
    if !roots.hold(&real) {
        return Err(failed(outside()));
    }
    let target = match make {
        true => LocalTarget::make_resolved(found, path, None, sync_file_system),
        false => LocalTarget::look_resolved(found, path, None, sync_file_system),
    }?;
    Ok((real, target))
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, OUTSIDE)
}
