use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::entry::{Entry, Kind, ListedEntry, Meta};

use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::message::{Answer, Request};
use crate::helper::protocol::write::{SentNewFile, WriteAnswer, WriteRequest};
use crate::helper::serve::tests::Near;

/// The number of the folder to restore to.
const TOP: u64 = 1;

fn opened(near: &mut Near, path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    let target = WriteRequest::Target { folder: TOP, path, make: true, id: None };
    near.ask_with(&Request::Write(target), &[]);
    let (1, Answer::Write(WriteAnswer::Target(opened)), _) = near.next() else { panic!() };
    let (0, Answer::Write(WriteAnswer::Credit(_)), _) = near.next() else { panic!() };
    opened.is_ok()
}

fn file(name: &str, content: &str) -> SentNewFile {
    let meta = Meta { size: content.len() as u64, mode: 0o640, ..Meta::of(Kind::File) };
    let name = std::ffi::CString::new(name).unwrap();
    let entry = SentEntry::from(ListedEntry::from(&Entry { name, meta, extra: None }));
    let length = content.len() as u32;
    let end = (content.len() as u64, 0, *blake3::hash(content.as_bytes()).as_bytes());
    SentNewFile { entry, pieces: vec![(0, length)], end, replace: false }
}

/// Stores a file; whether the far end did.
fn stored(near: &mut Near, file: SentNewFile, content: &str, again: bool) -> bool {
    let request = WriteRequest::Store { folder: TOP, files: vec![file], again };
    let asked = near.ask_with(&Request::Write(request), content.as_bytes());
    loop {
        match near.next() {
            (number, Answer::Write(WriteAnswer::Stored(stored)), _) if number == asked => {
                return stored[0].is_ok();
            }
            (0, Answer::Write(WriteAnswer::Credit(_) | WriteAnswer::Working), _) => {}
            (_, other, _) => panic!("{other:?}"),
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let found = fs::read_dir(folder).unwrap();
    found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_file_gets_its_name_only_with_the_content_that_was_sent() {
    let scratch = tempfile::tempdir().unwrap();
    let mut near = Near::greeted_by(&[], true);
    assert!(opened(&mut near, &scratch.path().join("new/folder")));
    let top = scratch.path().join("new/folder");
    assert!(!stored(&mut near, file("file", "sent"), "SENT", false));
    assert_eq!(names(&top), Vec::<String>::new(), "nothing is left");
    assert!(stored(&mut near, file("file", "sent"), "sent", false));
    assert_eq!(fs::read_to_string(top.join("file")).unwrap(), "sent");
    // Sent again, the same file is taken for the stored one, and another one is not.
    assert!(!stored(&mut near, file("file", "sent"), "sent", false));
    assert!(stored(&mut near, file("file", "sent"), "sent", true));
    assert!(!stored(&mut near, file("file", "else"), "else", true));
    assert_eq!(fs::read_to_string(top.join("file")).unwrap(), "sent");
    assert_eq!(names(&top), ["file"]);
    near.end().unwrap();
}

#[test]
fn a_folder_outside_the_roots_is_neither_made_nor_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    for name in ["in", "out"] {
        fs::create_dir(top.join(name)).unwrap();
    }
    std::os::unix::fs::symlink("../out", top.join("in/link")).unwrap();
    for (folder, allowed) in [
        ("in/new", true),
        ("in", true),
        ("out", false),
        ("out/new", false),
        ("in/link", false),
        ("in/link/new", false),
        ("in/../out", false),
        ("", false),
    ] {
        let mut near = Near::greeted_by(&[top.join("in")], true);
        assert_eq!(opened(&mut near, &top.join(folder)), allowed, "{folder}");
        near.end().unwrap();
    }
    assert_eq!(names(&top.join("out")), Vec::<String>::new());
}

#[test]
fn requests_that_break_the_rules_end_the_far_end() {
    let scratch = tempfile::tempdir().unwrap();
    let violation = |writes: bool, request: WriteRequest<'_>, content: &[u8]| {
        let mut near = Near::greeted_by(&[], writes);
        near.send_with(9, &Request::Write(request), content);
        near.end().unwrap_err().to_string()
    };
    let remove = || WriteRequest::Remove { folder: TOP, name: b"x", again: false };
    assert!(violation(false, remove(), b"").contains("only reads"));
    assert!(violation(true, remove(), b"").contains("unknown folder"));
    assert!(violation(true, remove(), b"x").contains("bytes behind"));
    assert!(violation(true, WriteRequest::Part { offset: 0 }, b"x").contains("more content"));
    assert!(violation(true, WriteRequest::Discard, b"").contains("content of no file"));
    let mut near = Near::greeted_by(&[], true);
    assert!(opened(&mut near, scratch.path()));
    let mut long = file("file", "content");
    long.pieces = vec![(0, 70)];
    let request = WriteRequest::Store { folder: TOP, files: vec![long], again: false };
    near.send_with(9, &Request::Write(request), b"content");
    assert!(near.end().unwrap_err().to_string().contains("another length"));
    let mut near = Near::greeted_by(&[], true);
    assert!(opened(&mut near, scratch.path()));
    let request = WriteRequest::MakeFolder { folder: TOP, name: b"../x", again: false };
    near.send_with(9, &Request::Write(request), &[]);
    assert!(near.end().unwrap_err().to_string().contains("name"));
    assert_eq!(names(scratch.path()), Vec::<String>::new());
}
