use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use engine::entry::Kind;
use engine::entry::Meta;

use super::*;
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::frame::append;

/// A near end that waits for each answer.
struct Near {
    line: UnixStream,
    number: u32,
    end: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
}

impl Near {
    /// Starts a far end that serves `roots`.
    fn of(roots: &[PathBuf]) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let roots = Roots::new(roots).unwrap();
        let options = ServeOptions { version: "1.2.3".to_owned(), ..ServeOptions::default() };
        let output = far.try_clone().unwrap();
        let end = std::thread::spawn(move || answer(&options, roots, far, output, || {}));
        Self { line: near, number: 0, end: Some(end) }
    }

    fn greeted(roots: &[PathBuf]) -> Self {
        let mut near = Self::of(roots);
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
        let mut out = Vec::new();
        append(&mut out, number, request, &[]).unwrap();
        self.line.write_all(&out).unwrap();
    }

    fn ask(&mut self, request: &Request<'_>) -> u32 {
        self.number += 1;
        self.send(self.number, request);
        self.number
    }

    fn next(&mut self) -> (u32, Answer, Vec<u8>) {
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

    fn end(mut self) -> Result<(), ServeError> {
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
fn a_listing_waits_for_credit_and_arrives_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    for number in 0..3000 {
        fs::write(top.join(format!("{number:0>200}")), "").unwrap();
    }
    let mut near = Near::greeted(&[]);
    near.root(1, &top).unwrap();
    near.send(CONNECTION, &Request::Credit { listings: 1 << 30, contents: 0 });
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
