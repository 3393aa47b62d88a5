//! Near ends that lie about their snapshots. A relay changes what an honest one answers.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use engine::copy::CopyOutcome;
use engine::entry::{Entry, Kind, ListedEntry, Meta};

use crate::helper::offer::tests::{Scene, day, start};
use crate::helper::protocol::copy::{CopyAnswer, CopyRequest, SentSnapshots};
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::frame::{append, read};
use crate::helper::protocol::message::{Answer, Request};
use crate::helper::serve::next;
use crate::ssh::line::Streams;

/// Changes an answer and the content behind it; returns what is sent instead.
type Lie = fn(Answer, &[u8]) -> Vec<(Answer, Vec<u8>)>;

fn honest(answer: Answer, content: &[u8]) -> Vec<(Answer, Vec<u8>)> {
    vec![(answer, content.to_vec())]
}

/// The entry of a file with any name.
fn named(name: &[u8]) -> SentEntry {
    let meta = Meta { size: 3, ..Meta::of(Kind::File) };
    let entry = Entry { name: c"x".to_owned(), meta, extra: None };
    let mut sent = SentEntry::from(ListedEntry::from(&entry));
    sent.name = name.to_vec();
    sent
}

fn listing(answer: Answer, content: &[u8], names: &[&[u8]]) -> Vec<(Answer, Vec<u8>)> {
    match answer {
        Answer::Batch(mut entries) => {
            entries.extend(names.iter().map(|name| named(name)));
            vec![(Answer::Batch(entries), Vec::new())]
        }
        other => honest(other, content),
    }
}

const LIES: [(&str, Lie); 18] = [
    ("a slash", |answer, content| listing(answer, content, &[b"a/b", b"../../escaped"])),
    ("dots", |answer, content| listing(answer, content, &[b"..", b".", b""])),
    ("a long name", |answer, content| listing(answer, content, &[&[b'n'; 300]])),
    ("a NUL", |answer, content| listing(answer, content, &[b"a\0b"])),
    ("a name twice", |answer, content| listing(answer, content, &[b"folder", b"own", b"own"])),
    ("entries of the program", |answer, content| {
        listing(answer, content, &[b".backup_manager", b"p.01-12-2023_13-32-58"])
    }),
    ("other content", |answer, content| match answer {
        Answer::Data => vec![(Answer::Data, content.iter().map(|byte| byte ^ 1).collect())],
        other => honest(other, content),
    }),
    ("a wrong hash", |answer, content| match answer {
        Answer::Read(result) => {
            vec![(Answer::Hashed([7; 32]), Vec::new()), (Answer::Read(result), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("endless content", |answer, content| match answer {
        Answer::Data => vec![(Answer::Data, content.to_vec()); 10_000],
        other => honest(other, content),
    }),
    ("endless listings", |answer, content| match answer {
        Answer::Listed(_) => (0..20_000_u32)
            .map(|number| {
                let name = |at: u32| named(format!("{number}-{at}").as_bytes());
                (Answer::Batch((0..50).map(name).collect()), Vec::new())
            })
            .collect(),
        other => honest(other, content),
    }),
    ("snapshots of the future and none", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Snapshots(Ok(mut sent))) => {
            sent.stamps.extend([i64::MAX, i64::MIN, 253_402_300_799, 4_102_444_800, 4_102_444_800]);
            vec![(Answer::Copy(CopyAnswer::Snapshots(Ok(sent))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("holds without end", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Snapshots(Ok(sent))) => {
            let sent = SentSnapshots { holds: (u64::MAX, b"[".to_vec()), ..sent };
            vec![(Answer::Copy(CopyAnswer::Snapshots(Ok(sent))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("holds that are none", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Snapshots(Ok(sent))) => {
            let sent = SentSnapshots { holds: (6, b"[[1,{}".to_vec()), ..sent };
            vec![(Answer::Copy(CopyAnswer::Snapshots(Ok(sent))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("holds in parts that do not come", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Snapshots(Ok(sent))) => {
            let sent = SentSnapshots { holds: (9_000, b"[".to_vec()), ..sent };
            vec![(Answer::Copy(CopyAnswer::Snapshots(Ok(sent))), Vec::new())]
        }
        Answer::Copy(CopyAnswer::Holds(_)) => {
            vec![(Answer::Copy(CopyAnswer::Holds(Ok((9_000, Vec::new())))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("times of other runs", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Snapshots(Ok(mut sent))) => {
            let run = br#"{"started":"1","finished":"2","read_since":null}"#;
            sent.runs = sent.stamps.iter().map(|stamp| (*stamp, run.to_vec())).collect();
            sent.runs.extend((0..40_000).map(|stamp| (stamp, b"x".to_vec())));
            vec![(Answer::Copy(CopyAnswer::Snapshots(Ok(sent))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("records without end", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Beside(_)) => {
            let part = (u64::MAX, vec![b'[', b' ']);
            vec![(Answer::Copy(CopyAnswer::Beside(Ok(part))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("records that are none", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Beside(_)) => {
            let part = (6, b"{\"hold".to_vec());
            vec![(Answer::Copy(CopyAnswer::Beside(Ok(part))), Vec::new())]
        }
        other => honest(other, content),
    }),
    ("an answer to another question", |answer, content| match answer {
        Answer::Copy(CopyAnswer::Beside(_)) => {
            vec![(Answer::Copy(CopyAnswer::Told(true, None)), Vec::new())]
        }
        other => honest(other, content),
    }),
];

/// Passes on the frames of the near end, and changes the answers among them and the snapshots that it announces. Ends with either stream.
fn relay(mut near: UnixStream, mut far: UnixStream, lie: Lie) {
    let mut is_first = true;
    loop {
        let mut frame = Vec::new();
        match next(&mut near, &mut frame) {
            Ok(true) => {}
            _ => return drop(far.shutdown(Shutdown::Both)),
        }
        let mut out = Vec::new();
        match read::<Answer>(&frame) {
            Ok((number, answer, content)) if !is_first => {
                for (answer, content) in lie(answer, content) {
                    append(&mut out, number, &answer, &content).unwrap();
                    if out.len() > 1 << 20 {
                        if far.write_all(&out).is_err() {
                            return drop(near.shutdown(Shutdown::Both));
                        }
                        out.clear();
                    }
                }
            }
            _ => match read::<Request<'_>>(&frame) {
                Ok((number, Request::Copy(CopyRequest::Receive(mut job)), [])) => {
                    let honest = CopyAnswer::Snapshots(Ok(job.offered.clone()));
                    for (answer, _) in lie(Answer::Copy(honest), &[]) {
                        if let Answer::Copy(CopyAnswer::Snapshots(Ok(offered))) = answer {
                            job.offered = offered;
                        }
                    }
                    let receive = Request::Copy(CopyRequest::Receive(job));
                    append(&mut out, number, &receive, &[]).unwrap();
                }
                other => panic!("{other:?}"),
            },
        }
        is_first = false;
        if far.write_all(&out).is_err() {
            return drop(near.shutdown(Shutdown::Both));
        }
    }
}

/// Copies the history of `scene`, lying.
fn lying_push(scene: &Scene, lie: Lie) -> String {
    let (streams, _, far) = start(vec![scene.there()], true);
    let far_stream = UnixStream::from(streams.to);
    let (near, between) = UnixStream::pair().unwrap();
    let relayed = (between.try_clone().unwrap(), far_stream.try_clone().unwrap());
    let there = std::thread::spawn(move || relay(relayed.0, relayed.1, lie));
    let back = std::thread::spawn(move || {
        let (mut from, mut to) = (far_stream, between);
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let near_too = near.try_clone().unwrap();
    let streams = Streams { to: near_too.into(), from: near.into() };
    let (done, events) = scene.push_over(streams, Path::new(""));
    let _ = far.join().unwrap();
    back.join().unwrap();
    there.join().unwrap();
    format!("{done:?} {events:?}")
}

/// The entries below a folder: path, inode, size, time, content.
pub(crate) fn state(top: &Path) -> Vec<(String, u64, u64, i64, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(top).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut content = Vec::new();
        if meta.is_file() {
            fs::File::open(&path).unwrap().read_to_end(&mut content).unwrap();
        } else if meta.is_dir() {
            all.extend(state(&path));
        }
        all.push((path.display().to_string(), meta.ino(), meta.size(), meta.mtime(), content));
    }
    all.sort();
    all
}

#[test]
fn lies_about_a_snapshot_change_no_other_one_and_nothing_outside() {
    std::thread::scope(|scope| {
        for (name, lie) in LIES {
            scope.spawn(move || {
                let scene = Scene::new();
                // The far end has the first snapshot already.
                let third = scene.here().join(day(3));
                fs::rename(&third, scene.path("third")).unwrap();
                scene.push(Path::new(""), true).0.unwrap();
                fs::rename(scene.path("third"), &third).unwrap();
                let (here, second) = (state(&scene.here()), scene.there().join(day(2)));
                let before = state(&second);
                let said = lying_push(&scene, lie);
                assert!(!said.contains("panicked"), "{name}: {said}");
                assert_eq!(state(&second), before, "{name}: {said}");
                assert_eq!(state(&scene.here()), here, "{name}");
                let names: Vec<_> = fs::read_dir(scene.path("")).unwrap().collect();
                assert_eq!(names.len(), 2, "{name}: {names:?}");
                // What the lies left does not keep an honest end from completing the copy.
                let (done, _) = scene.push(Path::new(""), true);
                assert!(matches!(done, Ok(CopyOutcome::Done { .. })), "{name}: {done:?}; {said}");
                assert!(scene.there().join(day(3)).is_dir(), "{name}: {said}");
            });
        }
    });
}
