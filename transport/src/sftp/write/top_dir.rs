//! The top folder of a restore on the host: finds it or creates it, and refuses it if it belongs to backups.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use engine::restore::PlaceError;
use rustix::io::Errno;

use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::remote_path::child;
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::Requests;
use crate::sftp::write::link::session::{PATH_MAX, Session, found, is_folder, sound};
use crate::ssh::again::again;

/// The program's own folder in each backups folder.
pub(crate) const OWN: &[u8] = b".backup_manager";

/// Converts `dir` to an absolute path. A relative path starts in `home`.
pub(crate) fn absolute(home: &[u8], dir: &[u8]) -> Vec<u8> {
    let below = match dir {
        b"~" => Some(&b""[..]),
        _ => dir.strip_prefix(b"~/").or_else(|| (!dir.starts_with(b"/")).then_some(dir)),
    };
    let start = if below.is_some() { home } else { b"" };
    let names =
        [start, below.unwrap_or(dir)].into_iter().flat_map(|part| part.split(|b| *b == b'/'));
    let names: Vec<&[u8]> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
    [b"/", &names.join(&b'/')[..]].concat()
}

/// The folders from the root to `path`, including both.
fn ancestors(path: &[u8]) -> Vec<&[u8]> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    let above = slashes.map(|(at, _)| &path[..at]);
    let last = (path != b"/").then_some(path);
    std::iter::once(&b"/"[..]).chain(above).chain(last).collect()
}

/// A folder to restore into.
pub(crate) struct Top {
    /// The real path; if the folder does not exist, the requested path.
    pub(crate) path: Arc<[u8]>,
    pub(crate) is_there: bool,
    /// This restore created the folder.
    pub(crate) is_new: bool,
}

/// Opens the folder `dir`, following symlinks, and creates it with its parents if it is missing.
pub(crate) fn make(session: &Session, dir: &[u8]) -> Result<Top, PlaceError> {
    let path = checked(&absolute(&session.home, dir))?;
    let ancestors = ancestors(&path);
    let (there, real) = deepest(session, &ancestors)?;
    guarded(session, ancestors[there], &real)?;
    let missing = &ancestors[there + 1..];
    if missing.is_empty() {
        return Ok(Top { path: real.into(), is_there: true, is_new: false });
    }
    let is_new = made(session, missing)?;
    let (there, path) = deepest(session, &ancestors)?;
    // A folder that was just created is not a symlink, and a missing folder has no existing folders below it.
    let last = ancestors[ancestors.len() - 1];
    if there + 1 < ancestors.len()
        || path != below(real, &last[ancestors[ancestors.len() - 1 - missing.len()].len()..])
    {
        return Err(impossible("make", last, RequestError::Replaced));
    }
    guarded(session, ancestors[ancestors.len() - 1], &path)?;
    Ok(Top { path: path.into(), is_there: true, is_new })
}

/// Like [`make`], but creates nothing.
pub(crate) fn look_at(session: &Session, dir: &[u8]) -> Result<Top, PlaceError> {
    let path = checked(&absolute(&session.home, dir))?;
    let ancestors = ancestors(&path);
    let (there, real) = deepest(session, &ancestors)?;
    guarded(session, ancestors[there], &real)?;
    let is_there = there + 1 == ancestors.len();
    let path = if is_there { real } else { path };
    Ok(Top { path: path.into(), is_there, is_new: false })
}

/// The path of `names` below `real`, in which no name is a symlink.
fn below(real: Vec<u8>, names: &[u8]) -> Vec<u8> {
    names.split(|byte| *byte == b'/').fold(real, |path, name| match name {
        b"" => path,
        b".." => {
            let above = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
            path[..above.max(1)].to_vec()
        }
        name => child(&path, name),
    })
}

/// The index of the last existing folder of `ancestors`, and its real path.
fn deepest(session: &Session, ancestors: &[&[u8]]) -> Result<(usize, Vec<u8>), PlaceError> {
    let ask = ancestors.iter().fold(Requests::new(), |ask, folder| {
        ask.ask(Request::Stat(folder)).ask(Request::RealPath(folder))
    });
    let answers = again(|_| session.ask(ask.clone()));
    let mut answers = answers.map_err(|fault| impossible("open", ancestors[0], fault))?;
    let mut deepest = (0, b"/".to_vec());
    for (number, folder) in ancestors.iter().enumerate() {
        let (there, real) = (found(answers.next()), answers.next());
        match there.map_err(|fault| impossible("open", folder, fault))? {
            Some(attrs) if is_folder(attrs) => {
                let real = sound(real).map_err(|fault| impossible("open", folder, fault))?;
                deepest = (number, real);
            }
            Some(_) => return Err(refused("open", folder, Errno::NOTDIR.into())),
            None => break,
        }
    }
    Ok(deepest)
}

/// Creates the missing folders. Returns whether this call created the last one.
fn made(session: &Session, missing: &[&[u8]]) -> Result<bool, PlaceError> {
    let make = missing.iter().fold(Requests::new(), |make, folder| {
        make.change(Change::MakeFolder(folder, Set::default()))
    });
    let answers = again(|_| session.ask(make.clone()));
    let mut answers = answers.map_err(|fault| impossible("make", missing[0], fault))?;
    let mut is_new = false;
    for folder in missing {
        match answers.next().done() {
            Ok(()) => is_new = true,
            // Another process created it, or this one did before the connection was lost.
            Err(fault) => {
                is_new = false;
                let there =
                    session.find(folder).map_err(|fault| impossible("make", folder, fault))?;
                if !there.is_some_and(is_folder) {
                    return Err(impossible("make", folder, fault));
                }
            }
        }
    }
    Ok(is_new)
}

/// Refuses the folder `path` with the real path `real`, if it or a folder above it is a backups folder.
fn guarded(session: &Session, path: &[u8], real: &[u8]) -> Result<(), PlaceError> {
    let ancestors = ancestors(real);
    let ask = ancestors
        .iter()
        .fold(Requests::new(), |ask, folder| ask.ask(Request::LStat(&child(folder, OWN))));
    let answers = again(|_| session.ask(ask.clone()));
    let mut answers = answers.map_err(|fault| impossible("open", path, fault))?;
    for folder in &ancestors {
        if answers.next().attrs().is_ok_and(is_folder) {
            let backups = shown(folder);
            return Err(PlaceError::InBackups { path: shown(path), backups });
        }
    }
    Ok(())
}

fn checked(path: &[u8]) -> Result<Vec<u8>, PlaceError> {
    if path.contains(&0) || path.len() >= PATH_MAX {
        return Err(refused("open", &path[..path.len().min(80)], Errno::NAMETOOLONG.into()));
    }
    Ok(path.to_vec())
}

fn impossible(action: &'static str, path: &[u8], fault: RequestError) -> PlaceError {
    refused(action, path, fault.into())
}

fn refused(action: &'static str, path: &[u8], error: io::Error) -> PlaceError {
    PlaceError::Impossible { action, path: shown(path), error }
}

fn shown(path: &[u8]) -> PathBuf {
    OsString::from_vec(path.to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_begin_at_the_root_begins_at_home() {
        for (dir, path) in [
            ("", "/home/u"),
            (".", "/home/u"),
            ("~", "/home/u"),
            ("a//b/", "/home/u/a/b"),
            ("~/a", "/home/u/a"),
            ("~other/a", "/home/u/~other/a"),
            ("/", "/"),
            ("/srv/./a/", "/srv/a"),
            ("../x", "/home/u/../x"),
        ] {
            assert_eq!(absolute(b"/home/u", dir.as_bytes()), path.as_bytes(), "{dir}");
        }
        assert_eq!(absolute(b"/", b"a"), b"/a");
    }

    #[test]
    fn a_folder_that_was_made_is_where_its_names_lead() {
        let below = |real: &str, names: &str| below(real.into(), names.as_bytes());
        assert_eq!(below("/real", "/a/b"), b"/real/a/b");
        assert_eq!(below("/", "/a"), b"/a");
        assert_eq!(below("/real", "/a/../b"), b"/real/b");
        assert_eq!(below("/real", "/../../b"), b"/b");
    }

    #[test]
    fn the_way_to_a_folder_begins_at_the_root() {
        assert_eq!(ancestors(b"/"), [&b"/"[..]]);
        assert_eq!(ancestors(b"/a/b"), [&b"/"[..], b"/a", b"/a/b"]);
    }
}
