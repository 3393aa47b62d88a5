//! Stores small files of one folder together: opens all of them, then writes them, then renames them. Many
//! files then cost only the three round trips of one. A file for which any step fails is stored by itself.

use engine::repository::content::StoreError;
use engine::restore::targets::{Stored, ToStore};

use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::attributes::{Dress, is_set_id};
use crate::sftp::write::create::{Made, is_entry, named, naming, over};
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::Fault;
use crate::sftp::write::link::request_batch::{Lane, Requests, Via};
use crate::sftp::write::store::{AROUND, Read, refused};
use crate::sftp::write::target::SftpTarget;

/// A file of the batch.
struct One<'a> {
    /// Its index in the batch.
    number: usize,
    file: &'a dyn ToStore,
    read: Read,
    dress: Dress,
    path: Vec<u8>,
}

/// The result of each file, in order; `None` for a file that must be stored by itself.
type Fates = Vec<Option<Result<Stored, StoreError>>>;

/// The handles of the files, in order; `None` for a file that could not be opened.
type Handles = Vec<Option<Box<[u8]>>>;

impl SftpTarget {
    pub(crate) fn store_together(
        &self,
        folder: &TargetFolder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<Stored, StoreError>> {
        let mut fates: Fates = files.iter().map(|_| None).collect();
        let offers = self.offers();
        // Without these extensions some answers must be awaited one by one.
        if files.len() > 1 && offers.fsync && offers.hard_link && offers.apart {
            self.try_together(folder, files, &mut fates);
        }
        let alone = |(fate, file): (Option<_>, &&dyn ToStore)| match fate {
            Some(fate) => fate,
            None => file.open(&mut |content| {
                self.store_file(folder, file.entry(), content, file.replace())
            }),
        };
        fates.into_iter().zip(files).map(alone).collect()
    }

    fn try_together(&self, folder: &TargetFolder, files: &[&dyn ToStore], fates: &mut Fates) {
        let bytes: u64 = files.iter().map(|file| 2 * file.entry().meta.size + AROUND).sum();
        let _handles = self.handles.acquire(files.len() as u64);
        let _room = self.memory.acquire(bytes);
        let mut ones = Vec::new();
        for (number, file) in files.iter().enumerate() {
            match self.read_one(folder, number, *file) {
                Ok(Some(one)) => ones.push(one),
                Ok(None) => {}
                Err(error) => fates[number] = Some(Err(error)),
            }
        }
        if ones.is_empty() {
            return;
        }
        // After a lost connection, each remaining file is stored by itself.
        if let Ok((lane, opened)) = self.open_all(&ones)
            && let Ok(written) = self.write_all(folder, lane, ones, opened, fates)
        {
            self.name_all(folder, lane, written, fates);
        }
    }

    fn read_one<'a>(
        &self,
        folder: &TargetFolder,
        number: usize,
        file: &'a dyn ToStore,
    ) -> Result<Option<One<'a>>, StoreError> {
        let entry = file.entry();
        let mut dress = self.dress_of(entry);
        // The owner of a setuid or setgid file must be set before its mode.
        if is_set_id(&dress.set) {
            return Ok(None);
        }
        let mut read = None;
        file.open(&mut |content| {
            read = Some(self.read_small(content)?);
            Ok(Stored::default())
        })?;
        let Some(read) = read else { return Ok(None) };
        dress.set.size = read.size;
        let path = self.temporary(folder, &entry.name).map_err(refused)?;
        Ok(Some(One { number, file, read, dress, path }))
    }

    /// Opens all files. Files that fail are later opened again one by one.
    fn open_all(&self, ones: &[One<'_>]) -> Result<(Lane, Handles), Fault> {
        let open =
            ones.iter().fold(Requests::new(), |open, one| open.change(Change::Create(&one.path)));
        let mut answers = self.session.ask(open)?;
        let handles = ones.iter().map(|_| answers.next().handle().ok()).collect();
        Ok((answers.lane, handles))
    }

    /// Writes all files, sets their attributes, and syncs them to the disk.
    fn write_all<'a>(
        &self,
        folder: &TargetFolder,
        lane: Lane,
        ones: Vec<One<'a>>,
        handles: Handles,
        fates: &mut Fates,
    ) -> Result<Vec<(One<'a>, Made)>, Fault> {
        let opened = ones.into_iter().zip(handles).filter_map(|(one, handle)| {
            let made = Made { path: one.path.clone(), lane, handle: handle? };
            Some((one, made))
        });
        let opened: Vec<_> = opened.collect();
        let write = opened.iter().fold(Requests::new(), |write, (one, made)| {
            one.read
                .writes(write, &made.handle)
                .change(Change::SetOpen(&made.handle, one.dress.set))
                .change(Change::Sync(&made.handle))
                .ask(Request::FStat(&made.handle))
        });
        let mut answers = self.session.counter.ask(Via::Same(lane), write)?;
        let mut written = Vec::new();
        for (mut one, made) in opened {
            let wrote = (0..one.read.len()).try_fold((), |(), _| answers.next().done());
            let (set, synced) = (answers.next().done(), answers.next().done());
            let (told, length) = (answers.next(), one.read.length);
            let done = match (wrote, set) {
                (Err(fault), _) => Err(fault),
                (Ok(()), Ok(())) => self
                    .synced_or_unsupported(synced)
                    .and_then(|()| one.dress.wanted(length).prove(told, &mut one.dress.shortfall)),
                (Ok(()), Err(_)) => self.conclude_apart((&made, length), &mut one.dress),
            };
            match done {
                Ok(()) => written.push((one, made)),
                Err(Fault::Lost(why)) => return Err(Fault::Lost(why)),
                Err(fault) => {
                    fates[one.number] = Some(Err(refused(self.why(folder, fault))));
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
        lane: Lane,
        written: Vec<(One<'_>, Made)>,
        fates: &mut Fates,
    ) {
        let offers = self.offers();
        self.changed(folder);
        let mut name = Requests::new();
        for (one, made) in &written {
            let entry = one.file.entry();
            let Ok(to) = folder.child(&entry.name) else { continue };
            name = name.ask(Request::Close(&made.handle));
            let over = over(folder, one.file.replace(), offers);
            name = naming(name, (&made.path, &to), entry.meta.kind, over, offers)
                .ask(Request::LStat(&to));
        }
        let mut answers = self.session.counter.ask(Via::Same(lane), name);
        for (one, made) in written {
            let (entry, replace) = (one.file.entry(), one.file.replace());
            let from = (&made.path[..], entry);
            let done = match &mut answers {
                Ok(answers) => {
                    drop(answers.next());
                    let named = named(answers, over(folder, replace, offers), offers);
                    let there = answers.next();
                    named
                        .and_then(|()| is_entry(there, entry))
                        .or_else(|fault| self.misplaced(folder, from, replace, (fault, false)))
                }
                Err(Fault::Lost(_)) => self.place_again(folder, from, replace),
                Err(fault) => Err(fault.clone()),
            };
            let Dress { shortfall, .. } = one.dress;
            let stored = Stored { shortfall, damaged: one.read.damaged, id: None };
            fates[one.number] = match done {
                // Store the file again from the beginning.
                Err(Fault::Lost(_)) => None,
                done => Some(done.map(|()| stored).map_err(refused)),
            };
        }
    }
}
