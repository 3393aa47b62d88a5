//! The properties of entries that a job preserves.

use crate::entry::{Kind, ListedEntry};

/// The properties of entries that a run reads, compares and stores. The defaults are those of rsync
/// `-a -x -H --numeric-ids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of rsync's")]
pub struct Preserve {
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
    /// `-x` once: a mount point becomes an empty folder; `-xx`: it is excluded.
    pub mount_points: bool,
    /// `-c`: compare content, not size and time.
    pub checksum: bool,
    /// `-I`: read every file, even if size and time are equal.
    pub ignore_times: bool,
    /// `-W`: changed files are transferred and stored whole.
    pub whole_files: bool,
    /// `TRUST=ctime`: a file of equal size and mtime is read and compared when its ctime is not
    /// older than the base's run.
    pub ctime: bool,
    /// `--size-only`: files of equal size have equal content.
    pub size_only: bool,
    /// `--modify-window`: which times count as equal.
    pub window: Window,
    /// `--max-size`: larger files are excluded, bytes.
    pub max_size: Option<u64>,
    /// `--min-size`: smaller files are excluded, bytes.
    pub min_size: Option<u64>,
    /// `--safe-links`: symlinks that point outside the source are excluded.
    pub safe_links: bool,
    /// `false` for `--no-implied-dirs`: the folders above a source root do not keep their
    /// attributes.
    pub implied_folders: bool,
    /// `false` for `-O`: times of folders.
    pub folder_times: bool,
    /// `false` for `-J`: times of symlinks.
    pub link_times: bool,
    /// `-E`: keep whether a file is executable, even without mode bits.
    pub executability: bool,
    /// `--fake-super`: an owner and mode that cannot be set are stored in an attribute, in rsync's
    /// format.
    pub fake_super: bool,
    /// The source is a snapshot that is copied: only [`Meta::is_shared`] proves that the base has the content of a file. Size
    /// and time prove nothing, so any other file is compared by its hash.
    ///
    /// [`Meta::is_shared`]: crate::entry::Meta::is_shared
    pub of_snapshot: bool,
}

/// Which modification times count as equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Window {
    /// Equal times, at the coarser granularity of both sides.
    #[default]
    Exact,
    /// Times that differ by at most this many whole seconds.
    Seconds(u32),
}

impl Preserve {
    /// Whether modification times of this kind of entry are preserved.
    #[must_use]
    pub fn times_of(&self, kind: Kind) -> bool {
        self.times
            && match kind {
                Kind::Folder => self.folder_times,
                Kind::Symlink => self.link_times,
                _ => true,
            }
    }

    /// Whether an entry is excluded because of its type, its size or its target. `depth` is the
    /// number of folders above it inside a snapshot.
    #[must_use]
    pub fn leaves_out(&self, entry: ListedEntry<'_>, depth: impl FnOnce() -> usize) -> bool {
        let kind = entry.meta.kind;
        kind == Kind::Symlink && !self.symlinks
            || kind.is_device() && !self.devices
            || kind.is_special() && !self.specials
            || self.is_unwanted(entry, depth)
    }

    pub(crate) fn is_unwanted(
        &self,
        entry: ListedEntry<'_>,
        depth: impl FnOnce() -> usize,
    ) -> bool {
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

/// Whether the target of a symlink at `depth` folders is outside the tree, by rsync's rules
/// (checked with rsync 3.5). An absolute target, and one with `..` after its beginning, also counts
/// as outside.
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

impl Default for Preserve {
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
            whole_files: false,
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
            of_snapshot: false,
        }
    }
}
