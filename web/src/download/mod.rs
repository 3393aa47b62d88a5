//! Downloads: a file with ranges, a picture, a folder as an archive. The snapshot is protected from removal while
//! it is read.

mod archive;
mod copy;
pub(crate) mod picture;
mod range;
mod tar;
mod zip;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use engine::entry::{Kind, Meta};
use engine::inspect::OpenSnapshot;

use self::range::Part;
use crate::site::answer::{self, Failure, Outcome};
use crate::site::link::escaped;
use crate::site::place::Place;
use crate::site::request::Asked;
use crate::site::stream::{ChunkWriter, body};

/// A browser runs nothing in an answer with this.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// A file, whole or a range of it.
pub(crate) fn raw(asked: Asked) -> Outcome {
    let place = Place::of(&asked)?;
    let open = place.open()?;
    let (file, meta) = opened(&place, &open)?;
    let tag = tag(&meta);
    if asked.header(IF_NONE_MATCH) == Some(&tag) {
        return Ok(empty(StatusCode::NOT_MODIFIED, ETAG, &tag));
    }
    // A range of another version would not fit to the bytes that the client has.
    let same = asked.header(IF_RANGE).is_none_or(|known| known == tag);
    let range = asked.header(RANGE).filter(|_| same);
    let part = range.map_or(Part::All, |range| Part::read(range, meta.size));
    let (status, start, length) = match part {
        Part::All => (StatusCode::OK, 0, meta.size),
        Part::Range(start, length) => (StatusCode::PARTIAL_CONTENT, start, length),
        Part::Outside => {
            let text = format!("bytes */{}", meta.size);
            return Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE, CONTENT_RANGE, &text));
        }
    };
    let mut response = stream(&asked, move |out| {
        let _open = open;
        send(file, start, length, out)
    })?;
    *response.status_mut() = status;
    set(&mut response, CONTENT_LENGTH, &length.to_string());
    set(&mut response, ACCEPT_RANGES, "bytes");
    set(&mut response, ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT && length > 0 {
        let range = format!("bytes {start}-{}/{}", start + length - 1, meta.size);
        set(&mut response, CONTENT_RANGE, &range);
    }
    let name = place.split().map(|(_, name)| name.into_bytes()).unwrap_or_default();
    Ok(attachment(response, &name))
}

/// A picture, for the page of its file. Any other content is not found.
pub(crate) fn picture(asked: Asked) -> Outcome {
    let place = Place::of(&asked)?;
    let open = place.open()?;
    let (mut file, meta) = opened(&place, &open)?;
    let mut start = [0; 16];
    let read = file.read(&mut start)?;
    let media = picture::is_picture(&start[..read]).ok_or(Failure::NotFound)?;
    let mut response = stream(&asked, move |out| {
        let _open = open;
        send(file, 0, meta.size, out)
    })?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    set(&mut response, CONTENT_LENGTH, &meta.size.to_string());
    Ok(response)
}

/// A folder as `.tar`, with all that the snapshot holds of it.
pub(crate) fn tar(asked: Asked) -> Outcome {
    archive(&asked, "tar", "application/x-tar", tar::write)
}

/// A folder as `.zip`, for systems without tar.
pub(crate) fn zip(asked: Asked) -> Outcome {
    let clock = std::sync::Arc::clone(&asked.clock);
    archive(&asked, "zip", "application/zip", move |open, inside, top, out| {
        zip::write(open, inside, top, clock, out)
    })
}

fn archive(
    asked: &Asked,
    suffix: &str,
    media: &'static str,
    write: impl FnOnce(&OpenSnapshot, &[u8], &[u8], &mut ChunkWriter) -> io::Result<()> + Send + 'static,
) -> Outcome {
    let place = Place::of(asked)?;
    let open = place.open()?;
    open.folder(&place.inside)?;
    let top = match place.split() {
        Some((_, name)) => name.into_bytes(),
        None => place.snapshot().to_string().into_bytes(),
    };
    let name = [&top[..], b".", suffix.as_bytes()].concat();
    let mut response = stream(asked, move |out| write(&open, &place.inside, &top, out))?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(attachment(response, &name))
}

/// Opens the regular file of a place.
fn opened(place: &Place, open: &OpenSnapshot) -> Result<(File, Meta), Failure> {
    let (parent, name) = place.split().ok_or(Failure::NoSuchPath)?;
    let folder = open.folder(parent)?;
    // A destination that changes names has another entry under this name.
    let on_disk =
        folder.entry(&name)?.is_some_and(|entry| entry.on_disk && entry.meta.kind == Kind::File);
    if !on_disk {
        return Err(Failure::NoSuchPath);
    }
    let file = folder.file(&name)?;
    let meta = engine::fs::stat::meta(&file)?;
    Ok((file, meta))
}

/// Sends `length` bytes of a file.
fn send(mut file: File, start: u64, length: u64, out: &mut ChunkWriter) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    out.send(&file, length)
}

/// An answer that a thread writes, if not too many are being written.
fn stream(
    asked: &Asked,
    write: impl FnOnce(&mut ChunkWriter) -> io::Result<()> + Send + 'static,
) -> Outcome {
    let permit = asked.site.streams.clone().try_acquire_owned().map_err(|_| Failure::Busy)?;
    let body = body(move |out| {
        let _permit = permit;
        write(out)
    });
    let mut response = answer::of("application/octet-stream", body);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, SANDBOX);
    Ok(response)
}

/// An answer that a browser stores under `name` (RFC 6266).
fn attachment(mut response: Response, name: &[u8]) -> Response {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\%/;".contains(byte) || *byte == b' ';
    let ascii: String =
        name.iter().map(|byte| if plain(byte) { char::from(*byte) } else { '_' }).collect();
    let utf8 = String::from_utf8_lossy(name);
    let text =
        format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", escaped(utf8.as_bytes()));
    set(&mut response, CONTENT_DISPOSITION, &text);
    response
}

/// Identifies the content of a file: no inode of a complete snapshot changes.
fn tag(meta: &Meta) -> String {
    let inode = meta.id.map_or(0, |id| id.ino);
    format!("\"{inode:x}-{:x}-{:x}.{:x}\"", meta.size, meta.mtime.secs, meta.mtime.nanos)
}

fn empty(status: StatusCode, name: HeaderName, value: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    set(&mut response, name, value);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
