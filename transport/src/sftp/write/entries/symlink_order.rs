//! Finds out how a server interprets SYMLINK and its extensions for symlinks, by trying them on a dangling
//! symlink in the restored folder. In the draft the path of the link comes first; with OpenSSH its target
//! does. With the wrong order, the server would create a link at the target's path.

use engine::entry::Kind;

use crate::sftp::protocol::packet::{Attrs, Request};
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{ChannelId, OwnedAnswer, Requests, Via};
use crate::sftp::write::link::session::{described, mark};
use crate::sftp::write::target::{Order, ProbedOrder, SftpTarget};
use crate::ssh::again::again;

/// A time that no clock shows, in seconds since 1970.
const TIME: u32 = 1_000_000;

/// Whether the entry at a path is a symlink to `target`.
pub(crate) fn leads_to(
    there: OwnedAnswer,
    link: OwnedAnswer,
    target: &[u8],
) -> Result<bool, RequestError> {
    let is_link = described(there.attrs()?)?.kind == Kind::Symlink;
    Ok(is_link && *link.name()? == *target)
}

impl SftpTarget {
    /// The order of SYMLINK's arguments on the current connection. If it is unknown, it is tried out in
    /// `folder`.
    pub(crate) fn symlink_order(&self, folder: &TargetFolder) -> Result<ProbedOrder, RequestError> {
        let mut known = self.tried();
        if let Some(tried) = *known {
            return Ok(tried);
        }
        let number = mark();
        let tried = again(|_| self.probe_symlink_order(folder, number))?;
        *known = Some(tried);
        Ok(tried)
    }

    /// Discards the result when its connection is lost.
    pub(crate) fn forget_symlink_order(&self, channel: ChannelId) {
        let mut known = self.tried();
        if known.is_some_and(|tried| tried.channel.connection == channel.connection) {
            *known = None;
        }
    }

    fn probe_symlink_order(
        &self,
        folder: &TargetFolder,
        number: u32,
    ) -> Result<ProbedOrder, RequestError> {
        let name = |which: &str| {
            let odd = RequestError::Impossible("it has no temporary name");
            let name = std::ffi::CString::new(format!("trial.{number:08x}.{which}"));
            self.temporary(folder, &name.map_err(|_| odd)?)
        };
        let (one, other, further) = (name("a")?, name("b")?, name("c")?);
        // With either order, the server creates the link in this folder, as a dangling symlink.
        let make = Requests::new()
            // Leftovers of an attempt before the connection was lost.
            .change(Change::Remove(&one))
            .change(Change::Remove(&other))
            .change(Change::Remove(&further))
            .change(Change::Symlink { first: &one, second: &other })
            .ask(Request::LStat(&one))
            .ask(Request::ReadLink(&one))
            .ask(Request::LStat(&other))
            .ask(Request::ReadLink(&other));
        let mut answers = self.session.ask(make)?;
        let channel = answers.channel;
        (0..3).for_each(|_| drop(answers.next()));
        let made = answers.next().done();
        let mut is_at = |target: &[u8]| {
            let (there, link) = (answers.next(), answers.next());
            leads_to(there, link, target).unwrap_or(false)
        };
        let found = [(is_at(&other), Order::Link), (is_at(&one), Order::Target)];
        let sure = match found {
            [(true, order), (false, _)] => Some((order, &one, &other)),
            [(false, _), (true, order)] => Some((order, &other, &one)),
            _ => None,
        };
        let Some((order, path, target)) = sure else {
            self.clear_away(channel, [&one, &other, &further]);
            made?;
            return Err(RequestError::Impossible(
                "the server does not report where it made a symlink",
            ));
        };
        let offers = self.session.server().offers;
        let set = Set { times: Some((TIME, TIME)), ..Set::default() };
        let mut ask = Requests::new();
        if offers.lsetstat {
            ask = ask.change(Change::SetLink(path, set)).ask(Request::LStat(path));
        }
        if offers.hard_link {
            ask = ask.change(Change::Link { from: path, to: &further });
            ask = ask.ask(Request::LStat(&further)).ask(Request::ReadLink(&further));
        }
        let tried = self.session.requester.ask(Via::Same(channel), ask);
        self.clear_away(channel, [&one, &other, &further]);
        let mut answers = tried?;
        if offers.lsetstat {
            let done = answers.next().done().is_ok();
            let is_set =
                |attrs: Attrs| attrs.times.is_none_or(|(_, time)| time.abs_diff(TIME) <= 1);
            let sets = done && answers.next().attrs().is_ok_and(is_set);
            self.follows.set_link(!sets);
        }
        if offers.hard_link {
            let done = answers.next().done().is_ok();
            let (there, link) = (answers.next(), answers.next());
            let links = done && leads_to(there, link, target).unwrap_or(false);
            self.follows.link(!links);
        }
        Ok(ProbedOrder { channel, order })
    }

    fn clear_away(&self, channel: ChannelId, paths: [&[u8]; 3]) {
        for path in paths {
            self.session.remove_later(Via::Same(channel), Requests::new(), path);
        }
    }
}
