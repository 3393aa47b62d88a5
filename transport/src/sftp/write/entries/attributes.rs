//! Sets owner, mode and time of entries on the host, and finds out which of them the server refused.

use engine::entry::{Entry, Kind};
use engine::restore::Shortfall;

use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::entries::verify_attributes::ExpectedEntry;
use crate::sftp::write::folder::{TargetFolder, stands_at};
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{ChannelId, Requests, Via};
use crate::sftp::write::link::session::{UNSUPPORTED, described, is_folder};
use crate::sftp::write::target::SftpTarget;

/// setuid and setgid.
const SET_ID: u32 = 0o6000;

/// Maximum number of refused owners that are remembered.
const REFUSED_MOST: usize = 4096;

/// The attributes to set on an entry, and those that cannot be set at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedAttrs {
    pub(crate) set: Set,
    pub(crate) shortfall: Shortfall,
}

impl WantedAttrs {
    /// What a file of this length must look like after its attributes are set.
    pub(crate) fn wanted(&self, length: u64) -> ExpectedEntry {
        ExpectedEntry { kind: Kind::File, size: Some(length), set: self.set }
    }
}

impl SftpTarget {
    /// The attributes to set on an entry.
    pub(crate) fn wanted_attrs(&self, entry: &Entry) -> WantedAttrs {
        let meta = &entry.meta;
        let refused = self.refused().contains(&(meta.uid, meta.gid));
        wanted_attrs(entry, self.now, refused)
    }

    /// Sets attributes one by one after setting them together failed. Records the refused ones as missing.
    pub(crate) fn set_attrs_separately<'a>(
        &self,
        channel: ChannelId,
        attrs: &mut WantedAttrs,
        change: &dyn Fn(Set) -> Change<'a>,
    ) -> Result<(), RequestError> {
        let WantedAttrs { set, shortfall } = attrs;
        let ask = |set| {
            self.session.requester.ask(Via::Same(channel), Requests::new().change(change(set)))
        };
        let mut unknown = false;
        let mut refused = |set| match ask(set)?.next().done() {
            Err(fault) if fault.is_refusal() => {
                unknown |= fault == RequestError::Refused(UNSUPPORTED);
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
            return Err(RequestError::Refused(crate::sftp::protocol::packet::StatusCode::Failure));
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
    pub(crate) fn set_folder_attrs(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
    ) -> Result<Shortfall, RequestError> {
        self.session.settle_in(&folder.path);
        // Setting a mode by path takes a descriptor of the server too (fchmodat(3) with AT_SYMLINK_NOFOLLOW).
        let expected = self.wanted_attrs(entry).shortfall.mode;
        self.handles.with_one_unless(
            || self.try_set_folder_attrs(folder, entry),
            |missing| missing.mode && !expected,
        )
    }

    fn try_set_folder_attrs(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
    ) -> Result<Shortfall, RequestError> {
        let path = &*folder.path;
        // Opening the folder for reading gives a handle for setting attributes and for syncing. SETSTAT by
        // path could affect another entry that has replaced the folder.
        let open = Requests::new()
            .ask(Request::Open(path))
            .ask(Request::LStat(path))
            .ask(Request::RealPath(path));
        let mut answers = self.session.ask(open)?;
        let (channel, handle) = (answers.channel, answers.next().handle());
        let there = answers.next().attrs();
        let placed = stands_at(path, answers.next());
        let mut attrs = self.wanted_attrs(entry);
        let requester = &self.session.requester;
        let close = |handle: &[u8]| {
            let close = std::sync::Arc::new(Requests::new().ask(Request::Close(handle)));
            drop(requester.send(Via::Same(channel), &close));
        };
        if !is_folder(there?) || placed.is_err() {
            let _ = handle.map(|handle| close(&handle));
            return Err(placed.err().unwrap_or(RequestError::Replaced));
        }
        // The user may not have read permission, or the server opens only files.
        let wanted = ExpectedEntry { kind: Kind::Folder, size: None, set: attrs.set };
        let Ok(handle) = handle else {
            self.set_attrs_separately(channel, &mut attrs, &|set| self.set_at(path, set))?;
            let look = Requests::new().ask(Request::LStat(path));
            let answer = requester.ask(Via::Same(channel), look)?.next();
            wanted.prove(answer, &mut attrs.shortfall)?;
            return Ok(attrs.shortfall);
        };
        let mut ask = Requests::new().change(Change::SetOpen(&handle, attrs.set));
        let syncs = self.offers().fsync;
        if syncs {
            ask = ask.change(Change::Sync(&handle));
        }
        let ask = ask.ask(Request::FStat(&handle));
        let mut answers = requester.ask(Via::Same(channel), ask)?;
        let are_set = answers.next().done().is_ok();
        let is_synced = syncs && answers.next().done().is_ok();
        let mut answer = answers.next();
        if !are_set {
            self.set_attrs_separately(channel, &mut attrs, &|set| Change::SetOpen(&handle, set))?;
            let look = Requests::new().ask(Request::FStat(&handle));
            answer = requester.ask(Via::Same(channel), look)?.next();
        }
        close(&handle);
        if is_synced {
            self.synced(folder);
        }
        wanted.prove(answer, &mut attrs.shortfall)?;
        Ok(attrs.shortfall)
    }

    /// Sets attributes by path, without following a symlink if the server supports that.
    pub(crate) fn set_at<'a>(&self, path: &'a [u8], set: Set) -> Change<'a> {
        if self.offers().lsetstat { Change::SetLink(path, set) } else { Change::Set(path, set) }
    }

    /// Sets the metadata of a file whose content is already correct. Returns `None` if the file must be
    /// stored again: it has other names, its link count is unknown, or it cannot be opened.
    pub(crate) fn set_file_attrs(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
    ) -> Result<Option<Shortfall>, RequestError> {
        let path = folder.child(&entry.name)?;
        let Some(Some(listed)) = folder.listed(&entry.name) else { return Ok(None) };
        if listed.links != Some(1) {
            return Ok(None);
        }
        let _handle = self.handles.acquire(1);
        let requester = &self.session.requester;
        let mut answers = self.session.ask(Requests::new().ask(Request::Open(&path)))?;
        let channel = answers.channel;
        let handle = match answers.next().handle() {
            Err(fault) if fault.is_refusal() => return Ok(None),
            handle => handle?,
        };
        let mut answers =
            requester.ask(Via::Same(channel), Requests::new().ask(Request::FStat(&handle)))?;
        let mut attrs = self.wanted_attrs(entry);
        // OPEN follows symlinks, so the open file must be the one that was listed.
        let same = |now: engine::entry::Meta| {
            described(listed).is_ok_and(|listed| now == listed && now.kind == Kind::File)
        };
        let is_same = answers.next().attrs().and_then(described).is_ok_and(same);
        let mut done = Ok(());
        let wanted = attrs.wanted(entry.meta.size);
        let mut end = Requests::new();
        if is_same {
            done = self
                .set_attrs_separately(channel, &mut attrs, &|set| Change::SetOpen(&handle, set));
            end = end.ask(Request::FStat(&handle));
        }
        if self.offers().fsync {
            end = end.change(Change::Sync(&handle));
        }
        let closed = requester.ask(Via::Same(channel), end.ask(Request::Close(&handle)));
        done?;
        let mut answers = closed?;
        if is_same {
            wanted.prove(answers.next(), &mut attrs.shortfall)?;
        }
        Ok(is_same.then_some(attrs.shortfall))
    }
}

fn wanted_attrs(entry: &Entry, now: u32, refused: bool) -> WantedAttrs {
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
    WantedAttrs { set, shortfall }
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
            is_shared: false,
        };
        let xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
        let extra = Some(Box::new(Extra { target: None, xattrs, xattrs_unread: false }));
        Entry { name: c"x".to_owned(), meta, extra }
    }

    #[test]
    fn an_entry_is_given_what_version_3_can_carry_and_lacks_the_rest() {
        let WantedAttrs { set, shortfall } = wanted_attrs(&entry(0o4755, 1000), 7, false);
        let owner = Some((1, 2));
        let all = Set { size: None, mode: Some(0o4755), times: Some((7, 1000)), owner };
        assert_eq!(set, all);
        assert!(is_set_id(&set));
        let xattrs = vec![b"user.a".to_vec()];
        assert_eq!(shortfall, Shortfall { xattrs, ..Shortfall::default() });
        for (secs, held) in [(-1, 0), (1 << 33, u32::MAX)] {
            let WantedAttrs { set, shortfall } = wanted_attrs(&entry(0o644, secs), 7, false);
            assert_eq!((set.times, shortfall.time), (Some((7, held)), true));
        }
    }

    #[test]
    fn an_entry_without_its_owner_does_not_get_setuid_or_setgid() {
        let WantedAttrs { set, shortfall } = wanted_attrs(&entry(0o6755, 1), 7, true);
        assert_eq!((set.owner, set.mode), (None, Some(0o755)));
        assert!(shortfall.owner && shortfall.mode);
        let WantedAttrs { set, shortfall } = wanted_attrs(&entry(0o1755, 1), 7, true);
        assert_eq!((set.mode, shortfall.mode), (Some(0o1755), false));
    }
}
