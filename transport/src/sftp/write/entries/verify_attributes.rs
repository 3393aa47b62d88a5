//! Compares the attributes that the server reports for a new entry with those that were sent. A server may
//! report success without doing what was requested, deliberately or because it does not support owners, modes
//! or times.

use engine::entry::Kind;
use engine::restore::Shortfall;

use crate::sftp::protocol::packet::Attrs;
use crate::sftp::protocol::write_packet::Set;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::OwnedAnswer;

/// The type bits of a mode (inode(7)), and their values.
const TYPE: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// The required type and attributes of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedEntry {
    pub(crate) kind: Kind,
    /// For files only.
    pub(crate) size: Option<u64>,
    pub(crate) set: Set,
}

impl ExpectedEntry {
    /// Compares the requirements with the attributes that the server reports. Missing attributes pass.
    ///
    /// # Errors
    /// [`RequestError::Replaced`] if it is another entry.
    pub(crate) fn prove(
        &self,
        answer: OwnedAnswer,
        shortfall: &mut Shortfall,
    ) -> Result<(), RequestError> {
        let Attrs { size, owner, permissions, times, .. } = match answer.attrs() {
            Err(fault) if fault.is_absent() => return Err(RequestError::Replaced),
            Err(fault) if fault.is_refusal() => return Ok(()),
            attrs => attrs?,
        };
        let kind = match self.kind {
            Kind::Folder => FOLDER,
            Kind::Symlink => SYMLINK,
            _ => FILE,
        };
        let is_other = permissions.is_some_and(|mode| mode & TYPE != 0 && mode & TYPE != kind);
        if is_other || (size.is_some() && self.size.is_some() && size != self.size) {
            return Err(RequestError::Replaced);
        }
        let differs = |wanted: Option<(u32, u32)>| owner.zip(wanted).is_some_and(|(a, b)| a != b);
        shortfall.owner |= differs(self.set.owner);
        let mode = permissions.zip(self.set.mode);
        shortfall.mode |= mode.is_some_and(|(answer, wanted)| answer & 0o7777 != wanted);
        // FAT stores times in steps of two seconds.
        let time = times.zip(self.set.times);
        shortfall.time |=
            time.is_some_and(|((_, answer), (_, wanted))| answer.abs_diff(wanted) > 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::protocol::packet::StatusCode;

    fn answer(change: impl FnOnce(&mut Attrs)) -> OwnedAnswer {
        let mut attrs = Attrs {
            size: Some(3),
            owner: Some((1, 2)),
            permissions: Some(0o100_644),
            times: Some((9, 1000)),
            links: None,
        };
        change(&mut attrs);
        OwnedAnswer::Attrs(attrs)
    }

    fn proved(answer: OwnedAnswer) -> Result<Shortfall, RequestError> {
        let set =
            Set { size: None, mode: Some(0o644), times: Some((7, 1000)), owner: Some((1, 2)) };
        let wanted = ExpectedEntry { kind: Kind::File, size: Some(3), set };
        let mut shortfall = Shortfall::default();
        wanted.prove(answer, &mut shortfall).map(|()| shortfall)
    }

    #[test]
    fn attributes_that_are_as_sent_or_not_reported_pass() {
        let nothing = Ok(Shortfall::default());
        assert_eq!(proved(answer(|_| {})), nothing);
        assert_eq!(proved(answer(|attrs| attrs.times = Some((0, 999)))), nothing);
        assert_eq!(proved(answer(|attrs| *attrs = Attrs::default())), nothing);
        assert_eq!(proved(OwnedAnswer::Status(StatusCode::Other(8))), nothing);
    }

    #[test]
    fn something_else_is_refused_and_other_attributes_are_missing() {
        for other in [
            answer(|attrs| attrs.size = Some(0)),
            answer(|attrs| attrs.permissions = Some(0o040_644)),
            OwnedAnswer::Status(StatusCode::NoSuchFile),
        ] {
            assert_eq!(proved(other), Err(RequestError::Replaced));
        }
        let short = |change: fn(&mut Attrs)| proved(answer(change)).unwrap();
        assert!(short(|attrs| attrs.owner = Some((1, 3))).owner);
        assert!(short(|attrs| attrs.permissions = Some(0o100_600)).mode);
        assert!(short(|attrs| attrs.times = Some((7, 1002))).time);
    }
}
