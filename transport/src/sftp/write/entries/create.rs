//! Creates files under a temporary name and folders, and removes entries.

use std::ffi::CStr;
use std::time::Duration;

use engine::entry::Kind;
use engine::restore::temporary_name;

use crate::sftp::protocol::packet::{Request, StatusCode};
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{Answers, ChannelId, OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::described;
use crate::sftp::write::target::SftpTarget;
use crate::ssh::again::again;

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
        folder.child(&temporary_name(name).map_err(|_| odd)?)
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
                self.handles.halve();
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
    pub(crate) fn explain_refusal(
        &self,
        folder: &TargetFolder,
        fault: RequestError,
    ) -> RequestError {
        match fault {
            RequestError::Refused(StatusCode::Failure) => {
                self.check_space(folder).err().unwrap_or(fault)
            }
            fault => fault,
        }
    }

    /// Removes the entry under a temporary name. The removal may happen later.
    pub(crate) fn remove_temporary(&self, path: &[u8]) {
        self.session.remove_later(Via::Any, Requests::new(), path);
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
                None => return Err(self.explain_refusal(folder, fault)),
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
