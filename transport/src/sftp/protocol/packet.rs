//! Encodes and decodes messages of SFTP version 3 (draft-ietf-secsh-filexfer-02).
//!
//! Names are raw bytes. The parser never reads beyond the frame, and never allocates memory by a number that
//! the server sent. It skips unused fields (extensions). Requests that change something are in
//! `write_packet`.

use crate::ssh::framing::Violation;

/// Maximum length of one READ. OpenSSH returns up to 255 KiB; this is the largest multiple of 4 KiB below
/// that, so that no 4 KiB block is split between two answers.
pub(crate) const READ_MAX: u32 = 252 * 1024;

/// Maximum number of names in one answer. OpenSSH sends 100 at once.
const NAMES_MAX: usize = 4096;

/// Maximum handle length (the draft: 256 bytes).
const HANDLE_MAX: usize = 256;

pub(crate) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RMDIR: u8 = 15;
    pub(crate) const REALPATH: u8 = 16;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

/// The extension that reports a path's file system and its free space.
pub(crate) const STATVFS: &str = "statvfs@openssh.com";

/// The extension that reports the server's limits.
const LIMITS: &str = "limits@openssh.com";

/// A request that changes nothing on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    OpenDir(&'a [u8]),
    ReadDir(&'a [u8]),
    Close(&'a [u8]),
    /// Opens for reading.
    Open(&'a [u8]),
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    FStat(&'a [u8]),
    LStat(&'a [u8]),
    Stat(&'a [u8]),
    ReadLink(&'a [u8]),
    RealPath(&'a [u8]),
    StatVfs(&'a [u8]),
    Limits,
}

/// The kind of answer that fits a request. A status fits every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Status,
    Handle,
    /// At most this many bytes.
    Data(u32),
    Names,
    /// Exactly one name.
    Name,
    Attrs,
    Extended,
    Limits,
}

/// What the server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// With the server's own words, which may be empty.
    Status(StatusCode, &'a [u8]),
    Handle(&'a [u8]),
    Data(&'a [u8]),
    Names(Vec<(&'a [u8], Attrs)>),
    Attrs(Attrs),
    FileSystem(FileSystem),
    Limits(Limits),
}

/// The used fields of a file system's statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) id: u64,
    /// Free bytes that the user may write.
    pub(crate) free: u64,
    /// Free inodes; `u64::MAX` if the file system does not count them.
    pub(crate) entries: u64,
}

/// The server's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Maximum data length of one WRITE, in bytes.
    pub(crate) write: u64,
    /// Maximum number of open handles; 0 if not reported.
    pub(crate) handles: u64,
}

/// The extensions that the server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an extension of its own")]
pub(crate) struct Offers {
    /// The greeting matches OpenSSH's sftp-server: the same extensions in the same order, and no others.
    pub(crate) greets_as_openssh: bool,
    /// Several channels to this server are known not to disturb each other. The greeting alone does not prove
    /// it.
    pub(crate) apart: bool,
    pub(crate) statvfs: bool,
    pub(crate) limits: bool,
    pub(crate) posix_rename: bool,
    pub(crate) hard_link: bool,
    pub(crate) fsync: bool,
    pub(crate) lsetstat: bool,
    /// A hard link to a symlink links the symlink itself. This is assumed until an attempt shows otherwise.
    pub(crate) links_symlinks: bool,
}

/// The status code of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusCode {
    Ok,
    Eof,
    NoSuchFile,
    PermissionDenied,
    Failure,
    /// Any other code.
    Other(u32),
}

/// The attributes of an entry. Those that the server omits are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attrs {
    pub(crate) size: Option<u64>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) permissions: Option<u32>,
    /// Access and modification time, seconds since 1970.
    pub(crate) times: Option<(u32, u32)>,
    /// The link count. It is not an SFTP attribute; it comes from the long name in a READDIR answer.
    pub(crate) links: Option<u32>,
}

/// Writes the client's greeting (`SSH_FXP_INIT`).
pub(crate) fn hello(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 5, kind::INIT, 0, 0, 0, 3]);
}

impl Request<'_> {
    /// The kind of answer that fits.
    pub(crate) fn expected(&self) -> Expected {
        match self {
            Self::OpenDir(_) | Self::Open(_) => Expected::Handle,
            Self::ReadDir(_) => Expected::Names,
            Self::Close(_) => Expected::Status,
            Self::Read { length, .. } => Expected::Data(*length),
            Self::FStat(_) | Self::LStat(_) | Self::Stat(_) => Expected::Attrs,
            Self::ReadLink(_) | Self::RealPath(_) => Expected::Name,
            Self::StatVfs(_) => Expected::Extended,
            Self::Limits => Expected::Limits,
        }
    }

    /// Appends the request's frame to `out`.
    pub(crate) fn write(&self, id: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut head = |kind: u8, text: &[u8]| {
            out.push(kind);
            out.extend_from_slice(&id.to_be_bytes());
            string(out, text);
        };
        match *self {
            Self::OpenDir(path) => head(kind::OPENDIR, path),
            Self::ReadDir(handle) => head(kind::READDIR, handle),
            Self::Close(handle) => head(kind::CLOSE, handle),
            Self::FStat(handle) => head(kind::FSTAT, handle),
            Self::LStat(path) => head(kind::LSTAT, path),
            Self::Stat(path) => head(kind::STAT, path),
            Self::ReadLink(path) => head(kind::READLINK, path),
            Self::RealPath(path) => head(kind::REALPATH, path),
            Self::StatVfs(path) => {
                head(kind::EXTENDED, STATVFS.as_bytes());
                string(out, path);
            }
            Self::Limits => head(kind::EXTENDED, LIMITS.as_bytes()),
            Self::Open(path) => {
                head(kind::OPEN, path);
                // Flags SSH_FXF_READ, and no attributes.
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
            }
            Self::Read { handle, offset, length } => {
                head(kind::READ, handle);
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        seal(start, out);
    }
}

/// Fills in the length field of the frame that begins at `start`.
pub(crate) fn seal(start: usize, out: &mut [u8]) {
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Sets the request number in a frame.
pub(crate) fn renumber(frame: &mut [u8], id: u32) {
    if let Some(place) = frame.get_mut(5..9) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// The handle that the framed request closes; `None` if it is not a CLOSE.
pub(crate) fn closed(frame: &[u8]) -> Option<&[u8]> {
    let mut rest = Rest(frame.get(4..)?);
    let kind = rest.u8().ok()?;
    rest.u32().ok()?;
    (kind == kind::CLOSE).then(|| rest.string().ok()).flatten()
}

pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

/// Parses the server's greeting; returns the extensions that it offers.
pub(crate) fn read_hello(frame: &[u8]) -> Result<Offers, Violation> {
    let mut rest = Rest(frame);
    if rest.u8()? != kind::VERSION {
        return Err(Violation("it did not start with its version"));
    }
    if rest.u32()? < 3 {
        return Err(Violation("its version is below 3"));
    }
    let mut offers = Offers::default();
    let mut all = 0;
    let mut of_openssh = 0;
    while !rest.0.is_empty() {
        let (name, _) = (rest.string()?, rest.string()?);
        let is_first = all == 0;
        all += 1;
        of_openssh += usize::from(is_of_openssh(name, is_first));
        match std::str::from_utf8(name) {
            Ok(STATVFS) => offers.statvfs = true,
            Ok(LIMITS) => offers.limits = true,
            Ok(POSIX_RENAME) => offers.posix_rename = true,
            Ok(HARD_LINK) => offers.hard_link = true,
            Ok(FSYNC) => offers.fsync = true,
            Ok(LSETSTAT) => offers.lsetstat = true,
            _ => {}
        }
    }
    offers.greets_as_openssh = all > 0 && all == of_openssh;
    Ok(offers)
}

/// Whether OpenSSH's sftp-server offers this extension. Since 4.8 (2008) it lists posix-rename first.
fn is_of_openssh(name: &[u8], is_first: bool) -> bool {
    if is_first {
        return name == POSIX_RENAME.as_bytes();
    }
    name.ends_with(b"@openssh.com") || matches!(name, b"copy-data" | b"home-directory")
}

/// The number of the request that a frame answers.
pub(crate) fn answered(frame: &[u8]) -> Result<u32, Violation> {
    let mut rest = Rest(frame);
    rest.u8()?;
    rest.u32()
}

impl<'a> Answer<'a> {
    /// Parses a frame (without its length field) as the answer to a request that expects `expected`.
    pub(crate) fn read(frame: &'a [u8], expected: Expected) -> Result<Self, Violation> {
        let mut rest = Rest(frame);
        let kind = rest.u8()?;
        rest.u32()?;
        match (kind, expected) {
            (kind::STATUS, _) => match (StatusCode::from(rest.u32()?), expected) {
                (StatusCode::Ok, Expected::Status) => Ok(Self::Status(StatusCode::Ok, b"")),
                (StatusCode::Ok, _) => Err(Violation("success without what was asked for")),
                // Servers that speak an older draft send no text.
                (status, _) => Ok(Self::Status(status, rest.string().unwrap_or_default())),
            },
            (kind::HANDLE, Expected::Handle) => {
                let handle = rest.string()?;
                match handle.len() {
                    0 => Err(Violation("a handle is empty")),
                    1..=HANDLE_MAX => Ok(Self::Handle(handle)),
                    _ => Err(Violation("a handle is too long")),
                }
            }
            (kind::DATA, Expected::Data(most)) => {
                let bytes = rest.string()?;
                let fits = !bytes.is_empty() && bytes.len() <= most as usize;
                fits.then_some(Self::Data(bytes))
                    .ok_or(Violation("a read was answered with another length"))
            }
            (kind::NAME, Expected::Names | Expected::Name) => {
                let count = rest.u32()? as usize;
                // A name takes at least 12 bytes: two lengths and the flags.
                if count > NAMES_MAX || count > rest.0.len() / 12 {
                    return Err(Violation("more names are announced than the answer holds"));
                }
                if expected == Expected::Name && count != 1 {
                    return Err(Violation("one name was asked for"));
                }
                let mut names = Vec::with_capacity(count);
                for _ in 0..count {
                    let (name, long_name) = (rest.string()?, rest.string()?);
                    let attrs = rest.attrs()?;
                    names.push((name, Attrs { links: links(long_name), ..attrs }));
                }
                Ok(Self::Names(names))
            }
            (kind::ATTRS, Expected::Attrs) => Ok(Self::Attrs(rest.attrs()?)),
            (kind::EXTENDED_REPLY, Expected::Extended) => {
                // struct statvfs has the fields: bsize frsize blocks bfree bavail files ffree favail fsid
                // flag namemax.
                let (_, unit, _, _) = (rest.u64()?, rest.u64()?, rest.u64()?, rest.u64()?);
                let (free, all) = (rest.u64()?, rest.u64()?);
                let (_, entries, id) = (rest.u64()?, rest.u64()?, rest.u64()?);
                let free = free.saturating_mul(unit);
                let entries = if all == 0 { u64::MAX } else { entries };
                Ok(Self::FileSystem(FileSystem { id, free, entries }))
            }
            (kind::EXTENDED_REPLY, Expected::Limits) => {
                let (_packet, _read) = (rest.u64()?, rest.u64()?);
                Ok(Self::Limits(Limits { write: rest.u64()?, handles: rest.u64()? }))
            }
            _ => Err(Violation("an answer does not fit what was asked")),
        }
    }
}

impl From<u32> for StatusCode {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Eof,
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            other => Self::Other(other),
        }
    }
}

/// The link count in a line of `ls -l` format: the second word.
fn links(long_name: &[u8]) -> Option<u32> {
    let words = &mut long_name.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()
}

/// The part of a frame that is not parsed yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(Violation("a message ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Violation("a message ends early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Violation> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Violation> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Violation> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn attrs(&mut self) -> Result<Attrs, Violation> {
        let flags = self.u32()?;
        let mut attrs = Attrs::default();
        if flags & 1 != 0 {
            attrs.size = Some(self.u64()?);
        }
        if flags & 2 != 0 {
            attrs.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & 4 != 0 {
            attrs.permissions = Some(self.u32()?);
        }
        if flags & 8 != 0 {
            attrs.times = Some((self.u32()?, self.u32()?));
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32()? {
                let _ = (self.string()?, self.string()?);
            }
        }
        Ok(attrs)
    }
}

/// rename(2): replaces an existing target.
pub(crate) const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// link(2).
pub(crate) const HARD_LINK: &str = "hardlink@openssh.com";

/// fsync(2) on a handle.
pub(crate) const FSYNC: &str = "fsync@openssh.com";

/// Like SETSTAT, but does not follow a symlink.
pub(crate) const LSETSTAT: &str = "lsetstat@openssh.com";
