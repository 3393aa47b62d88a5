//! Shares with the base the blocks of a changed file that are equal in both, and writes the other ones.
//!
//! A block is shared only after the same bytes arrived from the source. So the file never has more than what was read from the
//! source: as for every partial file, its length says how far it is, and nothing of the base is in it that the source does not
//! have. `copy_file_range(2)` shares blocks where the file system has reflinks, and copies them otherwise.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::entry::Kind;
use crate::fs::extents;
use crate::fs::extents::next_data;
use crate::fs::metadata::stat;

/// The smallest size, in bytes, of a file that shares blocks.
pub(crate) const LEAST: u64 = 1 << 20;

/// The smallest block, in bytes. The file system's own is used where it is larger.
const BLOCK: u64 = 4096;

/// The largest block of a file system that has been seen (btrfs and xfs on machines with large pages).
const LARGEST_BLOCK: u64 = 64 << 10;

/// Equal blocks in a row that are worth an extent of their own. Fewer are written, so that they lie beside the ones that differ.
const FEWEST: u64 = 4;

/// A file of which more than this part differs is written whole: it would lie in too many pieces.
const PART: u64 = 5;

/// A base with fewer blocks in an extent, on average, lies in too many pieces. As many has a file of which a fifth differs, at random.
const FRAGMENTED: u64 = 4;

/// Bytes that are compared at a time. When more than a fifth of them differs, all of them are written.
const BUFFER: usize = 256 << 10;

/// The fewest blocks of which such a part is worth that.
const DENSE: usize = 16;

thread_local! {
    /// Bytes of the base. Many files may be written at the same time, by few threads.
    static OF_BASE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are written anew at a time.
const CHUNK: usize = 1 << 20;

/// The base's copy of a file that is being written, and how far it was used.
pub(crate) struct SharedBlocks {
    base: File,
    block: u64,
    /// The number of blocks to store.
    blocks: u64,
    /// The bytes from here on to the end of what arrived equal the base's, and are not in the file yet. At the start of a block,
    /// or at the end of what arrived.
    equal_from: u64,
    /// The end of the last block that is written, not shared. The rest of a block that has begun is written too.
    written_to: u64,
    /// Blocks that the base has, with other content.
    differing: u64,
    /// Bytes that were shared.
    shared: u64,
    /// Whether the base cannot be read.
    is_unreadable: bool,
}

impl SharedBlocks {
    /// Prepares to share blocks of `base` with a file that has `size` bytes in the source. The file has its first `length` bytes.
    /// `None` when the file is small, or the base lies in too many pieces.
    pub(crate) fn new(base: File, size: u64, length: u64) -> Option<Self> {
        let held = stat::meta(&base).ok()?;
        if size < LEAST || held.kind != Kind::File {
            return None;
        }
        let block = rustix::fs::fstatvfs(&base).ok()?.f_bsize.max(BLOCK);
        if !block.is_power_of_two() || block > LARGEST_BLOCK {
            return None;
        }
        let gaps = extents::count(&base).unwrap_or(0).saturating_sub(1);
        if gaps.saturating_mul(FRAGMENTED) > held.size / block {
            return None;
        }
        let _ = rustix::fs::fadvise(&base, length, None, rustix::fs::Advice::Sequential);
        Some(Self {
            base,
            block,
            blocks: size.saturating_sub(length).div_ceil(block),
            equal_from: length,
            written_to: length.next_multiple_of(block),
            differing: 0,
            shared: 0,
            is_unreadable: false,
        })
    }

    /// Bytes that share their blocks with the base.
    pub(crate) fn shared(&self) -> u64 {
        self.shared
    }

    /// Whether the file has to be written whole.
    pub(crate) fn is_over(&self) -> bool {
        self.is_unreadable || self.differing * PART > self.blocks
    }

    /// Stores `bytes`, which arrived for the offset `at`. Those that equal the base's are stored later.
    ///
    /// # Errors
    /// Those of `pwrite(2)` and `copy_file_range(2)`.
    pub(crate) fn data(&mut self, to: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = at;
        for part in bytes.chunks(BUFFER) {
            OF_BASE.with_borrow_mut(|of_base| {
                of_base.resize(BUFFER, 0);
                let count = self.read(at, &mut of_base[..part.len()]);
                self.part(to, at, part, &of_base[..count])
            })?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// The same for a part of which the base has `of_base`.
    fn part(&mut self, to: &File, start: u64, bytes: &[u8], of_base: &[u8]) -> io::Result<()> {
        let end = start + bytes.len() as u64;
        let (block, begun) = (self.block, self.written_to);
        if start >= begun && of_base == bytes {
            return Ok(());
        }
        let index = |at: u64| (at - start) as usize;
        let next = |at: u64| end.min((at / block + 1) * block);
        let blocks =
            || std::iter::successors(Some(start), |at| Some(next(*at)).filter(|at| *at < end));
        let equal = |at: u64| {
            let range = index(at)..index(next(at));
            at >= begun && of_base.get(range.clone()) == Some(&bytes[range])
        };
        // A block that the base has, with other content.
        let differs = |at: &u64| *at >= begun && index(*at) < of_base.len() && !equal(*at);
        let differing = blocks().filter(differs).count();
        self.differing += differing as u64;
        let all = blocks().count();
        let is_dense = all >= DENSE && differing * PART as usize > all;
        let mut differ_from = None;
        for at in blocks() {
            if !is_dense && equal(at) {
                if let Some(from) = differ_from.take() {
                    to.write_all_at(&bytes[index(from)..index(at)], from)?;
                    self.equal_from = at;
                }
                continue;
            }
            if differ_from.is_none() {
                self.settle(to, at)?;
                differ_from = Some(at);
            }
            self.written_to = next(at).next_multiple_of(block);
        }
        if let Some(from) = differ_from {
            to.write_all_at(&bytes[index(from)..], from)?;
            self.equal_from = end;
        }
        Ok(())
    }

    /// Leaves a hole of `length` bytes at the offset `at`, whatever the base has there.
    ///
    /// # Errors
    /// As for [`SharedBlocks::settle`].
    pub(crate) fn hole(&mut self, to: &File, at: u64, length: u64) -> io::Result<()> {
        self.settle(to, at)?;
        self.equal_from = at + length;
        self.written_to = self.equal_from.next_multiple_of(self.block);
        Ok(())
    }

    /// Stores everything that arrived before the offset `until`.
    ///
    /// # Errors
    /// Those of `copy_file_range(2)`, `pread(2)` and `pwrite(2)`.
    pub(crate) fn settle(&mut self, to: &File, until: u64) -> io::Result<()> {
        let (from, length) = (self.equal_from, until - self.equal_from);
        if length == 0 {
            return Ok(());
        }
        if length >= FEWEST * self.block && self.share(to, from, until)? {
            self.shared += length;
        } else {
            self.copy(to, from, until)?;
        }
        self.equal_from = until;
        self.written_to = until.next_multiple_of(self.block);
        Ok(())
    }

    /// Shares a part of the base. Returns `false` when it cannot be shared.
    fn share(&self, to: &File, from: u64, until: u64) -> io::Result<bool> {
        let (mut input, mut output) = (from, from);
        while input < until {
            let want = usize::try_from(until - input).unwrap_or(usize::MAX);
            let copied = rustix::fs::copy_file_range(
                &self.base,
                Some(&mut input),
                to,
                Some(&mut output),
                want,
            );
            match copied {
                Ok(0) => return Ok(false),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error @ (Errno::NOSPC | Errno::DQUOT)) => return Err(error.into()),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Copies a part of the base.
    fn copy(&self, to: &File, from: u64, until: u64) -> io::Result<()> {
        let length = usize::try_from(until - from).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(BUFFER)];
        let mut at = from;
        while at < until {
            let count = buffer.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
            self.base.read_exact_at(&mut buffer[..count], at)?;
            to.write_all_at(&buffer[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    /// Reads the base at the offset `at`. Returns how many bytes it has there.
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> usize {
        let mut count = 0;
        while count < buffer.len() {
            match self.base.read_at(&mut buffer[count..], at + count as u64) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_unreadable = true;
                    break;
                }
            }
        }
        count
    }
}

/// Writes what the first `length` bytes of `file` share anew, together with what lies around it, so that it lies in few pieces.
/// Holes stay. When `stop` returns true, the rest stays as it is.
///
/// # Errors
/// Those of `read(2)` and `write(2)`.
pub(crate) fn unshare(file: &File, length: u64, stop: &dyn Fn() -> bool) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let (data, end) = next_data(file, at, length)?;
        at = data;
        while at < end {
            if stop() {
                return Ok(());
            }
            let count = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            if extents::is_shared(file, at, count as u64) == Some(false) {
                at += count as u64;
                continue;
            }
            file.read_exact_at(&mut buffer[..count], at)?;
            // xfs overwrites blocks that are not shared where they are.
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(file, flags, at, count as u64);
            file.write_all_at(&buffer[..count], at)?;
            at += count as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(content: &[u8]) -> File {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// A run of bytes that equal the base's, that differ from it, or of a hole.
    #[derive(Debug, Clone, Copy)]
    enum Run {
        Equal,
        Other,
        Hole,
    }

    fn runs() -> impl Strategy<Value = Vec<(Run, usize)>> {
        let kind = prop_oneof![Just(Run::Equal), Just(Run::Other), Just(Run::Hole)];
        let length = prop_oneof![1_usize..9_000, (1_usize..20).prop_map(|blocks| blocks * 4096)];
        prop::collection::vec((kind, length), 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_file_has_what_arrived_and_the_base_stays(
            runs in runs(), base_size in 1_usize..400_000, piece in 1_usize..70_000,
            settled in prop::collection::vec(any::<bool>(), 8),
        ) {
            let base: Vec<u8> = (0..base_size).map(|at| (at / 4096 * 7 + at % 250) as u8).collect();
            let (original, to) = (file(&base), file(&[]));
            let mut blocks = SharedBlocks::new(original.try_clone().unwrap(), LEAST, 0).unwrap();
            let mut expected = Vec::new();
            let mut pieces = 0;
            for (run, length) in runs {
                let at = expected.len();
                match run {
                    Run::Hole => {
                        blocks.hole(&to, at as u64, length as u64).unwrap();
                        expected.resize(at + length, 0);
                    }
                    Run::Equal | Run::Other => {
                        let change = u8::from(matches!(run, Run::Other));
                        let byte = |at: usize| base.get(at).map_or(at as u8, |byte| byte ^ change);
                        expected.extend((at..at + length).map(byte));
                        let mut from = at;
                        for bytes in expected[at..].chunks(piece) {
                            blocks.data(&to, from as u64, bytes).unwrap();
                            from += bytes.len();
                            pieces += 1;
                            if settled[pieces % settled.len()] {
                                blocks.settle(&to, from as u64).unwrap();
                            }
                        }
                    }
                }
            }
            blocks.settle(&to, expected.len() as u64).unwrap();
            to.set_len(expected.len() as u64).unwrap();
            prop_assert!(content(&to) == expected);
            prop_assert!(content(&original) == base);
            unshare(&to, expected.len() as u64, &|| false).unwrap();
            prop_assert!(content(&to) == expected);
        }
    }

    #[test]
    fn blocks_that_the_base_has_with_other_content_count_and_what_was_appended_does_not() {
        let base = vec![1; LEAST as usize];
        let over = |differing: usize, appended: usize| {
            let (original, to) = (file(&base), file(&[]));
            let size = LEAST + appended as u64;
            let mut blocks = SharedBlocks::new(original, size, 0).unwrap();
            let mut bytes = base.clone();
            bytes[..differing * 4096].fill(2);
            bytes.resize(size as usize, 3);
            blocks.data(&to, 0, &bytes).unwrap();
            blocks.is_over()
        };
        // A fifth of 256 blocks.
        assert!(!over(51, 0));
        assert!(over(52, 0));
        assert!(!over(51, 9 << 20));
    }

    #[test]
    fn small_files_and_bases_in_many_pieces_share_nothing() {
        let base = file(&vec![1; LEAST as usize]);
        assert!(SharedBlocks::new(base.try_clone().unwrap(), LEAST - 1, 0).is_none());
        for block in 0..256 {
            base.write_all_at(&[2; 4096], block * 3 * 4096).unwrap();
            base.sync_all().unwrap();
        }
        if extents::count(&base).is_some_and(|count| count > 255) {
            assert!(SharedBlocks::new(base, LEAST, 0).is_none());
        }
    }
}
