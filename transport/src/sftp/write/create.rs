//! Creates entries under a temporary name on the host, and renames them when they are complete.

use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::entry::{Entry, Kind};
use engine::restore::targets::Shortfall;
use engine::restore::targets::temporary::temporary;

use crate::sftp::protocol::attributes::meta;
use crate::sftp::protocol::packet::{Attrs, Offers, Request, StatusCode};
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::{RequestError, again};
use crate::sftp::write::link::request_batch::{Answers, ChannelId, OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::{UNSUPPORTED, described};
use crate::sftp::write::symlinks::leads_to;
use crate::sftp::write::target::ProbedOrder;
use crate::sftp::write::target::SftpTarget;
use crate::sftp::write::verify_attributes::ExpectedEntry;

/// Maximum number of attempts to open a file when the server refuses without a reason: it may have no free
/// handle. The pause grows with each attempt.
const OPENS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// The disk counts as full with fewer free bytes than this.
const SPACE: u64 = 1 << 20;

/// A file under its temporary name, open for writing.
pub(crate) struct TemporaryFile {
    pub(crate) path: Vec<u8>,
    pub(crate) channel: ChannelId,
    pub(crate) handle: Box<[u8]>,
}

impl SftpTarget {
    /// The temporary path for `name`.
    pub(crate) fn temporary(
        &self,
        folder: &TargetFolder,
        name: &CStr,
    ) -> Result<Vec<u8>, RequestError> {
        let odd = RequestError::Impossible("it has no temporary name");
        folder.child(&temporary(name).map_err(|_| odd)?)
    }

    /// Creates an empty file, and replaces a leftover of this process under the same temporary name.
    pub(crate) fn create(
        &self,
        folder: &TargetFolder,
        path: Vec<u8>,
    ) -> Result<TemporaryFile, RequestError> {
        let made = |mut answers: Answers, skipped: usize| {
            (0..skipped).for_each(|_| drop(answers.next()));
            (answers.channel, answers.next().handle())
        };
        let first = Requests::new().change(Change::Create(&path)).ask(Request::LStat(&path));
        let mut answers = self.session.ask(first)?;
        let (mut channel, mut handle) = (answers.channel, answers.next().handle());
        if handle.is_ok() {
            is_new(answers.next())?;
        }
        for number in 0..OPENS {
            match handle {
                Ok(handle) => return Ok(TemporaryFile { path, channel, handle }),
                // The name exists, the disk is full, or the server has no free handle.
                Err(RequestError::Refused(StatusCode::Failure)) => {}
                Err(fault) => return Err(fault),
            }
            if number > 0 {
                self.check_space(folder)?;
                self.handles.lower(self.handles.taken() / 2);
                std::thread::sleep(PAUSE * number);
            }
            let anew = Requests::new().change(Change::Remove(&path)).change(Change::Create(&path));
            (channel, handle) = made(self.session.ask(anew)?, 1);
        }
        handle.map(|handle| TemporaryFile { path, channel, handle })
    }

    /// Closes and removes an incomplete file. The removal may happen later.
    pub(crate) fn discard(&self, made: &TemporaryFile) {
        let close = Requests::new().ask(Request::Close(&made.handle));
        self.session.remove_later(Via::Same(made.channel), close, &made.path);
    }

    /// Distinguishes a full disk from other refusals without a reason.
    pub(crate) fn check_space(&self, folder: &TargetFolder) -> Result<(), RequestError> {
        if !self.offers().statvfs {
            return Ok(());
        }
        let mut answers = self.session.ask(Requests::new().ask(Request::StatVfs(&folder.path)))?;
        match answers.next() {
            crate::sftp::write::link::request_batch::OwnedAnswer::FileSystem(found)
                if found.free < SPACE || found.entries == 0 =>
            {
                Err(RequestError::Full)
            }
            _ => Ok(()),
        }
    }

    /// Replaces a refusal without a reason by the error for a full disk, if the disk is full.
    pub(crate) fn why(&self, folder: &TargetFolder, fault: RequestError) -> RequestError {
        match fault {
            RequestError::Refused(StatusCode::Failure) => {
                self.check_space(folder).err().unwrap_or(fault)
            }
            fault => fault,
        }
    }

    /// Renames the entry at `from` to its final name. The requests `first` are sent before it on the same
    /// channel.
    pub(crate) fn place(
        &self,
        folder: &TargetFolder,
        (via, first): (Via, Requests),
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), RequestError> {
        let to = folder.child(&entry.name)?;
        let offers = self.offers();
        self.changed(folder);
        if !replace && !offers.greets_as_openssh && self.session.find(&to)?.is_some() {
            // On a server other than OpenSSH's, RENAME may replace an existing entry.
            self.forget(from);
            return Err(RequestError::Occupied);
        }
        let (skipped, over) = (first.len(), over(folder, replace, offers));
        let naming = naming(Requests::new(), (from, &to), entry.meta.kind, over, offers)
            .ask(Request::LStat(&to));
        let mut lost = false;
        let mut answers = match self.session.requester.ask(via, first.and(naming.clone())) {
            Err(RequestError::Lost(_)) => {
                lost = true;
                again(|_| self.session.ask(naming.clone()))?
            }
            answers => {
                let mut answers = answers?;
                (0..skipped).for_each(|_| drop(answers.next()));
                answers
            }
        };
        let done = named(&mut answers, over, offers).and_then(|()| is_entry(answers.next(), entry));
        match done {
            Ok(()) => {
                if !over && is_linked(entry.meta.kind, offers) {
                    self.forget(from);
                }
                Ok(())
            }
            Err(fault) => self.misplaced(folder, (from, entry), replace, (fault, lost)),
        }
    }

    /// Renames an entry that may already have its final name, because the connection was lost during an
    /// earlier attempt.
    pub(crate) fn place_again(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), RequestError> {
        self.name_again(folder, (from, entry), replace)
            .or_else(|fault| self.misplaced(folder, (from, entry), replace, (fault, true)))
    }

    fn name_again(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), RequestError> {
        let (to, offers) = (folder.child(&entry.name)?, self.offers());
        let over = over(folder, replace, offers);
        let name = naming(Requests::new(), (from, &to), entry.meta.kind, over, offers)
            .ask(Request::LStat(&to));
        let mut answers = again(|_| self.session.ask(name.clone()))?;
        named(&mut answers, over, offers)?;
        is_entry(answers.next(), entry)
    }

    /// Handles the failure of a rename. `lost` means that the connection was lost during an earlier attempt,
    /// which may have succeeded.
    pub(crate) fn misplaced(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
        (mut fault, lost): (RequestError, bool),
    ) -> Result<(), RequestError> {
        // The server offers posix-rename but does not support it, so it is treated as not offered.
        let offered = self.session.server().offers;
        if fault == RequestError::Refused(UNSUPPORTED)
            && offered.posix_rename
            && over(folder, replace, offered)
        {
            self.no_rename.store(true, Ordering::Relaxed);
            match self.name_again(folder, (from, entry), replace) {
                Ok(()) => return Ok(()),
                Err(why) => fault = why,
            }
        }
        if !fault.is_refusal() {
            return Err(fault);
        }
        let to = folder.child(&entry.name)?;
        let there = self.session.find(&to)?;
        let is_ours = there.and_then(meta).is_some_and(|there| {
            let kind = entry.meta.kind;
            there.kind == kind && (kind != Kind::File || there.size == entry.meta.size)
        });
        if lost && is_ours && self.session.find(from)?.is_none() {
            return Ok(());
        }
        // A hard link leaves both names.
        if lost && is_ours && !replace && self.is_link_of(&to, entry, there, from)? {
            self.forget(from);
            return Ok(());
        }
        if there.is_none() && !replace && is_linked(entry.meta.kind, self.offers()) {
            // The file system has no hard links.
            let rename = Requests::new().change(Change::Rename { from, to: &to });
            return self.session.ask(rename)?.next().done();
        }
        self.forget(from);
        match there {
            Some(_) if !replace => Err(RequestError::Occupied),
            _ => Err(self.why(folder, fault)),
        }
    }

    /// Whether the symlink `there`, at `to`, is the one at `from`, judged by the attributes that the server
    /// reports.
    fn is_link_of(
        &self,
        to: &[u8],
        entry: &Entry,
        there: Option<Attrs>,
        from: &[u8],
    ) -> Result<bool, RequestError> {
        if entry.meta.kind != Kind::Symlink || self.session.find(from)? != there {
            return Ok(false);
        }
        let ask = Requests::new().ask(Request::ReadLink(to));
        let target = again(|_| self.session.ask(ask.clone()))?.next().name();
        Ok(target.is_ok_and(|target| Some(&*target) == entry.target()))
    }

    /// Removes the entry under a temporary name. The removal may happen later.
    fn forget(&self, path: &[u8]) {
        self.session.remove_later(Via::Any, Requests::new(), path);
    }

    /// Creates a symlink. SFTP can create no other entries except files and folders.
    pub(crate) fn symlink(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        replace: bool,
    ) -> Result<Shortfall, RequestError> {
        let target = entry
            .target()
            .ok_or(RequestError::Impossible("SFTP can make no fifos, sockets or devices"))?;
        let path = self.temporary(folder, &entry.name)?;
        let mut answers = again(|_| {
            let ProbedOrder { channel, order } = self.symlink_order(folder)?;
            let make = Requests::new()
                .change(Change::Remove(&path))
                .change(order.symlink(target, &path))
                .ask(Request::LStat(&path))
                .ask(Request::ReadLink(&path));
            let made = self.session.requester.ask(Via::Same(channel), make);
            if matches!(made, Err(RequestError::Lost(_))) {
                self.forget_order(channel);
            }
            made
        })?;
        drop(answers.next());
        answers.next().done().map_err(|fault| self.why(folder, fault))?;
        let (there, link) = (answers.next(), answers.next());
        if !leads_to(there, link, target).unwrap_or(false) {
            self.forget(&path);
            return Err(RequestError::Impossible(
                "the server made something else than this symlink, such as one with another target",
            ));
        }
        let mut attrs = self.wanted_attrs(entry);
        attrs.set.mode = None;
        attrs.shortfall.mode = false;
        let wanted = ExpectedEntry { kind: Kind::Symlink, size: None, set: attrs.set };
        if self.offers().lsetstat {
            let set = Requests::new()
                .change(Change::SetLink(&path, attrs.set))
                .ask(Request::LStat(&path));
            let mut answers = again(|_| self.session.ask(set.clone()))?;
            let channel = answers.channel;
            if answers.next().done().is_err() {
                self.set_attrs_separately(channel, &mut attrs, &|set| Change::SetLink(&path, set))?;
            } else {
                wanted.prove(answers.next(), &mut attrs.shortfall)?;
            }
        } else {
            (attrs.shortfall.owner, attrs.shortfall.time) = (self.facts_owners(), true);
        }
        self.place(folder, (Via::Any, Requests::new()), (&path, entry), replace)?;
        Ok(attrs.shortfall)
    }

    /// Makes `name` a hard link to the file at `from`.
    pub(crate) fn hard_link(
        &self,
        folder: &TargetFolder,
        name: &CStr,
        from: &[u8],
        replace: bool,
    ) -> Result<(), RequestError> {
        let offers = self.offers();
        if !offers.hard_link {
            return Err(RequestError::Refused(UNSUPPORTED));
        }
        let to = folder.child(name)?;
        self.changed(folder);
        if !replace {
            let link =
                Requests::new().change(Change::Link { from, to: &to }).ask(Request::LStat(&to));
            let mut lost = false;
            let mut answers = again(|before| {
                lost = before;
                self.session.ask(link.clone())
            })?;
            return match answers.next().done() {
                Err(fault) if fault.is_refusal() => match self.session.find(&to)? {
                    Some(_) if lost => Ok(()),
                    Some(_) => Err(RequestError::Occupied),
                    None => Err(unlinkable(fault)),
                },
                linked => linked.and_then(|()| is_file(answers.next())),
            };
        }
        let new = self.temporary(folder, name)?;
        let link = Requests::new()
            .change(Change::Remove(&new))
            .change(Change::Link { from, to: &new })
            .ask(Request::LStat(&new));
        let mut answers = again(|_| self.session.ask(link.clone()))?;
        drop(answers.next());
        answers.next().done().map_err(unlinkable)?;
        is_file(answers.next())?;
        // If both names are hard links to one inode, rename(2) keeps both.
        let rename = naming(Requests::new(), (&new, &to), Kind::File, true, offers)
            .change(Change::Remove(&new))
            .ask(Request::LStat(&to));
        let mut answers = again(|_| self.session.ask(rename.clone()))?;
        let renamed = named(&mut answers, true, offers);
        if renamed == Err(RequestError::Refused(UNSUPPORTED)) && offers.posix_rename {
            self.no_rename.store(true, Ordering::Relaxed);
            return self.hard_link(folder, name, from, replace);
        }
        match renamed {
            // The rename may have succeeded before the connection was lost.
            Err(fault) if fault.is_absent() => Ok(()),
            renamed => {
                renamed?;
                drop(answers.next());
                is_file(answers.next())
            }
        }
    }

    /// Removes an entry that is not a folder.
    pub(crate) fn unlink(&self, folder: &TargetFolder, name: &CStr) -> Result<(), RequestError> {
        let path = folder.child(name)?;
        self.changed(folder);
        let remove = Requests::new().change(Change::Remove(&path));
        let mut lost = false;
        let mut answers = again(|before| {
            lost = before;
            self.session.ask(remove.clone())
        })?;
        match answers.next().done() {
            Err(fault) if lost && fault.is_absent() => Ok(()),
            removed => removed,
        }
    }

    /// Creates a folder with mode 0700.
    pub(crate) fn mkdir(&self, folder: &TargetFolder, name: &CStr) -> Result<(), RequestError> {
        let path = folder.child(name)?;
        self.changed(folder);
        let set = Set { mode: Some(0o700), ..Set::default() };
        let make =
            Requests::new().change(Change::MakeFolder(&path, set)).ask(Request::LStat(&path));
        let mut lost = false;
        let mut answers = again(|before| {
            lost = before;
            self.session.ask(make.clone())
        })?;
        match answers.next().done() {
            Err(fault) if fault.is_refusal() => match self.session.find(&path)? {
                Some(there) if lost && crate::sftp::write::link::session::is_folder(there) => {}
                Some(_) => return Err(RequestError::Occupied),
                None => return Err(self.why(folder, fault)),
            },
            made => {
                made?;
                let there = answers.next().attrs().ok();
                let is_other =
                    |attrs| described(attrs).is_ok_and(|there| there.kind != Kind::Folder);
                if there.is_some_and(is_other) {
                    return Err(RequestError::Replaced);
                }
                // Some servers ignore the mode in the request.
                let mode = there.and_then(|attrs| attrs.permissions);
                if mode.is_some_and(|mode| mode & 0o077 != 0) {
                    let close = Requests::new().change(self.set_at(&path, set));
                    again(|_| self.session.ask(close.clone()))?.next().done()?;
                }
            }
        }
        folder.made(name);
        Ok(())
    }
}

/// Checks that the new hard link is a file.
fn is_file(there: OwnedAnswer) -> Result<(), RequestError> {
    match there.attrs() {
        Ok(attrs) if described(attrs)?.kind == Kind::File => Ok(()),
        Err(fault) if !fault.is_refusal() => Err(fault),
        _ => Err(RequestError::Replaced),
    }
}

/// Checks that the newly opened file is new: some servers do not support `O_EXCL`.
fn is_new(there: OwnedAnswer) -> Result<(), RequestError> {
    match there.attrs() {
        Ok(attrs) => match described(attrs)? {
            there if there.kind == Kind::File && there.size == 0 => Ok(()),
            _ => Err(RequestError::Replaced),
        },
        Err(fault) if fault.is_absent() => Err(RequestError::Replaced),
        Err(fault) if fault.is_refusal() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Checks that the entry under the final name has the right type and size.
pub(crate) fn is_entry(there: OwnedAnswer, entry: &Entry) -> Result<(), RequestError> {
    match there.attrs() {
        Ok(attrs) => {
            let there = described(attrs)?;
            let kind = entry.meta.kind;
            let same = there.kind == kind && (kind != Kind::File || there.size == entry.meta.size);
            if same { Ok(()) } else { Err(RequestError::Replaced) }
        }
        Err(fault) if fault.is_absent() => Err(RequestError::Replaced),
        Err(fault) if fault.is_refusal() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Converts the failure of a hard link: the server reports the limits and rules of its file system without a
/// reason.
fn unlinkable(fault: RequestError) -> RequestError {
    match fault {
        RequestError::Refused(StatusCode::Failure | StatusCode::PermissionDenied) => {
            RequestError::Refused(UNSUPPORTED)
        }
        fault => fault,
    }
}

/// Whether the entry may be renamed with rename(2), which is the cheapest way for the host. It is also used
/// without replacing anything, in a folder that no other user can enter yet.
pub(crate) fn over(folder: &TargetFolder, replace: bool, offers: Offers) -> bool {
    replace || (folder.is_own && offers.posix_rename)
}

/// Whether the entry gets its name through a hard link. Entries other than files do, because OpenSSH's RENAME
/// would replace a dangling symlink.
fn is_linked(kind: Kind, offers: Offers) -> bool {
    kind != Kind::File && offers.links_symlinks
}

/// Appends the requests that give the entry at `from` the name `to`.
pub(crate) fn naming(
    requests: Requests,
    (from, to): (&[u8], &[u8]),
    kind: Kind,
    over: bool,
    offers: Offers,
) -> Requests {
    match over {
        true if offers.posix_rename => requests.change(Change::RenameOver { from, to }),
        true => requests.change(Change::Remove(to)).change(Change::Rename { from, to }),
        false if is_linked(kind, offers) => requests.change(Change::Link { from, to }),
        false => requests.change(Change::Rename { from, to }),
    }
}

/// Reads the answers to the requests of [`naming`].
pub(crate) fn named(answers: &mut Answers, over: bool, offers: Offers) -> Result<(), RequestError> {
    if over && !offers.posix_rename {
        drop(answers.next());
    }
    answers.next().done()
}
