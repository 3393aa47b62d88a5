//! Sends what the thread that builds files asks for, and checks what arrives for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::helper::protocol::message::Answer;
use crate::helper::read::channel::{HelperChannel, Purpose, WRONG};
use crate::helper::read::delta::rules::DeltaRules;
use crate::helper::read::delta::{DeltaCommand, Event};
use crate::helper::read::files::FileFetch;
use crate::helper::read::folder::FolderHandle;
use crate::helper::read::scheduler::{BAD_META, HelperScheduler};
use crate::ssh::framing::Violation;

impl HelperScheduler {
    pub(super) fn event(&self, event: Event) {
        self.delivery.backlog.events.fetch_add(event.bytes(), Ordering::Relaxed);
        // The thread lives as long as `self`.
        let _ = self.deltas.send(event);
    }

    /// Lets the other thread build the file `id`, if it is to be built. It then asks for what it needs.
    pub(super) fn build(&mut self, id: u64) -> bool {
        let Some(file) = self.files.get_mut(&id) else { return false };
        let to_build = file.to_build();
        let (Some(delta), Some(to_build)) = (&mut file.delta, to_build) else { return false };
        delta.round += 1;
        let event = match delta.round {
            1 => Event::Start(id, Box::new(to_build), 1),
            round => Event::Again(id, round),
        };
        self.event(event);
        true
    }

    /// Carries out a command, unless it is for an earlier connection.
    pub(super) fn delta_command(&mut self, command: DeltaCommand) {
        match command {
            DeltaCommand::Ask { file: id, round, from, sums } => {
                let Some(file) = self.current(id, round) else { return };
                let (folder, request) = (Arc::clone(&file.folder), file.delta_request(from, sums));
                let left = file.size().saturating_sub(from);
                let Some(number) = self.channel_for_delta(&folder) else {
                    let ask = DeltaCommand::Ask { file: id, round, from, sums };
                    return self.waiting_deltas.push_back(ask);
                };
                self.channels[number].open(&folder);
                let asked = self.channels[number].ask(&request, Purpose::File(id));
                if let Some(file) = self.files.get_mut(&id)
                    && let Some(delta) = &mut file.delta
                {
                    file.asked = Some((number, asked));
                    delta.rules = Some(DeltaRules::new(sums, left));
                }
            }
            DeltaCommand::Parts { file: id, round, parts, last } => {
                let Some(file) = self.current(id, round) else { return };
                let Some((number, request)) = file.asked else { return };
                let takes = |it: &HelperChannel| it.takes_parts(parts.len());
                let earlier_waits = self.waiting_deltas.iter().any(
                    |waiting| matches!(waiting, DeltaCommand::Parts { file, .. } if *file == id),
                );
                if earlier_waits || !self.channels.get(number).is_some_and(takes) {
                    let parts = DeltaCommand::Parts { file: id, round, parts, last };
                    return self.waiting_deltas.push_back(parts);
                }
                let Some(file) = self.files.get_mut(&id) else { return };
                if let Some(rules) = file.delta.as_mut().and_then(|delta| delta.rules.as_mut()) {
                    rules.asked(&parts, last);
                }
                let Some(channel) = self.channels.get_mut(number) else { return };
                channel.set_idle(request, false);
                channel.ask_parts(request, parts, last);
            }
            DeltaCommand::GiveUp { file: id, round } => {
                if self.current(id, round).is_some() {
                    self.end_unwanted(id);
                }
            }
            DeltaCommand::Whole { file: id } => {
                let Some(file) = self.files.get_mut(&id) else { return };
                (file.delta, file.asked) = (None, None);
                // Without a connection it waits for one already.
                if !self.channels.is_empty() {
                    self.start(Purpose::File(id));
                }
            }
        }
    }

    /// The channel with the least work among those whose far end accepts one delta more.
    fn channel_for_delta(&self, folder: &FolderHandle) -> Option<usize> {
        let free = self.channels.iter().enumerate().filter(|(_, channel)| channel.takes_deltas());
        let least = free.min_by_key(|(_, it)| (it.load(), !it.knows(folder.number)));
        least.map(|(number, _)| number)
    }

    /// Sends what waits until the far ends have done with what is not wanted any more.
    pub(super) fn pump_deltas(&mut self) {
        for command in std::mem::take(&mut self.waiting_deltas) {
            self.delta_command(command);
        }
    }

    /// The file, if `round` is that of this connection.
    fn current(&mut self, id: u64, round: u32) -> Option<&mut FileFetch> {
        let file = self.files.get_mut(&id)?;
        let is_current = file.delta.as_ref().is_some_and(|delta| delta.round == round);
        (is_current && !self.channels.is_empty()).then_some(file)
    }

    /// Processes an answer about the file `id`, which is being built; returns whether it is the last one.
    pub(super) fn delta_answer(
        &mut self,
        channel: usize,
        id: u64,
        answer: Answer,
        (content, bytes): (&[u8], usize),
    ) -> Result<bool, Violation> {
        let Some(file) = self.files.get_mut(&id) else { return Err(WRONG) };
        let asked = file.asked;
        let Some(rules) = file.delta.as_mut().and_then(|delta| delta.rules.as_mut()) else {
            return Err(WRONG);
        };
        let (event, is_last) = match answer {
            Answer::Chunks(chunks) => {
                self.channels[channel].read(bytes)?;
                rules.chunks(&chunks)?;
                (Event::Chunks(id, chunks), false)
            }
            Answer::Hole(length) => {
                self.channels[channel].read(0)?;
                rules.hole(length)?;
                (Event::Hole(id, length), false)
            }
            Answer::Hashed(hash) => {
                self.channels[channel].read(bytes)?;
                rules.hashed()?;
                (Event::Hashed(id, hash), false)
            }
            Answer::Part(runs) => {
                self.channels[channel].read(bytes)?;
                rules.part(&runs, content.len())?;
                if let Some((number, request)) = asked {
                    self.channels[number].part_answered(request);
                }
                self.delivery.backlog.bytes.fetch_add(content.len(), Ordering::Relaxed);
                (Event::Part(id, runs, content.to_vec()), false)
            }
            Answer::Undivided => {
                rules.undivided()?;
                (Event::Undivided(id), true)
            }
            Answer::Read(result) => {
                let result = match result {
                    Ok(sent) => Ok(sent.try_into().map_err(|_| BAD_META)?),
                    Err(error) => Err(error.into()),
                };
                (Event::Ended(id, (file.request, file.index), result), true)
            }
            _ => return Err(WRONG),
        };
        let idle = rules.is_idle();
        if matches!(event, Event::Ended(..)) {
            self.files.remove(&id);
        }
        if let Some((number, request)) = asked.filter(|_| !is_last) {
            self.channels[number].set_idle(request, idle);
        }
        self.event(event);
        Ok(is_last)
    }
}
