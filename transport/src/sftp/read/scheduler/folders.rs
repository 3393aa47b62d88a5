//! Starts the listings of folders and processes their answers.

use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::Answer;
use crate::sftp::read::handle_limit::Others;
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
        let others = Others::at_most(&self.channels, number, HandleKind::Folder);
        let channel = &mut self.channels[number];
        let Some(folder) = self.folders.get_mut(&id) else {
            // The listing ended before OPENDIR was answered.
            if let Answer::Handle(handle) = answer {
                channel.close(HandleKind::Folder, handle, Purpose::Close(HandleKind::Folder));
            }
            return;
        };
        if let (ListingStep::Open, Answer::Status(status, _)) = (&step, &answer) {
            folder.refused(*status, others, &mut self.handles);
        }
        match folder.answer(step, answer, channel, &mut self.delivery) {
            StepOutcome::Continues if folder.is_parked() => {
                if !self.parked.contains(&id) {
                    self.parked.push(id);
                }
            }
            StepOutcome::Continues => {}
            StepOutcome::Ended => {
                self.folders.remove(&id);
                self.opened_again.remove(&id);
                self.progressed = true;
            }
            StepOutcome::Restart => self.folders_again.push_back(id),
        }
    }

    pub(super) fn pump_folders(&mut self) {
        let waiting = self.folders_waiting.len() + self.folders_again.len();
        let out = self.folders.len().saturating_sub(waiting);
        let mut room = self.by_distance(64, 9, FOLDERS).saturating_sub(out);
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
            && !self.is_opening_again()
            && let Some(number) = self.least_loaded()
            && self.admits(number, HandleKind::Folder)
            && let Some(id) = self.folders_waiting.pop_front()
        {
            room -= 1;
            if let Some(folder) = self.folders.get_mut(&id) {
                folder.start(number, &mut self.channels);
            }
        }
    }
}
