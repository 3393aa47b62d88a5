//! Decides from the server's metadata whether a file is still the one that was listed. Does no I/O.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::SourceError;
use engine::entry::{Kind, Meta};

use crate::sftp::protocol::attributes::undescribed;

/// A read proves its content only if the modification time is this many seconds older. FAT has a resolution
/// of two seconds, and the clocks may differ.
const TICK: i64 = 5;

/// Whether size and time prove that bytes read from `since` on belong to the file `listed`. They do not for a
/// file that changed within the tick in which it was read: it has the same size and time. The engine checks
/// bytes of an earlier run.
pub(crate) fn proves(listed: &Meta, since: Option<SystemTime>) -> bool {
    let Some(since) = since else { return true };
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    listed.mtime.secs < i64::try_from(since).unwrap_or(i64::MAX).saturating_sub(TICK)
}

/// Whether the file still has the listed size and time.
pub(crate) fn same_version(listed: &Meta, now: &Meta) -> bool {
    now.size == listed.size && now.mtime == listed.mtime
}

/// Whether the open file has the owner and mode that its copy gets. SFTP opens by path, and a folder of that
/// path may have become a symlink. Without this check, a user could get a copy of a file that the user cannot
/// read on the host.
pub(crate) fn same_access(listed: &Meta, now: &Meta) -> bool {
    let access = |meta: &Meta| (meta.uid, meta.gid, meta.mode);
    access(now) == access(listed)
}

/// Returns the metadata if they are those of a regular file.
///
/// # Errors
/// If attributes are missing, or the file is of another type.
pub(crate) fn regular(now: Option<Meta>) -> Result<Meta, SourceError> {
    let now = now.ok_or_else(undescribed)?;
    if now.kind == Kind::File { Ok(now) } else { Err(SourceError::Replaced) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::entry::Time;

    use super::*;

    fn meta(secs: i64) -> Meta {
        Meta {
            mtime: Time { secs, nanos: 0 },
            ..crate::sftp::protocol::attributes::meta(attrs()).unwrap()
        }
    }

    fn attrs() -> crate::sftp::protocol::packet::Attrs {
        crate::sftp::protocol::packet::Attrs {
            size: Some(3),
            owner: Some((1, 2)),
            permissions: Some(0o100_644),
            times: Some((0, 0)),
            links: None,
        }
    }

    #[test]
    fn a_time_proves_only_when_it_is_older_than_the_read() {
        let at = |secs| Some(UNIX_EPOCH + Duration::from_secs(secs));
        assert!(proves(&meta(100), None));
        assert!(proves(&meta(100), at(106)));
        assert!(!proves(&meta(100), at(105)));
    }

    #[test]
    fn versions_and_access_are_compared_apart() {
        let (listed, changed) = (meta(1), meta(2));
        assert!(!same_version(&listed, &changed) && same_access(&listed, &changed));
        let given = Meta { uid: 9, ..meta(1) };
        assert!(same_version(&listed, &given) && !same_access(&listed, &given));
    }
}
