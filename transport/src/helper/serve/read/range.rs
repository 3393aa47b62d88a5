//! A range of a large file, which the near end fetches over several channels. The far end of each opens the file itself.

use std::cell::RefCell;

use engine::source::{ContentSink, Wanted};

use crate::helper::protocol::message::Answer;
use crate::helper::serve::send::sinks::{Content, Reply};
use crate::helper::serve::served::{OpenedFile, Served, ServedFolder, shown};
use crate::local::read::{Opened, Piece, READ, read_range};

/// Sends at most `length` bytes of a file from the requested offset on, if the file is as it was listed. Otherwise
/// sends the metadata of what was found.
pub(crate) fn send(
    source: &Served,
    folder: &ServedFolder,
    wanted: &Wanted,
    length: u64,
    reply: &Reply,
) {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    }
    let mut sink = Content::new(reply.clone());
    let OpenedFile { opened, of_snapshot } = match source.open_at_any_offset(folder, wanted) {
        Ok(opened) => opened,
        Err(error) => return sink.file_end(0, Err(error)),
    };
    let after = match opened {
        Opened::Wanted(mut file, opened) => BUFFER.with_borrow_mut(|buffer| {
            let mut into = |piece: Piece<'_>| match piece {
                Piece::Bytes(buffer, count) => sink.data(0, &buffer[..count]),
                Piece::Hole(length) => sink.hole(0, length),
            };
            let range = (wanted.from, length);
            let after = read_range(&mut file, &opened, range, buffer, &mut into)?;
            Ok(shown(of_snapshot.as_ref(), after))
        }),
        Opened::Other(found) => Ok(found),
        Opened::WithoutSize => return reply.answer(&Answer::Undivided),
    };
    if let Some(hash) = of_snapshot.and_then(|it| it.recorded) {
        sink.hashed(0, hash);
    }
    sink.file_end(0, after);
}
