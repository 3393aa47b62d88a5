//! Writes `.zip`: files, folders and symlinks, compressed, with times and modes. Names are UTF-8.

use std::fs::File;
use std::io::{self, Write};

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use engine::StoredEntry;
use engine::entry::escape::shown;
use engine::entry::{Kind, Time};
use engine::inspect::OpenSnapshot;
use flate2::Compression;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use crate::download::archive::{Archive, walk};
use crate::download::copy::copy;
use crate::program::Clock;

/// Larger files need the fields of zip64. Content that does not compress becomes a little larger.
const LARGE: u64 = u32::MAX as u64 - (64 << 20);

struct Zip<W: Write> {
    writer: ZipWriter<StreamWriter<W>>,
    clock: Clock,
}

/// Writes the folder `inside` of a snapshot under the name `top`.
pub(crate) fn write(
    open: &OpenSnapshot,
    inside: &[u8],
    top: &[u8],
    clock: Clock,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut archive = Zip { writer: ZipWriter::new_stream(out), clock };
    walk(open, inside, top, &mut archive)?;
    archive.writer.finish()?;
    Ok(())
}

impl<W: Write> Archive for Zip<W> {
    fn add(&mut self, path: &[u8], entry: &StoredEntry, file: Option<File>) -> io::Result<()> {
        let meta = &entry.meta;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(Compression::fast().level().into()))
            .unix_permissions(meta.mode & 0o777)
            .large_file(meta.size >= LARGE)
            .last_modified_time(time(&self.clock, meta.mtime).unwrap_or_default());
        let name = name(path);
        match (meta.kind, file) {
            (Kind::Folder, _) => self.writer.add_directory(name, options)?,
            (Kind::Symlink, _) => {
                let target = String::from_utf8_lossy(entry.target.as_deref().unwrap_or_default());
                self.writer.add_symlink(name, target, options)?;
            }
            (_, Some(mut file)) => {
                self.writer.start_file(name, options)?;
                copy(&mut file, meta.size, &mut self.writer)?;
            }
            // Devices, fifos and sockets have no place in a zip.
            (_, None) => {}
        }
        Ok(())
    }
}

/// A path as UTF-8. Different paths stay different: one with a backslash or with other bytes is escaped.
fn name(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.contains('\\') => text.to_owned(),
        _ => shown(path),
    }
}

/// The local time, as zip has it. `None` before 1980.
fn time(clock: &Clock, mtime: Time) -> Option<zip::DateTime> {
    let local: NaiveDateTime = clock(DateTime::from_timestamp(mtime.secs, mtime.nanos)?);
    let byte = |number: u32| u8::try_from(number).ok();
    zip::DateTime::from_date_and_time(
        u16::try_from(local.year()).ok()?,
        byte(local.month())?,
        byte(local.day())?,
        byte(local.hour())?,
        byte(local.minute())?,
        byte(local.second())?,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_utf8_and_stay_different() {
        assert_eq!(name("ä\n".as_bytes()), "ä\n");
        assert_eq!(name(b"\xff"), "\\xff");
        assert_eq!(name(b"\\xff"), "\\\\xff");
    }
}
