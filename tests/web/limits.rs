//! Connections that do not move, and too many at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::http::request;
use crate::client::site::{BIN, Site, path_of};

fn site() -> (Stage, Site) {
    let stage = Stage::with(BIN, &Tree::new().file("text", "x"));
    stage.take();
    let site = Site::of(&stage);
    (stage, site)
}

#[test]
fn a_request_that_is_never_complete_is_ended() {
    let (_stage, site) = site();
    let half: [&[u8]; 4] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nname=",
        b"POST /logout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nname=",
    ];
    let ends = half.map(|half| {
        let mut stream = TcpStream::connect(&site.address).expect("the page listens");
        stream.write_all(half).expect("sent");
        // Until the page closes the connection.
        thread::spawn(move || stream.read_to_end(&mut Vec::new()).is_ok())
    });
    for end in ends {
        assert!(end.join().expect("no panic"));
    }
    site.page("/");
}

#[test]
fn readers_that_take_nothing_leave_the_page_to_others() {
    let stage = Stage::new(BIN);
    stage.sh("seq 20000 | xargs touch");
    stage.take();
    let site = Site::of(&stage);
    // A page that is larger than what the kernel keeps for a reader.
    let asked = request("GET", &format!("/browse/my_backup{}", path_of(&stage)), "", "");
    let open = |_| {
        let mut stream = TcpStream::connect(&site.address).expect("the page listens");
        stream.write_all(&asked).expect("sent");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("an answer begins");
        (stream, String::from_utf8_lossy(&start).into_owned())
    };
    let readers: Vec<_> = (0..40).map(open).collect();
    for status in ["HTTP/1.1 200", "HTTP/1.1 503"] {
        assert!(readers.iter().any(|(_, start)| start == status), "nobody got {status}");
    }
    site.page("/");
    site.page("/search?q=text");
    drop(readers);
}
