//! Near ends that ask a far end with `--append-only` for anything else than to receive snapshots: every request that
//! writes, and random bytes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::slice;

use engine::entry::{Entry, Kind, ListedEntry, Meta};
use fixtures::random::Random;

use crate::helper::far_end::tests::state;
use crate::helper::offer::tests::{Scene, day, serve_whole};
use crate::helper::protocol::copy::{CopyRequest, SentCopyJob, SentSnapshots};
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::features::{RECEIVES, WRITES};
use crate::helper::protocol::frame::append;
use crate::helper::protocol::fuzz_tests::{encoded, framed, inputs, message};
use crate::helper::protocol::message::{Hello, Request};
use crate::helper::protocol::write::{SentNewFile, WriteRequest};
use crate::helper::protocol::{CONNECTION, PREAMBLE, PROTOCOL};
use crate::helper::serve::ServeOptions;

/// Sends these messages behind a greeting with these features. The far end must end when they end.
fn send(scene: &Scene, features: u64, messages: &[Vec<u8>]) {
    let (mut near, far) = UnixStream::pair().unwrap();
    let options = ServeOptions {
        roots: vec![scene.there()],
        writes: true,
        only_adds: true,
        version: String::new(),
    };
    let far = std::thread::spawn(move || serve_whole(&options, &far));
    let hello = Hello { protocols: (PROTOCOL, PROTOCOL), features, ..Hello::default() };
    let mut out = PREAMBLE.to_vec();
    append(&mut out, CONNECTION, &Request::Hello(hello), &[]).unwrap();
    for (number, message) in (1..).zip(messages) {
        let frame = framed(number, message);
        out.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
        out.extend(frame);
    }
    // A far end that refuses a request ends before it has read the others.
    let _ = near.write_all(&out);
    let _ = near.shutdown(Shutdown::Write);
    let _ = near.read_to_end(&mut Vec::new());
    let _ = far.join().unwrap();
}

fn entry(name: &str, kind: Kind) -> SentEntry {
    let entry =
        Entry { name: std::ffi::CString::new(name).unwrap(), meta: Meta::of(kind), extra: None };
    SentEntry::from(ListedEntry::from(&entry))
}

/// All requests of a restore, for the snapshot `name` in the folder at `path`.
fn writes<'a>(path: &'a [u8], name: &'a [u8]) -> Vec<WriteRequest<'a>> {
    use WriteRequest::*;
    let (folder, again, replace) = (1, true, true);
    let file = || entry("own", Kind::File);
    let end = (0, 0, blake3::hash(b"").into());
    let new = SentNewFile { entry: file(), pieces: Vec::new(), end, replace };
    vec![
        Name { folder: 2, parent: 1, name, id: None },
        Earlier { makers: vec![""] },
        Enter { folder, name },
        Look { folder, names: vec![name] },
        Names { folder, most: 9 },
        Explore { folder, name },
        Creator { name },
        SetMode { folder, mode: 0o777 },
        MakeFolder { folder, name, again },
        Store { folder, files: vec![new], again },
        Begin { folder, file: file(), method: 0, replace, again },
        Part { offset: 0 },
        End { end },
        Discard,
        Make { folder, entry: entry("own", Kind::Fifo), replace, again },
        Link { folder, name: b"own", to: (1, name, None), replace, again },
        FileMetadata { folder, entry: file(), id: None },
        FolderMetadata { folder, entry: entry("folder", Kind::Folder), new: true },
        Remove { folder, name, again },
        RemoveFolder { folder, name, again },
        Sync,
        Target { folder, path, make: true, id: None },
        Forget { folder },
    ]
}

#[test]
fn no_request_changes_anything_where_only_copies_are_added() {
    let scene = Scene::new();
    scene.push(Path::new(""), true).0.unwrap();
    let before = state(&scene.there());
    let path = scene.there().into_os_string().into_encoded_bytes();
    let name = day(1).into_bytes();
    let target =
        Request::Write(WriteRequest::Target { folder: 1, path: &path, make: true, id: None });
    for features in [0, WRITES, WRITES | RECEIVES] {
        for request in writes(&path, &name) {
            let message = encoded(&Request::Write(request));
            send(&scene, features, &[encoded(&target), message.clone()]);
            send(&scene, features, &[message]);
        }
    }
    // Snapshots are announced, and then something else is requested.
    let settings = br#"{"max":1,"keep":[1,0,0,0,0,0],"backups_mode":511,"newest":1}"#;
    let offered = SentSnapshots::default();
    let job = SentCopyJob { dir: &path, prefix: "p", settings, compression: None, offered };
    let receive = encoded(&Request::Copy(CopyRequest::Receive(job)));
    for request in writes(&path, &name) {
        let message = encoded(&Request::Write(request));
        send(&scene, WRITES | RECEIVES, &[receive.clone(), message]);
    }
    let mut random = Random::new(5);
    for input in 0..inputs() / 200 {
        let messages = [message(&mut random), message(&mut random)];
        match input % 3 {
            0 => send(&scene, 0, &messages),
            1 => send(&scene, WRITES | RECEIVES, &messages),
            _ => send(
                &scene,
                WRITES | RECEIVES,
                &[slice::from_ref(&receive), &messages[..]].concat(),
            ),
        }
    }
    // The records of the program itself, such as locks, are no content.
    let kept = |all: Vec<(String, u64, u64, i64, Vec<u8>)>| {
        let shown = ["/reports/", "/holds/", "/damaged/"];
        let own = |path: &str| {
            path.contains("/.backup_manager/") && !shown.iter().any(|part| path.contains(part))
        };
        all.into_iter().filter(|one| !own(&one.0)).collect::<Vec<_>>()
    };
    assert_eq!(kept(state(&scene.there())), kept(before));
}
