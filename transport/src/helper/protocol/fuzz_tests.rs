//! Both parsers on random and on damaged messages. `FUZZ_INPUTS` is the number of them, for each parser.

use engine::SourceError;
use engine::entry::{FileId, Kind, ListedEntry, Meta};
use fixtures::random::Random;
use serde::{Deserialize, Serialize};

use crate::helper::protocol::copy::{
    CopyAnswer, CopyRequest, SentCopyJob, SentPlace, SentRefusal, SentSnapshot, SentSnapshots,
    snapshot_name,
};
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::frame::{append, read};
use crate::helper::protocol::message::{Answer, Hello, Request, SentRoot};
use crate::helper::protocol::report::{self, SentReport, SentResult};

/// The messages of each end have fewer kinds.
const KINDS: u64 = 32;

pub(crate) fn inputs() -> u64 {
    std::env::var("FUZZ_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// Bytes that are often a message: most of its numbers are small.
pub(crate) fn message(random: &mut Random) -> Vec<u8> {
    let length = random.below(120);
    let mut bytes = vec![u8::try_from(random.below(KINDS)).unwrap()];
    for _ in 0..length {
        let most = [2, 4, 16, 256][usize::try_from(random.below(4)).unwrap()];
        bytes.push(u8::try_from(random.below(most)).unwrap());
    }
    bytes
}

/// A message with one to four changes.
pub(crate) fn damaged(random: &mut Random, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(4) {
        let at = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
        let byte = u8::try_from(random.below(256)).unwrap();
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => bytes[at] = byte,
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    bytes
}

pub(crate) fn framed(number: u32, message: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), message].concat()
}

pub(crate) fn encoded<M: Serialize>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out, 0, message, &[]).unwrap();
    out.split_off(8)
}

/// Encodes a decoded message and decodes it again: it must be the same.
fn assert_stable<'a, M>(message: &M, frame: &'a mut Vec<u8>)
where
    M: Serialize + Deserialize<'a> + PartialEq + std::fmt::Debug,
{
    frame.clear();
    append(frame, 7, message, &[]).unwrap();
    let (7, again, []) = read::<M>(&frame[4..]).unwrap() else { panic!() };
    assert_eq!(&again, message);
}

fn use_entry(entry: SentEntry) {
    if let Ok((_, meta, extra)) = entry.parts(|_| true) {
        assert!(meta.mode <= 0o7777 && meta.mtime.nanos < 1_000_000_000, "{meta:?}");
        let target = extra.and_then(|extra| extra.target.clone());
        assert_eq!(target.is_some(), meta.kind == Kind::Symlink, "{meta:?}");
    }
}

fn use_error(error: SentError) {
    let text = SourceError::from(error).to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Does with an answer what the near end does with it first.
fn use_answer(answer: Answer) {
    assert_stable(&answer, &mut Vec::new());
    match answer {
        Answer::Root(Ok(SentRoot { entry, .. })) | Answer::Look(Ok(entry)) => use_entry(entry),
        Answer::Batch(entries) => entries.into_iter().for_each(use_entry),
        Answer::Root(Err(error))
        | Answer::Look(Err(error))
        | Answer::Unreadable(_, error)
        | Answer::Listed(Err(error))
        | Answer::Read(Err(error)) => use_error(error),
        Answer::Read(Ok(meta)) => {
            let nanos = Meta::try_from(meta).map_or(0, |meta| meta.ctime.nanos);
            assert!(nanos < 1_000_000_000);
        }
        Answer::Copy(CopyAnswer::Snapshots(Ok(SentSnapshots { stamps, .. }))) => {
            let prefix = engine::Prefix::new("p").unwrap();
            for name in stamps.into_iter().filter_map(|stamp| snapshot_name(&prefix, stamp)) {
                let text = name.to_string();
                assert!(text.len() == 21 && !text.contains('/'), "{text:?}");
            }
        }
        Answer::Copy(
            CopyAnswer::Receiving(Err(refusal))
            | CopyAnswer::Snapshots(Err(refusal))
            | CopyAnswer::Beside(Err(refusal))
            | CopyAnswer::Holds(Err(refusal)),
        ) => {
            let text = SourceError::from(refusal).to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        _ => {}
    }
}

/// Reports of a copy: what a near end takes out of them can be shown.
#[test]
fn a_report_is_refused_or_harmless() {
    let mut random = Random::new(4);
    let prefix = engine::Prefix::new("p").unwrap();
    let event = engine::Event::Aside { what: "what \u{1b}[31m\u{9b}".to_owned() };
    let started = engine::Event::Pruned { snapshot: "p".to_owned(), reason: "x\n".to_owned() };
    let report = SentReport {
        events: [event, started].iter().map(|event| serde_json::to_value(event).unwrap()).collect(),
        result: Some(SentResult::Done { copied: Vec::new(), newest: Some(1) }),
        ..SentReport::default()
    };
    let whole = serde_json::to_vec(&report).unwrap();
    let mut understood = 0_u64;
    for input in 0..inputs() / 10 {
        let bytes = if input == 0 { whole.clone() } else { damaged(&mut random, &whole) };
        let Ok(report) = serde_json::from_slice::<SentReport>(&bytes) else { continue };
        for event in report.events.into_iter().filter_map(report::event) {
            understood += 1;
            let text = event.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        if let Some(Err(text)) = report.result.map(|it| it.outcome(&prefix)) {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    assert!(understood > 2, "{understood} were understood");
}

#[test]
fn the_near_end_refuses_or_understands_any_bytes() {
    let mut random = Random::new(1);
    let entry = |kind| {
        let extra = engine::entry::Extra {
            target: (kind == Kind::Symlink).then(|| b"target".to_vec()),
            xattrs: vec![(b"user.a".to_vec(), vec![1, 2, 3])],
            xattrs_unread: false,
        };
        let meta = Meta { id: Some(FileId { dev: 1, ino: 2 }), ..Meta::of(kind) };
        let name = c"name".to_owned();
        let entry = engine::entry::Entry { name, meta, extra: Some(Box::new(extra)) };
        SentEntry::from(ListedEntry::from(&entry))
    };
    let error = || SentError::Unreadable(1, None, "text".to_owned());
    let whole = [
        encoded(&Answer::Batch(vec![entry(Kind::File), entry(Kind::Symlink)])),
        encoded(&Answer::Look(Ok(entry(Kind::Folder)))),
        encoded(&Answer::Unreadable(b"name".to_vec(), error())),
        encoded(&Answer::Listed(Err(error()))),
        encoded(&Answer::Read(Err(SentError::Vanished))),
        encoded(&Answer::Hole(1 << 40)),
        encoded(&Answer::Copy(CopyAnswer::Snapshots(Ok(SentSnapshots {
            stamps: vec![1, 1 << 40, -5],
            place: SentPlace::of("/".as_ref()),
            runs: vec![(1, b"null".to_vec())],
            holds: (2, b"[]".to_vec()),
        })))),
        encoded(&Answer::Copy(CopyAnswer::Holds(Ok((9, b"[]".to_vec()))))),
        encoded(&Answer::Copy(CopyAnswer::Beside(Err(SentRefusal::new("text"))))),
    ];
    let mut understood = 0_u64;
    for input in 0..inputs() {
        let bytes = match input % 2 {
            0 => message(&mut random),
            _ => damaged(&mut random, &whole[usize::try_from(input / 2).unwrap() % whole.len()]),
        };
        if let Ok((_, answer, _)) = read::<Answer>(&framed(1, &bytes)) {
            understood += 1;
            use_answer(answer);
        }
    }
    assert!(understood > inputs() / 20, "{understood} were understood");
}

#[test]
fn the_far_end_refuses_or_understands_any_bytes() {
    let mut random = Random::new(2);
    let snapshot =
        SentSnapshot { dir: b"/b", prefix: "p", stamp: 1_700_000_000, previous: Some(5) };
    let offered = SentSnapshots { stamps: vec![1, 2], ..SentSnapshots::default() };
    let (settings, compression) = (&b"{}"[..], Some(3));
    let job = SentCopyJob { dir: b"/b", prefix: "p", settings, compression, offered };
    let whole = [
        encoded(&Request::Hello(Hello { depths: vec![(b"/a".to_vec(), 1)], ..Hello::default() })),
        encoded(&Request::Root { folder: 1, path: b"/a", id: Some((1, 2)) }),
        encoded(&Request::Folder { folder: 2, parent: 1, name: b"name", id: None }),
        encoded(&Request::Credit { listings: u64::MAX, contents: 0 }),
        encoded(&Request::Copy(CopyRequest::Open {
            folder: 1,
            snapshot: snapshot.clone(),
            id: None,
        })),
        encoded(&Request::Copy(CopyRequest::Beside { snapshot, from: 1 << 20 })),
        encoded(&Request::Copy(CopyRequest::Receive(job))),
        encoded(&Request::Copy(CopyRequest::Holds { dir: b"/b", prefix: "p", from: 7 })),
    ];
    let mut understood = 0_u64;
    for input in 0..inputs() {
        let bytes = match input % 2 {
            0 => message(&mut random),
            _ => damaged(&mut random, &whole[usize::try_from(input / 2).unwrap() % whole.len()]),
        };
        if let Ok((_, request, _)) = read::<Request<'_>>(&framed(1, &bytes)) {
            understood += 1;
            assert_stable(&request, &mut Vec::new());
        }
    }
    assert!(understood > inputs() / 20, "{understood} were understood");
}
