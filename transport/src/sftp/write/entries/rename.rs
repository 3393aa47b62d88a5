//! Renames complete entries from their temporary name to their final name.

use std::sync::atomic::Ordering;

use engine::entry::{Entry, Kind};

use crate::sftp::protocol::attributes::meta;
use crate::sftp::protocol::packet::{Attrs, Offers, Request};
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{Answers, OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::{UNSUPPORTED, described};
use crate::sftp::write::target::SftpTarget;
use crate::ssh::again::again;

impl SftpTarget {
    /// Renames the entry at `from` to its final name. The requests `first` are sent before it on the same
    /// channel.
    pub(crate) fn rename(
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
            self.remove_temporary(from);
            return Err(RequestError::Occupied);
        }
        let (skipped, over) = (first.len(), over(folder, replace, offers));
        let requests = rename_requests(Requests::new(), (from, &to), entry.meta.kind, over, offers)
            .ask(Request::LStat(&to));
        let mut lost = false;
        let mut answers = match self.session.requester.ask(via, first.and(requests.clone())) {
            Err(RequestError::Lost(_)) => {
                lost = true;
                again(|_| self.session.ask(requests.clone()))?
            }
            answers => {
                let mut answers = answers?;
                (0..skipped).for_each(|_| drop(answers.next()));
                answers
            }
        };
        let done = renamed_answer(&mut answers, over, offers)
            .and_then(|()| is_entry(answers.next(), entry));
        match done {
            Ok(()) => {
                if !over && is_linked(entry.meta.kind, offers) {
                    self.remove_temporary(from);
                }
                Ok(())
            }
            Err(fault) => self.after_failed_rename(folder, (from, entry), replace, (fault, lost)),
        }
    }

    /// Renames an entry that may already have its final name, because the connection was lost during an
    /// earlier attempt.
    pub(crate) fn rename_again(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), RequestError> {
        self.try_rename_again(folder, (from, entry), replace).or_else(|fault| {
            self.after_failed_rename(folder, (from, entry), replace, (fault, true))
        })
    }

    fn try_rename_again(
        &self,
        folder: &TargetFolder,
        (from, entry): (&[u8], &Entry),
        replace: bool,
    ) -> Result<(), RequestError> {
        let (to, offers) = (folder.child(&entry.name)?, self.offers());
        let over = over(folder, replace, offers);
        let name = rename_requests(Requests::new(), (from, &to), entry.meta.kind, over, offers)
            .ask(Request::LStat(&to));
        let mut answers = again(|_| self.session.ask(name.clone()))?;
        renamed_answer(&mut answers, over, offers)?;
        is_entry(answers.next(), entry)
    }

    /// Handles the failure of a rename. `lost` means that the connection was lost during an earlier attempt,
    /// which may have succeeded.
    pub(crate) fn after_failed_rename(
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
            match self.try_rename_again(folder, (from, entry), replace) {
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
            self.remove_temporary(from);
            return Ok(());
        }
        if there.is_none() && !replace && is_linked(entry.meta.kind, self.offers()) {
            // The file system has no hard links.
            let rename = Requests::new().change(Change::Rename { from, to: &to });
            return self.session.ask(rename)?.next().done();
        }
        self.remove_temporary(from);
        match there {
            Some(_) if !replace => Err(RequestError::Occupied),
            _ => Err(self.explain_refusal(folder, fault)),
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
pub(crate) fn rename_requests(
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

/// Reads the answers to the requests of [`rename_requests`].
pub(crate) fn renamed_answer(
    answers: &mut Answers,
    over: bool,
    offers: Offers,
) -> Result<(), RequestError> {
    if over && !offers.posix_rename {
        drop(answers.next());
    }
    answers.next().done()
}
