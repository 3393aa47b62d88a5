//! Probes the abilities of the destination by trying each one in `.backup_manager/`.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::entry::stored_name::ChangedNames;
use crate::entry::{Kind, Time, c_name};
use crate::fs::dir::Dir;
use crate::fs::file_system::most_links;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::fs::refusal::is_full;
use crate::fs::small_file::{create_state, read_small, write_whole};
use crate::fs::temporary;
use crate::fs::temporary::probe_name;

/// The abilities of the destination, and the owner of new files there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent ability of a file system"
)]
pub(crate) struct Abilities {
    /// The owner of new inodes.
    pub(crate) uid: u32,
    /// The group of new inodes.
    pub(crate) gid: u32,
    /// Hard links.
    pub(crate) links: bool,
    /// The highest number of names of an inode.
    pub(crate) most_links: u64,
    /// Symlinks.
    pub(crate) symlinks: bool,
    /// Fifos and sockets.
    pub(crate) nodes: bool,
    /// Arbitrary numeric owners.
    pub(crate) owner: bool,
    /// All mode bits.
    pub(crate) mode: bool,
    /// `user.` attributes.
    pub(crate) xattrs: bool,
    /// Copies that share blocks (reflinks).
    pub(crate) reflinks: bool,
    /// Names that differ only in case are equal.
    pub(crate) folds_case: bool,
    /// The names that are stored as other names.
    #[serde(default)]
    pub(crate) changed_names: ChangedNames,
    /// The granularity of modification times, nanoseconds.
    pub(crate) time_granularity_ns: u32,
}

/// A file that is kept, so that a later run sees how much of its time stamp reached the disk.
const STAYS: &CStr = c"probe";
/// The result of the last probe, for runs that find the disk full.
const FOUND: &str = "abilities.json";
/// A time stamp that every coarser clock rounds.
const FINE: Time = Time { secs: 1_000_000_001, nanos: 123_456_789 };

/// Tries all abilities in `own`. On a full disk it returns the stored result of an earlier run.
///
/// # Errors
/// `own` cannot be written, and no earlier result exists.
pub(crate) fn probe(own: &Dir) -> io::Result<Abilities> {
    let known: Option<Abilities> =
        read_small(own, FOUND).and_then(|found| serde_json::from_slice(&found).ok());
    match try_all(own) {
        Err(error) if is_full(&error, own) => known.ok_or(error),
        Err(error) => Err(error),
        Ok(found) => {
            if known.as_ref() != Some(&found) {
                // The stored result is only a fallback, so a failure to store it does not matter.
                let _ = write_whole(own, FOUND, &serde_json::to_vec(&found)?);
            }
            Ok(found)
        }
    }
}

/// How often to retry after interference: a process with a wrong clock may remove the probe files
/// as old ones.
const TRIES: usize = 3;

fn try_all(own: &Dir) -> io::Result<Abilities> {
    temporary::remove_old(own);
    let mut tries = 1;
    loop {
        let names = ProbeNames { file: probe_name()?, other: probe_name()? };
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

/// The names of the probe files. They are unique, because another job may probe at the same time.
struct ProbeNames {
    file: CString,
    other: CString,
}

impl ProbeNames {
    fn other_in_capitals(&self) -> io::Result<CString> {
        c_name(self.other.to_bytes().to_ascii_uppercase())
    }

    fn gone(&self, own: &Dir) -> io::Result<()> {
        gone(own, &self.other).and(gone(own, &self.file))
    }
}

fn try_under(own: &Dir, names: &ProbeNames) -> io::Result<Abilities> {
    let (file_name, other_name) = (names.file.as_c_str(), names.other.as_c_str());
    let file = create_state(own, file_name)?;
    // 4 KiB: some file systems do not share blocks of files that fit into the inode.
    rustix::io::pwrite(&file, &[1; 4096], 0)?;
    stat::set_mtime(&file, FINE)?;
    let granularity = granularity(own.stat(file_name)?.mtime).max(stored_granularity(own)?);
    let links = able(own.link(other_name, own, file_name))?;
    gone(own, other_name)?;
    let symlinks = able(own.make_symlink(other_name, b"x"))?;
    gone(own, other_name)?;
    let node = || own.make_node(other_name, Kind::Fifo, 0o600, 0);
    let nodes = match able(node()) {
        // exFAT over FUSE answers EIO for a type it cannot store. A second EIO is not a passing
        // error.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => node().is_ok(),
        tried => tried?,
    };
    gone(own, other_name)?;
    let changed_names = changed_names(own, other_name)?;
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
        changed_names,
        time_granularity_ns: granularity,
    })
}

/// The granularity of the time stamp that an earlier run gave the kept file. That file is not
/// written again: the kernel returns cached times that are finer than those on disk.
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

/// Whether the operation worked. An error of a full, failing or disconnected disk says nothing
/// about the file system and is returned.
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

/// The names that are stored as other names. Only the listing shows it, because a lookup finds the
/// file under the requested name too. No file has a name that begins with `prefix`.
fn changed_names(own: &Dir, prefix: &CStr) -> io::Result<ChangedNames> {
    let name = |end: &[u8]| c_name([prefix.to_bytes(), end].concat());
    let names = [name(b"1\xff")?, name(b"2.")?, name(b"3 ")?];
    // Refused names get other names one by one.
    let created = names.each_ref().map(|name| own.create_file(name, 0o600).is_ok());
    let mut found = Vec::new();
    own.names(|entry| {
        if entry.name.to_bytes().starts_with(prefix.to_bytes()) {
            found.push(entry.name.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    let changed = |number: usize| created[number] && !found.contains(&names[number]);
    let changed =
        ChangedNames { not_utf8: changed(0), final_dot: changed(1), final_space: changed(2) };
    let created = names.iter().zip(created).filter_map(|(name, created)| created.then_some(name));
    found.iter().chain(created).try_for_each(|name| gone(own, name))?;
    Ok(changed)
}

fn gone(own: &Dir, name: &CStr) -> io::Result<()> {
    match own.unlink(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn holds_owner(own: &Dir, name: &CStr, file: &File) -> io::Result<bool> {
    const OTHER: u32 = 54_321;
    let set = able(stat::set_owner(file, Some(OTHER), Some(OTHER)))?;
    let found = own.stat(name)?;
    Ok(set && found.uid == OTHER && found.gid == OTHER)
}

/// The granularity that turns [`FINE`] into `left`; 1 if none does.
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
    /// Whether the destination would store this name as another one.
    pub(crate) fn changes(&self, name: &CStr) -> bool {
        self.changed_names.include(name)
    }

    /// The limits of the destination, each as a sentence for people.
    pub(crate) fn limits(&self) -> Vec<&'static str> {
        let mut limits = Vec::new();
        let mut say = |missing: bool, what| {
            if missing {
                limits.push(what);
            }
        };
        say(!self.links, "the destination has no hard links: every snapshot is a full copy");
        say(
            !self.symlinks,
            "the destination has no symlinks: they are stored beside the snapshot, in .backup_manager/kept",
        );
        say(
            !self.mode,
            "the destination cannot store all mode bits: they are stored beside the snapshot, in .backup_manager/kept",
        );
        say(
            !self.xattrs,
            "the destination has no extended attributes: hashes of file contents cannot be stored there",
        );
        say(
            self.changed_names.not_utf8,
            "the destination stores names that are not UTF-8 as other names: such files and folders are stored under names of this program and are listed, symlinks and special files are stored beside the snapshot",
        );
        say(
            self.changed_names.final_dot || self.changed_names.final_space,
            "the destination stores names that end with a dot or a space as other names: such files and folders are stored under names of this program and are listed, symlinks and special files are stored beside the snapshot",
        );
        say(
            self.folds_case,
            "the destination ignores case: of names that differ only in case, one is stored",
        );
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_time_shows_the_granularity() {
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
    fn an_error_of_the_disk_is_not_a_missing_ability() {
        let tried = |error: Errno| able(Err(error.into())).ok();
        assert_eq!(tried(Errno::PERM), Some(false));
        assert_eq!(tried(Errno::NOTSUP), Some(false));
        assert_eq!(tried(Errno::IO), None);
        assert_eq!(tried(Errno::NOSPC), None);
        assert!(able(Ok(())).unwrap());
    }

    #[test]
    fn two_probes_of_the_local_file_system_have_the_same_result() {
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
    fn concurrent_probes_of_one_folder_have_the_same_result() {
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
