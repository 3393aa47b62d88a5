//! Makes things under a temporary name on the host, and gives them their own when they are whole.

use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::entry::{Entry, Kind};
use engine::restore::targets::Shortfall;
use engine::restore::targets::temporary::temporary;

use crate::sftp::protocol::attributes::meta;
use crate::sftp::protocol::packet::{Attrs, Offers, Request, Status};
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::{Fault, again};
use crate::sftp::write::link::request_batch::{Answers, Lane, OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::{UNSUPPORTED, described};
use crate::sftp::write::symlinks::leads_to;
use crate::sftp::write::target::SftpTarget;
use crate::sftp::write::target::Tried;
use crate::sftp::write::verify_attributes::ExpectedEntry;

/// How often a file is opened again when the server refuses it without a reason: it may have no handle
/// left. The pause grows with each.
const OPENS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// With fewer free bytes than this, the disk counts as full.
const SPACE: u64 = 1 << 20;

/// A file under its temporary name, open for writing.
pub(crate) struct Made {
    pub(crate) path: Vec<u8>,
    pub(crate) lane: Lane,
    pub(crate) handle: Box<[u8]>,
}

impl SftpTarget {
    /// The temporary path of `name`.
    pub(crate) fn temporary(&self, folder: &TargetFolder, name: &CStr) -> Result<Vec<u8>, Fault> {
        let odd = Fault::Impossible("it has no temporary name");
        folder.child(&temporary(name).map_err(|_| odd)?)
    }

    /// Makes an empty file, and replaces what this process left under the name before.
    pub(crate) fn create(&self, folder: &TargetFolder, path: Vec<u8>) -> Result<Made, Fault> {
        let made = |mut answers: Answers, skipped: usize| {
            (0..skipped).for_each(|_| drop(answers.next()));
            (answers.lane, answers.next().handle())
        };
        let first = Requests::new().change(Change::Create(&path)).ask(Request::LStat(&path));
        let mut answers = self.session.ask(first)?;
        let (mut lane, mut handle) = (answers.lane, answers.next().handle());
        if handle.is_ok() {
            is_new(answers.next())?;
        }
        for number in 0..OPENS {
            match handle {
                Ok(handle) => return Ok(Made { path, lane, handle }),
                // Something of that name is there, the disk is full, or it has no handle left.
                Err(Fault::Refused(Status::Failure)) => {}
                Err(fault) => return Err(fault),
            }
            if number > 0 {
                self.check_space(folder)?;
                self.handles.lower(self.handles.taken() / 2);
                std::thread::sleep(PAUSE * number);
            }
            let anew = Requests::new().change(Change::Remove(&path)).change(Change::Create(&path));
            (lane, handle) = made(self.session.ask(anew)?, 1);
        }
        handle.map(|handle| Made { path, lane, handle })
    }

    /// Closes and removes what did not become whole, sooner or later.
    pub(crate) fn discard(&self, made: &Made) {
        let close = Requests::new().ask(Request::Close(&made.handle));
        self.session.remove_later(Via::Same(made.lane), close, &made.path);
    }

    /// Tells a full disk from other refusals without a reason.
    pub(crate) fn check_space(&self, folder: &TargetFolder) -> Result<(), Fault> {
        if !self.offers().statvfs {
            return Ok(());
        }
        let mut answers = self.session.ask(Requests::new().ask(Request::StatVfs(&folder.path)))?;
        match answers.next() {
            crate::sftp::write::link::request_batch::OwnedAnswer::FileSystem(found)
                if found.free < SPACE || found.entries == 0 =>
            {
                Err(Fault::Full)
            }
            _ => Ok(()),
        }
    }

    /// A refusal without a reason, or that the disk is full.
    pub(crate) fn why(&self, folder: &TargetFolder, fault: Fault) -> Fault {
        match fault {
            Fault::Refused(Status::Failure) => self.check_space(folder).err().unwrap_or(fault),
            fault => fault,
        }
    }

    /// Gives the entry at `from` its name. `first` goes before, over its channel.
    pub(crate) fn place(
        &self,
        folder: &TargetFolder,
        (via, first): (Via, Requests),
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), Fault> {
        let to = folder.child(&entry.name)?;
        let offers = self.offers();
        self.changed(folder);
        if !replace && !offers.greets_as_openssh && self.session.find(&to)?.is_some() {
            // The server is not OpenSSH's: its RENAME may replace an existing entry.
            self.forget(from);
            return Err(Fault::Occupied);
        }
        let (skipped, over) = (first.len(), over(folder, replace, offers));
        let naming = naming(Requests::new(), (from, &to), entry.meta.kind, over, offers)
            .ask(Request::LStat(&to));
        let mut lost = false;
        let mut answers = match self.session.counter.ask(via, first.and(naming.clone())) {
            Err(Fault::Lost(_)) => {
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

    /// Gives an entry its name that it may have got before the connection was lost.
    pub(crate) fn place_again(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), Fault> {
        self.name_again(folder, (from, entry), replace)
            .or_else(|fault| self.misplaced(folder, (from, entry), replace, (fault, true)))
    }

    fn name_again(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), Fault> {
        let (to, offers) = (folder.child(&entry.name)?, self.offers());
        let over = over(folder, replace, offers);
        let name = naming(Requests::new(), (from, &to), entry.meta.kind, over, offers)
            .ask(Request::LStat(&to));
        let mut answers = again(|_| self.session.ask(name.clone()))?;
        named(&mut answers, over, offers)?;
        is_entry(answers.next(), entry)
    }

    /// What it means that an entry did not get its name; `lost` when the connection was lost over an earlier
    /// try, which may have been fulfilled before.
    pub(crate) fn misplaced(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
        (mut fault, lost): (Fault, bool),
    ) -> Result<(), Fault> {
        // Offered and not known: as where it is not offered.
        let offered = self.session.server().offers;
        if fault == Fault::Refused(UNSUPPORTED)
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
        // A hard link leaves both.
        if lost && is_ours && !replace && self.is_link_of(&to, entry, there, from)? {
            self.forget(from);
            return Ok(());
        }
        if there.is_none() && !replace && is_linked(entry.meta.kind, self.offers()) {
            // A file system without hard links.
            let rename = Requests::new().change(Change::Rename { from, to: &to });
            return self.session.ask(rename)?.next().done();
        }
        self.forget(from);
        match there {
            Some(_) if !replace => Err(Fault::Occupied),
            _ => Err(self.why(folder, fault)),
        }
    }

    /// Whether the symlink `there`, at `to`, is the one at `from`, by the attributes that the server reports.
    fn is_link_of(
        &self,
        to: &[u8],
        entry: &Entry,
        there: Option<Attrs>,
        from: &[u8],
    ) -> Result<bool, Fault> {
        if entry.meta.kind != Kind::Symlink || self.session.find(from)? != there {
            return Ok(false);
        }
        let ask = Requests::new().ask(Request::ReadLink(to));
        let target = again(|_| self.session.ask(ask.clone()))?.next().name();
        Ok(target.is_ok_and(|target| Some(&*target) == entry.target()))
    }

    /// Removes what stands under a temporary name, sooner or later.
    fn forget(&self, path: &[u8]) {
        self.session.remove_later(Via::Any, Requests::new(), path);
    }

    /// Makes a symlink. Nothing else can be made that is neither a file nor a folder.
    pub(crate) fn symlink(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        replace: bool,
    ) -> Result<Shortfall, Fault> {
        let target = entry
            .target()
            .ok_or(Fault::Impossible("SFTP can make no fifos, sockets or devices"))?;
        let path = self.temporary(folder, &entry.name)?;
        let mut answers = again(|_| {
            let Tried { lane, order } = self.symlink_order(folder)?;
            let make = Requests::new()
                .change(Change::Remove(&path))
                .change(order.symlink(target, &path))
                .ask(Request::LStat(&path))
                .ask(Request::ReadLink(&path));
            let made = self.session.counter.ask(Via::Same(lane), make);
            if matches!(made, Err(Fault::Lost(_))) {
                self.forget_order(lane);
            }
            made
        })?;
        drop(answers.next());
        answers.next().done().map_err(|fault| self.why(folder, fault))?;
        let (there, link) = (answers.next(), answers.next());
        if !leads_to(there, link, target).unwrap_or(false) {
            self.forget(&path);
            return Err(Fault::Impossible(
                "the server made something else than this symlink, such as one with another target",
            ));
        }
        let mut dress = self.dress_of(entry);
        dress.set.mode = None;
        dress.shortfall.mode = false;
        let wanted = ExpectedEntry { kind: Kind::Symlink, size: None, set: dress.set };
        if self.offers().lsetstat {
            let set = Requests::new()
                .change(Change::SetLink(&path, dress.set))
                .ask(Request::LStat(&path));
            let mut answers = again(|_| self.session.ask(set.clone()))?;
            let lane = answers.lane;
            if answers.next().done().is_err() {
                self.dress_apart(lane, &mut dress, &|set| Change::SetLink(&path, set))?;
            } else {
                wanted.prove(answers.next(), &mut dress.shortfall)?;
            }
        } else {
            (dress.shortfall.owner, dress.shortfall.time) = (self.facts_owners(), true);
        }
        self.place(folder, (Via::Any, Requests::new()), (&path, entry), replace)?;
        Ok(dress.shortfall)
    }

    /// Makes `name` another name of what is at `from`.
    pub(crate) fn hard_link(
        &self,
        folder: &TargetFolder,
        name: &CStr,
        from: &[u8],
        replace: bool,
    ) -> Result<(), Fault> {
        let offers = self.offers();
        if !offers.hard_link {
            return Err(Fault::Refused(UNSUPPORTED));
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
                    Some(_) => Err(Fault::Occupied),
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
        // Of two names of one inode rename(2) leaves both.
        let rename = naming(Requests::new(), (&new, &to), Kind::File, true, offers)
            .change(Change::Remove(&new))
            .ask(Request::LStat(&to));
        let mut answers = again(|_| self.session.ask(rename.clone()))?;
        let renamed = named(&mut answers, true, offers);
        if renamed == Err(Fault::Refused(UNSUPPORTED)) && offers.posix_rename {
            self.no_rename.store(true, Ordering::Relaxed);
            return self.hard_link(folder, name, from, replace);
        }
        match renamed {
            // Before the connection was lost, it may have been done.
            Err(fault) if fault.is_absent() => Ok(()),
            renamed => {
                renamed?;
                drop(answers.next());
                is_file(answers.next())
            }
        }
    }

    /// Removes anything but a folder.
    pub(crate) fn unlink(&self, folder: &TargetFolder, name: &CStr) -> Result<(), Fault> {
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

    /// Makes a folder that only its owner may enter.
    pub(crate) fn mkdir(&self, folder: &TargetFolder, name: &CStr) -> Result<(), Fault> {
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
                Some(_) => return Err(Fault::Occupied),
                None => return Err(self.why(folder, fault)),
            },
            made => {
                made?;
                let there = answers.next().attrs().ok();
                let is_other =
                    |attrs| described(attrs).is_ok_and(|there| there.kind != Kind::Folder);
                if there.is_some_and(is_other) {
                    return Err(Fault::Replaced);
                }
                // Some servers ignore the mode of the request.
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

/// Whether a hard link that was made is of a file.
fn is_file(there: OwnedAnswer) -> Result<(), Fault> {
    match there.attrs() {
        Ok(attrs) if described(attrs)?.kind == Kind::File => Ok(()),
        Err(fault) if !fault.is_refusal() => Err(fault),
        _ => Err(Fault::Replaced),
    }
}

/// Whether what was opened as a new file is one: some servers do not know `O_EXCL`.
fn is_new(there: OwnedAnswer) -> Result<(), Fault> {
    match there.attrs() {
        Ok(attrs) => match described(attrs)? {
            there if there.kind == Kind::File && there.size == 0 => Ok(()),
            _ => Err(Fault::Replaced),
        },
        Err(fault) if fault.is_absent() => Err(Fault::Replaced),
        Err(fault) if fault.is_refusal() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Whether what has an entry's name now is of its kind and size.
pub(crate) fn is_entry(there: OwnedAnswer, entry: &Entry) -> Result<(), Fault> {
    match there.attrs() {
        Ok(attrs) => {
            let there = described(attrs)?;
            let kind = entry.meta.kind;
            let same = there.kind == kind && (kind != Kind::File || there.size == entry.meta.size);
            if same { Ok(()) } else { Err(Fault::Replaced) }
        }
        Err(fault) if fault.is_absent() => Err(Fault::Replaced),
        Err(fault) if fault.is_refusal() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Why a hard link fails: the server reports limits and rules of its file system without a reason.
fn unlinkable(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(Status::Failure | Status::PermissionDenied) => Fault::Refused(UNSUPPORTED),
        fault => fault,
    }
}

/// Whether an entry may get its name by rename(2), which costs a host least: also where it replaces nothing,
/// in a folder that no other user can enter yet.
pub(crate) fn over(folder: &TargetFolder, replace: bool, offers: Offers) -> bool {
    replace || (folder.is_own && offers.posix_rename)
}

/// Whether an entry gets its name by a hard link: for anything but a file, OpenSSH's RENAME replaces
/// a dangling symlink.
fn is_linked(kind: Kind, offers: Offers) -> bool {
    kind != Kind::File && offers.links_symlinks
}

/// Adds what gives the entry at `from` the name `to`.
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

/// Whether what [`naming`] asked for was done.
pub(crate) fn named(answers: &mut Answers, over: bool, offers: Offers) -> Result<(), Fault> {
    if over && !offers.posix_rename {
        drop(answers.next());
    }
    answers.next().done()
}
