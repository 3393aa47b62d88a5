//! A small HTTP/1.1 client that sends any bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its headers say.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The addresses in `href` attributes whose page is `name`, as a browser reads them.
    pub(crate) fn links(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let links = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let links = links.map(|link| link.replace("&amp;", "&"));
        links.filter(|link| link.starts_with(&format!("/{name}/"))).collect()
    }

    #[track_caller]
    pub(crate) fn assert_has(&self, part: &str) -> &Self {
        assert!(self.text().contains(part), "no {part:?} in {}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn assert_lacks(&self, part: &str) -> &Self {
        assert!(!self.text().contains(part), "{part:?} in {}", self.text());
        self
    }
}

/// Sends `request` and reads all that comes back.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    // The server may refuse a request before all of it is sent.
    let _ = stream.write_all(request);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let no_body = request.starts_with(b"HEAD ");
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        if is_complete(&bytes, no_body) {
            break;
        }
    }
    parse(&bytes, no_body)
}

/// Whether the body has the length that the headers say. Some servers keep the connection open.
fn is_complete(bytes: &[u8], no_body: bool) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: Option<usize> = length.and_then(|length| length.trim().parse().ok());
    no_body || length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

pub(crate) fn over_tcp(address: &str, request: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).expect("the page listens");
    stream.set_read_timeout(Some(Duration::from_secs(300))).expect("set");
    exchange(stream, request)
}

pub(crate) fn over_socket(path: &Path, request: &[u8]) -> Answer {
    exchange(UnixStream::connect(path).expect("the page listens"), request)
}

/// A request with `headers`, each with its line end.
pub(crate) fn request(method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
    format!("{method} {target} HTTP/1.1\r\n{host}Connection: close\r\n{headers}{length}\r\n{body}")
        .into_bytes()
}

fn parse(bytes: &[u8], no_body: bool) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = bytes.get(end + 4..).unwrap_or_default();
    let header = |name: &str| {
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let (body, whole) = if header("transfer-encoding").as_deref() == Some("chunked") && !no_body {
        unchunked(rest)
    } else {
        let length = header("content-length").and_then(|length| length.parse().ok());
        (rest.to_vec(), no_body || length.is_none_or(|length: usize| length == rest.len()))
    };
    Answer { status: status.unwrap_or(0), headers, body, whole }
}

fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(&rest[..end]).into_owned();
        let Ok(size) = usize::from_str_radix(&size, 16) else { break };
        let from = end + 2;
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(from..from + size) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(from + size + 2..).unwrap_or_default();
    }
    (body, false)
}
