//! Uploads a large file with many outstanding WRITEs, over several channels if it is the only one. After a
//! lost connection, the unanswered WRITEs are sent again over the next connection.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::entry::{Entry, Kind};
use engine::repository::{Content, Piece, StoreError, is_damaged, read_through};
use engine::restore::StoreOutcome;
use engine::threads::Permit;

use crate::sftp::protocol::packet::{Attrs, Request};
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::content::store::refused;
use crate::sftp::write::entries::create::TemporaryFile;
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{ChannelId, PendingAnswers, Requests, Via};
use crate::sftp::write::link::session::{described, mark};
use crate::sftp::write::target::SftpTarget;
use crate::ssh::again::{MayBeLost, again};

/// Maximum outstanding WRITEs on each channel.
const OUT: usize = 16;

/// Minimum bytes per channel for which opening the file on another channel pays off.
const STRIPED: u64 = 4 << 20;

/// After this many bytes the upload looks for further channels.
const SPREAD: u64 = 16 << 20;

/// After this many bytes the server syncs the file, so that no sync takes longer than the time limit for an
/// answer.
const SYNC: u64 = 64 << 20;

/// Maximum number of lost connections without a write in between.
const LOSSES: u32 = 5;

impl SftpTarget {
    pub(crate) fn upload(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        let _one = UploadCount::new(&self.uploads);
        // If the upload cannot resume, it starts again from the beginning.
        let mut garbled = false;
        let mut upload = || {
            again(|_| match self.try_upload(folder, entry, content, replace) {
                // Try once more: the server may sometimes mix up its files.
                Err(Failure::There(RequestError::Garbled))
                    if !std::mem::replace(&mut garbled, true) =>
                {
                    Err(RequestError::Lost(Arc::from("it stored other bytes than were sent")))
                }
                Err(Failure::There(fault)) => Err(fault),
                Err(Failure::Here(error)) => Ok(Err(error)),
                Ok(stored) => Ok(Ok(stored)),
            })
        };
        self.handles.with_one(&mut upload).unwrap_or_else(|fault| Err(refused(fault)))
    }

    fn try_upload(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, Failure> {
        let path = self.temporary(folder, &entry.name)?;
        let mut upload = Upload::begin(self, folder, path)?;
        let sent = upload.send_all(entry.meta.size, content);
        let (size, hash, damaged) = match sent {
            Ok(sent) => sent,
            Err(failure) => {
                // Query the free space while the incomplete file still takes its space.
                let failure = match failure {
                    Failure::There(fault) => self.explain_refusal(folder, fault).into(),
                    here => here,
                };
                self.discard(&upload.made);
                return Err(failure);
            }
        };
        let mut whole = self.wanted_attrs(entry);
        whole.set.size = (size > upload.end).then_some(size);
        let mut attrs = whole.clone();
        match self.finish_content(folder, (&upload.made, size), Requests::new(), &mut attrs) {
            Err(RequestError::Lost(why)) => {
                match upload.resume(Arc::clone(&why)) {
                    // The access time no longer matches the mark, so the upload starts again.
                    Err(RequestError::Replaced) => return Err(RequestError::Lost(why).into()),
                    resumed => resumed?,
                }
                attrs = whole;
                self.finish_content(folder, (&upload.made, size), Requests::new(), &mut attrs)?;
            }
            concluded => concluded?,
        }
        upload.close_others();
        self.finish(folder, &upload.made, (size, hash), entry, replace)?;
        Ok(StoreOutcome { shortfall: attrs.shortfall, damaged, id: None })
    }
}

/// Why a file could not be uploaded.
enum Failure {
    /// The host's error.
    There(RequestError),
    Here(StoreError),
}

impl From<RequestError> for Failure {
    fn from(fault: RequestError) -> Self {
        Self::There(fault)
    }
}

/// A large file that is being uploaded.
struct Upload<'a> {
    target: &'a SftpTarget,
    made: TemporaryFile,
    /// The file's handles on further channels.
    others: Vec<(ChannelId, Box<[u8]>)>,
    /// The access time set on the file, to recognize it when it is opened again: OPEN follows symlinks. 0
    /// means that it could not be set.
    mark: u32,
    out: VecDeque<PendingWrite>,
    next: usize,
    /// The end of the data, as an offset.
    end: u64,
    unsynced: u64,
    losses: u32,
}

/// An outstanding WRITE, or an outstanding sync if it has no bytes.
struct PendingWrite {
    offset: u64,
    length: usize,
    requests: Arc<Requests>,
    waiting: PendingAnswers,
    _room: Option<Permit>,
}

impl<'a> Upload<'a> {
    fn begin(
        target: &'a SftpTarget,
        folder: &TargetFolder,
        path: Vec<u8>,
    ) -> Result<Self, RequestError> {
        let mark = mark();
        let made = target.create(folder, path)?;
        let set = Set { times: Some((mark, mark)), ..Set::default() };
        let ask = Requests::new()
            .change(Change::SetOpen(&made.handle, set))
            .ask(Request::FStat(&made.handle));
        let mut answers = target.session.requester.ask(Via::Same(made.channel), ask)?;
        drop(answers.next());
        // If the server's access times are coarse, the upload uses one channel and one connection only.
        let is_marked = answers.next().attrs().is_ok_and(|attrs| is_marked(attrs, mark));
        let mark = if is_marked { mark } else { 0 };
        let (others, out) = (Vec::new(), VecDeque::new());
        Ok(Self { target, made, others, mark, out, next: 0, end: 0, unsynced: 0, losses: 0 })
    }

    /// Sends the whole content, as far as it can be read. Returns its size and hash, and whether it is
    /// damaged and accepted anyway.
    fn send_all(
        &mut self,
        size: u64,
        content: &Content<'_>,
    ) -> Result<(u64, blake3::Hash, bool), Failure> {
        self.spread(size);
        let chunk = self.target.session.chunk;
        let mut failed = None;
        let read = read_through(content, &mut |piece| {
            let Piece::Data(at, bytes) = piece else { return Ok(()) };
            if at / SPREAD != self.end / SPREAD {
                self.spread(size.saturating_sub(at));
            }
            for (number, part) in bytes.chunks(chunk).enumerate() {
                let put = self.put(at + (number * chunk) as u64, part);
                put.map_err(|fault| {
                    failed = Some(fault);
                    io::Error::other("it is not sent")
                })?;
            }
            Ok(())
        });
        let (size, hash) = match failed {
            Some(fault) => return Err(fault.into()),
            None => read.map_err(Failure::Here)?,
        };
        let damaged = is_damaged(content, &hash);
        if damaged && !content.accept_damage {
            return Err(Failure::Here(StoreError::Damaged));
        }
        self.drain()?;
        Ok((size, hash, damaged))
    }

    /// Opens the file on further channels for `left` bytes, if there are enough channels for the number of
    /// uploads.
    fn spread(&mut self, left: u64) {
        let session = &self.target.session;
        let channels = session.server().channels;
        let uploads = self.target.uploads.load(Ordering::Relaxed).max(1);
        let pieces = usize::try_from(left / STRIPED).unwrap_or(usize::MAX);
        let most = (channels / uploads).min(pieces);
        let more = most.saturating_sub(1 + self.others.len());
        if self.mark == 0 || more == 0 {
            return;
        }
        let open = Arc::new(Requests::new().change(Change::OpenToWrite(&self.made.path)));
        let used = |number: &usize| {
            *number != self.made.channel.number
                && self.others.iter().all(|(channel, _)| channel.number != *number)
        };
        let ways = (0..channels).filter(used).take(more);
        let opening: Vec<_> =
            ways.map(|number| session.requester.send(Via::Nth(number), &open)).collect();
        let opened = opening.into_iter().filter_map(|waiting| {
            let mut answers = waiting.wait().ok()?;
            Some((answers.channel, answers.next().handle().ok()?))
        });
        let opened: Vec<_> = opened.collect();
        let looking: Vec<_> = opened
            .iter()
            .map(|(channel, handle)| {
                let ask = Arc::new(Requests::new().ask(Request::FStat(handle)));
                session.requester.send(Via::Same(*channel), &ask)
            })
            .collect();
        for (one, waiting) in opened.into_iter().zip(looking) {
            let attrs = waiting.wait().and_then(|mut answers| answers.next().attrs());
            // An unmarked file is another one. Its handle is closed with the channel.
            if attrs.is_ok_and(|attrs| is_marked(attrs, self.mark)) {
                self.others.push(one);
            }
        }
    }

    /// Sends bytes as soon as there is room for them.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), RequestError> {
        let most = OUT * (1 + self.others.len());
        while self.out.len() >= most {
            self.reap()?;
        }
        // The bytes are held twice: as read, and as framed for sending.
        let amount = 2 * bytes.len() as u64;
        let room = loop {
            match self.target.memory.try_acquire(amount) {
                Some(room) => break room,
                // Nothing of this upload is outstanding, so only others can release memory.
                None if self.out.is_empty() => break self.target.memory.acquire(amount),
                None => self.reap()?,
            }
        };
        self.next += 1;
        let (channel, handle) = match self.next % (1 + self.others.len()) {
            0 => (self.made.channel, &self.made.handle),
            number => (self.others[number - 1].0, &self.others[number - 1].1),
        };
        let write = Requests::new().change(Change::Write { handle, offset, bytes });
        self.send(channel, offset, bytes.len(), Arc::new(write), Some(room));
        self.end = self.end.max(offset + bytes.len() as u64);
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC && self.target.offers().fsync {
            self.unsynced = 0;
            let sync = Requests::new().change(Change::Sync(&self.made.handle));
            self.send(self.made.channel, offset, 0, Arc::new(sync), None);
        }
        Ok(())
    }

    fn send(
        &mut self,
        channel: ChannelId,
        offset: u64,
        length: usize,
        requests: Arc<Requests>,
        room: Option<Permit>,
    ) {
        let waiting = self.target.session.requester.send(Via::Same(channel), &requests);
        self.out.push_back(PendingWrite { offset, length, requests, waiting, _room: room });
    }

    /// Waits until everything is written.
    fn drain(&mut self) -> Result<(), RequestError> {
        while !self.out.is_empty() {
            self.reap()?;
        }
        Ok(())
    }

    /// Waits for the oldest outstanding request.
    fn reap(&mut self) -> Result<(), RequestError> {
        let Some(sent) = self.out.pop_front() else { return Ok(()) };
        let PendingWrite { offset, length, requests, waiting, _room } = sent;
        match waiting.wait() {
            Ok(mut answers) => {
                self.losses = 0;
                match answers.next().done() {
                    // A refused sync in between is no error; the sync at the end reports its own error.
                    Err(fault) if length > 0 || !fault.is_refusal() => Err(fault),
                    _ => Ok(()),
                }
            }
            Err(RequestError::Lost(why)) => {
                let gone = PendingAnswers::never();
                self.out.push_front(PendingWrite {
                    offset,
                    length,
                    requests,
                    waiting: gone,
                    _room,
                });
                self.resume(why)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Continues over the next connection: answered WRITEs are on the server, the others are sent again.
    fn resume(&mut self, mut why: Arc<str>) -> Result<(), RequestError> {
        loop {
            self.losses += 1;
            if self.mark == 0 {
                return Err(RequestError::Lost(why));
            }
            if self.losses > LOSSES {
                return Err(RequestError::given_up(&why));
            }
            match self.open_again() {
                Err(RequestError::Lost(again)) => why = again,
                opened => break opened?,
            }
        }
        let (channel, handle) = (self.made.channel, &self.made.handle);
        for sent in &mut self.out {
            let bytes = sent.requests.tail(sent.length);
            let again = match sent.length {
                0 => Requests::new().change(Change::Sync(handle)),
                _ => Requests::new().change(Change::Write { handle, offset: sent.offset, bytes }),
            };
            sent.requests = Arc::new(again);
            sent.waiting = self.target.session.requester.send(Via::Same(channel), &sent.requests);
        }
        Ok(())
    }

    fn open_again(&mut self) -> Result<(), RequestError> {
        self.others.clear();
        let session = &self.target.session;
        let open = Requests::new().change(Change::OpenToWrite(&self.made.path));
        let mut answers = session.ask(open)?;
        let (channel, handle) = (answers.channel, answers.next().handle()?);
        let look = Requests::new().ask(Request::FStat(&handle));
        let attrs = session.requester.ask(Via::Same(channel), look)?.next().attrs()?;
        if !is_marked(attrs, self.mark) {
            return Err(RequestError::Replaced);
        }
        (self.made.channel, self.made.handle) = (channel, handle);
        Ok(())
    }

    /// Closes the handles on further channels.
    fn close_others(&mut self) {
        for (channel, handle) in self.others.drain(..) {
            let close = Arc::new(Requests::new().ask(Request::Close(&handle)));
            drop(self.target.session.requester.send(Via::Same(channel), &close));
        }
    }
}

/// Whether the opened entry is the marked file.
fn is_marked(attrs: Attrs, mark: u32) -> bool {
    described(attrs).is_ok_and(|meta| meta.kind == Kind::File)
        && attrs.times.is_some_and(|(accessed, _)| accessed == mark)
}

/// Counts an upload until it is dropped.
struct UploadCount<'a>(&'a AtomicUsize);

impl<'a> UploadCount<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UploadCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
