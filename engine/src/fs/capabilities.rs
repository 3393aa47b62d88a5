//! What the destination can do, found out by trying in `.backup_manager/`.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::entry::{Kind, Time, c_name};
use crate::fs::dir::Dir;
use crate::fs::refusal::is_full;
use crate::fs::small_file::{create_state, read_small, write_whole};
use crate::fs::temporary::probe_name;
use crate::fs::{stat, temporary, xattrs};

/// What the destination can hold, and as whom we write to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent ability of a file system"
)]
pub(crate) struct Abilities {
    /// The user that new inodes belong to.
    pub(crate) uid: u32,
    /// The group that new inodes belong to.
    pub(crate) gid: u32,
    /// Hard links.
    pub(crate) links: bool,
    /// How many names an inode can have.
    pub(crate) most_links: u64,
    /// Symlinks.
    pub(crate) symlinks: bool,
    /// Fifos and sockets.
    pub(crate) nodes: bool,
    /// Any numeric owner.
    pub(crate) owner: bool,
    /// All mode bits.
    pub(crate) mode: bool,
    /// `user.` attributes.
    pub(crate) xattrs: bool,
    /// Copies that share their blocks.
    pub(crate) reflinks: bool,
    /// Names that differ only in case are the same.
    pub(crate) folds_case: bool,
    /// Names that are not UTF-8 are stored as others.
    #[serde(default)]
    pub(crate) changes_names: bool,
    /// How fine modification times are, nanoseconds.
    pub(crate) time_granularity_ns: u32,
}

/// A file that stays, so that what comes back of its time tells how much of it reached the disk.
const STAYS: &CStr = c"probe";
/// What was found out, for runs that find the disk full.
const FOUND: &str = "abilities.json";
/// A time that no coarser clock can hold.
const FINE: Time = Time { secs: 1_000_000_001, nanos: 123_456_789 };

/// Tries everything in `own`. On a full disk what an earlier run found out counts.
///
/// # Errors
/// When nothing can be written there, and nothing is known.
pub(crate) fn probe(own: &Dir) -> io::Result<Abilities> {
    let known: Option<Abilities> =
        read_small(own, FOUND).and_then(|found| serde_json::from_slice(&found).ok());
    match try_all(own) {
        Err(error) if is_full(&error, own) => known.ok_or(error),
        Err(error) => Err(error),
        Ok(found) => {
            if known.as_ref() != Some(&found) {
                // It is only a help for bad days.
                let _ = write_whole(own, FOUND, &serde_json::to_vec(&found)?);
            }
            Ok(found)
        }
    }
}

/// How often another process may disturb it: one with a wrong clock takes its files for old ones.
const TRIES: usize = 3;

fn try_all(own: &Dir) -> io::Result<Abilities> {
    temporary::remove_old(own);
    let mut tries = 1;
    loop {
        let names = Names { file: probe_name()?, other: probe_name()? };
        let found = try_under(own, &names);
        let gone = names.gone(own);
        let disturbed = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
        };
        match found {
            Err(error) if tries < TRIES && disturbed(&error) => tries += 1,
            found => return gone.and(found),
        }
    }
}

/// The names of what is made to try something. No other process uses them: one of another job may probe at the same time.
struct Names {
    file: CString,
    other: CString,
}

impl Names {
    fn other_in_capitals(&self) -> io::Result<CString> {
        c_name(self.other.to_bytes().to_ascii_uppercase())
    }

    fn gone(&self, own: &Dir) -> io::Result<()> {
        gone(own, &self.other).and(gone(own, &self.file))
    }
}

fn try_under(own: &Dir, names: &Names) -> io::Result<Abilities> {
    let (file_name, other_name) = (names.file.as_c_str(), names.other.as_c_str());
    let file = create_state(own, file_name)?;
    // 4 KiB: some file systems do not share blocks of files that fit into their inode.
    rustix::io::pwrite(&file, &[1; 4096], 0)?;
    stat::set_mtime(&file, FINE)?;
    let granularity = granularity(own.stat(file_name)?.mtime).max(stored_granularity(own)?);
    let links = able(own.link(other_name, own, file_name))?;
    gone(own, other_name)?;
    let symlinks = able(own.make_symlink(other_name, b"x"))?;
    gone(own, other_name)?;
    let node = || own.make_node(other_name, Kind::Fifo, 0o600, 0);
    let nodes = match able(node()) {
        // exFAT over FUSE says EIO for what it cannot hold; an error of the moment is not there twice.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => node().is_ok(),
        tried => tried?,
    };
    gone(own, other_name)?;
    let changes_names = changes_names(own, other_name)?;
    let other = own.create_file(other_name, 0o600)?;
    let created = own.stat(other_name)?;
    let root = rustix::process::geteuid().is_root();
    let owner = root && holds_owner(own, other_name, &other)?;
    let mode = able(stat::set_mode(&other, 0o4751))? && own.stat(other_name)?.mode == 0o4751;
    Ok(Abilities {
        uid: created.uid,
        gid: created.gid,
        links,
        most_links: most_links(own),
        symlinks,
        nodes,
        owner,
        mode,
        xattrs: xattrs::set_hash(&other, &blake3::hash(b"x"))?,
        reflinks: rustix::fs::ioctl_ficlone(&other, &file).is_ok(),
        folds_case: own.find(&names.other_in_capitals()?)?.is_some(),
        changes_names,
        time_granularity_ns: granularity,
    })
}

/// How fine the time is that an earlier run gave to the file that stays. It is never written again: what the system has in
/// memory tells finer times than the disk.
fn stored_granularity(own: &Dir) -> io::Result<u32> {
    match own.find(STAYS)? {
        Some(meta) => Ok(granularity(meta.mtime)),
        None => {
            let name = probe_name()?;
            let made = create_state(own, &name)
                .and_then(|file| stat::set_mtime(&file, FINE))
                .and_then(|()| own.rename_over(&name, STAYS));
            if made.is_err() {
                let _ = own.unlink(&name);
            }
            made.map(|()| 1)
        }
    }
}

/// Whether it worked; a disk that is full, fails or goes away says nothing about what the file system can do.
fn able(result: io::Result<()>) -> io::Result<bool> {
    const OF_THE_MOMENT: [Errno; 12] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::IO,
        Errno::ROFS,
        Errno::STALE,
        Errno::INTR,
        Errno::NOTCONN,
        Errno::CONNABORTED,
        Errno::TIMEDOUT,
        Errno::NODEV,
        Errno::NOENT,
        Errno::NOMEM,
    ];
    match result {
        Err(error)
            if Errno::from_io_error(&error).is_some_and(|no| OF_THE_MOMENT.contains(&no)) =>
        {
            Err(error)
        }
        result => Ok(result.is_ok()),
    }
}

/// Whether a name that is not UTF-8 is taken and stored as another one: looked for among the names that are listed, as the
/// file is found under the name that was asked for, too. `prefix` is a name that nothing has.
fn changes_names(own: &Dir, prefix: &CStr) -> io::Result<bool> {
    let name = c_name([prefix.to_bytes(), b"\xff"].concat())?;
    // Names that are refused are told one by one.
    if own.create_file(&name, 0o600).is_err() {
        return Ok(false);
    }
    let mut found = Vec::new();
    own.names(|entry| {
        if entry.name.to_bytes().starts_with(prefix.to_bytes()) {
            found.push(entry.name.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    let changed = !found.contains(&name);
    found.iter().chain([&name]).try_for_each(|name| gone(own, name))?;
    Ok(changed)
}

fn gone(own: &Dir, name: &CStr) -> io::Result<()> {
    match own.unlink(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn holds_owner(own: &Dir, name: &CStr, file: &File) -> io::Result<bool> {
    const NOBODY: u32 = 54_321;
    let set = able(stat::set_owner(file, Some(NOBODY), Some(NOBODY)))?;
    let found = own.stat(name)?;
    Ok(set && found.uid == NOBODY && found.gid == NOBODY)
}

/// How many names an inode can have, where fewer than one would ever want.
fn most_links(own: &Dir) -> u64 {
    match rustix::fs::fstatfs(own).map(|found| found.f_type as u64) {
        // EXT4_LINK_MAX (fs/ext4/ext4.h), BTRFS_LINK_MAX (fs/btrfs/ctree.h).
        Ok(0xEF53) => 65_000,
        Ok(0x9123_683E) => 65_535,
        _ => u64::MAX,
    }
}

/// What is left of [`FINE`]; any other time says nothing.
fn granularity(left: Time) -> u32 {
    let grains = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000];
    let cut = |grain: &u32| left.nanos == FINE.nanos - FINE.nanos % grain;
    if left.secs == FINE.secs {
        grains.into_iter().find(cut).unwrap_or(1)
    } else if left.secs == FINE.secs - 1 && left.nanos == 0 {
        2_000_000_000
    } else {
        1
    }
}

impl Abilities {
    /// Whether something with this name would be stored under another one.
    pub(crate) fn changes(&self, name: &CStr) -> bool {
        self.changes_names && name.to_str().is_err()
    }

    /// What the destination cannot hold, each as a sentence for people.
    pub(crate) fn limits(&self) -> Vec<&'static str> {
        let mut limits = Vec::new();
        let mut say = |missing: bool, what| {
            if missing {
                limits.push(what);
            }
        };
        say(
            !self.links,
            "the destination has no hard links: every snapshot is a full copy and takes its full size",
        );
        say(
            !self.symlinks,
            "the destination has no symlinks: they are kept beside the snapshot, in .backup_manager/kept",
        );
        say(
            !self.mode,
            "the destination does not hold all mode bits: they are kept beside the snapshot, in .backup_manager/kept",
        );
        say(
            !self.xattrs,
            "the destination has no extended attributes: no hash of the content can be recorded to verify it later",
        );
        say(
            self.changes_names,
            "the destination stores names that are not UTF-8 as other names: such files and folders are left out and listed, symlinks and special files are kept beside the snapshot",
        );
        say(
            self.folds_case,
            "the destination does not tell upper from lower case: of names that differ only in it one is stored",
        );
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_time_tells_how_fine_it_is_kept() {
        let second = FINE.secs;
        for (secs, nanos, grain) in [
            (second, 123_456_789, 1),
            (second, 123_456_700, 100),
            (second, 120_000_000, 10_000_000),
            (second, 0, 1_000_000_000),
            (second - 1, 0, 2_000_000_000),
            (5, 0, 1),
        ] {
            assert_eq!(granularity(Time { secs, nanos }), grain, "{secs}.{nanos}");
        }
    }

    #[test]
    fn a_disk_that_fails_is_not_one_that_cannot() {
        let tried = |error: Errno| able(Err(error.into())).ok();
        assert_eq!(tried(Errno::PERM), Some(false));
        assert_eq!(tried(Errno::NOTSUP), Some(false));
        assert_eq!(tried(Errno::IO), None);
        assert_eq!(tried(Errno::NOSPC), None);
        assert!(able(Ok(())).unwrap());
    }

    #[test]
    fn the_local_file_system_has_links_and_is_probed_twice_alike() {
        let temp = tempfile::tempdir().unwrap();
        let own = Dir::at(temp.path()).unwrap();
        let found = probe(&own).unwrap();
        assert!(found.links && found.symlinks);
        assert_eq!(probe(&own).unwrap(), found);
        let left = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["abilities.json", "probe"]);
    }

    #[test]
    fn several_probe_one_folder_at_the_same_time_and_find_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let expected = probe(&Dir::at(temp.path()).unwrap()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let own = Dir::at(temp.path()).unwrap();
                    for _ in 0..30 {
                        assert_eq!(probe(&own).unwrap(), expected);
                    }
                });
            }
        });
    }
}
