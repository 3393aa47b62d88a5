//! A range of a large file, which the near end fetches over several channels. The far end of each opens the file itself.

use std::cell::RefCell;

use engine::source::{ContentSink, Wanted};

use crate::helper::protocol::message::Answer;
use crate::helper::serve::sinks::{Content, Reply};
use crate::local::read::{Opened, Piece, READ, read_range};
use crate::local::{LocalFolder, LocalSource};

/// Sends at most `length` bytes of a file from the requested offset on, if the file is as it was listed. Otherwise
/// sends the metadata of what was found.
pub(crate) fn send(
    source: &LocalSource,
    folder: &LocalFolder,
    wanted: &Wanted,
    length: u64,
    reply: &Reply,
) {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    }
    let mut sink = Content::new(reply.clone());
    let after = match source.open_at_any_offset(folder, wanted) {
        Ok(Opened::Wanted(mut file, opened)) => BUFFER.with_borrow_mut(|buffer| {
            let mut into = |piece: Piece<'_>| match piece {
                Piece::Bytes(buffer, count) => sink.data(0, &buffer[..count]),
                Piece::Hole(length) => sink.hole(0, length),
            };
            read_range(&mut file, &opened, (wanted.from, length), buffer, &mut into)
        }),
        Ok(Opened::Other(found)) => Ok(found),
        Ok(Opened::WithoutSize) => return reply.answer(&Answer::Undivided),
        Err(error) => Err(error),
    };
    sink.file_end(0, after);
}
