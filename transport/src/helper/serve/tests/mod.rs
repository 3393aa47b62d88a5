mod confirm;
mod delta;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use engine::entry::folder_digest::{Digest, DigestKey, FolderDigest};
use engine::entry::{Entry, Kind, Meta, Time};
use engine::source::{Expected, Terms, Wanted};

use super::*;
use crate::compress::Level;
use crate::helper::delta::chunker::ChunkSize;
use crate::helper::delta::sums::Key;
use crate::helper::protocol::delta::{Origin, SentPart, SentSums};
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::features::asking;
use crate::helper::protocol::frame::append;
use crate::helper::protocol::known::SentExpected;

/// A near end that waits for each answer.
pub(crate) struct Near {
    line: UnixStream,
    number: u32,
    end: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
}

impl Near {
    /// Starts a far end that serves `roots`.
    fn of(roots: &[PathBuf]) -> Self {
        Self::starting(roots, false)
    }

    fn starting(roots: &[PathBuf], writes: bool) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let roots = Roots::new(roots).unwrap();
        let options =
            ServeOptions { version: "1.2.3".to_owned(), writes, ..ServeOptions::default() };
        let output = far.try_clone().unwrap();
        let end = std::thread::spawn(move || answer(&options, roots, far, output, || {}));
        Self { line: near, number: 0, end: Some(end) }
    }

    fn greeted(roots: &[PathBuf]) -> Self {
        Self::greeted_by(roots, false)
    }

    /// Starts a far end, which may write, and greets it.
    pub(crate) fn greeted_by(roots: &[PathBuf], writes: bool) -> Self {
        let mut near = Self::starting(roots, writes);
        near.line.write_all(PREAMBLE).unwrap();
        let hello = Hello { protocols: (1, 1), ..Hello::default() };
        near.send(CONNECTION, &Request::Hello(hello));
        let (CONNECTION, Answer::Hello { protocol: 1, version, .. }, _) = near.next() else {
            panic!()
        };
        assert_eq!(version, "1.2.3");
        near.send(CONNECTION, &Request::Credit { listings: 1 << 20, contents: 1 << 20 });
        near
    }

    fn send(&mut self, number: u32, request: &Request<'_>) {
        self.send_with(number, request, &[]);
    }

    pub(crate) fn send_with(&mut self, number: u32, request: &Request<'_>, content: &[u8]) {
        let mut out = Vec::new();
        append(&mut out, number, request, content).unwrap();
        self.line.write_all(&out).unwrap();
    }

    fn ask(&mut self, request: &Request<'_>) -> u32 {
        self.ask_with(request, &[])
    }

    pub(crate) fn ask_with(&mut self, request: &Request<'_>, content: &[u8]) -> u32 {
        self.number += 1;
        self.send_with(self.number, request, content);
        self.number
    }

    pub(crate) fn next(&mut self) -> (u32, Answer, Vec<u8>) {
        let mut length = [0; 4];
        self.line.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.line.read_exact(&mut frame).unwrap();
        let (number, answer, rest) = read(&frame).unwrap();
        (number, answer, rest.to_vec())
    }

    fn root(&mut self, folder: u64, path: &Path) -> Result<Meta, SentError> {
        let path = path.as_os_str().as_bytes();
        let asked = self.ask(&Request::Root { folder, path, id: None });
        let (number, Answer::Root(root), _) = self.next() else { panic!() };
        assert_eq!(number, asked);
        root.map(|root| root.entry.parts(|_| true).unwrap().1)
    }

    fn list(&mut self, folder: u64) -> Result<HashMap<Vec<u8>, Meta>, SentError> {
        self.ask(&Request::List { folder });
        let mut all = HashMap::new();
        loop {
            match self.next() {
                (_, Answer::Batch(entries), _) => {
                    let parts = |entry: SentEntry| entry.parts(|_| true).unwrap();
                    all.extend(entries.into_iter().map(parts).map(|(name, meta, _)| (name, meta)));
                }
                (_, Answer::Listed(result), _) => return result.map(|()| all),
                (_, other, _) => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn end(mut self) -> Result<(), ServeError> {
        self.line.shutdown(std::net::Shutdown::Write).unwrap();
        self.end.take().unwrap().join().unwrap()
    }
}

#[test]
fn a_folder_is_listed_entered_and_read() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::create_dir(top.join("sub")).unwrap();
    fs::write(top.join("sub/file"), "content").unwrap();
    let mut near = Near::greeted(&[]);
    assert_eq!(near.root(1, &top).unwrap().kind, Kind::Folder);
    let listed = near.list(1).unwrap();
    let id = listed[&b"sub"[..]].id.unwrap();
    let child = Request::Folder { folder: 2, parent: 1, name: b"sub", id: Some((id.dev, id.ino)) };
    near.ask(&child);
    let listed = near.list(2).unwrap();
    let entry = engine::entry::Entry {
        name: c"file".to_owned(),
        meta: listed[&b"file"[..]].clone(),
        extra: None,
    };
    let file = (&engine::source::Wanted { entry, from: 3, again: false, base: None }).into();
    near.ask(&Request::Fetch { folder: 2, file });
    let (_, Answer::Data, bytes) = near.next() else { panic!() };
    assert_eq!(bytes, b"tent");
    assert!(matches!(near.next(), (_, Answer::Read(Ok(_)), _)));
    // A folder that is another one now.
    let other = Request::Folder { folder: 3, parent: 1, name: b"sub", id: Some((id.dev, 1)) };
    near.ask(&other);
    assert_eq!(near.list(3), Err(SentError::Replaced));
    near.end().unwrap();
}

#[test]
fn the_greeting_is_sent_before_a_request_is_refused() {
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(PREAMBLE).unwrap();
    let mut sent = Vec::new();
    append(&mut sent, CONNECTION, &Request::Hello(Hello::default()), &[]).unwrap();
    sent.extend([0, 0, 0, 1, 255]);
    near.write_all(&sent).unwrap();
    let output = far.try_clone().unwrap();
    assert!(answer(&ServeOptions::default(), Roots::default(), far, output, || {}).is_err());
    // The far end does not wait for the thread that writes answers.
    near.set_nonblocking(true).unwrap();
    near.read_exact(&mut [0; 5]).unwrap();
}

/// A near end that has opened a folder of 3,000 files with long names as folder 1 and allows all of its listing.
fn large_folder() -> (tempfile::TempDir, Near) {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    for number in 0..3000 {
        fs::write(top.join(format!("{number:0>200}")), "").unwrap();
    }
    let mut near = Near::greeted(&[]);
    near.root(1, &top).unwrap();
    near.send(CONNECTION, &Request::Credit { listings: 1 << 30, contents: 0 });
    (scratch, near)
}

#[test]
fn a_listing_waits_for_credit_and_arrives_whole() {
    let (_scratch, mut near) = large_folder();
    assert_eq!(near.list(1).unwrap().len(), 3000);
    near.end().unwrap();
}

#[test]
fn only_the_roots_are_opened_whatever_leads_out_of_them() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    for name in ["in", "in/deep", "out"] {
        fs::create_dir(top.join(name)).unwrap();
    }
    std::os::unix::fs::symlink("../out", top.join("in/link")).unwrap();
    std::os::unix::fs::symlink("deep", top.join("in/inside")).unwrap();
    fs::write(top.join("in/file"), "").unwrap();
    let mut near = Near::greeted(&[top.join("in")]);
    for (number, allowed) in ["in", "in/deep", "in/inside", "in/file"].iter().enumerate() {
        near.root(number as u64, &top.join(allowed)).unwrap();
    }
    let refused = ["out", "in/link", "in/../out", "in/link/../out", "missing"];
    for (number, refused) in (10..).zip(refused) {
        let answer = near.root(number, &top.join(refused));
        assert!(matches!(answer, Err(SentError::Unreadable(..))), "{refused}: {answer:?}");
    }
    // A snapshot has the folders above its sources, without what else is in them.
    near.root(30, &top).unwrap();
    assert!(near.list(30).is_err());
    near.end().unwrap();
}

#[test]
fn what_follows_the_greetings_is_compressed_if_the_near_end_asks_for_it() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    (0..500).for_each(|number| fs::write(top.join(format!("file-{number}")), "").unwrap());
    let mut near = Near::starting(&[], false);
    let features = asking(Some(Level::default()));
    let hello = Hello { protocols: (1, 1), features, ..Hello::default() };
    near.line.write_all(PREAMBLE).unwrap();
    near.send(CONNECTION, &Request::Hello(hello));
    let (_, Answer::Hello { features, .. }, _) = near.next() else { panic!() };
    assert_ne!(features & COMPRESSES, 0);
    let mut to = Compressed::new(near.line.try_clone().unwrap(), Level::default());
    let mut requests = Vec::new();
    let path = top.as_os_str().as_bytes();
    for (number, request) in [
        (CONNECTION, Request::Credit { listings: 1 << 20, contents: 0 }),
        (1, Request::Root { folder: 1, path, id: None }),
        (2, Request::List { folder: 1 }),
    ] {
        append(&mut requests, number, &request, &[]).unwrap();
    }
    to.write_all(&requests).unwrap();
    let mut from = Decompressed::new(near.line.try_clone().unwrap());
    let (mut frame, mut found) = (Vec::new(), 0);
    while next(&mut from, &mut frame).unwrap() {
        match read(&frame).unwrap() {
            (2, Answer::Batch(entries), []) => found += entries.len(),
            (2, Answer::Listed(Ok(())), []) => break,
            _ => {}
        }
    }
    assert_eq!(found, 500);
    // Bytes that are no piece.
    near.line.write_all(&[0x80, 0, 0, 1, 0]).unwrap();
    let ended = near.end.take().unwrap().join().unwrap();
    assert!(matches!(ended, Err(ServeError::Protocol(_))), "{ended:?}");
}

#[test]
fn what_is_no_protocol_ends_the_far_end_with_an_error() {
    let ended = |bytes: &[u8]| {
        let mut near = Near::of(&[]);
        near.line.write_all(bytes).unwrap();
        near.end().map_err(|error| error.to_string())
    };
    assert_eq!(ended(b""), Ok(()));
    assert!(ended(b"SSH-2.0-").unwrap_err().contains("over ssh"));
    assert!(ended(b"BMSERVE\n\xff\xff\xff\xff").unwrap_err().contains("too long"));
    assert!(ended(b"BMSERVE\n\0\0\0\x05\0\0\0\0\x06").unwrap_err().contains("greeting"));
    let violation = |request: &Request<'_>| {
        let mut near = Near::greeted(&[]);
        near.send(1, request);
        near.end().unwrap_err().to_string()
    };
    assert!(violation(&Request::List { folder: 4 }).contains("unknown folder"));
    assert!(violation(&Request::Hello(Hello::default())).contains("second greeting"));
    let expected = SentExpected { digest: [0; 16], below: false, entries: 0, chain: Vec::new() };
    assert!(violation(&Request::Confirm { folder: 4, expected }).contains("without terms"));
    let name = |name| Request::Folder { folder: 1, parent: 0, name, id: None };
    assert!(violation(&name(b"a/b")).contains("name"));
}

#[test]
fn another_protocol_gets_the_greeting_and_no_answers() {
    let mut near = Near::of(&[]);
    near.line.write_all(PREAMBLE).unwrap();
    near.send(CONNECTION, &Request::Hello(Hello { protocols: (7, 9), ..Hello::default() }));
    assert!(matches!(near.next(), (CONNECTION, Answer::Hello { protocol: PROTOCOL, .. }, _)));
    near.send(1, &Request::Clock);
    near.end().unwrap();
}
