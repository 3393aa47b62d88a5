//! The connection of a restore to a host, from connecting to closing.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use engine::entry::{Kind, Meta};
use engine::threads::lock;
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;

use crate::sftp::protocol::attributes::meta;
use crate::sftp::protocol::packet::{Attrs, Limits, Offers, Request, StatusCode};
use crate::sftp::protocol::service::Sftp;
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{
    Answers, OwnedAnswer, PendingAnswers, Requester, Requests, Via,
};
use crate::sftp::write::link::scheduler::{Known, Server, WriteScheduler, known};
use crate::ssh::again::again;
use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::event_loop::{Network, Quit};
use crate::ssh::options::Options;

/// Bytes in one WRITE that every server accepts (the draft, section 3).
const WRITE_LEAST: u64 = 32 * 1024;
/// Maximum bytes in one WRITE: a multiple of 4 KiB below OpenSSH's limit.
const WRITE_MOST: u64 = 252 * 1024;

/// Minimum number of handles that a server is assumed to have, and maximum number used per channel.
const HANDLES: u64 = 128;
const HANDLES_MOST: u64 = 500;

/// Maximum length of a path that is sent (path_resolution(7): `PATH_MAX`).
pub(crate) const PATH_MAX: usize = 4096;

/// A connection to a host.
pub(crate) struct Session {
    pub(crate) requester: Requester,
    server: Known,
    quit: Arc<Notify>,
    network: Mutex<Option<JoinHandle<()>>>,
    /// Outstanding removals with their paths. Closing waits for them.
    removals: Mutex<Vec<(PendingAnswers, Vec<u8>)>>,
    /// The folder in which relative paths start.
    pub(crate) home: Vec<u8>,
    /// The user can probably change the owner of files.
    pub(crate) is_root: bool,
    /// Maximum bytes of one WRITE.
    pub(crate) chunk: usize,
    /// Maximum number of open handles on each channel.
    pub(crate) handles: u64,
}

impl Session {
    /// Connects. `stopped` is polled several times a second; when it returns true, the connection ends.
    ///
    /// # Errors
    /// If no connection can be made, or the host does not offer a usable SFTP server.
    pub(crate) fn open(
        address: Address,
        options: Options,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let local = |error| ConnectError::Local { action: "start a thread", error };
        let (batches, commands) = unbounded_channel();
        let (server, quit) = (Known::default(), Quit::new(stopped));
        let notify = Arc::clone(&quit.notify);
        let named_root = address.user() == Some("root");
        let for_scheduler = Arc::clone(&server);
        let scheduler = Box::new(move || WriteScheduler::new(for_scheduler));
        let (service, wake) = (Sftp, Arc::new(Notify::new()));
        let way = address.into();
        let network = Network { way, options, service, commands, quit, scheduler, wake };
        let (ready, connected) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("sftp-network".to_owned())
            .spawn(move || network.run(&ready, unbounded_channel().1))
            .map_err(local)?;
        let mut session = Self {
            requester: Requester::new(batches),
            server,
            quit: notify,
            network: Mutex::new(Some(thread)),
            removals: Mutex::default(),
            home: Vec::new(),
            is_root: named_root,
            chunk: WRITE_LEAST as usize,
            handles: HANDLES,
        };
        let offers = match connected.recv() {
            Ok(result) => result?,
            Err(_) => return Err(local(io::ErrorKind::BrokenPipe.into())),
        };
        session.look_around(offers).map_err(|fault| match fault {
            RequestError::Ended(why) => ConnectError::Ssh { said: why },
            fault => ConnectError::NoSftp { said: io::Error::from(fault).to_string() },
        })?;
        Ok(session)
    }

    /// Queries the home folder, the user, and the limits of the server.
    fn look_around(&mut self, offers: Offers) -> Result<(), RequestError> {
        let mut requests = Requests::new().ask(Request::RealPath(b".")).ask(Request::Stat(b"."));
        if offers.limits {
            requests = requests.ask(Request::Limits);
        }
        let mut answers = again(|_| self.ask(requests.clone()))?;
        self.home = sound(answers.next())?;
        let owner = answers.next().attrs().ok().and_then(|attrs| attrs.owner);
        // In `/`, the owner proves nothing: it is the home of an account that sees only a part of the host.
        self.is_root |= self.home != b"/" && owner.is_some_and(|(user, _)| user == 0);
        if let OwnedAnswer::Limits(Limits { write, handles }) = answers.next() {
            let write = if write == 0 { WRITE_LEAST } else { write };
            self.chunk = write.clamp(4096, WRITE_MOST) as usize;
            self.handles =
                if handles == 0 { HANDLES_MOST } else { (handles / 2).min(HANDLES_MOST) };
        }
        Ok(())
    }

    /// What is known about the server now.
    pub(crate) fn server(&self) -> Server {
        known(&self.server)
    }

    /// The shortest time to an answer.
    pub(crate) fn round_trip(&self) -> Duration {
        self.server().round_trip.unwrap_or_default()
    }

    pub(crate) fn ask(&self, requests: Requests) -> Result<Answers, RequestError> {
        self.requester.ask(Via::Any, requests)
    }

    /// The attributes at `path`, without following a symlink; `None` if it does not exist.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Attrs>, RequestError> {
        let answers = again(|_| self.ask(Requests::new().ask(Request::LStat(path))));
        found(answers?.next())
    }

    /// Removes the entry under a temporary name, after the requests `first`. The caller does not wait.
    pub(crate) fn remove_later(&self, via: Via, first: Requests, path: &[u8]) {
        let removal = Arc::new(first.change(Change::Remove(path)));
        let mut removals = self.removals();
        removals.retain(|(waiting, _)| !waiting.is_answered());
        removals.push((self.requester.send(via, &removal), path.to_vec()));
    }

    fn removals(&self) -> MutexGuard<'_, Vec<(PendingAnswers, Vec<u8>)>> {
        lock(&self.removals)
    }

    /// Waits for outstanding removals of direct entries of a folder, because they change its modification
    /// time.
    pub(crate) fn settle_in(&self, folder: &[u8]) {
        self.settle(|path| is_directly_in(folder, path));
    }

    /// Waits for outstanding removals. A removal that was lost with its connection is sent again.
    fn settle(&self, is_meant: impl Fn(&[u8]) -> bool) {
        let meant: Vec<_> = {
            let mut all = self.removals();
            all.extract_if(.., |(_, path)| is_meant(path)).collect()
        };
        for (waiting, path) in meant {
            if waiting.wait().is_err() {
                let removal = Requests::new().change(Change::Remove(&path));
                // If there is no connection any more, the entry stays until a later restore replaces it.
                let _ = again(|_| self.ask(removal.clone()));
            }
        }
    }

    /// Waits for all removals, ends the connection, and waits until `ssh` and the network thread have ended.
    pub(crate) fn close(&self) {
        self.settle(|_| true);
        self.quit.notify_one();
        let network = lock(&self.network).take();
        let _ = network.map(JoinHandle::join);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn found(answer: OwnedAnswer) -> Result<Option<Attrs>, RequestError> {
    match answer.attrs() {
        Ok(attrs) => Ok(Some(attrs)),
        Err(fault) if fault.is_absent() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Checks that the server's real path is absolute and clean.
pub(crate) fn sound(answer: OwnedAnswer) -> Result<Vec<u8>, RequestError> {
    let real = bare(&answer.name()?).to_vec();
    let clean = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    let mut names = real.strip_prefix(b"/").unwrap_or_default().split(|byte| *byte == b'/');
    let sound = real == b"/" || (real.starts_with(b"/") && names.all(clean));
    if !sound || real.len() >= PATH_MAX || real.contains(&0) {
        return Err(RequestError::Impossible("the server reports no absolute path for it"));
    }
    Ok(real)
}

fn is_directly_in(folder: &[u8], path: &[u8]) -> bool {
    let rest = path.strip_prefix(folder).unwrap_or_default();
    let name = if folder == b"/" { Some(rest) } else { rest.strip_prefix(b"/") };
    name.is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
}

/// Strips the slash that some servers append to folders.
pub(crate) fn bare(path: &[u8]) -> &[u8] {
    if path.len() > 1 { path.strip_suffix(b"/").unwrap_or(path) } else { path }
}

/// The metadata of an entry from the server's attributes.
pub(crate) fn described(attrs: Attrs) -> Result<Meta, RequestError> {
    let undescribed =
        RequestError::Impossible("the server did not report its type, owner, size and time");
    meta(attrs).ok_or(undescribed)
}

/// A random number, never 0. As a time in seconds it is before 2106.
pub(crate) fn mark() -> u32 {
    use std::hash::BuildHasher;
    use std::hash::Hasher;
    let random = std::hash::RandomState::new().build_hasher().finish();
    (random as u32).max(1)
}

/// Whether the attributes are those of a folder.
pub(crate) fn is_folder(attrs: Attrs) -> bool {
    meta(attrs).is_some_and(|meta| meta.kind == Kind::Folder)
}

/// The status of a server that does not support a request.
pub(crate) const UNSUPPORTED: StatusCode = StatusCode::Other(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_and_other_paths_are_not_directly_in_a_folder() {
        for (folder, path, is_in) in [
            ("/a", "/a/b", true),
            ("/", "/b", true),
            ("/a", "/a/b/c", false),
            ("/a", "/ab", false),
            ("/a", "/a", false),
            ("/", "/a/b", false),
        ] {
            assert_eq!(is_directly_in(folder.as_bytes(), path.as_bytes()), is_in, "{path}");
        }
    }
}
