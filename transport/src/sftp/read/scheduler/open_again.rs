//! Counts the server's handles, and opens again what the server refused because too many were open.

use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::Answer;
use crate::sftp::read::handle_limit::Others;
use crate::sftp::read::purpose::{FileStep, ListingStep, Purpose};
use crate::sftp::read::scheduler::ReadScheduler;

impl ReadScheduler {
    pub(super) fn fewest_files(&self) -> Option<usize> {
        let channels = self.channels.iter().enumerate();
        channels.min_by_key(|(_, channel)| channel.files).map(|(number, _)| number)
    }

    pub(super) fn least_loaded(&self) -> Option<usize> {
        let channels = self.channels.iter().enumerate();
        channels.min_by_key(|(_, channel)| channel.load()).map(|(number, _)| number)
    }

    /// Whether the channel may get one more handle.
    pub(super) fn admits(&self, number: usize, kind: HandleKind) -> bool {
        !self.handles.is_limited()
            || self.handles.admits(kind, Others::at_most(&self.channels, number, kind))
    }

    /// Whether a file may be opened that was not refused before.
    pub(super) fn may_open(&self) -> bool {
        !self.is_opening_again()
            && self.fewest_files().is_some_and(|number| self.admits(number, HandleKind::File))
    }

    /// Whether refused entries wait for another attempt, or are in it. Nothing else is opened meanwhile, so that
    /// the answers are certain.
    pub(super) fn is_opening_again(&self) -> bool {
        !(self.files_again.is_empty()
            && self.folders_again.is_empty()
            && self.opened_again.is_empty())
    }

    /// Opens refused entries again, beside as few handles as make the answers certain.
    pub(super) fn pump_again(&mut self) {
        while let Some(number) = self.fewest_files() {
            let is_folder = !self.folders_again.is_empty();
            let kind = if is_folder { HandleKind::Folder } else { HandleKind::File };
            let others = Others::at_most(&self.channels, number, kind);
            // Handles that stay open although nothing is outstanding may stay open for long.
            let idle = self.channels.iter().all(|channel| channel.load() == 0);
            if !idle && !self.handles.admits_again(kind, others) {
                return;
            }
            // Files from both ends in turn: unreadable files are often neighbours.
            let id = match self.files_again.len() % 2 {
                _ if is_folder => self.folders_again.pop_front(),
                0 => self.files_again.pop_front(),
                _ => self.files_again.pop_back(),
            };
            let Some(id) = id else { return };
            if is_folder && let Some(folder) = self.folders.get_mut(&id) {
                self.opened_again.insert(id);
                folder.start(number, &mut self.channels);
            }
            if let Some(file) = self.files.get(&id) {
                self.opened_again.insert(id);
                self.counts.small += file.reserve();
                if !file.is_small() {
                    self.reading.push_back(id);
                }
                self.start(id);
            }
        }
    }

    /// Counts the handles of the server, and learns from each answer to an OPEN or OPENDIR.
    pub(super) fn count_handles(&mut self, number: usize, purpose: &Purpose, answer: &Answer<'_>) {
        let (kind, id) = match purpose {
            Purpose::File(id, FileStep::Open(0)) => (HandleKind::File, Some(id)),
            Purpose::File(_, FileStep::Open(_)) => (HandleKind::File, None),
            Purpose::Folder(id, ListingStep::Open) => (HandleKind::Folder, Some(id)),
            _ => return,
        };
        let again = id.is_some_and(|id| self.opened_again.remove(id));
        let has_handle = matches!(answer, Answer::Handle(_));
        if has_handle {
            let others = Others::at_least(&self.channels, number, kind);
            self.handles.opened(kind, others, again);
        }
        self.channels[number].opened(kind, has_handle);
    }

    /// Empties the queues of refused entries.
    pub(super) fn forget_again(&mut self) {
        self.folders_again.clear();
        self.files_again.clear();
        self.opened_again.clear();
    }
}
