//! Requests of SFTP version 3 that change something, including OpenSSH's extensions (OpenSSH's file PROTOCOL,
//! section 4).

use crate::sftp::protocol::packet::{
    Expected, FSYNC, HARD_LINK, LSETSTAT, POSIX_RENAME, kind, seal, string,
};

/// `SSH_FXF_WRITE`, also combined with `SSH_FXF_CREAT` and `SSH_FXF_EXCL`. With `O_EXCL`, open(2) follows no
/// symlink.
const WRITE: u32 = 0x02;
const CREATE_NEW: u32 = WRITE | 0x08 | 0x20;

/// A request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// Creates a file with mode 0600 and opens it. Fails if the name exists.
    Create(&'a [u8]),
    /// Opens an existing file for writing.
    OpenToWrite(&'a [u8]),
    Write {
        handle: &'a [u8],
        offset: u64,
        bytes: &'a [u8],
    },
    /// Sets the attributes of an open handle.
    SetOpen(&'a [u8], Set),
    /// Sets the attributes at a path, and follows a symlink.
    Set(&'a [u8], Set),
    /// Sets the attributes at a path without following a symlink.
    SetLink(&'a [u8], Set),
    MakeFolder(&'a [u8], Set),
    RemoveFolder(&'a [u8]),
    Remove(&'a [u8]),
    /// Servers differ in which of the two arguments is the path and which is the target.
    Symlink {
        first: &'a [u8],
        second: &'a [u8],
    },
    /// With OpenSSH this fails if `to` exists.
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    RenameOver {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// Makes `to` a hard link to `from`. Fails if `to` exists.
    Link {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// Flushes an open file to the disk (fsync(2)).
    Sync(&'a [u8]),
}

/// Attributes to set; `None` leaves an attribute unchanged. OpenSSH sets them in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) size: Option<u64>,
    /// Permission bits, 0 to 0o7777.
    pub(crate) mode: Option<u32>,
    /// Access and modification time, seconds since 1970.
    pub(crate) times: Option<(u32, u32)>,
    /// User and group.
    pub(crate) owner: Option<(u32, u32)>,
}

impl Change<'_> {
    /// The kind of answer that fits.
    pub(crate) fn expected(&self) -> Expected {
        match self {
            Self::Create(_) | Self::OpenToWrite(_) => Expected::Handle,
            _ => Expected::Status,
        }
    }

    /// Appends the request's frame to `out`, with 0 as its request number.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut head = |kind: u8, texts: &[&[u8]]| {
            out.push(kind);
            out.extend_from_slice(&[0; 4]);
            texts.iter().for_each(|text| string(out, text));
        };
        match *self {
            Self::Create(path) | Self::OpenToWrite(path) => {
                head(kind::OPEN, &[path]);
                let new = matches!(self, Self::Create(_));
                let flags = if new { CREATE_NEW } else { WRITE };
                out.extend_from_slice(&flags.to_be_bytes());
                Set { mode: new.then_some(0o600), ..Set::default() }.write(out);
            }
            Self::Write { handle, offset, bytes } => {
                head(kind::WRITE, &[handle]);
                out.extend_from_slice(&offset.to_be_bytes());
                string(out, bytes);
            }
            Self::SetOpen(handle, set) => {
                head(kind::FSETSTAT, &[handle]);
                set.write(out);
            }
            Self::Set(path, set) => {
                head(kind::SETSTAT, &[path]);
                set.write(out);
            }
            Self::SetLink(path, set) => {
                head(kind::EXTENDED, &[LSETSTAT.as_bytes(), path]);
                set.write(out);
            }
            Self::MakeFolder(path, set) => {
                head(kind::MKDIR, &[path]);
                set.write(out);
            }
            Self::RemoveFolder(path) => head(kind::RMDIR, &[path]),
            Self::Remove(path) => head(kind::REMOVE, &[path]),
            Self::Symlink { first, second } => head(kind::SYMLINK, &[first, second]),
            Self::Rename { from, to } => head(kind::RENAME, &[from, to]),
            Self::RenameOver { from, to } => {
                head(kind::EXTENDED, &[POSIX_RENAME.as_bytes(), from, to]);
            }
            Self::Link { from, to } => head(kind::EXTENDED, &[HARD_LINK.as_bytes(), from, to]),
            Self::Sync(handle) => head(kind::EXTENDED, &[FSYNC.as_bytes(), handle]),
        }
        seal(start, out);
    }
}

impl Set {
    /// Appends the attributes in the draft's encoding (section 5).
    fn write(self, out: &mut Vec<u8>) {
        let parts = [
            (1_u32, self.size.map(|size| size.to_be_bytes().to_vec())),
            (2, self.owner.map(pair)),
            (4, self.mode.map(|mode| mode.to_be_bytes().to_vec())),
            (8, self.times.map(pair)),
        ];
        let flags = parts.iter().filter(|(_, part)| part.is_some()).map(|(flag, _)| flag);
        out.extend_from_slice(&flags.sum::<u32>().to_be_bytes());
        parts.iter().filter_map(|(_, part)| part.as_ref()).for_each(|part| out.extend(part));
    }
}

fn pair((first, second): (u32, u32)) -> Vec<u8> {
    [first.to_be_bytes(), second.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(change: Change<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        change.write(&mut out);
        let length = u32::from_be_bytes([out[0], out[1], out[2], out[3]]);
        assert_eq!(length as usize, out.len() - 4);
        assert_eq!(out[5..9], [0; 4], "it has no number yet");
        [&out[4..5], &out[9..]].concat()
    }

    #[test]
    fn requests_are_framed_as_openssh_reads_them() {
        let new =
            [&[3, 0, 0, 0, 1, b'p', 0, 0, 0, 0x2a, 0, 0, 0, 4][..], &[0, 0, 1, 0x80]].concat();
        assert_eq!(framed(Change::Create(b"p")), new);
        let old = [3, 0, 0, 0, 1, b'p', 0, 0, 0, 2, 0, 0, 0, 0];
        assert_eq!(framed(Change::OpenToWrite(b"p")), old);
        let link = [20, 0, 0, 0, 1, b't', 0, 0, 0, 1, b'p'];
        assert_eq!(framed(Change::Symlink { first: b"t", second: b"p" }), link);
        let write = [6, 0, 0, 0, 1, b'h', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, b'x', b'y'];
        let request = Change::Write { handle: b"h", offset: 1 << 32, bytes: b"xy" };
        assert_eq!(framed(request), write);
    }

    #[test]
    fn attributes_stand_in_the_order_of_the_draft() {
        let set = Set { size: Some(1), mode: Some(2), times: Some((3, 4)), owner: Some((5, 6)) };
        let mut out = Vec::new();
        set.write(&mut out);
        let words: Vec<u32> = [15, 0, 1, 5, 6, 2, 3, 4].to_vec();
        assert_eq!(out, words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>());
        out.clear();
        Set::default().write(&mut out);
        assert_eq!(out, [0; 4]);
    }
}
