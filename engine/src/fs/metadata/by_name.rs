//! Describes an entry by its name, with two system calls where a handle takes four, if this is certain to describe one inode.
//!
//! A user could exchange two names between the calls, and give their file the attributes of another one. But then the inode
//! that has the name at the second call was renamed, exchanged or linked after the first one, and the file system gave it a new change
//! time. So an inode with an older change time had the name at both calls.

use std::ffi::CStr;
use std::os::fd::AsFd;

use crate::entry::racy::{before, clock};
use crate::entry::{Kind, Meta, Time};
use crate::fs::dir::Dir;
use crate::fs::file_system::stamps_renames;
use crate::fs::metadata::listed_at::has_none;
use crate::fs::metadata::xattrs::XattrSelection;

/// How much older than now a change time must be. The clock of the file system advances in steps of a few milliseconds.
const MARGIN_NS: u64 = 2_000_000_000;

/// A time before which the described entries of a folder must have changed last.
#[derive(Debug, Clone, Copy)]
pub struct ByName(Time);

impl ByName {
    /// For entries of `dir` that are looked at from now on. `None` where the file system is not known to give an inode a new
    /// change time when it is renamed, exchanged or linked.
    #[must_use]
    pub fn in_folder(dir: &Dir) -> Option<Self> {
        stamps_renames(dir).then(|| Self(before(clock(), MARGIN_NS)))
    }

    /// The metadata of the entry `name` of `dir`, if it is known to have none of the attributes that are `asked` for. `None`
    /// if the entry has to be looked at by a handle, as every symlink has for its target.
    #[must_use]
    pub fn without_attributes(self, dir: &Dir, name: &CStr, asked: XattrSelection) -> Option<Meta> {
        // In this order: the change time shows what happened after the attributes were listed.
        if !has_none(dir.as_fd(), &dir.on_disk(name).ok()?, |name| asked.takes(name)) {
            return None;
        }
        let meta = dir.stat(name).ok()?;
        (meta.kind != Kind::Symlink && meta.ctime < self.0).then_some(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

    /// Whether this kernel has the call.
    fn is_supported(dir: &Dir) -> bool {
        has_none(dir.as_fd(), c".", |_| false)
    }

    #[test]
    fn what_has_an_attribute_is_never_taken_for_an_entry_without() {
        let top = tempfile::tempdir_in("/var/tmp").unwrap();
        let dir = Dir::at(top.path()).unwrap();
        let ours = "user.backup_manager.blake3".to_owned();
        let long = |number| format!("user.{}{number}", "x".repeat(200));
        let none = |name| has_none(dir.as_fd(), name, |name| ALL.takes(name));
        for (name, attributes, wanted) in [
            (c"none", vec![], 0),
            (c"ours", vec![ours.clone()], 0),
            (c"one", vec!["user.one".to_owned()], 1),
            (c"both", vec![ours, "user.one".to_owned()], 1),
            // Their names are longer than the buffer.
            (c"many", (0..9).map(long).collect(), 9),
        ] {
            let file = dir.create_file(name, 0o644).unwrap();
            for attribute in &attributes {
                xattr::FileExt::set_xattr(&file, attribute, b"value").unwrap();
            }
            assert_eq!(none(name), wanted == 0 && is_supported(&dir), "{name:?}");
            let read = crate::fs::metadata::xattrs::read(&dir, name, ALL).unwrap();
            assert_eq!(read.len(), wanted, "{name:?}");
        }
        assert!(!none(c"missing"));
        // A symlink has no user attributes, whatever its target has.
        dir.make_symlink(c"link", b"one").unwrap();
        assert_eq!(none(c"link"), is_supported(&dir));
    }

    #[test]
    fn an_entry_that_was_renamed_linked_or_changed_since_is_not_described() {
        let top = tempfile::tempdir_in("/var/tmp").unwrap();
        let dir = Dir::at(top.path()).unwrap();
        if ByName::in_folder(&dir).is_none() || !is_supported(&dir) {
            return;
        }
        for name in [c"old", c"one", c"two", c"linked"] {
            dir.create_file(name, 0o644).unwrap();
        }
        dir.make_symlink(c"symlink", b"old").unwrap();
        let tick = |since: Time| {
            while clock() <= since {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            clock()
        };
        // Where change times are finer than the clock (Linux 6.13), they may be later than it is when its ticks are late.
        let names = [c"old", c"one", c"two", c"linked", c"symlink"];
        let latest = names.map(|name| dir.stat(name).unwrap().ctime).into_iter().max();
        let since = ByName(tick(clock().max(latest.unwrap())));
        tick(since.0);
        let described = |name| since.without_attributes(&dir, name, ALL);
        assert_eq!(described(c"one"), dir.stat(c"one").ok());
        assert!(described(c"missing").is_none() && described(c"symlink").is_none());
        dir.rename_over(c"one", c"two").unwrap();
        dir.link(c"again", &dir, c"linked").unwrap();
        for name in [c"two", c"linked", c"again"] {
            assert!(described(name).is_none(), "{name:?}");
        }
        assert!(described(c"old").is_some());
        xattr::FileExt::set_xattr(
            &dir.open_to_write(c"old").unwrap(),
            "user.backup_manager.x",
            b"",
        )
        .unwrap();
        assert!(described(c"old").is_none());
        // What is new at the time of the look is described by a handle.
        assert!(ByName::in_folder(&dir).unwrap().without_attributes(&dir, c"two", ALL).is_none());
    }
}
