//! A file of the incomplete snapshot while its content is written, from its start or from the point that an
//! interrupted run reached.

pub(crate) mod resume_marks;
pub(crate) mod shared_blocks;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;

use rustix::fs::FallocateFlags;

use crate::backup::apply::partial_file::resume_marks::{ResumeMark, ResumeMarks};
use crate::backup::apply::partial_file::shared_blocks::{SharedBlocks, unshare};
use crate::backup::brake::sample::looks_random;
use crate::entry::digest::{Digest, Method};
use crate::entry::{Kind, Meta};
use crate::fs::metadata::xattrs;

/// The smallest size, in bytes, of a file that a later run resumes. Copying a smaller file again costs less than the check.
pub(crate) const WORTH_MARKING: u64 = 1 << 20;

/// Bytes per read when a run reads a partial file again.
const CHUNK: usize = 1 << 20;

/// Bytes that are written before the disk starts to store them. Otherwise the kernel collects gigabytes, the disk idles while the
/// source sends, and the run waits for the disk at its end: 1 GiB over loopback took 6.2 s instead of 5.5.
const STORE_AFTER: u64 = 8 << 20;

/// A file that is being written.
pub(crate) struct Writing {
    file: File,
    hasher: Digest,
    method: Method,
    length: u64,
    ends_in_hole: bool,
    /// `None` where the file system has no attributes, for a small or sparse file, and after an attempt to mark failed.
    marks: Option<ResumeMarks>,
    /// Whether the file on disk has marks now.
    marked: bool,
    /// Bytes of it that an earlier run wrote.
    taken_up: u64,
    /// Bytes of it that are holes which this run left.
    holes: u64,
    /// Whether its first bytes look random; `None` when they do not say or this run did not write them.
    looks_random: Option<bool>,
    /// Bytes from its start that the disk stores or has been asked to store.
    sent_to_disk: u64,
    /// The base's copy, whose equal blocks it shares.
    shares: Option<SharedBlocks>,
}

impl Writing {
    /// Starts to write `file`, which is new and empty. `meta` is its metadata in the source. `marked` says whether the
    /// file system can store resume marks.
    pub(crate) fn new(file: File, meta: &Meta, marked: bool) -> Self {
        let method = Method::of(meta);
        // A file that is mostly holes has little content to resume.
        let worth = marked && meta.size >= WORTH_MARKING && method == Method::Plain;
        let marks = worth.then(|| ResumeMarks::new(meta.size, meta.mtime));
        let hasher = method.begin();
        Self {
            file,
            hasher,
            method,
            length: 0,
            ends_in_hole: false,
            marks,
            marked: false,
            taken_up: 0,
            holes: 0,
            looks_random: None,
            sent_to_disk: 0,
            shares: None,
        }
    }

    /// From now on, shares the blocks that are equal in `base`.
    pub(crate) fn sharing(self, base: Option<File>, meta: &Meta) -> Self {
        let shares = base.and_then(|base| SharedBlocks::new(base, meta.size, self.length));
        Self { shares, ..self }
    }

    /// Resumes `file`, which an earlier run left, if it is provably the start of the source's file that `meta` describes:
    /// the content, read again from the disk, must have the hash of a mark. `None` otherwise.
    ///
    /// # Errors
    /// Those of `read(2)` and `ftruncate(2)`; `Interrupted` when `stop` returns true.
    pub(crate) fn take_up(
        file: File,
        meta: &Meta,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        let found = crate::fs::metadata::stat::meta(&file)?;
        let Some(mut marks) = xattrs::marks(&file)?.and_then(|bytes| ResumeMarks::decode(&bytes))
        else {
            return Ok(None);
        };
        // A complete snapshot may share an inode that has several names.
        let ours = found.kind == Kind::File && found.links == 1;
        if !ours || marks.size != meta.size || marks.mtime != meta.mtime {
            return Ok(None);
        }
        marks.cut(found.size.min(meta.size));
        // The check must read from the disk, not from the page cache.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let method = Method::Plain;
        let mut hasher = method.begin();
        let mut good = None;
        let mut at = 0;
        for (number, mark) in marks.marks.iter().enumerate() {
            if !read_on(&file, &mut hasher, mark.length - at, stop)? {
                break;
            }
            at = mark.length;
            if hasher.finish() != mark.hash {
                break;
            }
            good = Some((number, hasher.clone()));
        }
        let Some((number, hasher)) = good else { return Ok(None) };
        marks.marks.truncate(number + 1);
        let length = marks.marks[number].length;
        file.set_len(length)?;
        (&file).seek(SeekFrom::Start(length))?;
        let (marks, taken_up, marked) = (Some(marks), length, true);
        Ok(Some(Self {
            file,
            hasher,
            method,
            length,
            ends_in_hole: false,
            marks,
            marked,
            taken_up,
            holes: 0,
            looks_random: None,
            sent_to_disk: length,
            shares: None,
        }))
    }

    /// Writes the next bytes. When it turns out that too much of the file differs from the base, also writes anew what it shares;
    /// when `stop` returns true, part of that stays shared.
    ///
    /// # Errors
    /// Those of `write(2)`.
    pub(crate) fn data(&mut self, bytes: &[u8], stop: &dyn Fn() -> bool) -> io::Result<()> {
        match &mut self.shares {
            Some(shares) => shares.data(&self.file, self.length, bytes)?,
            None => self.file.write_all(bytes)?,
        }
        self.hasher.update(bytes);
        if self.length == 0 {
            self.looks_random = looks_random(bytes);
        }
        self.length += bytes.len() as u64;
        self.ends_in_hole = false;
        if self.shares.as_ref().is_some_and(SharedBlocks::is_over) {
            self.write_whole(stop)?;
        }
        self.mark_if_due();
        self.start_to_store();
        Ok(())
    }

    /// Ends the sharing of blocks.
    fn write_whole(&mut self, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let Some(shares) = &mut self.shares else { return Ok(()) };
        shares.settle(&self.file, self.length)?;
        if shares.shared() > 0 {
            unshare(&self.file, self.length, stop)?;
        }
        self.shares = None;
        self.file.seek(SeekFrom::Start(self.length)).map(|_| ())
    }

    /// Asks the disk to store what was written, and does not wait for it. For pages that are not stored yet,
    /// `POSIX_FADV_DONTNEED` does what `sync_file_range(2)` does with `SYNC_FILE_RANGE_WRITE`.
    fn start_to_store(&mut self) {
        let waiting = self.length - self.sent_to_disk;
        if waiting >= STORE_AFTER {
            let (from, advice) = (self.sent_to_disk, rustix::fs::Advice::DontNeed);
            // The disk stores it later where this fails.
            let _ = rustix::fs::fadvise(&self.file, from, NonZeroU64::new(waiting), advice);
            self.sent_to_disk = self.length;
        }
    }

    /// Writes the next bytes, which the source took from the base.
    ///
    /// # Errors
    /// Those of `write(2)`.
    pub(crate) fn of_base(&mut self, bytes: &[u8], stop: &dyn Fn() -> bool) -> io::Result<()> {
        if let Some(marks) = &mut self.marks {
            marks.unproven = true;
        }
        self.data(bytes, stop)
    }

    /// Whether it has bytes that only the source's hash of the whole file proves.
    pub(crate) fn is_unproven(&self) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.unproven)
    }

    /// Leaves a hole of `length` bytes, unless `stop` returns true.
    ///
    /// # Errors
    /// Those of `lseek(2)`.
    pub(crate) fn hole(&mut self, length: u64, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let step = i64::try_from(length).map_err(|_| rustix::io::Errno::FBIG)?;
        i64::try_from(self.length.saturating_add(length)).map_err(|_| rustix::io::Errno::FBIG)?;
        match &mut self.shares {
            Some(shares) => shares.hole(&self.file, self.length, length)?,
            None => _ = self.file.seek(SeekFrom::Current(step))?,
        }
        // xfs has reserved blocks behind the end of the file, and would keep them in the hole.
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&self.file, flags, self.length, length);
        if !self.hasher.zeros(length, stop) {
            // The hash does not cover the whole hole, so no mark may be made from it.
            self.marks = None;
            return Ok(());
        }
        self.length += length;
        self.holes += length;
        self.ends_in_hole = true;
        self.mark_if_due();
        Ok(())
    }

    /// The hash of what was written so far, including what an earlier run wrote.
    pub(crate) fn hash(&self) -> blake3::Hash {
        self.hasher.finish()
    }

    /// The method of its hash.
    pub(crate) fn method(&self) -> Method {
        self.method
    }

    /// Bytes written so far, including those of an earlier run.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether its first bytes look random; `None` when that is not known.
    pub(crate) fn looks_random(&self) -> Option<bool> {
        self.looks_random
    }

    /// Bytes of [`Writing::length`] that an earlier run wrote.
    pub(crate) fn taken_up(&self) -> u64 {
        self.taken_up
    }

    /// Bytes of [`Writing::length`] that are no holes and share no blocks with the base.
    pub(crate) fn stored(&self) -> u64 {
        let shared = self.shares.as_ref().map_or(0, SharedBlocks::shared);
        self.length - self.holes - shared
    }

    /// Marks the partial file so that a later run can resume it.
    pub(crate) fn leave(mut self) {
        if self.marks.is_some() && self.length >= WORTH_MARKING {
            self.mark();
        }
    }

    /// Finishes a completely written file, and returns it with its hash. With `record`, stores the hash as an attribute.
    ///
    /// # Errors
    /// When the destination is full or fails.
    pub(crate) fn finish(mut self, record: bool) -> io::Result<(File, blake3::Hash)> {
        self.settle()?;
        let hash = self.hasher.finish();
        if record {
            xattrs::set_hash_by(&self.file, self.method, &hash)?;
        }
        if self.marked {
            xattrs::remove_marks(&self.file)?;
        }
        Ok((self.file, hash))
    }

    fn mark_if_due(&mut self) {
        if self.marks.as_ref().is_some_and(|marks| marks.due(self.length)) {
            self.mark();
        }
    }

    /// Adds a mark at the current length. A file that cannot be marked, for example on a full disk, keeps its older marks,
    /// which still hold.
    fn mark(&mut self) {
        let mark = ResumeMark { length: self.length, hash: self.hasher.finish() };
        let marked = self.settle().and_then(|()| {
            let Some(marks) = &mut self.marks else { return Ok(()) };
            marks.add(mark);
            xattrs::set_marks(&self.file, &marks.encode())
        });
        match marked {
            Ok(()) => self.marked = true,
            Err(_) => self.marks = None,
        }
    }

    /// Stores everything that arrived, and sets the length of a file that ends in a hole.
    ///
    /// # Errors
    /// When the destination is full or fails.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if let Some(shares) = &mut self.shares {
            shares.settle(&self.file, self.length)?;
        }
        if self.ends_in_hole {
            self.file.set_len(self.length)?;
            self.ends_in_hole = false;
        }
        Ok(())
    }
}

/// Reads the next `count` bytes into `hasher`. Returns `false` when the file has fewer.
fn read_on(
    mut file: &File,
    hasher: &mut Digest,
    count: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK];
    let mut left = count;
    while left > 0 {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match file.read(&mut buffer[..most])? {
            0 => return Ok(false),
            count => {
                hasher.update(&buffer[..count]);
                left -= count as u64;
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::backup::apply::partial_file::resume_marks::STEP;
    use crate::entry::Time;

    const NEVER: &dyn Fn() -> bool = &|| false;

    fn meta(size: u64) -> Meta {
        Meta {
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: Time { secs: 9, nanos: 1 },
            ctime: Time::default(),
            id: None,
            links: 1,
            rdev: 0,
            allocated: size,
            is_shared: false,
        }
    }

    fn bytes(count: u64) -> Vec<u8> {
        (0..count).map(|at| (at % 251) as u8).collect()
    }

    /// A partial file with `length` of `size` bytes, as an interrupted run leaves it.
    fn left(folder: &tempfile::TempDir, length: u64, size: u64) -> File {
        let path = folder.path().join("file");
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        let mut writing = Writing::new(file.try_clone().unwrap(), &meta(size), true);
        for piece in bytes(length).chunks(300_000) {
            writing.data(piece, NEVER).unwrap();
        }
        writing.leave();
        (&file).rewind().unwrap();
        file
    }

    #[test]
    fn a_file_that_was_left_goes_on_where_it_was_and_ends_as_if_it_had_never_been() {
        let folder = tempfile::tempdir().unwrap();
        let (part, whole) = (2 * STEP + 12_345, 3 * STEP);
        let file = left(&folder, part, whole);
        let taken = Writing::take_up(file, &meta(whole), NEVER).unwrap();
        let mut writing = taken.expect("it goes on");
        assert_eq!((writing.length(), writing.taken_up()), (part, part));
        writing.data(&bytes(whole)[part as usize..], NEVER).unwrap();
        let (file, hash) = writing.finish(true).unwrap();
        assert_eq!(hash, blake3::hash(&bytes(whole)));
        assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), bytes(whole));
        assert_eq!(xattrs::marks(&file).unwrap(), None);
    }

    #[test]
    fn bytes_that_are_not_those_that_were_written_are_cut_off_at_an_older_mark_or_not_used() {
        for (damaged, goes_on_at) in [(4 * STEP + 400_000, Some(4 * STEP)), (5, None)] {
            let folder = tempfile::tempdir().unwrap();
            let file = left(&folder, 6 * STEP, 9 * STEP);
            std::os::unix::fs::FileExt::write_at(&file, b"\xff", damaged).unwrap();
            let taken = Writing::take_up(file, &meta(9 * STEP), NEVER).unwrap();
            let at = taken.as_ref().map(Writing::length);
            assert_eq!(at.map(|at| at / STEP * STEP), goes_on_at);
            assert_eq!(
                at.is_some(),
                taken.is_some_and(|it| it.file.metadata().unwrap().size() < 5 * STEP)
            );
        }
    }

    #[test]
    fn another_state_of_the_source_another_name_and_a_shorter_file_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = left(&folder, 2 * STEP, 4 * STEP);
        let again = || file.try_clone().unwrap();
        let later = Meta { mtime: Time { secs: 9, nanos: 2 }, ..meta(4 * STEP) };
        assert!(Writing::take_up(again(), &later, NEVER).unwrap().is_none());
        assert!(Writing::take_up(again(), &meta(4 * STEP + 1), NEVER).unwrap().is_none());
        let name = folder.path().join("other");
        std::fs::hard_link(folder.path().join("file"), &name).unwrap();
        assert!(Writing::take_up(again(), &meta(4 * STEP), NEVER).unwrap().is_none());
        std::fs::remove_file(name).unwrap();
        file.set_len(STEP / 2).unwrap();
        assert!(Writing::take_up(again(), &meta(4 * STEP), NEVER).unwrap().is_none());
    }

    #[test]
    fn holes_are_part_of_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        let mut writing = Writing::new(file.try_clone().unwrap(), &meta(3 * STEP), true);
        writing.data(&bytes(4096), NEVER).unwrap();
        writing.hole(2 * STEP, NEVER).unwrap();
        drop(writing);
        (&file).rewind().unwrap();
        let taken = Writing::take_up(file, &meta(3 * STEP), NEVER).unwrap();
        assert_eq!(taken.map(|it| it.length()), Some(2 * STEP + 4096));
    }
}
