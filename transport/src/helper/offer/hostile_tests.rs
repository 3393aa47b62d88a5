//! Far ends of a copy that lie in their reports, or ask for what was not offered.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::compress::Level;
use crate::helper::far_end::tests::state;
use crate::helper::offer::tests::{Scene, day, frame};
use crate::helper::protocol::copy::{CopyAnswer, CopyRequest, SentSnapshot};
use crate::helper::protocol::features::asking;
use crate::helper::protocol::frame::append;
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::write::WriteRequest;
use crate::helper::protocol::{CONNECTION, PREAMBLE, PROTOCOL};
use crate::ssh::line::Streams;

/// What the near end makes of a far end that sends `requests` behind a greeting with these features: its result and its events.
fn answered(scene: &Scene, features: u64, requests: &[Request<'_>]) -> String {
    let (near, mut far) = UnixStream::pair().unwrap();
    let near_too = near.try_clone().unwrap();
    let streams = Streams { to: near_too.into(), from: near.into() };
    let mut out = Vec::new();
    let receiving = Answer::Copy(CopyAnswer::Receiving(Ok(())));
    append(&mut out, CONNECTION + 1, &receiving, &[]).unwrap();
    out.extend_from_slice(PREAMBLE);
    let hello = Hello { protocols: (PROTOCOL, PROTOCOL), features, ..Hello::default() };
    append(&mut out, CONNECTION, &Request::Hello(hello), &[]).unwrap();
    for (number, request) in (1..).zip(requests) {
        append(&mut out, number, request, &[]).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _receive = frame(&mut far);
            let _greeting = frame(&mut far);
            // An end that refuses a request ends before it has read the others.
            let _ = far.write_all(&out);
            let _ = far.shutdown(Shutdown::Write);
            let _ = far.read_to_end(&mut Vec::new());
        });
        let (done, events) = scene.push_over(streams, Path::new(""));
        let done = match done {
            Ok(outcome) => format!("{outcome:?}"),
            Err(error) => format!("{error:?} {error}"),
        };
        format!("{done} {}", events.join("\n"))
    })
}

fn tell(what: &str) -> Request<'_> {
    Request::Copy(CopyRequest::Tell { what: what.as_bytes() })
}

#[test]
fn reports_that_lie_show_only_harmless_text() {
    let scene = Scene::new();
    let (here, long) = (state(&scene.here()), "x".repeat(200_000));
    let failed = |text: &str| serde_json::json!({"result": {"Failed": text}}).to_string();
    let reports = [
        ("", "was lost"),
        ("[", "was lost"),
        (r#"{"result":"No result"}"#, "was lost"),
        (r#"{"result":"Busy"}"#, "Busy"),
        (&failed("\u{1b}[2J\u{7}\u{9b}x"), "Failed"),
        (&failed(&long), "Failed"),
        (r#"{"result":"Lost"}"#, "was lost"),
        (r#"{"result":{"Done":{"copied":[],"newest":9223372036854775807}}}"#, "newest: None"),
        (r#"{"result":{"WouldCopy":[[1,null,false]]}}"#, "copied nothing"),
        (
            r#"{"events":[{"Aside":{"what":"\u001b]0;title\u0007"}},{"None":1},7],"result":"Busy"}"#,
            "Busy",
        ),
        (r#"{"progress":{"phase":255,"bytes":18446744073709551615},"result":"Busy"}"#, "Busy"),
    ];
    for (report, expected) in reports {
        let said = answered(&scene, 0, &[tell(report)]);
        assert!(said.contains(expected), "{report}: {said}");
        assert!(!said.chars().any(|it| it.is_control() && it != '\n'), "{said:?}");
        assert!(said.len() < 20_000, "{report}: {} bytes", said.len());
    }
    // Nothing counts behind the result.
    let two = answered(&scene, 0, &[tell(r#"{"result":"Busy"}"#), tell(&failed("more"))]);
    assert!(two.contains("Busy") && !two.contains("more"), "{two}");
    assert_eq!(state(&scene.here()), here);
}

#[test]
fn a_far_end_that_asks_for_what_was_not_offered_gets_nothing() {
    let scene = Scene::new();
    std::fs::create_dir(scene.here().join("q.01-12-2023_13-32-58")).unwrap();
    let here = state(&scene.here());
    let path = scene.here();
    let path = path.to_str().unwrap().as_bytes();
    let name = day(1).into_bytes();
    let (folder, stamp) = (1, 1_701_437_578);
    let open = |stamp, previous| {
        let snapshot = SentSnapshot { dir: b"", prefix: "p", stamp, previous };
        Request::Copy(CopyRequest::Open { folder, snapshot, id: None })
    };
    let target = WriteRequest::Target { folder, path, make: true, id: None };
    let remove = WriteRequest::RemoveFolder { folder, name: &name, again: false };
    let name_in = |name| Request::Folder { folder: 2, parent: 1, name, id: None };
    let whole: [&[Request<'_>]; 9] = [
        &[Request::Write(target)],
        &[open(stamp, None), Request::Write(remove)],
        &[open(stamp, None), name_in(b".."), Request::List { folder: 2 }],
        &[open(stamp, None), name_in(b"a/b"), Request::List { folder: 2 }],
        &[Request::List { folder: 7 }],
        &[Request::Copy(CopyRequest::Holds { dir: b"/etc", prefix: "q", from: 0 })],
        &[Request::Copy(CopyRequest::Snapshots { dir: b"/etc", prefix: "../p" })],
        &[open(i64::MIN, Some(i64::MAX)), Request::List { folder: 1 }],
        &[Request::Hello(Hello::default())],
    ];
    for requests in whole {
        let said = answered(&scene, 0, requests);
        assert!(said.contains("was lost"), "{requests:?}: {said}");
    }
    let compressing = answered(&scene, asking(Some(Level::default())), &[]);
    assert!(compressing.contains("another compression"), "{compressing}");
    // More requests than may be in flight.
    let flood: Vec<_> = (0..40_000).map(|_| Request::Clock).collect();
    assert!(answered(&scene, 0, &flood).contains("was lost"));
    assert_eq!(state(&scene.here()), here);
}
