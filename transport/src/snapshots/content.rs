//! Sends the content of a file of a snapshot, or the hash that is recorded for it, and finds damage.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use engine::copy::{OpenedContent, RecordedContent, SnapshotFolder, SnapshotReader};
use engine::entry::Meta;
use engine::fs::next_data;
use engine::source::{ContentProof, ContentSink, OfBase, Wanted};
use engine::{ContentDigest, Method, SourceError};
use rustix::io::Errno;

/// Bytes per read: small enough to stay in a core's cache until the bytes are hashed and written.
const READ: usize = 256 * 1024;

/// A hash that the sender has to compute itself: the receiver cannot compare it.
struct OwnCheck {
    digest: ContentDigest,
    recorded: RecordedContent,
}

impl OwnCheck {
    /// `None` if the receiver compares the whole hash, or none is recorded.
    fn of(recorded: RecordedContent, method: Method) -> Option<Self> {
        match recorded {
            RecordedContent::Nothing => None,
            RecordedContent::Whole(by, _) if by == method => None,
            RecordedContent::Whole(by, _) | RecordedContent::Start(by, _) => {
                Some(Self { digest: by.begin(), recorded })
            }
        }
    }

    fn is_right(&self) -> bool {
        let hash = self.digest.finish();
        match self.recorded {
            RecordedContent::Nothing => true,
            RecordedContent::Whole(_, recorded) => hash == recorded,
            RecordedContent::Start(_, proof) => proof.is(&hash),
        }
    }
}

/// Sends a file into `sink` under its index. Returns its metadata.
///
/// # Errors
/// [`SourceError::Damaged`]; those of `openat(2)` and `read(2)`.
pub(crate) fn send(
    reader: &SnapshotReader,
    folder: &SnapshotFolder,
    wanted: &Wanted,
    (index, sink): (usize, &mut dyn ContentSink),
) -> Result<Meta, SourceError> {
    let listed = &wanted.entry.meta;
    let OpenedContent { file, meta, recorded } =
        reader.content(folder, &wanted.entry.name, listed)?;
    let method = Method::of(listed);
    let whole = match recorded {
        RecordedContent::Whole(by, hash) if by == method => Some(hash.into()),
        _ => None,
    };
    if let Some(hash) = whole {
        if matches!(wanted.base, Some(OfBase::Same(_))) {
            sink.same(index, ContentProof::Hash(hash));
            return Ok(listed.clone());
        }
        sink.hashed(index, hash);
    }
    let mut check = OwnCheck::of(recorded, method);
    // The whole file has to be hashed, also the part that the receiver has.
    let from = if check.is_some() { 0 } else { wanted.from };
    let read = read(&file, &meta, from, &mut |at, piece| {
        let skipped = wanted.from.saturating_sub(at);
        match piece {
            Piece::Data(bytes) => {
                if let Some(check) = &mut check {
                    check.digest.update(bytes);
                }
                match usize::try_from(skipped).ok().and_then(|skipped| bytes.get(skipped..)) {
                    Some(rest) if !rest.is_empty() => sink.data(index, rest),
                    _ => ControlFlow::Continue(()),
                }
            }
            Piece::Hole(length) => {
                if let Some(check) = &mut check {
                    check.digest.zeros(length, &|| false);
                }
                match length.saturating_sub(skipped) {
                    0 => ControlFlow::Continue(()),
                    rest => sink.hole(index, rest),
                }
            }
        }
    });
    match read.map_err(|error| SourceError::from_io("read", error))? {
        // The receiver wants no more.
        ControlFlow::Break(()) => return Ok(listed.clone()),
        ControlFlow::Continue(end) if end != meta.size => return Err(cut_short()),
        ControlFlow::Continue(_) => {}
    }
    if check.is_some_and(|check| !check.is_right()) {
        return Err(SourceError::Damaged);
    }
    Ok(listed.clone())
}

/// A piece of a file.
enum Piece<'a> {
    Data(&'a [u8]),
    /// A hole of this many bytes.
    Hole(u64),
}

/// Receives the pieces of a file, each with its offset.
type Into<'a> = dyn FnMut(u64, Piece<'_>) -> ControlFlow<()> + 'a;

/// Reads a file from an offset to its end, and returns the offset of that.
fn read(
    file: &File,
    meta: &Meta,
    from: u64,
    into: &mut Into<'_>,
) -> io::Result<ControlFlow<(), u64>> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // Taken, not borrowed: a sink may request more files before this call returns.
    let mut buffer = BUFFER.take();
    if buffer.is_empty() {
        // Fresh pages are zeros already, so that nothing is written here.
        buffer = vec![0; READ];
    }
    let read = read_into(file, meta, from, &mut buffer, into);
    BUFFER.set(buffer);
    read
}

fn read_into(
    file: &File,
    meta: &Meta,
    from: u64,
    buffer: &mut [u8],
    into: &mut Into<'_>,
) -> io::Result<ControlFlow<(), u64>> {
    let (mut at, size) = (from, meta.size);
    while at < size {
        let (data, end) = match meta.allocated < size {
            true => next_data(file, at, size)?,
            false => (at, size),
        };
        if data > at && into(at, Piece::Hole(data - at)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = data;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            match file.read_at(&mut buffer[..most], at) {
                Ok(0) => return Ok(ControlFlow::Continue(at)),
                Ok(count) => {
                    if into(at, Piece::Data(&buffer[..count])).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(ControlFlow::Continue(at))
}

/// The error for a file that is not as long as it was when it was listed.
fn cut_short() -> SourceError {
    SourceError::Unreadable { action: "read", error: Errno::IO.into() }
}
