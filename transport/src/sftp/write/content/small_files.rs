//! Stores small files of one folder together: opens all of them, then writes them, then renames them. Many
//! files then cost only the three round trips of one. A file for which any step fails is stored by itself.

use engine::repository::StoreError;
use engine::restore::{StoreOutcome, ToStore};

use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::content::store::{AROUND, SmallContent, refused};
use crate::sftp::write::entries::attributes::{WantedAttrs, is_set_id};
use crate::sftp::write::entries::create::TemporaryFile;
use crate::sftp::write::entries::rename::{is_entry, over, rename_requests, renamed_answer};
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{ChannelId, Requests, Via};
use crate::sftp::write::target::SftpTarget;

/// A file of the batch.
struct BatchFile<'a> {
    /// Its index in the batch.
    number: usize,
    file: &'a dyn ToStore,
    read: SmallContent,
    attrs: WantedAttrs,
    path: Vec<u8>,
}

/// The result of each file, in order; `None` for a file that must be stored by itself.
type StoreResults = Vec<Option<Result<StoreOutcome, StoreError>>>;

/// The handles of the files, in order; `None` for a file that could not be opened.
type Handles = Vec<Option<Box<[u8]>>>;

impl SftpTarget {
    pub(crate) fn store_together(
        &self,
        folder: &TargetFolder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<StoreOutcome, StoreError>> {
        let mut results: StoreResults = files.iter().map(|_| None).collect();
        let offers = self.offers();
        // Without these extensions some answers must be awaited one by one.
        if files.len() > 1 && offers.fsync && offers.hard_link && offers.apart {
            self.try_together(folder, files, &mut results);
        }
        let alone = |(result, file): (Option<_>, &&dyn ToStore)| match result {
            Some(result) => result,
            None => file.open(&mut |content| {
                self.store_file(folder, file.entry(), content, file.replace())
            }),
        };
        results.into_iter().zip(files).map(alone).collect()
    }

    fn try_together(
        &self,
        folder: &TargetFolder,
        files: &[&dyn ToStore],
        results: &mut StoreResults,
    ) {
        let bytes: u64 = files.iter().map(|file| 2 * file.entry().meta.size + AROUND).sum();
        let _handles = self.handles.acquire(files.len() as u64);
        let _room = self.memory.acquire(bytes);
        let mut ones = Vec::new();
        for (number, file) in files.iter().enumerate() {
            match self.read_one(folder, number, *file) {
                Ok(Some(one)) => ones.push(one),
                Ok(None) => {}
                Err(error) => results[number] = Some(Err(error)),
            }
        }
        if ones.is_empty() {
            return;
        }
        // After a lost connection, each remaining file is stored by itself.
        if let Ok((channel, opened)) = self.open_all(&ones)
            && let Ok(written) = self.write_all(folder, channel, ones, opened, results)
        {
            self.name_all(folder, channel, written, results);
        }
    }

    fn read_one<'a>(
        &self,
        folder: &TargetFolder,
        number: usize,
        file: &'a dyn ToStore,
    ) -> Result<Option<BatchFile<'a>>, StoreError> {
        let entry = file.entry();
        let mut attrs = self.wanted_attrs(entry);
        // The owner of a setuid or setgid file must be set before its mode.
        if is_set_id(&attrs.set) {
            return Ok(None);
        }
        let mut read = None;
        file.open(&mut |content| {
            read = Some(self.read_small(content)?);
            Ok(StoreOutcome::default())
        })?;
        let Some(read) = read else { return Ok(None) };
        attrs.set.size = read.size;
        let path = self.temporary(folder, &entry.name).map_err(refused)?;
        Ok(Some(BatchFile { number, file, read, attrs, path }))
    }

    /// Opens all files. Files that fail are later opened again one by one.
    fn open_all(&self, ones: &[BatchFile<'_>]) -> Result<(ChannelId, Handles), RequestError> {
        let open =
            ones.iter().fold(Requests::new(), |open, one| open.change(Change::Create(&one.path)));
        let mut answers = self.session.ask(open)?;
        let handles = ones.iter().map(|_| answers.next().handle().ok()).collect();
        Ok((answers.channel, handles))
    }

    /// Writes all files, sets their attributes, and syncs them to the disk.
    fn write_all<'a>(
        &self,
        folder: &TargetFolder,
        channel: ChannelId,
        ones: Vec<BatchFile<'a>>,
        handles: Handles,
        results: &mut StoreResults,
    ) -> Result<Vec<(BatchFile<'a>, TemporaryFile)>, RequestError> {
        let opened = ones.into_iter().zip(handles).filter_map(|(one, handle)| {
            let made = TemporaryFile { path: one.path.clone(), channel, handle: handle? };
            Some((one, made))
        });
        let opened: Vec<_> = opened.collect();
        let write = opened.iter().fold(Requests::new(), |write, (one, made)| {
            one.read
                .writes(write, &made.handle)
                .change(Change::SetOpen(&made.handle, one.attrs.set))
                .change(Change::Sync(&made.handle))
                .ask(Request::FStat(&made.handle))
        });
        let mut answers = self.session.requester.ask(Via::Same(channel), write)?;
        let mut written = Vec::new();
        for (mut one, made) in opened {
            let wrote = (0..one.read.len()).try_fold((), |(), _| answers.next().done());
            let (set, synced) = (answers.next().done(), answers.next().done());
            let (answer, length) = (answers.next(), one.read.length);
            let done = match (wrote, set) {
                (Err(fault), _) => Err(fault),
                (Ok(()), Ok(())) => self.synced_or_unsupported(synced).and_then(|()| {
                    one.attrs.wanted(length).prove(answer, &mut one.attrs.shortfall)
                }),
                (Ok(()), Err(_)) => self.finish_separately((&made, length), &mut one.attrs),
            };
            match done {
                Ok(()) => written.push((one, made)),
                Err(RequestError::Lost(why)) => return Err(RequestError::Lost(why)),
                Err(fault) => {
                    results[one.number] = Some(Err(refused(self.explain_refusal(folder, fault))));
                    self.discard(&made);
                }
            }
        }
        Ok(written)
    }

    /// Renames all files to their final names.
    fn name_all(
        &self,
        folder: &TargetFolder,
        channel: ChannelId,
        written: Vec<(BatchFile<'_>, TemporaryFile)>,
        results: &mut StoreResults,
    ) {
        let offers = self.offers();
        self.changed(folder);
        let mut name = Requests::new();
        for (one, made) in &written {
            let entry = one.file.entry();
            let Ok(to) = folder.child(&entry.name) else { continue };
            name = name.ask(Request::Close(&made.handle));
            let over = over(folder, one.file.replace(), offers);
            name = rename_requests(name, (&made.path, &to), entry.meta.kind, over, offers)
                .ask(Request::LStat(&to));
        }
        let mut answers = self.session.requester.ask(Via::Same(channel), name);
        for (one, made) in written {
            let (entry, replace) = (one.file.entry(), one.file.replace());
            let from = (&made.path[..], entry);
            let done = match &mut answers {
                Ok(answers) => {
                    drop(answers.next());
                    let renamed = renamed_answer(answers, over(folder, replace, offers), offers);
                    let there = answers.next();
                    renamed.and_then(|()| is_entry(there, entry)).or_else(|fault| {
                        self.after_failed_rename(folder, from, replace, (fault, false))
                    })
                }
                Err(RequestError::Lost(_)) => self.rename_again(folder, from, replace),
                Err(fault) => Err(fault.clone()),
            };
            let WantedAttrs { shortfall, .. } = one.attrs;
            let stored = StoreOutcome { shortfall, damaged: one.read.damaged, id: None };
            results[one.number] = match done {
                // Store the file again from the beginning.
                Err(RequestError::Lost(_)) => None,
                done => Some(done.map(|()| stored).map_err(refused)),
            };
        }
    }
}
