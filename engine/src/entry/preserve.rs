//! Which properties of entries a job preserves.

use crate::entry::{Kind, Listed};

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

    pub(crate) fn is_unwanted(&self, entry: Listed<'_>, depth: impl FnOnce() -> usize) -> bool {
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
