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

/// Sums as a near end that asks for a delta sends them.
fn sums() -> SentSums {
    SentSums { chunk: ChunkSize::of(0), key: Key::new([7; 32]), runs: false }
}

fn delta_of(near: &mut Near, top: &Path, from: u64) -> (u32, Meta) {
    near.root(1, top).unwrap();
    let meta = near.list(1).unwrap()[&b"file"[..]].clone();
    let entry = Entry { name: c"file".to_owned(), meta: meta.clone(), extra: None };
    let file = (&Wanted { entry, from, again: false, base: None }).into();
    let asked = near.ask(&Request::Delta { folder: 1, file, sums: sums() });
    (asked, meta)
}

fn part(offset: u64, length: u32) -> SentPart {
    SentPart { offset, length, before: Vec::new(), behind: Vec::new() }
}

#[test]
fn the_chunks_of_a_file_are_listed_and_its_parts_sent() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    let mut content = vec![0; 300_000];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    fs::write(top.join("file"), &content).unwrap();
    let mut near = Near::greeted(&[]);
    let (request, _) = delta_of(&mut near, &top, 1000);
    let mut at = 1000;
    loop {
        match near.next() {
            (_, Answer::Chunks(chunks), _) => {
                for (length, sum) in chunks {
                    let end = at + length as usize;
                    assert_eq!(sum, sums().key.chunk(&content[at..end]));
                    at = end;
                }
            }
            (_, Answer::Hashed(hash), _) => {
                assert_eq!(hash, *blake3::hash(&content).as_bytes());
                break;
            }
            (_, other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!(at, content.len());
    // The base has the middle page here, and the last piece further on.
    let piece = |at: usize, end: usize| sums().key.piece(&content[at..end]).to_vec();
    let of_base = |have: [bool; 3]| {
        let pieces = [(8000, 8192), (8192, 12_288), (12_288, 12_300)];
        let sum = |((at, end), have)| if have { piece(at, end) } else { vec![0; 8] };
        pieces.into_iter().zip(have).flat_map(sum).collect::<Vec<u8>>()
    };
    let (before, behind) = (of_base([false, true, false]), of_base([false, true, true]));
    let parts = vec![part(299_990, 10), SentPart { before, behind, ..part(8000, 4300) }];
    near.send(CONNECTION, &Request::Parts { request, parts, last: true });
    let (_, Answer::Part(runs), bytes) = near.next() else { panic!() };
    assert_eq!((runs, &bytes[..]), (vec![(Origin::Sent, 1)], &content[299_990..]));
    let (_, Answer::Part(runs), bytes) = near.next() else { panic!() };
    assert_eq!(runs, [(Origin::Sent, 1), (Origin::Before, 1), (Origin::Behind, 1)]);
    assert_eq!(bytes, &content[8000..8192]);
    assert!(matches!(near.next(), (_, Answer::Read(Ok(_)), _)));
    near.end().unwrap();
}

#[test]
fn a_far_end_that_hashes_what_the_near_end_has_sends_chunks_without_any() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    let content = vec![7; 13 << 20];
    fs::write(top.join("file"), &content).unwrap();
    let mut near = Near::greeted(&[]);
    delta_of(&mut near, &top, 12 << 20);
    let mut empty = 0;
    while matches!(near.next(), (_, Answer::Chunks(chunks), _) if chunks.is_empty()) {
        empty += 1;
    }
    assert!(empty >= 3, "{empty}");
    near.end().unwrap();
}

#[test]
fn a_delta_that_is_not_wanted_any_more_ends() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::write(top.join("file"), vec![7; 300_000]).unwrap();
    let mut near = Near::greeted(&[]);
    let (request, _) = delta_of(&mut near, &top, 0);
    while !matches!(near.next(), (_, Answer::Hashed(_), _)) {}
    near.send(CONNECTION, &Request::Cancel { request });
    assert!(matches!(near.next(), (_, Answer::Read(Ok(_)), _)));
    // It can be asked for again, and its number is free.
    assert!(near.list(1).is_ok());
    near.end().unwrap();
}

#[test]
fn a_near_end_gets_no_more_than_the_file_and_not_without_bounds() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::write(top.join("file"), vec![7; 300_000]).unwrap();
    let ended = |parts: Vec<SentPart>| {
        let mut near = Near::greeted(&[]);
        let (request, _) = delta_of(&mut near, &top, 0);
        while !matches!(near.next(), (_, Answer::Hashed(_), _)) {}
        near.send(CONNECTION, &Request::Parts { request, parts, last: false });
        near.end().map_err(|error| error.to_string())
    };
    assert_eq!(ended(vec![part(299_999, 1), part(0, 256 << 10)]), Ok(()));
    let odd = SentPart { before: vec![0; 8], ..part(0, 8192) };
    for part in [part(299_999, 2), part(0, 0), part(0, (256 << 10) + 1), part(u64::MAX, 1), odd] {
        assert!(ended(vec![part]).unwrap_err().contains("does not have"));
    }
    assert!(ended(vec![part(0, 1); 1025]).unwrap_err().contains("too many parts"));
    let mut near = Near::greeted(&[]);
    let (_, meta) = delta_of(&mut near, &top, 0);
    let entry = Entry { name: c"file".to_owned(), meta, extra: None };
    let wanted = Wanted { entry, from: 0, again: false, base: None };
    for _ in 0..8 {
        near.ask(&Request::Delta { folder: 1, file: (&wanted).into(), sums: sums() });
    }
    assert!(near.end().unwrap_err().to_string().contains("too many deltas"));
}
/// The digest of what the far end lists in `folder`, and its subfolders.
fn digest(near: &mut Near, terms: &Terms, folder: u64, below: &[(&str, Digest)]) -> Digest {
    let mut digest = FolderDigest::new(terms.key);
    for (name, meta) in near.list(folder).unwrap() {
        let inside = below.iter().find(|(inside, _)| inside.as_bytes() == name);
        let entry = Entry { name: std::ffi::CString::new(name).unwrap(), meta, extra: None };
        digest.add((&entry).into(), inside.map(|(_, digest)| digest));
    }
    digest.finish()
}

fn confirm(near: &mut Near, folder: u64, digest: Digest, below: bool, entries: u64) -> Answer {
    let expected = SentExpected { digest, below, entries, chain: Vec::new() };
    near.ask(&Request::Confirm { folder, expected });
    let (_, answer, _) = near.next();
    if matches!(answer, Answer::Batch(_)) {
        assert!(matches!(near.next(), (_, Answer::Listed(Ok(())), _)));
    }
    answer
}

#[test]
fn of_a_chain_of_folders_as_many_are_confirmed_as_are_equal() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    let paths = ["", "a", "a/b", "a/b/c"];
    fs::create_dir_all(top.join("a/b/c/d")).unwrap();
    fs::write(top.join("a/b/c/file"), "").unwrap();
    let mut near = Near::greeted(&[]);
    for (number, path) in paths.iter().enumerate() {
        near.root(number as u64, &top.join(path)).unwrap();
    }
    let terms = Terms { key: DigestKey::new([4; 32]), since: None, links: true };
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    let own: Vec<_> = (0..4).map(|folder| digest(&mut near, &terms, folder, &[])).collect();
    let mut confirmed = |digest: Digest, chain: &[Digest]| {
        let chain = chain.to_vec();
        let sent = SentExpected { digest, below: false, entries: 1, chain: chain.clone() };
        near.ask(&Request::Confirm { folder: 0, expected: sent });
        let (_, Answer::Same(same), _) = near.next() else { panic!("not the same") };
        let expected = Expected { terms, digest, below: false, entries: 1, folders: 1, chain };
        same.confirmed(&expected).unwrap().folders.iter().map(|id| id.ino).collect::<Vec<_>>()
    };
    let ids: Vec<_> =
        paths[1..].iter().map(|path| fs::metadata(top.join(path)).unwrap().ino()).collect();
    assert_eq!(confirmed(own[0], &[]), ids[..1]);
    assert_eq!(confirmed(own[0], &own[1..3]), ids[..3]);
    // The last one has two entries.
    assert_eq!(confirmed(own[0], &own[1..]), ids[..3]);
    assert_eq!(confirmed(own[0], &[own[1], [7; 16], own[2]]), ids[..2]);
    assert_eq!(confirmed(own[0], &[[7; 16], own[2]]), ids[..1]);
}

#[test]
fn a_folder_is_confirmed_only_as_long_as_nothing_in_it_changes() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    fs::write(top.join("file"), "").unwrap();
    fs::write(top.join("sub/two names"), "").unwrap();
    fs::hard_link(top.join("sub/two names"), top.join("sub/deep/other name")).unwrap();
    let mut near = Near::greeted(&[]);
    for (number, path) in ["", "sub", "sub/deep"].iter().enumerate() {
        near.root(number as u64, &top.join(path)).unwrap();
    }
    let key = DigestKey::new([4; 32]);
    let terms = Terms { key, since: None, links: true };
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    let inode = |path: &str| {
        let found = fs::metadata(top.join(path)).unwrap();
        (found.dev(), found.ino())
    };
    // One folder: its subfolder, and no entry with several names.
    let own = digest(&mut near, &terms, 0, &[]);
    let Answer::Same(same) = confirm(&mut near, 0, own, false, 2) else { panic!() };
    let expected = |folders, digest, below, entries| Expected {
        terms,
        digest,
        below,
        entries,
        folders,
        chain: Vec::new(),
    };
    let known = same.clone().confirmed(&expected(1, own, false, 2)).unwrap();
    assert_eq!(known.folders.iter().map(|id| (id.dev, id.ino)).collect::<Vec<_>>(), [inode("sub")]);
    assert_eq!(known.several, []);
    assert!(same.clone().confirmed(&expected(2, own, false, 2)).is_err());
    assert!(same.confirmed(&expected(0, own, false, 2)).is_err());
    // The whole tree.
    let deep = digest(&mut near, &terms, 2, &[]);
    let sub = digest(&mut near, &terms, 1, &[("deep", deep)]);
    let all = digest(&mut near, &terms, 0, &[("sub", sub)]);
    let Answer::Same(same) = confirm(&mut near, 0, all, true, 5) else { panic!() };
    let known = same.confirmed(&expected(2, all, true, 5)).unwrap();
    let ids = known.folders.iter().map(|id| (id.dev, id.ino));
    assert_eq!(ids.collect::<Vec<_>>(), [inode("sub"), inode("sub/deep")]);
    let several =
        known.several.iter().map(|one| (one.folder, one.name.to_str().unwrap(), one.links));
    let named = [(1, "two names", 2), (2, "other name", 2)];
    assert_eq!(several.collect::<Vec<_>>(), named);
    // What is not asked for, or not as expected.
    assert!(matches!(confirm(&mut near, 0, own, true, 5), Answer::Differs));
    assert!(matches!(confirm(&mut near, 0, all, true, 4), Answer::Differs));
    assert!(matches!(confirm(&mut near, 0, all, false, 5), Answer::Batch(_)));
    fs::set_permissions(top.join("sub/deep/other name"), fs::Permissions::from_mode(0o600))
        .unwrap();
    assert!(matches!(confirm(&mut near, 0, all, true, 5), Answer::Differs));
    assert!(matches!(confirm(&mut near, 0, own, false, 2), Answer::Same(_)));
    // A file that may have changed since then.
    let since = Some(Time { secs: 5, nanos: 5 });
    near.send(CONNECTION, &Request::Terms((&Terms { since, ..terms }).into()));
    assert!(matches!(confirm(&mut near, 0, own, false, 2), Answer::Batch(_)));
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    fs::remove_file(top.join("file")).unwrap();
    assert!(matches!(confirm(&mut near, 0, own, false, 2), Answer::Batch(_)));
    near.end().unwrap();
}

#[test]
fn a_large_folder_is_confirmed_and_listed_if_it_differs() {
    let (_scratch, mut near) = large_folder();
    let terms = Terms { key: DigestKey::new([4; 32]), since: None, links: true };
    near.send(CONNECTION, &Request::Terms((&terms).into()));
    let all = digest(&mut near, &terms, 1, &[]);
    assert!(matches!(confirm(&mut near, 1, all, false, 3000), Answer::Same(_)));
    let expected = SentExpected { digest: [0; 16], below: false, entries: 3000, chain: Vec::new() };
    near.ask(&Request::Confirm { folder: 1, expected });
    let mut listed = 0;
    loop {
        match near.next() {
            (_, Answer::Batch(entries), _) => listed += entries.len(),
            (_, Answer::Listed(Ok(())), _) => break,
            (_, other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, 3000);
    near.end().unwrap();
}
