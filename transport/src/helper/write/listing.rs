//! Requests with many answers: names, entries, and what is in a folder that may be removed.

use std::ffi::{CStr, CString};
use std::io;

use engine::StoredEntry;
use engine::entry::{ListedEntry, c_name, check_name};
use engine::restore::MustStay;

use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::write::{WriteAnswer, WriteRequest};
use crate::helper::write::fault::RequestError;
use crate::helper::write::folder::RestoredFolder;
use crate::helper::write::session::{Question, WriteSession, unexpected};

/// The most names, and bytes of names, of one folder. Above it, a far end that sends names without end is more likely.
pub(crate) const NAMES_MOST: usize = 1_000_000;
const NAME_BYTES_MOST: usize = 64 << 20;

impl WriteSession {
    /// Looks at names whose entries only the far end knows. Stops after a lost connection.
    pub(crate) fn look_there(
        &self,
        folder: &RestoredFolder,
        names: &[&CStr],
        each: &mut dyn FnMut(io::Result<Option<StoredEntry>>),
    ) -> Result<usize, (usize, RequestError)> {
        let request = WriteRequest::Look {
            folder: folder.handle.number,
            names: names.iter().map(|name| name.to_bytes()).collect(),
        };
        let mut looked = 0;
        let mut look = || {
            let pending = self.send(Question::new(&[&folder.handle], &request))?;
            while looked < names.len() {
                let WriteAnswer::Looked(some) = pending.next()? else { return Err(unexpected()) };
                if some.is_empty() {
                    return Err(unexpected());
                }
                for found in some.into_iter().take(names.len() - looked) {
                    looked += 1;
                    each(match found {
                        Ok(None) => Ok(None),
                        Ok(Some(sent)) => stored(sent).map(Some),
                        Err(fault) => Err(fault.into()),
                    });
                }
            }
            Ok(())
        };
        let result = look();
        result.map(|()| looked).map_err(|error| (looked, error))
    }

    /// Lists all names of a folder; `None` when there are more than `most`.
    pub(crate) fn list(
        &self,
        folder: &RestoredFolder,
        most: usize,
    ) -> Result<Option<Vec<CString>>, RequestError> {
        let asked = u64::try_from(most).unwrap_or(u64::MAX);
        let request = WriteRequest::Names { folder: folder.handle.number, most: asked };
        let pending = self.send(Question::new(&[&folder.handle], &request))?;
        let (mut names, mut bytes) = (Vec::new(), 0);
        loop {
            match pending.next()? {
                WriteAnswer::Names(some) => {
                    bytes += some.iter().map(|name| name.len() + 16).sum::<usize>();
                    if names.len() + some.len() > most.min(NAMES_MOST) || bytes > NAME_BYTES_MOST {
                        self.cancel(pending.id);
                        let endless = io::Error::other("its listing does not end");
                        return Err(RequestError::Refused(endless));
                    }
                    for name in some {
                        check_name(&name).map_err(|_| no_entry())?;
                        names.push(c_name(name).map_err(|_| no_entry())?);
                    }
                }
                WriteAnswer::Ended(Ok(all)) => return Ok(all.then_some(names)),
                WriteAnswer::Ended(Err(fault)) => return Err(RequestError::Refused(fault.into())),
                _ => return Err(unexpected()),
            }
        }
    }

    /// Whether the folder `name` may be removed with everything in it.
    pub(crate) fn explore(
        &self,
        folder: &RestoredFolder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> Result<bool, RequestError> {
        let request = WriteRequest::Explore { folder: folder.handle.number, name: name.to_bytes() };
        let pending = self.send(Question::new(&[&folder.handle], &request))?;
        let mut stays = false;
        loop {
            match pending.next()? {
                WriteAnswer::Found(found) => {
                    for (path, entry) in found {
                        if !stays && must_stay(&path, entry, spared)? {
                            stays = true;
                            self.cancel(pending.id);
                        }
                    }
                }
                WriteAnswer::Ended(Ok(removable)) => return Ok(removable && !stays),
                WriteAnswer::Ended(Err(fault)) => return Err(RequestError::Refused(fault.into())),
                _ => return Err(unexpected()),
            }
        }
    }
}

fn no_entry() -> RequestError {
    RequestError::Refused(io::Error::other("the far end described no entry that can exist"))
}

/// An entry of the target, as the far end sent it.
fn stored(sent: SentEntry) -> io::Result<StoredEntry> {
    let (_, meta, extra) = sent.parts(|_| true).map_err(|_| no_entry())?;
    let extra = extra.map(|extra| *extra).unwrap_or_default();
    Ok(StoredEntry { meta, target: extra.target, xattrs: extra.xattrs, on_disk: true })
}

/// Whether an entry below a folder that may be removed must stay.
fn must_stay(path: &[u8], sent: SentEntry, spared: &MustStay<'_>) -> Result<bool, RequestError> {
    let mut names = path.split(|byte| *byte == b'/');
    if !names.all(|name| check_name(name).is_ok()) {
        return Err(no_entry());
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = c_name(name).map_err(|_| no_entry())?;
    let entry = sent.entry(name, |_| true).map_err(|_| no_entry())?;
    Ok(spared(path, ListedEntry::from(&entry)))
}
