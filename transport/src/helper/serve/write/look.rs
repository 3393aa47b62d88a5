//! Describes what is in the folder that a restore writes to.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::take;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use engine::StoredEntry;
use engine::entry::{Entry, Extra, ListedEntry};
use engine::restore::{CreatorProcess, LocalTarget, Target, maker};
use engine::threads::lock;

use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::frame::append;
use crate::helper::protocol::message::Answer;
use crate::helper::protocol::write::{SentFault, WriteAnswer};
use crate::helper::serve::folders::NamedFolder;
use crate::helper::serve::send::sinks::Reply;
use crate::helper::serve::write::state::WriteState;

/// Bytes after which a message is full.
const FULL: usize = 48 * 1024;

/// The most bytes of one entry.
const ENTRY: usize = 240 * 1024;

/// Sends a message when the near end is ready for its bytes.
fn send(reply: &Reply, answer: WriteAnswer) {
    let mut frame = Vec::new();
    if append(&mut frame, reply.number, &Answer::Write(answer), &[]).is_ok()
        && reply.line.listings.take(frame.len()).is_ok()
    {
        // An error means that the connection has ended.
        let _ = reply.line.outbox.framed(frame);
    }
}

fn sent(name: &CStr, found: StoredEntry) -> Result<SentEntry, SentFault> {
    let StoredEntry { meta, target, xattrs, .. } = found;
    let extra = Some(Box::new(Extra { target, xattrs, xattrs_unread: false }));
    let entry = Entry { name: name.to_owned(), meta, extra };
    let sent = SentEntry::from(ListedEntry::from(&entry));
    match sent.bytes() {
        0..ENTRY => Ok(sent),
        _ => Err((&io::Error::other("its attributes are longer than 240 KiB together")).into()),
    }
}

/// Looks at entries of a folder.
pub(crate) fn look(
    state: &WriteState,
    folder: &NamedFolder<LocalTarget>,
    names: &[CString],
    reply: &Reply,
) {
    let (mut all, mut bytes) = (Vec::new(), 0);
    for name in names {
        let found = state.on(folder, |target, dir| target.look(dir, name));
        let found = match found {
            Ok(found) => found.map(|found| sent(name, found)).transpose(),
            Err(error) => Err((&error).into()),
        };
        let size = found.as_ref().map_or(0, |found| found.as_ref().map_or(1, SentEntry::bytes));
        if bytes + size > FULL && !all.is_empty() {
            send(reply, WriteAnswer::Looked(take(&mut all)));
            bytes = 0;
        }
        bytes += size;
        all.push(found);
    }
    send(reply, WriteAnswer::Looked(all));
}

/// Sends the names in a folder, unless there are more than `most`.
pub(crate) fn names(
    state: &WriteState,
    folder: &NamedFolder<LocalTarget>,
    most: usize,
    reply: &Reply,
) {
    let found =
        state.on(folder, |target, dir| target.names(dir, most)).map(Option::unwrap_or_default);
    let all = found.as_ref().map(|names| names.len() <= most);
    if let (Ok(names), Ok(true)) = (&found, &all) {
        let (mut some, mut bytes) = (Vec::new(), 0);
        for name in names {
            if reply.cancelled.load(Ordering::Relaxed) {
                break;
            }
            bytes += name.count_bytes() + 2;
            some.push(name.to_bytes().to_vec());
            if bytes > FULL {
                send(reply, WriteAnswer::Names(take(&mut some)));
                bytes = 0;
            }
        }
        send(reply, WriteAnswer::Names(some));
    }
    reply.write(WriteAnswer::Ended(all.map_err(SentFault::from)));
}

/// Sends what is in the folder `name`, until the near end finds an entry that must stay.
pub(crate) fn explore(
    state: &WriteState,
    folder: &NamedFolder<LocalTarget>,
    name: &CStr,
    reply: &Reply,
) {
    let found = Mutex::new((Vec::new(), 0));
    let stays = |path: &[u8], entry: ListedEntry<'_>| {
        let mut found = lock(&found);
        let entry = SentEntry::from(entry);
        found.1 += path.len() + entry.bytes();
        found.0.push((path.to_vec(), entry));
        if found.1 > FULL {
            found.1 = 0;
            send(reply, WriteAnswer::Found(take(&mut found.0)));
        }
        reply.cancelled.load(Ordering::Relaxed)
    };
    let removable = state.on(folder, |target, dir| target.may_remove(dir, name, &stays));
    send(reply, WriteAnswer::Found(take(&mut lock(&found).0)));
    reply.write(WriteAnswer::Ended(removable.map_err(|error| (&error).into())));
}

/// The process that creates a temporary entry, as [`WriteAnswer::Creator`] has it.
pub(crate) fn creator(name: &[u8]) -> Option<u8> {
    maker(name).map(|process| match process {
        CreatorProcess::Running => 0,
        CreatorProcess::Ended => 1,
        CreatorProcess::Unknown => 2,
    })
}
