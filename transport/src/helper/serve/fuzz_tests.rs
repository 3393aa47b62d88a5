//! A far end on random requests. `FUZZ_INPUTS` / 500 is the number of connections.

use std::io::Cursor;
use std::path::Path;

use fixtures::random::Random;

use super::*;
use crate::helper::protocol::fuzz_tests::{encoded, framed, inputs, message};

/// The bytes of a connection: a greeting, an opened root, and random requests.
fn connection(random: &mut Random, root: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut bytes = PREAMBLE.to_vec();
    let mut send = |number: u32, message: &[u8]| {
        let frame = framed(number, message);
        bytes.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
        bytes.extend(frame);
    };
    send(CONNECTION, &encoded(&Request::Hello(Hello { protocols: (0, 9), ..Hello::default() })));
    send(CONNECTION, &encoded(&Request::Credit { listings: 1 << 20, contents: 1 << 20 }));
    let path = root.as_os_str().as_bytes();
    send(1, &encoded(&Request::Root { folder: 1, path, id: None }));
    send(2, &encoded(&Request::List { folder: 1 }));
    // The first request that breaks the protocol ends the connection, so most connections are short.
    for number in 3..4 + u32::try_from(random.below(20)).unwrap() {
        let message = message(random);
        match read::<Request<'_>>(&framed(number, &message)) {
            Ok((_, Request::Hello(_), _)) => {}
            Ok((_, _, [])) => send(number, &message),
            Ok((_, _, rest)) => send(number, &message[..message.len() - rest.len()]),
            Err(_) if random.one_in(2000) => send(number, &message),
            Err(_) => {}
        }
    }
    bytes
}

#[test]
fn a_far_end_survives_connections_of_random_requests() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("\u{1}"), vec![1; 300_000]).unwrap();
    std::fs::create_dir(root.join("\u{2}")).unwrap();
    let mut random = Random::new(3);
    let (mut ended, mut refused) = (0, 0);
    let options = ServeOptions::default();
    for _ in 0..inputs() / 500 {
        let bytes = connection(&mut random, &root);
        match answer(&options, Roots::new(&[]).unwrap(), Cursor::new(bytes), std::io::sink(), || {})
        {
            Ok(()) => ended += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(ended > 0 && refused > 0, "{ended} ended, {refused} were refused");
    let names = std::fs::read_dir(&root).unwrap().count();
    assert_eq!(names, 2, "a far end that may only read wrote");
}
