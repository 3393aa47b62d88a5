//! Compares our messages with the crate openssh-sftp-protocol in both directions: requests byte for byte,
//! answers field by field.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fixtures::liar::wire::{self, Reply};
use openssh_sftp_protocol::file_attrs::{FileAttrs, FileType, Permissions, UnixTimeStamp};
use openssh_sftp_protocol::open_options::{CreateFlags, OpenOptions};
use openssh_sftp_protocol::request::{Hello, OpenFileRequest, Request as Theirs, RequestInner};
use openssh_sftp_protocol::response::{
    Extensions, Limits as TheirLimits, Response, ResponseInner, ServerVersion, StatusCode, Statvfs,
};
use openssh_sftp_protocol::{ErrorCode, HandleOwned};
use proptest::prelude::*;

use crate::sftp::protocol::packet::{
    Answer, Attrs, Expected, FileSystem, Limits, READ_MAX, Request, StatusCode as OurCode, hello,
    read_hello, renumber,
};
use crate::sftp::protocol::write_packet::{Change, Set};

const ID: u32 = 0x0102_0304;

fn path(bytes: &[u8]) -> Cow<'_, Path> {
    Cow::Borrowed(Path::new(OsStr::from_bytes(bytes)))
}

/// A handle in the crate's type, parsed from an answer.
fn handle(bytes: &[u8]) -> HandleOwned {
    match response(&Reply::Handle(bytes.to_vec())) {
        ResponseInner::Handle(handle) => handle,
        other => panic!("{other:?}"),
    }
}

fn theirs(inner: RequestInner<'_>) -> Vec<u8> {
    ssh_format::to_bytes(&Theirs { request_id: ID, inner }).unwrap()
}

fn ours(request: Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.write(ID, &mut out);
    out
}

fn our_change(change: Change<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    change.write(&mut out);
    renumber(&mut out, ID);
    out
}

fn attrs_of(set: Set) -> FileAttrs {
    let mut attrs = FileAttrs::new();
    if let Some(size) = set.size {
        attrs.set_size(size);
    }
    if let Some((uid, gid)) = set.owner {
        attrs.set_id(uid, gid);
    }
    if let Some(mode) = set.mode {
        attrs.set_permissions(Permissions::from_bits(mode).unwrap());
    }
    if let Some((atime, mtime)) = set.times {
        let time = |secs| UnixTimeStamp::from_raw(secs).unwrap();
        attrs.set_time(time(atime), time(mtime));
    }
    attrs
}

/// The frame of a message, without its length field.
fn frame(reply: &Reply) -> Vec<u8> {
    reply.message(ID)[4..].to_vec()
}

fn response(reply: &Reply) -> ResponseInner {
    let frame = frame(reply);
    let (response, rest) = ssh_format::from_bytes::<Response>(&frame).unwrap();
    assert_eq!((response.response_id, rest), (ID, &[][..]));
    response.response_inner
}

#[test]
fn the_greeting_is_the_same() {
    let mut out = Vec::new();
    hello(&mut out);
    assert_eq!(out, ssh_format::to_bytes(&Hello { version: 3 }).unwrap());
}

#[test]
fn requests_that_read_are_the_same_bytes() {
    // The crate accepts only UTF-8 paths.
    let name = "/caf\u{e9}/\u{ff} name".as_bytes();
    let open = handle(b"\0handle");
    let h = || Cow::Borrowed(&*open);
    let read = OpenFileRequest::open(path(name));
    let (offset, length) = (u64::MAX - 7, READ_MAX);
    for (request, theirs_is) in [
        (Request::OpenDir(name), RequestInner::Opendir(path(name))),
        (Request::ReadDir(b"\0handle"), RequestInner::Readdir(h())),
        (Request::Close(b"\0handle"), RequestInner::Close(h())),
        (Request::Open(name), RequestInner::Open(read)),
        (
            Request::Read { handle: b"\0handle", offset, length },
            RequestInner::Read { handle: h(), offset, len: length },
        ),
        (Request::FStat(b"\0handle"), RequestInner::Fstat(h())),
        (Request::LStat(name), RequestInner::Lstat(path(name))),
        (Request::Stat(name), RequestInner::Stat(path(name))),
        (Request::ReadLink(name), RequestInner::Readlink(path(name))),
        (Request::RealPath(name), RequestInner::Realpath(path(name))),
        (Request::StatVfs(name), RequestInner::Statvfs(path(name))),
        (Request::Limits, RequestInner::Limits),
    ] {
        assert_eq!(ours(request), theirs(theirs_is), "{request:?}");
    }
}

#[test]
fn requests_that_change_something_are_the_same_bytes() {
    let (from, to) = ("/from \u{ff}".as_bytes(), &b"/to"[..]);
    let open = handle(b"hh");
    let h = || Cow::Borrowed(&*open);
    let set = Set {
        size: Some(1 << 40),
        mode: Some(0o4751),
        times: Some((7, 4_000_000_000)),
        owner: Some((0, 65_534)),
    };
    let new = Set { mode: Some(0o600), ..Set::default() };
    let write = OpenOptions::new().write(true);
    for (change, theirs_is) in [
        (
            Change::Create(to),
            RequestInner::Open(write.create(path(to), CreateFlags::Excl, attrs_of(new))),
        ),
        (Change::OpenToWrite(to), RequestInner::Open(write.open(path(to)))),
        (
            Change::Write { handle: b"hh", offset: 1 << 33, bytes: b"bytes" },
            RequestInner::Write { handle: h(), offset: 1 << 33, data: Cow::Borrowed(b"bytes") },
        ),
        (Change::SetOpen(b"hh", set), RequestInner::Fsetstat { handle: h(), attrs: attrs_of(set) }),
        (Change::Set(to, set), RequestInner::Setstat { path: path(to), attrs: attrs_of(set) }),
        (Change::SetLink(to, set), RequestInner::Lsetstat(path(to), attrs_of(set))),
        (Change::MakeFolder(to, new), RequestInner::Mkdir { path: path(to), attrs: attrs_of(new) }),
        (Change::RemoveFolder(to), RequestInner::Rmdir(path(to))),
        (Change::Remove(to), RequestInner::Remove(path(to))),
        // The crate uses OpenSSH's order: the target first.
        (
            Change::Symlink { first: from, second: to },
            RequestInner::Symlink { targetpath: path(from), linkpath: path(to) },
        ),
        (
            Change::Rename { from, to },
            RequestInner::Rename { oldpath: path(from), newpath: path(to) },
        ),
        (
            Change::RenameOver { from, to },
            RequestInner::PosixRename { oldpath: path(from), newpath: path(to) },
        ),
        (
            Change::Link { from, to },
            RequestInner::HardLink { oldpath: path(from), newpath: path(to) },
        ),
        (Change::Sync(b"hh"), RequestInner::Fsync(h())),
    ] {
        assert_eq!(our_change(change), theirs(theirs_is), "{change:?}");
    }
}

#[test]
fn a_status_is_read_as_the_same() {
    for code in 0..=8 {
        let reply = Reply::Status(code);
        let bytes = frame(&reply);
        let Ok(Answer::Status(status, _)) = Answer::read(&bytes, Expected::Status) else {
            panic!("{code}")
        };
        // The crate rejects the two codes that only a client may generate.
        if matches!(code, 6 | 7) {
            assert!(ssh_format::from_bytes::<Response>(&bytes).is_err());
            continue;
        }
        let ResponseInner::Status { status_code, .. } = response(&reply) else { panic!("{code}") };
        let same = match (status, status_code) {
            (OurCode::Ok, StatusCode::Success) | (OurCode::Eof, StatusCode::Eof) => true,
            (ours, StatusCode::Failure(theirs)) => matches!(
                (ours, theirs),
                (OurCode::NoSuchFile, ErrorCode::NoSuchFile)
                    | (OurCode::PermissionDenied, ErrorCode::PermDenied)
                    | (OurCode::Failure, ErrorCode::Failure)
                    | (OurCode::Other(5), ErrorCode::BadMessage)
                    | (OurCode::Other(8), ErrorCode::OpUnsupported)
            ),
            _ => false,
        };
        assert!(same, "{code}: {status:?} {status_code:?}");
    }
}

#[test]
fn extensions_limits_and_file_systems_are_read_as_the_same() {
    let text = |text: &[u8]| [&(text.len() as u32).to_be_bytes()[..], text].concat();
    let names = [
        ("posix-rename@openssh.com", "1"),
        ("statvfs@openssh.com", "2"),
        ("hardlink@openssh.com", "1"),
        ("fsync@openssh.com", "1"),
        ("lsetstat@openssh.com", "1"),
        ("limits@openssh.com", "1"),
    ];
    for offered in 0..1 << names.len() {
        let mut bytes = vec![2, 0, 0, 0, 3];
        for (_, (name, version)) in
            names.iter().enumerate().filter(|(bit, _)| offered & (1 << bit) != 0)
        {
            bytes.extend([text(name.as_bytes()), text(version.as_bytes())].concat());
        }
        let offers = read_hello(&bytes).unwrap();
        let mut reader = ssh_format::Deserializer::from_bytes(&bytes);
        let theirs = ServerVersion::deserialize(&mut reader).unwrap();
        let has = |extension| theirs.extensions.contains(extension);
        assert_eq!(theirs.version, 3);
        assert_eq!(offers.posix_rename, has(Extensions::POSIX_RENAME));
        assert_eq!(offers.statvfs, has(Extensions::STATVFS));
        assert_eq!(offers.hard_link, has(Extensions::HARDLINK));
        assert_eq!(offers.fsync, has(Extensions::FSYNC));
        assert_eq!(offers.lsetstat, has(Extensions::LSETSTAT));
        assert_eq!(offers.limits, has(Extensions::LIMITS));
    }
    let reply = frame(&Reply::Limits(1 << 18, 77));
    let (theirs, _) = ssh_format::from_bytes::<TheirLimits>(&reply[5..]).unwrap();
    let ours = Limits { write: theirs.write_len, handles: theirs.open_handles };
    assert_eq!(Answer::read(&reply, Expected::Limits), Ok(Answer::Limits(ours)));
    let reply = frame(&Reply::FileSystem(42));
    let (theirs, _) = ssh_format::from_bytes::<Statvfs>(&reply[5..]).unwrap();
    let ours =
        FileSystem { id: theirs.fsid, free: theirs.bavail * theirs.frsize, entries: theirs.favail };
    assert_eq!(Answer::read(&reply, Expected::Extended), Ok(Answer::FileSystem(ours)));
}

/// Compares the attributes that both parsers read.
fn same(ours: Attrs, theirs: &FileAttrs) {
    assert_eq!(ours.size, theirs.get_size());
    assert_eq!(ours.owner, theirs.get_id());
    let mode = theirs.get_permissions().map(|bits| bits.bits());
    assert_eq!(ours.permissions.map(|mode| mode & 0o7777), mode);
    let kind = |kind| match kind {
        FileType::Socket => 0o140_000,
        FileType::Symlink => 0o120_000,
        FileType::RegularFile => 0o100_000,
        FileType::BlockDevice => 0o060_000,
        FileType::Directory => 0o040_000,
        FileType::CharacterDevice => 0o020_000,
        FileType::FIFO => 0o010_000,
    };
    let theirs_is = theirs.get_filetype().map(kind);
    assert_eq!(ours.permissions.map(|mode| mode & 0o170_000), theirs_is);
    let times = theirs.get_time().map(|(atime, mtime)| (atime.into_raw(), mtime.into_raw()));
    assert_eq!(ours.times, times);
}

/// Attributes that a server may send; each may be missing.
fn attrs() -> impl Strategy<Value = wire::Attrs> {
    let types = [0o140_000, 0o120_000, 0o100_000, 0o060_000, 0o040_000, 0o020_000, 0o010_000];
    let mode = (prop::sample::select(types.to_vec()), 0_u32..0o10000).prop_map(|(a, b)| a | b);
    (
        prop::option::of(any::<u64>()),
        prop::option::of(any::<(u32, u32)>()),
        prop::option::of(mode),
        prop::option::of(any::<(u32, u32)>()),
    )
        .prop_map(|(size, owner, mode, times)| wire::Attrs {
            size,
            owner,
            mode,
            times,
            links: None,
        })
}

proptest! {
    #[test]
    fn attributes_are_read_as_the_same(attrs in attrs()) {
        let reply = Reply::Attrs(attrs);
        let bytes = frame(&reply);
        let Ok(Answer::Attrs(ours)) = Answer::read(&bytes, Expected::Attrs) else { panic!() };
        let ResponseInner::Attrs(theirs) = response(&reply) else { panic!() };
        same(ours, &theirs);
    }

    // The crate accepts only UTF-8 names.
    #[test]
    fn names_and_handles_are_read_as_the_same(
        names in prop::collection::vec(("[^/\0]{1,20}", attrs()), 0..5),
        bytes in prop::collection::vec(any::<u8>(), 1..256),
    ) {
        let names = names.into_iter().map(|(name, attrs)| (name.into_bytes(), attrs)).collect();
        let reply = Reply::Names(names);
        let received = frame(&reply);
        let Ok(Answer::Names(ours)) = Answer::read(&received, Expected::Names) else { panic!() };
        let ResponseInner::Name(theirs) = response(&reply) else { panic!() };
        prop_assert_eq!(ours.len(), theirs.len());
        for ((name, attrs), theirs) in ours.iter().zip(&theirs) {
            prop_assert_eq!(*name, theirs.filename.as_os_str().as_bytes());
            same(*attrs, &theirs.attrs);
        }
        let received = frame(&Reply::Handle(bytes.clone()));
        prop_assert_eq!(Answer::read(&received, Expected::Handle), Ok(Answer::Handle(&bytes)));
        let theirs = handle(&bytes);
        prop_assert_eq!(theirs.into_inner(), &bytes[..]);
    }
}
