//! Requests that no browser sends. `WEB_FUZZ=1000000` sends that many, `WEB_SEED=8` others.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::client::site::{BIN, Site, path_of};

/// Requests of a normal test.
const FEW: u64 = 3000;

/// A generator of numbers (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap_or(0) % below
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.next(all.len())]
    }
}

const PAGES: &[&str] = &[
    "", "job", "browse", "compare", "search", "restore", "raw", "picture", "tar", "zip", "api",
    "metrics", "login", "x",
];
const PARTS: &[&str] = &[
    "my_backup",
    "..",
    "%2e%2e",
    "%2f",
    "%00",
    "%",
    "%zz",
    ".",
    "file",
    "folder",
    "root",
    "%ff%fe",
    "secret",
    ".backup_manager",
    "status",
    "list",
    "find",
    "history",
    "diff",
    "etc",
    "passwd",
    "\u{fc}",
    "a%0d%0ab",
    "//",
];
const QUERIES: &[&str] = &[
    "at=latest",
    "at=..",
    "at=%00",
    "sort=-size",
    "sort=x",
    "page=0",
    "page=18446744073709551615",
    "page=-1",
    "deleted=1",
    "versions=1",
    "with=x",
    "q=%ff",
    "q=*",
    "q=%5B",
    "q={a,b",
    "i=1",
    "job=x",
    "a=x",
    "b=y",
    "b=now",
    "pattern=**",
    "path=/",
    "sizes=1",
    "&&=",
    "%=%",
];
const HEADERS: &[&str] = &[
    "Range: bytes=0-",
    "Range: bytes=-1",
    "Range: bytes=9-1",
    "If-Range: x",
    "If-None-Match: *",
    "Cookie: backup_manager_session=",
    "Accept-Language: ,;q=,de;q=2",
    "Remote-User: root",
    "Transfer-Encoding: chunked",
    "Content-Length: 5",
    "Expect: 100-continue",
    "Upgrade: h2c",
];

fn fuzzed(numbers: &mut Numbers, base: &str) -> Vec<u8> {
    let mut target = format!("/{}", numbers.pick(PAGES));
    if numbers.next(2) == 0 {
        target.push_str("/my_backup");
        target.push_str(base);
    }
    for _ in 0..numbers.next(4) {
        target.push('/');
        target.push_str(numbers.pick(PARTS));
    }
    for at in 0..numbers.next(4) {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(numbers.pick(QUERIES));
    }
    let method = numbers.pick(&["GET", "GET", "GET", "GET", "HEAD", "POST", "get", ""]);
    let host = numbers.pick(&["localhost", "localhost", "localhost", "127.0.0.1", "evil", ""]);
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for _ in 0..numbers.next(3) {
        request.push_str(numbers.pick(HEADERS));
        request.push_str("\r\n");
    }
    let mut request = format!("{request}\r\n").into_bytes();
    // Some bytes of every eighth request are any bytes.
    if numbers.next(8) == 0 {
        for _ in 0..3 {
            let at = numbers.next(request.len());
            request[at] = u8::try_from(numbers.next(256)).unwrap_or(0);
        }
    }
    request
}

#[test]
fn no_request_shows_what_is_outside_or_ends_the_page() {
    const SECRET: &[u8] = b"what is outside of every snapshot";
    let stage = Stage::with(
        BIN,
        &Tree::new().file("file", "inside").file("folder/file", "x").symlink("root", "/"),
    );
    stage.take();
    stage.take();
    fs::write(stage.backups.join("secret"), SECRET).expect("written");
    let site = Site::of(&stage);
    let setting = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let number = setting("WEB_FUZZ").unwrap_or(FEW);
    let seed = setting("WEB_SEED").unwrap_or(0);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    let base = path_of(&stage);
    for _ in 0..number {
        let request = fuzzed(&mut numbers, &base);
        let mut stream = TcpStream::connect(&site.address).expect("the page listens");
        let mut answer = Vec::new();
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
        let said = || {
            format!("{:?}: {}", String::from_utf8_lossy(&request), String::from_utf8_lossy(&answer))
        };
        assert!(!answer.windows(SECRET.len()).any(|part| part == SECRET), "{}", said());
        assert!(!answer.windows(7).any(|part| part == b"root:x:"), "{}", said());
        assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", said());
    }
    site.page("/");
    let done = site.end();
    done.assert_code(0);
    assert!(!done.said().contains("panicked"), "{}", done.said());
}
