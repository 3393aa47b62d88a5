//! Checks that the parser survives arbitrary bytes from a server.

use Piece::{Byte, Text, Word};
use proptest::prelude::*;

use crate::sftp::protocol::packet::{
    Answer, Attrs, Expected, Offers, Request, StatusCode, answered, closed, read_hello,
};
use crate::ssh::framing::Violation;

const EXPECTED: [Expected; 8] = [
    Expected::Status,
    Expected::Handle,
    Expected::Data(100),
    Expected::Names,
    Expected::Name,
    Expected::Attrs,
    Expected::Extended,
    Expected::Limits,
];

/// A part of a test frame: a byte, a four-byte number or a text.
enum Piece<'a> {
    Byte(u8),
    Word(u32),
    Text(&'a [u8]),
}

fn frame(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Byte(byte) => out.push(*byte),
            Piece::Word(word) => out.extend_from_slice(&word.to_be_bytes()),
            Piece::Text(text) => {
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(text);
            }
        }
    }
    out
}

fn names() -> Vec<u8> {
    frame(&[
        Byte(104),
        Word(7),
        Word(2),
        Text(b"caf\xe9"),
        Text(b"-rw-r--r-- long"),
        Word(15),
        Word(1),
        Word(2),
        Word(1000),
        Word(100),
        Word(0o100_644),
        Word(5),
        Word(6),
        Text(b".."),
        Text(b""),
        Word(0x8000_0000),
        Word(1),
        Text(b"extension"),
        Text(b"dropped"),
    ])
}

#[test]
fn names_are_bytes_and_what_is_not_used_is_dropped() {
    let attrs = Attrs {
        size: Some((1 << 32) + 2),
        owner: Some((1000, 100)),
        permissions: Some(0o100_644),
        times: Some((5, 6)),
        links: None,
    };
    let expected = Answer::Names(vec![(b"caf\xe9", attrs), (b"..", Attrs::default())]);
    assert_eq!(Answer::read(&names(), Expected::Names), Ok(expected));
}

#[test]
fn answers_that_do_not_fit_are_violations() {
    let lie = |frame: &[u8], expected| Answer::read(frame, expected).is_err();
    assert!(lie(&names(), Expected::Name), "two names for one");
    assert!(lie(&names(), Expected::Attrs), "names for attributes");
    let count = frame(&[Byte(104), Word(7), Word(u32::MAX), Text(b"a")]);
    assert!(lie(&count, Expected::Names), "more names than bytes");
    assert!(lie(&frame(&[Byte(103), Word(7), Text(&[1; 11])]), Expected::Data(10)));
    assert!(lie(&frame(&[Byte(103), Word(7), Text(b"")]), Expected::Data(10)));
    assert!(lie(&frame(&[Byte(103), Word(7), Word(9), Byte(1)]), Expected::Data(10)));
    assert!(lie(&frame(&[Byte(102), Word(7), Text(&[1; 257])]), Expected::Handle));
    assert!(
        lie(&frame(&[Byte(101), Word(7), Word(0)]), Expected::Data(10)),
        "success without data"
    );
    let status = frame(&[Byte(101), Word(7), Word(1), Word(u32::MAX)]);
    let read = Answer::read(&status, Expected::Data(10));
    assert_eq!(read, Ok(Answer::Status(StatusCode::Eof, b"")), "the text does not count");
    let extended = frame(&[Byte(105), Word(7), Word(0x8000_0000), Word(u32::MAX)]);
    assert!(lie(&extended, Expected::Attrs));
}

#[test]
fn a_greeting_of_another_program_is_refused() {
    assert_eq!(read_hello(&frame(&[Byte(2), Word(3)])), Ok(Offers::default()));
    let greeting = frame(&[Byte(2), Word(3), Text(b"statvfs@openssh.com"), Text(b"2")]);
    let offers = Offers { statvfs: true, ..Offers::default() };
    assert_eq!(read_hello(&greeting), Ok(offers));
    assert!(read_hello(b"Welcome to host").is_err());
    assert_eq!(read_hello(&frame(&[Byte(2), Word(2)])), Err(Violation("its version is below 3")));
}

#[test]
fn a_request_is_framed_as_the_draft_says() {
    let mut out = Vec::new();
    Request::Read { handle: b"h", offset: 1 << 32, length: 5 }.write(9, &mut out);
    let expected = frame(&[Word(22), Byte(5), Word(9), Text(b"h"), Word(1), Word(0), Word(5)]);
    assert_eq!(out, expected);
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 100_u8..107) {
        let mut frame = bytes;
        if let Some(first) = frame.first_mut() {
            *first = kind;
        }
        let _ = (answered(&frame), read_hello(&frame));
        for expected in EXPECTED {
            let _ = Answer::read(&frame, expected);
        }
    }

    #[test]
    fn changed_frames_do_no_harm(at in 0_usize..100, with in any::<u8>(), cut in 0_usize..100) {
        let mut frame = names();
        let at = at % frame.len();
        frame[at] = with;
        frame.truncate(frame.len() - cut % frame.len());
        for expected in EXPECTED {
            if let Ok(Answer::Names(names)) = Answer::read(&frame, expected) {
                prop_assert!(names.len() <= frame.len() / 12);
            }
        }
    }
}

#[test]
fn a_request_that_closes_a_handle_is_known() {
    let framed = |request: Request<'_>| {
        let mut out = Vec::new();
        request.write(7, &mut out);
        out
    };
    assert_eq!(closed(&framed(Request::Close(b"h1"))), Some(&b"h1"[..]));
    assert_eq!(closed(&framed(Request::FStat(b"h1"))), None);
    assert_eq!(closed(b"\0\0"), None);
}
