//! A job: what to back up, where to, under which name and limits. Checked by whoever builds it.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::entry::{Kind, Listed};
use crate::filter::Filters;
use crate::layout::Layout;
use crate::name::Prefix;
use crate::report::Host;
use crate::retention::Retention;
use crate::selection::Selection;

/// One backup job, checked and complete.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names its snapshots.
    pub prefix: Prefix,
    /// The machine that the source roots are on.
    pub host: Host,
    /// The source roots and where each lies inside a snapshot.
    pub layout: Layout,
    /// The folder that holds the snapshots.
    pub backups_dir: PathBuf,
    /// The permission bits of that folder (`BACKUPS_MODE`); `None`: closed when it is made, else left as it is.
    pub backups_mode: Option<u32>,
    /// What a snapshot keeps of its source.
    pub keep: Keep,
    /// What of its source is left out.
    pub filters: Arc<Filters>,
    /// How much of the history stays (`MAX_BACKUPS`, `KEEP_…`).
    pub retention: Retention,
    /// The least time between two snapshots (`MINIMUM_TIME_GUARD_H`).
    pub minimum_time_guard: TimeDelta,
    /// From which loss of files on a source root counts as collapsed, in percent (`MAX_SHRINK_PERCENT`).
    pub max_shrink_percent: f64,
    /// The only entries that are taken (`--files-from`).
    pub selection: Option<Arc<Selection>>,
    /// Most entries of the base that a snapshot may be without (`--max-delete`).
    pub max_delete: Option<u64>,
    /// `-m`: folders without anything but folders are left out.
    pub prune_empty: bool,
}

/// Which properties of entries are read, compared and kept. The defaults are rsync's
/// `-a -x -H --numeric-ids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of rsync's")]
pub struct Keep {
    /// `-l`: symlinks.
    pub symlinks: bool,
    /// `-p`: mode bits.
    pub mode: bool,
    /// `-t`: modification times.
    pub times: bool,
    /// `-o`: numeric owner.
    pub owner: bool,
    /// `-g`: numeric group.
    pub group: bool,
    /// `--devices`: device nodes.
    pub devices: bool,
    /// `--specials`: fifos and sockets.
    pub specials: bool,
    /// `-H`: hard links within the source.
    pub hard_links: bool,
    /// `-A`: POSIX ACLs.
    pub acls: bool,
    /// `-X`: extended attributes.
    pub xattrs: bool,
    /// `-x`: stay on the file system of each source root.
    pub one_file_system: bool,
    /// `-x` once: a mount point is kept as an empty folder; `-xx`: not at all.
    pub mount_points: bool,
    /// `-c`: compare content, not size and time.
    pub checksum: bool,
    /// `-I`: read every file, whatever its size and time say.
    pub ignore_times: bool,
    /// `TRUST=ctime`: a file of the same size and time is compared when its change time is not older.
    pub ctime: bool,
    /// `--size-only`: a file of the same size has the same content.
    pub size_only: bool,
    /// `--modify-window`: which times are the same.
    pub window: Window,
    /// `--max-size`: larger files are left out, bytes.
    pub max_size: Option<u64>,
    /// `--min-size`: smaller files are left out, bytes.
    pub min_size: Option<u64>,
    /// `--safe-links`: symlinks that lead out of the source are left out.
    pub safe_links: bool,
    /// Not `--no-implied-dirs`: folders that lead to a source root have their own attributes.
    pub implied_folders: bool,
    /// Not `-O`: times of folders.
    pub folder_times: bool,
    /// Not `-J`: times of symlinks.
    pub link_times: bool,
    /// `-E`: without mode bits, whether a file can be executed.
    pub executability: bool,
    /// `--fake-super`: owner and mode that may not be set stand in an attribute, as rsync writes it.
    pub fake_super: bool,
}

/// Which modification times are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Window {
    /// Those that are equal, as finely as both sides tell them.
    #[default]
    Exact,
    /// Those that differ by no more than so many whole seconds.
    Seconds(u32),
}

impl Keep {
    /// Whether the modification times of such entries are kept.
    #[must_use]
    pub fn times_of(&self, kind: Kind) -> bool {
        self.times
            && match kind {
                Kind::Folder => self.folder_times,
                Kind::Symlink => self.link_times,
                _ => true,
            }
    }

    /// Whether an entry is left out for what it is, for its size, or for where it leads. `depth` counts
    /// the folders that it lies in inside a snapshot.
    #[must_use]
    pub fn leaves_out(&self, entry: Listed<'_>, depth: impl FnOnce() -> usize) -> bool {
        let kind = entry.meta.kind;
        kind == Kind::Symlink && !self.symlinks
            || kind.is_device() && !self.devices
            || kind.is_special() && !self.specials
            || self.is_unwanted(entry, depth)
    }

    fn is_unwanted(&self, entry: Listed<'_>, depth: impl FnOnce() -> usize) -> bool {
        let size = entry.meta.size;
        match entry.meta.kind {
            Kind::File => {
                self.max_size.is_some_and(|most| size > most)
                    || self.min_size.is_some_and(|least| size < least)
            }
            Kind::Symlink if self.safe_links => {
                leads_out(entry.extra.and_then(|extra| extra.target.as_deref()), depth())
            }
            _ => false,
        }
    }
}

/// Whether the target of a symlink `depth` folders deep lies outside of the tree, as rsync judges it
/// (tried with rsync 3.5): also when it is absolute, or has a `..` behind its beginning.
#[must_use]
pub fn leads_out(target: Option<&[u8]>, depth: usize) -> bool {
    let Some(target) = target.filter(|target| !target.is_empty() && target[0] != b'/') else {
        return true;
    };
    let (mut rest, mut up) = (target, usize::from(target == b".."));
    while let Some(below) = rest.strip_prefix(b"../") {
        (rest, up) = (below, up + 1);
    }
    up > depth || target.ends_with(b"/..") || rest.windows(4).any(|window| window == b"/../")
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            symlinks: true,
            mode: true,
            times: true,
            owner: true,
            group: true,
            devices: true,
            specials: true,
            hard_links: true,
            acls: false,
            xattrs: false,
            one_file_system: true,
            mount_points: true,
            checksum: false,
            ignore_times: false,
            ctime: true,
            size_only: false,
            window: Window::Exact,
            max_size: None,
            min_size: None,
            safe_links: false,
            implied_folders: true,
            folder_times: true,
            link_times: true,
            executability: false,
            fake_super: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_leads_out_when_it_is_absolute_or_climbs_too_far() {
        for (target, depth, out) in [
            ("a", 0, false),
            ("/a", 5, true),
            ("", 5, true),
            ("..", 0, true),
            ("..", 1, false),
            ("../../x", 1, true),
            ("../../x", 2, false),
            ("./../x", 1, true),
            ("../..", 2, true),
            ("x/./y", 0, false),
            ("a/../b", 3, true),
            ("a/..", 3, true),
            ("../a/b", 1, false),
            ("..a", 0, false),
        ] {
            assert_eq!(leads_out(Some(target.as_bytes()), depth), out, "{target} {depth}");
        }
        assert!(leads_out(None, 9));
    }
}
