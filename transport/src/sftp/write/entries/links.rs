//! Creates symlinks and hard links.

use std::ffi::CStr;
use std::sync::atomic::Ordering;

use engine::entry::{Entry, Kind};
use engine::restore::Shortfall;

use crate::sftp::protocol::packet::{Request, StatusCode};
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::entries::rename::{rename_requests, renamed_answer};
use crate::sftp::write::entries::symlink_order::leads_to;
use crate::sftp::write::entries::verify_attributes::ExpectedEntry;
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::{UNSUPPORTED, described};
use crate::sftp::write::target::ProbedOrder;
use crate::sftp::write::target::SftpTarget;
use crate::ssh::again::again;

impl SftpTarget {
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
                self.forget_symlink_order(channel);
            }
            made
        })?;
        drop(answers.next());
        answers.next().done().map_err(|fault| self.explain_refusal(folder, fault))?;
        let (there, link) = (answers.next(), answers.next());
        if !leads_to(there, link, target).unwrap_or(false) {
            self.remove_temporary(&path);
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
        self.rename(folder, (Via::Any, Requests::new()), (&path, entry), replace)?;
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
        let rename = rename_requests(Requests::new(), (&new, &to), Kind::File, true, offers)
            .change(Change::Remove(&new))
            .ask(Request::LStat(&to));
        let mut answers = again(|_| self.session.ask(rename.clone()))?;
        let renamed = renamed_answer(&mut answers, true, offers);
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
}

/// Checks that the new hard link is a file.
fn is_file(there: OwnedAnswer) -> Result<(), RequestError> {
    match there.attrs() {
        Ok(attrs) if described(attrs)?.kind == Kind::File => Ok(()),
        Err(fault) if !fault.is_refusal() => Err(fault),
        _ => Err(RequestError::Replaced),
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
