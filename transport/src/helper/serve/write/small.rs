//! Stores small files, which arrive whole.

use std::io;

use engine::entry::Entry;
use engine::restore::{LocalTarget, StoreOutcome};

use crate::helper::protocol::write::{Pieces, SentEnd, SentNewFile};
use crate::helper::serve::folders::{NamedFolder, Violation};
use crate::helper::serve::write::content::{Arriving, finish, fit};
use crate::helper::serve::write::state::{WriteState, received};

/// A small file with its content.
pub(crate) struct SmallFile {
    entry: Entry,
    pieces: Pieces,
    end: SentEnd,
    replace: bool,
    content: Vec<u8>,
}

impl SmallFile {
    /// Takes the content of the file off the front of `rest`.
    ///
    /// # Errors
    /// The near end described no file.
    pub(crate) fn new(sent: SentNewFile, rest: &mut &[u8]) -> Result<Self, Violation> {
        const NONE: Violation = Violation("a file with another length than its content");
        let SentNewFile { entry, pieces, end, replace } = sent;
        let length = pieces
            .iter()
            .try_fold(0_usize, |sum, (_, length)| sum.checked_add(usize::try_from(*length).ok()?));
        let (content, others) = rest.split_at_checked(length.ok_or(NONE)?).ok_or(NONE)?;
        if !fit(&pieces, &end) {
            return Err(NONE);
        }
        *rest = others;
        Ok(Self { entry: received(entry)?, pieces, end, replace, content: content.to_vec() })
    }

    /// Stores the file.
    pub(crate) fn store(
        &self,
        state: &WriteState,
        folder: &NamedFolder<LocalTarget>,
        again: bool,
    ) -> io::Result<StoreOutcome> {
        state.on(folder, |target, dir| {
            if again {
                state.clear(target, dir, &self.entry.name);
            }
            let new = target.new_file(dir, &self.entry.name)?;
            let (mut arriving, mut rest) = (Arriving::new(self.end.1), &self.content[..]);
            let written = self.pieces.iter().try_for_each(|(offset, length)| {
                let (bytes, others) = rest.split_at(*length as usize);
                rest = others;
                arriving.write(new.file(), *offset, bytes)
            });
            match written.and_then(|()| arriving.end(new.file(), &self.end)) {
                Err(error) => Err(target.give_up_file(dir, new, error)),
                Ok(()) => {
                    let what = (&self.entry, &self.end);
                    finish((target, dir), new, what, (self.replace, again))
                }
            }
        })
    }
}
