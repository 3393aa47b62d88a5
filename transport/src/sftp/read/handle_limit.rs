//! Decides whether a server refuses to open a file or folder because of that entry, or because too many are
//! open. Does no I/O.
//!
//! Servers limit the handles of a channel or of a connection, and differ in the status that they answer then:
//! FAILURE, PERMISSION_DENIED or another code. A refusal is about the entry if the server opened another
//! entry with at least as many handles open. Otherwise the entry is opened again later, beside no more
//! handles than that.

use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::StatusCode;
use crate::sftp::read::purpose::ReadChannel;

/// Maximum number of attempts to open an entry that the server refuses.
const TRIES: u32 = 8;

/// If this many entries in a row are refused again, and none is opened meanwhile, the server is taken to
/// refuse entries for their own sake. Without this, a folder whose files are all unreadable takes a round
/// trip for each file.
const ALL_REFUSED: u32 = 32;

/// Numbers of handles. A server may limit those of a channel or of the connection, and may limit files and
/// folders together or apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Others {
    /// Handles of the same kind as the entry: on its channel, and on the connection.
    same: [usize; 2],
    all: [usize; 2],
}

impl Others {
    /// The handles that may be open on the server beside that of an entry: those being opened and closed count.
    pub(crate) fn at_most(channels: &[ReadChannel], number: usize, kind: HandleKind) -> Self {
        Self::count(channels, number, kind, ReadChannel::handles_at_most)
    }

    /// The handles that are certainly open on the server.
    pub(crate) fn at_least(channels: &[ReadChannel], number: usize, kind: HandleKind) -> Self {
        Self::count(channels, number, kind, ReadChannel::handles_at_least)
    }

    fn count(
        channels: &[ReadChannel],
        number: usize,
        kind: HandleKind,
        of: impl Fn(&ReadChannel, HandleKind) -> usize,
    ) -> Self {
        let all = |channel| of(channel, HandleKind::File) + of(channel, HandleKind::Folder);
        let channel = channels.get(number);
        Self {
            same: [
                channel.map_or(0, |channel| of(channel, kind)),
                channels.iter().map(|channel| of(channel, kind)).sum(),
            ],
            all: [channel.map_or(0, all), channels.iter().map(all).sum()],
        }
    }

    /// The larger value of each.
    pub(crate) fn max(self, other: Self) -> Self {
        let max =
            |ours: [usize; 2], theirs: [usize; 2]| [ours[0].max(theirs[0]), ours[1].max(theirs[1])];
        Self { same: max(self.same, other.same), all: max(self.all, other.all) }
    }

    fn fit(self, most: Self) -> bool {
        let fit = |ours: [usize; 2], most: [usize; 2]| ours[0] <= most[0] && ours[1] <= most[1];
        fit(self.same, most.same) && fit(self.all, most.all)
    }
}

/// How often the server refused an entry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refusals {
    all: u32,
    /// Those that are about the entry.
    certain: u32,
}

/// What the server's answers show about its limit of open handles.
#[derive(Debug, Default)]
pub(crate) struct HandleLimit {
    /// The server opened a file, and a folder, beside this many handles.
    proven: [Others; 2],
    refused_again: u32,
    /// The server refused an entry, and opened it when fewer handles were open.
    is_limited: bool,
}

impl HandleLimit {
    /// Records that the server opened an entry beside `others`, which were certainly open. `again`: it had
    /// refused the entry before.
    pub(crate) fn opened(&mut self, kind: HandleKind, others: Others, again: bool) {
        self.proven[kind as usize] = self.proven(kind).max(others);
        self.refused_again = 0;
        self.is_limited |= again;
    }

    /// Learns from a refusal of an entry with `refusals`, while `others` may have been open. Returns whether the
    /// entry must be opened again.
    pub(crate) fn refused(
        &mut self,
        kind: HandleKind,
        status: StatusCode,
        others: Others,
        refusals: &mut Refusals,
    ) -> bool {
        let all_are = !self.is_limited && self.refused_again >= ALL_REFUSED;
        let is_certain = all_are || self.admits_again(kind, others);
        refusals.all += 1;
        refusals.certain += u32::from(is_certain);
        // A failure of the server that has nothing to do with the entry may pass.
        let may_pass = status == StatusCode::Failure && refusals.certain <= 1;
        if refusals.all < TRIES && (may_pass || !is_certain) {
            return true;
        }
        if refusals.all > 1 {
            self.refused_again = self.refused_again.saturating_add(1);
        }
        false
    }

    /// Whether a refused entry may be opened again beside `others`, so that the answer is certain.
    pub(crate) fn admits_again(&self, kind: HandleKind, others: Others) -> bool {
        others.fit(self.proven(kind))
    }

    /// Whether an entry may be opened beside `others`.
    pub(crate) fn admits(&self, kind: HandleKind, others: Others) -> bool {
        !self.is_limited || self.admits_again(kind, others)
    }

    /// Whether the server is known to have a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// The proven handles. If the server counts files and folders together, each kind proves the sum.
    fn proven(&self, kind: HandleKind) -> Others {
        let [files, folders] = self.proven;
        Others { all: files.max(folders).all, ..self.proven[kind as usize] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HandleKind::{File, Folder};

    /// Handles of the same kind on a channel and on the connection, and as many of the other kind.
    fn others(channel: usize, connection: usize) -> Others {
        Others { same: [channel, connection], all: [2 * channel, 2 * connection] }
    }

    fn refused(limit: &mut HandleLimit, others: Others, all: u32, certain: u32) -> bool {
        limit.refused(File, StatusCode::PermissionDenied, others, &mut Refusals { all, certain })
    }

    #[test]
    fn a_refusal_is_about_the_entry_when_as_many_were_open_at_a_success() {
        let mut limit = HandleLimit::default();
        assert!(!refused(&mut limit, others(0, 0), 0, 0), "nothing else was open");
        assert!(refused(&mut limit, others(1, 1), 0, 0));
        limit.opened(File, others(3, 5), false);
        for (other, again) in [(others(3, 5), false), (others(4, 5), true), (others(3, 6), true)] {
            assert_eq!(refused(&mut limit, other, 0, 0), again, "{other:?}");
            assert!(limit.admits(File, other), "no limit is known");
            assert_eq!(limit.admits_again(File, other), !again);
        }
    }

    #[test]
    fn open_folders_prove_nothing_about_files() {
        let mut limit = HandleLimit::default();
        limit.opened(Folder, others(64, 64), false);
        assert!(refused(&mut limit, others(1, 1), 0, 0));
        assert!(limit.admits_again(File, Others { all: [64, 64], ..Others::default() }));
    }

    #[test]
    fn an_entry_that_opens_later_shows_the_limit() {
        let mut limit = HandleLimit::default();
        limit.opened(File, others(3, 3), false);
        limit.opened(File, others(2, 2), true);
        assert!(limit.is_limited());
        assert!(limit.admits(File, others(3, 3)) && !limit.admits(File, others(4, 4)));
        (0..99).for_each(|_| assert!(!refused(&mut limit, others(0, 0), 1, 1)));
        assert!(refused(&mut limit, others(4, 4), 0, 0));
    }

    #[test]
    fn a_server_that_refuses_everything_is_believed_until_it_opens_something() {
        let mut limit = HandleLimit::default();
        (0..ALL_REFUSED).for_each(|_| assert!(!refused(&mut limit, others(0, 0), 1, 1)));
        assert!(!refused(&mut limit, others(9, 9), 0, 0));
        limit.opened(File, others(0, 0), false);
        assert!(refused(&mut limit, others(9, 9), 0, 0));
    }

    #[test]
    fn no_entry_is_opened_again_for_ever() {
        let mut limit = HandleLimit::default();
        let mut again = |others, all, certain| {
            limit.refused(File, StatusCode::Failure, others, &mut Refusals { all, certain })
        };
        assert!(again(others(0, 0), 0, 0) && !again(others(0, 0), 1, 1));
        assert!(again(others(1, 1), TRIES - 2, 0) && !again(others(1, 1), TRIES - 1, 0));
    }
}
