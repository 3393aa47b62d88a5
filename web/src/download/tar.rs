//! Writes `.tar` (POSIX pax and GNU): owners, modes, times, attributes, symlinks, hard links and devices.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::StoredEntry;
use engine::entry::{FileId, Kind};
use engine::inspect::OpenSnapshot;
use tar::{Builder, EntryType, Header};

use crate::download::archive::{Archive, walk};
use crate::site::stream::ChunkWriter;

/// Bytes of a block (POSIX, pax interchange format).
const BLOCK: u64 = 512;
/// Inodes whose first path is remembered, to write their other names as hard links. Further ones are written as files.
const INODES: usize = 50_000;

struct Tar<'a> {
    builder: Builder<&'a mut ChunkWriter>,
    inodes: HashMap<FileId, Vec<u8>>,
}

/// Writes the folder `inside` of a snapshot under the name `top`.
pub(crate) fn write(
    open: &OpenSnapshot,
    inside: &[u8],
    top: &[u8],
    out: &mut ChunkWriter,
) -> io::Result<()> {
    let mut archive = Tar { builder: Builder::new(out), inodes: HashMap::new() };
    walk(open, inside, top, &mut archive)?;
    archive.builder.finish()
}

impl Archive for Tar<'_> {
    fn add(&mut self, path: &[u8], entry: &StoredEntry, file: Option<File>) -> io::Result<()> {
        let meta = &entry.meta;
        let mut header = Header::new_gnu();
        header.set_mode(meta.mode);
        header.set_uid(meta.uid.into());
        header.set_gid(meta.gid.into());
        // A time before 1970 is in the extended header.
        header.set_mtime(u64::try_from(meta.mtime.secs).unwrap_or(0));
        header.set_size(0);
        self.extended(entry)?;
        let path = Path::new(OsStr::from_bytes(path));
        let kind = match meta.kind {
            Kind::File => EntryType::Regular,
            Kind::Folder => EntryType::Directory,
            Kind::Fifo => EntryType::Fifo,
            Kind::Symlink => {
                header.set_entry_type(EntryType::Symlink);
                let target = OsStr::from_bytes(entry.target.as_deref().unwrap_or_default());
                return self.builder.append_link(&mut header, path, Path::new(target));
            }
            // tar has no sockets.
            Kind::Socket => return Ok(()),
            Kind::BlockDevice => EntryType::Block,
            Kind::CharDevice => EntryType::Char,
        };
        header.set_entry_type(kind);
        if meta.kind.is_device() {
            header.set_device_major(rustix::fs::major(meta.rdev))?;
            header.set_device_minor(rustix::fs::minor(meta.rdev))?;
        }
        let Some(file) = file else {
            return self.builder.append_data(&mut header, path, io::empty());
        };
        if let Some(id) = meta.id.filter(|_| meta.links > 1) {
            if let Some(first) = self.inodes.get(&id) {
                header.set_entry_type(EntryType::Link);
                let first = Path::new(OsStr::from_bytes(first)).to_owned();
                return self.builder.append_link(&mut header, path, first);
            }
            if self.inodes.len() < INODES {
                self.inodes.insert(id, path.as_os_str().as_bytes().to_vec());
            }
        }
        header.set_size(meta.size);
        // The builder writes the headers; it would copy the content in smaller pieces.
        self.builder.append_data(&mut header, path, io::empty())?;
        let out = self.builder.get_mut();
        out.send(&file, meta.size)?;
        let padding = (BLOCK - meta.size % BLOCK) % BLOCK;
        out.write_all(&[0; BLOCK as usize][..padding as usize])
    }
}

impl Tar<'_> {
    /// What the plain header cannot hold: parts of a second, times before 1970, attributes.
    fn extended(&mut self, entry: &StoredEntry) -> io::Result<()> {
        let mtime = entry.meta.mtime;
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if mtime.nanos != 0 || mtime.secs < 0 {
            records.push(("mtime".to_owned(), seconds(mtime.secs, mtime.nanos).into_bytes()));
        }
        for (name, value) in &entry.xattrs {
            // A record is text (POSIX); GNU tar, bsdtar and star read attributes from this one.
            if let Ok(name) = std::str::from_utf8(name) {
                records.push((format!("SCHILY.xattr.{name}"), value.clone()));
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.builder
            .append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), &value[..])))
    }
}

/// Seconds since 1970 as a decimal number.
fn seconds(secs: i64, nanos: u32) -> String {
    match secs < 0 && nanos > 0 {
        // -1 s and 750 ms is -0.25 s.
        true => format!("-{}.{:09}", (secs + 1).unsigned_abs(), 1_000_000_000 - nanos),
        false => format!("{secs}.{nanos:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_a_negative_number() {
        assert_eq!(seconds(1, 5), "1.000000005");
        assert_eq!(seconds(-1, 750_000_000), "-0.250000000");
        assert_eq!(seconds(-2, 0), "-2.000000000");
    }
}
