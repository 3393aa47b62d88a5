//! Starts the listings of folders and processes their answers.

use crate::sftp::protocol::packet::Answer;
use crate::sftp::read::purpose::{ListingStep, Purpose, StepOutcome};
use crate::sftp::read::scheduler::{FOLDERS, ReadScheduler};

impl ReadScheduler {
    pub(super) fn folder_answer(
        &mut self,
        number: usize,
        id: u64,
        step: ListingStep,
        answer: Answer<'_>,
    ) {
        let channel = &mut self.channels[number];
        let Some(folder) = self.folders.get_mut(&id) else {
            // The listing ended before OPENDIR was answered.
            if let Answer::Handle(handle) = answer {
                channel.close(handle, Purpose::Ignored);
            }
            return;
        };
        match folder.answer(step, answer, channel, &mut self.delivery) {
            StepOutcome::Continues if folder.is_parked() => {
                if !self.parked.contains(&id) {
                    self.parked.push(id);
                }
            }
            StepOutcome::Continues => {}
            StepOutcome::Ended => {
                self.folders.remove(&id);
                self.folders_most = (self.folders_most + 1).min(FOLDERS);
                self.progressed = true;
            }
            StepOutcome::Restart => {
                let out = self.folders.len().saturating_sub(self.folders_waiting.len());
                self.folders_most = (out / 2).max(1);
                channel.files_most = (channel.files / 2).max(2);
                self.folders_waiting.push_back(id);
            }
        }
    }

    pub(super) fn pump_folders(&mut self) {
        let out = self.folders.len().saturating_sub(self.folders_waiting.len());
        let most = self.by_distance(64, 9, FOLDERS).min(self.folders_most);
        let mut room = most.saturating_sub(out);
        for id in std::mem::take(&mut self.parked) {
            if let Some(folder) = self.folders.get_mut(&id) {
                let channel = &mut self.channels[folder.channel()];
                folder.read(channel, &self.delivery);
                if folder.is_parked() {
                    self.parked.push(id);
                }
            }
        }
        while room > 0
            && !self.delivery.is_full_of_listings()
            && let Some(id) = self.folders_waiting.pop_front()
        {
            room -= 1;
            let least =
                self.channels.iter_mut().enumerate().min_by_key(|(_, channel)| channel.load());
            if let (Some(folder), Some((number, channel))) = (self.folders.get_mut(&id), least) {
                folder.start(number, channel);
            }
        }
    }
}
