//! The hash of a file of which the near end probably has the content.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::source::Wanted;
use engine::{Method, SourceError};

use crate::helper::protocol::message::Answer;
use crate::helper::serve::send::sinks::Reply;
use crate::helper::serve::served::{OfSnapshot, OpenedFile, Served, ServedFolder, shown};
use crate::local::read::{Opened, Piece, READ, read_range};

/// How long the far end is silent while it hashes.
const SILENCE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// Sends the hash of a file, if the file is as it was listed, and the metadata of what was found. A file of a snapshot has a
/// recorded hash, so it is not read.
pub(crate) fn send(source: &Served, folder: &ServedFolder, wanted: &Wanted, reply: &Reply) {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    }
    let opened = source.open_at_any_offset(folder, wanted);
    let (opened, of_snapshot) = match opened {
        Ok(OpenedFile { opened, of_snapshot }) => (Ok(opened), of_snapshot),
        Err(error) => (Err(error), None),
    };
    if let Some(OfSnapshot { recorded: Some(hash), listed }) = &of_snapshot {
        reply.answer(&Answer::Hashed(*hash));
        return reply.answer(&Answer::Read(Ok(listed.into())));
    }
    let after = match opened {
        Ok(Opened::Wanted(mut file, opened)) => BUFFER.with_borrow_mut(|buffer| {
            let (mut hash, mut told) = (Method::of(&opened).begin(), Instant::now());
            let is_cancelled = || reply.cancelled.load(Ordering::Relaxed);
            let mut into = |piece: Piece<'_>| {
                match piece {
                    Piece::Bytes(buffer, count) => hash.update(&buffer[..count]),
                    Piece::Hole(length) => drop(hash.zeros(length, &is_cancelled)),
                }
                if told.elapsed() >= SILENCE {
                    reply.answer(&Answer::Chunks(Vec::new()));
                    told = Instant::now();
                }
                match is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let after = read_range(&mut file, &opened, (0, opened.size), buffer, &mut into);
            if after.is_ok() {
                reply.answer(&Answer::Hashed(hash.finish().into()));
            }
            after.map(|after| shown(of_snapshot.as_ref(), after))
        }),
        Ok(Opened::Other(found)) => Ok(found),
        Ok(Opened::WithoutSize) => return reply.answer(&Answer::Undivided),
        Err(error) => Err(error),
    };
    let after = after.as_ref().map(Into::into).map_err(|error: &SourceError| error.into());
    reply.answer(&Answer::Read(after));
}
