//! Converts the server's attributes and status codes into the engine's types.

use std::io;

use engine::SourceError;
use engine::entry::escape::shown;
use engine::entry::{Kind, Meta, Time};

use crate::sftp::protocol::packet::{Attrs, StatusCode};

/// The file type bits of a mode (inode(7)); the draft refers to POSIX for them.
const TYPE: u32 = 0o170_000;

/// The metadata of an entry from `attrs`. `None` if type, size or time is missing, or if the owner is
/// invalid.
pub(crate) fn meta(attrs: Attrs) -> Option<Meta> {
    let mode = attrs.permissions?;
    let kind = match mode & TYPE {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Folder,
        0o120_000 => Kind::Symlink,
        0o010_000 => Kind::Fifo,
        0o140_000 => Kind::Socket,
        0o060_000 => Kind::BlockDevice,
        0o020_000 => Kind::CharDevice,
        _ => return None,
    };
    // No file system holds a larger file (off_t).
    let size = attrs.size.filter(|size| *size <= i64::MAX as u64)?;
    // No user has this number. For chown(2) it means "no change", so the owner would be the user of this
    // process.
    if matches!(attrs.owner, Some((u32::MAX, _) | (_, u32::MAX))) {
        return None;
    }
    // Without a reported owner the copy belongs to root, so it must not have setuid or setgid bits.
    let kept = if attrs.owner.is_some() { 0o7777 } else { 0o1777 };
    let (uid, gid) = attrs.owner.unwrap_or((0, 0));
    let mtime = Time { secs: i64::from(attrs.times?.1), nanos: 0 };
    Some(Meta {
        kind,
        mode: mode & kept,
        uid,
        gid,
        size,
        mtime,
        ctime: Time::default(),
        id: None,
        links: 1,
        rdev: 0,
        allocated: size,
        is_shared: false,
    })
}

/// Rejects devices. SFTP version 3 reports no device number, so every device would be stored with the same
/// wrong number.
pub(crate) fn storable(meta: Meta) -> Result<Meta, SourceError> {
    if meta.kind.is_device() {
        let error = io::Error::other("SFTP does not report the device number");
        return Err(SourceError::Unreadable { action: "store", error });
    }
    Ok(meta)
}

/// Maximum length of the server's words in a message.
const WORDS_MAX: usize = 200;

/// Texts that only repeat the status SSH_FX_FAILURE.
const NO_REASON: [&str; 3] = ["", "failure", "operation failed"];

/// The error for the server's answer `status` to `action`. The server says `said`.
pub(crate) fn refusal(action: &'static str, status: StatusCode, said: &[u8]) -> SourceError {
    let said = words(said);
    let error = match status {
        StatusCode::NoSuchFile => return SourceError::Vanished,
        StatusCode::PermissionDenied => {
            let said = if said.is_empty() { "permission denied" } else { &said };
            let said = format!("the server says: {said}");
            io::Error::new(io::ErrorKind::PermissionDenied, said)
        }
        StatusCode::Failure if NO_REASON.contains(&said.to_ascii_lowercase().as_str()) => {
            io::Error::other("the server gives no reason")
        }
        StatusCode::Failure => io::Error::other(format!("the server says: {said}")),
        StatusCode::Eof => io::ErrorKind::UnexpectedEof.into(),
        StatusCode::Ok => io::Error::other("the server did not send the requested data"),
        StatusCode::Other(code) if said.is_empty() => {
            io::Error::other(format!("the server answered with code {code}"))
        }
        StatusCode::Other(code) => {
            io::Error::other(format!("the server says: {said} (code {code})"))
        }
    };
    SourceError::Unreadable { action, error }
}

/// The server's words in a form that is safe to show: one line of limited length.
fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let mut said = shown(text.trim().as_bytes());
    if let Some((cut, _)) = said.char_indices().nth(WORDS_MAX) {
        said.truncate(cut);
    }
    said
}

/// The error for an entry whose attributes are incomplete or invalid.
pub(crate) fn undescribed() -> SourceError {
    let error = io::Error::other("the server did not report its type, owner, size and time");
    SourceError::Unreadable { action: "look at", error }
}

/// The target of a symlink, if a file system can store it (symlink(2): `PATH_MAX`).
pub(crate) fn target(bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
    if bytes.is_empty() || bytes.len() >= 4096 || bytes.contains(&0) {
        let error = io::Error::other("the server sent a target that no symlink can have");
        return Err(SourceError::Unreadable { action: "read the symlink", error });
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_server_are_marked_as_its_own() {
        let text = |status, said: &[u8]| match refusal("open", status, said) {
            SourceError::Unreadable { error, .. } => error.to_string(),
            other => other.to_string(),
        };
        for (status, said, shown) in [
            (
                StatusCode::PermissionDenied,
                &b"a transfer is in progress"[..],
                "the server says: a transfer is in progress",
            ),
            (StatusCode::PermissionDenied, b"", "the server says: permission denied"),
            (StatusCode::Failure, b"Too many open files\n", "the server says: Too many open files"),
            (StatusCode::Failure, b"Failure", "the server gives no reason"),
            (StatusCode::Other(14), b"quota", "the server says: quota (code 14)"),
            (StatusCode::Other(14), b"", "the server answered with code 14"),
            (StatusCode::Failure, b"\x1b[2J", "the server says: \\x1b[2J"),
        ] {
            assert_eq!(text(status, said), shown);
        }
        assert!(text(StatusCode::Failure, &[b'x'; 9999]).len() < 300);
    }
}
