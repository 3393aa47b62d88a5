//! Sets owner, mode and time of entries on the host, and finds out which of them the server refused.

use engine::entry::{Entry, Kind};
use engine::restore::targets::Shortfall;

use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::folder::{TargetFolder, stands_at};
use crate::sftp::write::link::error::Fault;
use crate::sftp::write::link::request_batch::{Lane, Requests, Via};
use crate::sftp::write::link::session::{UNSUPPORTED, described, is_folder};
use crate::sftp::write::target::SftpTarget;
use crate::sftp::write::verify_attributes::ExpectedEntry;

/// setuid and setgid.
const SET_ID: u32 = 0o6000;

/// Maximum number of refused owners that are remembered.
const REFUSED_MOST: usize = 4096;

/// The attributes to set on an entry, and those that cannot be set at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dress {
    pub(crate) set: Set,
    pub(crate) shortfall: Shortfall,
}

impl Dress {
    /// What a file of this length must look like after its attributes are set.
    pub(crate) fn wanted(&self, length: u64) -> ExpectedEntry {
        ExpectedEntry { kind: Kind::File, size: Some(length), set: self.set }
    }
}

impl SftpTarget {
    /// The attributes to set on an entry.
    pub(crate) fn dress_of(&self, entry: &Entry) -> Dress {
        let meta = &entry.meta;
        let refused = self.refused().contains(&(meta.uid, meta.gid));
        dress_of(entry, self.now, refused)
    }

    /// Sets attributes one by one after setting them together failed. Records the refused ones as missing.
    pub(crate) fn dress_apart<'a>(
        &self,
        lane: Lane,
        dress: &mut Dress,
        change: &dyn Fn(Set) -> Change<'a>,
    ) -> Result<(), Fault> {
        let Dress { set, shortfall } = dress;
        let ask =
            |set| self.session.counter.ask(Via::Same(lane), Requests::new().change(change(set)));
        let mut unknown = false;
        let mut refused = |set| match ask(set)?.next().done() {
            Err(fault) if fault.is_refusal() => {
                unknown |= fault == Fault::Refused(UNSUPPORTED);
                Ok(true)
            }
            done => done.map(|()| false),
        };
        // A change of owner clears setuid and setgid (chown(2)), and a file with a wrong owner must not get
        // them.
        let mut given = None;
        if let Some(owner) = set.owner.take()
            && refused(Set { owner: Some(owner), ..Set::default() })?
        {
            shortfall.owner = true;
            without_set_id(set, shortfall);
            given = Some(owner);
        }
        if set.size.is_some() && refused(Set { size: set.size.take(), ..Set::default() })? {
            return Err(Fault::Refused(crate::sftp::protocol::packet::Status::Failure));
        }
        if set.mode.is_some() && refused(Set { mode: set.mode.take(), ..Set::default() })? {
            shortfall.mode = true;
        }
        if set.times.is_some() && refused(Set { times: set.times.take(), ..Set::default() })? {
            shortfall.time = true;
        }
        // If the server does not support the request, the refusal proves nothing about the owner.
        if let Some(owner) = given
            && !unknown
        {
            let mut all = self.refused();
            if all.len() < REFUSED_MOST {
                all.insert(owner);
            }
        }
        Ok(())
    }

    /// Sets the attributes of a folder, and syncs its new entries to the disk.
    pub(crate) fn dress(&self, folder: &TargetFolder, entry: &Entry) -> Result<Shortfall, Fault> {
        let path = &*folder.path;
        self.session.settle_in(path);
        let _handle = self.handles.acquire(1);
        // Opening the folder for reading gives a handle for setting attributes and for syncing. SETSTAT by
        // path could affect another entry that has replaced the folder.
        let open = Requests::new()
            .ask(Request::Open(path))
            .ask(Request::LStat(path))
            .ask(Request::RealPath(path));
        let mut answers = self.session.ask(open)?;
        let (lane, handle) = (answers.lane, answers.next().handle());
        let there = answers.next().attrs();
        let placed = stands_at(path, answers.next());
        let mut dress = self.dress_of(entry);
        let counter = &self.session.counter;
        let close = |handle: &[u8]| {
            let close = std::sync::Arc::new(Requests::new().ask(Request::Close(handle)));
            drop(counter.send(Via::Same(lane), &close));
        };
        if !is_folder(there?) || placed.is_err() {
            let _ = handle.map(|handle| close(&handle));
            return Err(placed.err().unwrap_or(Fault::Replaced));
        }
        // The user may not have read permission, or the server opens only files.
        let wanted = ExpectedEntry { kind: Kind::Folder, size: None, set: dress.set };
        let Ok(handle) = handle else {
            self.dress_apart(lane, &mut dress, &|set| self.set_at(path, set))?;
            let look = Requests::new().ask(Request::LStat(path));
            let told = counter.ask(Via::Same(lane), look)?.next();
            wanted.prove(told, &mut dress.shortfall)?;
            return Ok(dress.shortfall);
        };
        let mut ask = Requests::new().change(Change::SetOpen(&handle, dress.set));
        let syncs = self.offers().fsync;
        if syncs {
            ask = ask.change(Change::Sync(&handle));
        }
        let ask = ask.ask(Request::FStat(&handle));
        let mut answers = counter.ask(Via::Same(lane), ask)?;
        let is_dressed = answers.next().done().is_ok();
        let is_synced = syncs && answers.next().done().is_ok();
        let mut told = answers.next();
        if !is_dressed {
            self.dress_apart(lane, &mut dress, &|set| Change::SetOpen(&handle, set))?;
            let look = Requests::new().ask(Request::FStat(&handle));
            told = counter.ask(Via::Same(lane), look)?.next();
        }
        close(&handle);
        if is_synced {
            self.synced(folder);
        }
        wanted.prove(told, &mut dress.shortfall)?;
        Ok(dress.shortfall)
    }

    /// Sets attributes by path, without following a symlink if the server supports that.
    pub(crate) fn set_at<'a>(&self, path: &'a [u8], set: Set) -> Change<'a> {
        if self.offers().lsetstat { Change::SetLink(path, set) } else { Change::Set(path, set) }
    }

    /// Sets the metadata of a file whose content is already correct. Returns `None` if the file must be
    /// stored again: it has other names, its link count is unknown, or it cannot be opened.
    pub(crate) fn dress_in_place(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
    ) -> Result<Option<Shortfall>, Fault> {
        let path = folder.child(&entry.name)?;
        let Some(Some(listed)) = folder.listed(&entry.name) else { return Ok(None) };
        if listed.links != Some(1) {
            return Ok(None);
        }
        let _handle = self.handles.acquire(1);
        let counter = &self.session.counter;
        let mut answers = self.session.ask(Requests::new().ask(Request::Open(&path)))?;
        let lane = answers.lane;
        let handle = match answers.next().handle() {
            Err(fault) if fault.is_refusal() => return Ok(None),
            handle => handle?,
        };
        let mut answers =
            counter.ask(Via::Same(lane), Requests::new().ask(Request::FStat(&handle)))?;
        let mut dress = self.dress_of(entry);
        // OPEN follows symlinks, so the open file must be the one that was listed.
        let same = |now: engine::entry::Meta| {
            described(listed).is_ok_and(|listed| now == listed && now.kind == Kind::File)
        };
        let is_same = answers.next().attrs().and_then(described).is_ok_and(same);
        let mut done = Ok(());
        let wanted = dress.wanted(entry.meta.size);
        let mut end = Requests::new();
        if is_same {
            done = self.dress_apart(lane, &mut dress, &|set| Change::SetOpen(&handle, set));
            end = end.ask(Request::FStat(&handle));
        }
        if self.offers().fsync {
            end = end.change(Change::Sync(&handle));
        }
        let closed = counter.ask(Via::Same(lane), end.ask(Request::Close(&handle)));
        done?;
        let mut answers = closed?;
        if is_same {
            wanted.prove(answers.next(), &mut dress.shortfall)?;
        }
        Ok(is_same.then_some(dress.shortfall))
    }
}

fn dress_of(entry: &Entry, now: u32, refused: bool) -> Dress {
    let meta = &entry.meta;
    let xattrs = entry.xattrs().iter().map(|(name, _)| name.clone()).collect();
    let held = u32::try_from(meta.mtime.secs.clamp(0, u32::MAX.into())).unwrap_or_default();
    let time = i64::from(held) != meta.mtime.secs;
    let mut shortfall = Shortfall { time, xattrs, owner: refused, ..Shortfall::default() };
    let mut set = Set {
        size: None,
        mode: Some(meta.mode),
        times: Some((now, held)),
        owner: (!refused).then_some((meta.uid, meta.gid)),
    };
    if refused {
        without_set_id(&mut set, &mut shortfall);
    }
    Dress { set, shortfall }
}

/// Drops setuid and setgid: without its owner, such a file would run with the rights of the wrong user.
fn without_set_id(set: &mut Set, shortfall: &mut Shortfall) {
    if let Some(mode) = &mut set.mode
        && *mode & SET_ID != 0
    {
        *mode &= !SET_ID;
        shortfall.mode = true;
    }
}

/// Whether owner and mode must be set one after the other.
pub(crate) fn is_set_id(set: &Set) -> bool {
    set.mode.is_some_and(|mode| mode & SET_ID != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::entry::Extra;
    use engine::entry::Meta;
    use engine::entry::Time;

    fn entry(mode: u32, secs: i64) -> Entry {
        let meta = Meta {
            kind: Kind::File,
            mode,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: Time { secs, nanos: 9 },
            ctime: Time::default(),
            id: None,
            links: 1,
            rdev: 0,
            allocated: 0,
        };
        let xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
        let extra = Some(Box::new(Extra { target: None, xattrs, xattrs_unread: false }));
        Entry { name: c"x".to_owned(), meta, extra }
    }

    #[test]
    fn an_entry_is_given_what_version_3_can_carry_and_lacks_the_rest() {
        let Dress { set, shortfall } = dress_of(&entry(0o4755, 1000), 7, false);
        let owner = Some((1, 2));
        let all = Set { size: None, mode: Some(0o4755), times: Some((7, 1000)), owner };
        assert_eq!(set, all);
        assert!(is_set_id(&set));
        let xattrs = vec![b"user.a".to_vec()];
        assert_eq!(shortfall, Shortfall { xattrs, ..Shortfall::default() });
        for (secs, held) in [(-1, 0), (1 << 33, u32::MAX)] {
            let Dress { set, shortfall } = dress_of(&entry(0o644, secs), 7, false);
            assert_eq!((set.times, shortfall.time), (Some((7, held)), true));
        }
    }

    #[test]
    fn who_cannot_have_the_owner_does_not_get_its_rights() {
        let Dress { set, shortfall } = dress_of(&entry(0o6755, 1), 7, true);
        assert_eq!((set.owner, set.mode), (None, Some(0o755)));
        assert!(shortfall.owner && shortfall.mode);
        let Dress { set, shortfall } = dress_of(&entry(0o1755, 1), 7, true);
        assert_eq!((set.mode, shortfall.mode), (Some(0o1755), false));
    }
}
