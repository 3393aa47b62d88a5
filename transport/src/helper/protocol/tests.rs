use engine::SourceError;
use engine::entry::{FileId, Kind, ListedEntry, Meta, Time};
use proptest::prelude::*;

use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::error::{SentError, said};
use crate::helper::protocol::frame::{NotUnderstood, TooLong, append, read};
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::{FRAME_MAX, PREAMBLE};

fn meta(kind: Kind) -> Meta {
    Meta {
        kind,
        mode: 0o4755,
        uid: 1000,
        gid: u32::MAX - 1,
        size: 1 << 40,
        mtime: Time { secs: -5, nanos: 999_999_999 },
        ctime: Time { secs: 1_700_000_000, nanos: 1 },
        id: Some(FileId { dev: 7, ino: u64::MAX }),
        links: 3,
        rdev: 0x103,
        allocated: 4096,
        is_shared: false,
    }
}

fn entry(kind: Kind) -> engine::entry::Entry {
    let extra = engine::entry::Extra {
        target: (kind == Kind::Symlink).then(|| b"../\xff".to_vec()),
        xattrs: vec![(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), Vec::new())],
        xattrs_unread: true,
    };
    engine::entry::Entry {
        name: c"n\xff".to_owned(),
        meta: meta(kind),
        extra: Some(Box::new(extra)),
    }
}

#[test]
fn every_kind_of_entry_arrives_as_it_was_sent() {
    use Kind::{BlockDevice, CharDevice, Fifo, File, Folder, Socket, Symlink};
    for kind in [File, Folder, Symlink, Fifo, Socket, BlockDevice, CharDevice] {
        let entry = entry(kind);
        let (mut out, sent) = (Vec::new(), SentEntry::from(ListedEntry::from(&entry)));
        append(&mut out, 9, &Answer::Batch(vec![sent]), &[]).unwrap();
        let (number, Answer::Batch(mut got), []) = read(&out[4..]).unwrap() else { panic!() };
        assert_eq!((number, got.len()), (9, 1));
        let (name, got_meta, extra) = got.remove(0).parts(|_| true).unwrap();
        assert_eq!(
            (name.as_slice(), &got_meta, &extra),
            (&b"n\xff"[..], &entry.meta, &entry.extra)
        );
    }
}

#[test]
fn metadata_that_no_entry_can_have_is_refused() {
    let whole = SentEntry::from(ListedEntry::from(&entry(Kind::File)));
    let refused = |change: &dyn Fn(&mut engine::entry::Entry)| {
        let mut changed = entry(Kind::File);
        change(&mut changed);
        SentEntry::from(ListedEntry::from(&changed)).parts(|_| true).is_err()
    };
    assert!(whole.parts(|_| true).is_ok());
    assert!(refused(&|entry| entry.meta.mtime.nanos = 1_000_000_000));
    assert!(refused(&|entry| entry.meta.ctime.nanos = u32::MAX));
    assert!(refused(&|entry| entry.meta.mode = 0o10_000));
    assert!(refused(&|entry| entry.meta.size = u64::MAX));
    assert!(refused(&|entry| entry.meta.uid = u32::MAX));
    assert!(refused(&|entry| entry.meta.gid = u32::MAX));
    // A symlink without a target, and a file with one.
    assert!(refused(&|entry| entry.meta.kind = Kind::Symlink));
    assert!(refused(&|entry| entry.extra.as_mut().unwrap().target = Some(b"x".to_vec())));
    assert!(refused(&|entry| entry.extra.as_mut().unwrap().xattrs[0].0 = b"user.\0".to_vec()));
}

#[test]
fn errors_arrive_with_their_cause() {
    let errno = std::io::Error::from_raw_os_error(13);
    let sent = SentError::from(&SourceError::Unreadable { action: "list", error: errno });
    let SourceError::Unreadable { action: "list", error } = SourceError::from(sent) else {
        panic!()
    };
    assert_eq!(error.raw_os_error(), Some(13));
    let text = std::io::Error::other("it leads to a folder that it lies in");
    let error = SourceError::Unreadable { action: "follow the symlink", error: text };
    let got = SourceError::from(SentError::from(&error));
    assert_eq!(got.to_string(), error.to_string());
    assert!(matches!(SourceError::from(SentError::Vanished), SourceError::Vanished));
}

#[test]
fn texts_of_the_other_end_are_cut_and_escaped() {
    assert_eq!(said("plain"), "plain");
    assert!(!said("\x1b[2J").contains('\x1b'));
    assert!(said(&"é".repeat(1000)).chars().count() <= 150);
}

#[test]
fn a_frame_that_is_too_long_is_not_sent() {
    let mut out = b"before".to_vec();
    assert_eq!(append(&mut out, 1, &Answer::Data, &vec![0; FRAME_MAX]), Err(TooLong));
    assert_eq!(out, b"before");
}

#[test]
fn the_preamble_is_no_sftp_frame() {
    let (length, _) = PREAMBLE.split_first_chunk().unwrap();
    // sftp-server ends at more than 256 KiB (sftp-common.h: SFTP_MAX_MSG_LENGTH).
    assert!(u32::from_be_bytes(*length) > 256 * 1024);
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read::<Answer>(&bytes);
        let _ = read::<Request<'_>>(&bytes);
    }

    #[test]
    fn requests_arrive_as_they_were_sent(
        number: u32,
        folder: u64,
        name in prop::collection::vec(any::<u8>(), 0..300),
        xattrs: bool,
    ) {
        let hello = Hello { protocols: (1, 3), xattrs, depths: vec![(name.clone(), 2)], ..Hello::default() };
        let name = name.as_slice();
        for request in [
            Request::Hello(hello),
            Request::Root { folder, path: name, id: None },
            Request::Folder { folder, parent: 3, name, id: Some((1, folder)) },
            Request::Credit { listings: folder, contents: 0 },
        ] {
            let mut out = Vec::new();
            append(&mut out, number, &request, &[]).unwrap();
            prop_assert_eq!(out.len() - 4, u32::from_be_bytes(*out.first_chunk().unwrap()) as usize);
            let got: (u32, Request<'_>, &[u8]) = read(&out[4..]).unwrap();
            prop_assert_eq!(got, (number, request, &[][..]));
            let cut: Result<(u32, Request<'_>, &[u8]), NotUnderstood> = read(&out[4..out.len() - 1]);
            prop_assert!(cut.is_err());
        }
    }
}
