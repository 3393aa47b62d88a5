//! The report of a run: counts, and every entry that the run could not read completely.

use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::entry::escape::unshown;
use crate::monitor::event::Stuck;
use crate::repository::records::coverage::Coverage;
use crate::snapshot::changes::{Freeze, RootChanges, Suspicion};
use crate::snapshot::host::Host;
use crate::source::ConnectionReport;

/// The format number of reports.
pub(crate) const VERSION: u32 = 1;

/// The number of entries with each outcome, and their bytes. Folders count as entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Entries of the source that belong to the snapshot.
    pub entries: u64,
    /// Regular files in the snapshot.
    pub files: u64,
    /// Folders in the snapshot.
    pub folders: u64,
    /// Sum of the sizes of the regular files, bytes.
    pub bytes: u64,
    /// Entries that the base does not have.
    pub new: u64,
    /// Entries whose content or type differs from the base.
    pub changed: u64,
    /// Entries with the same content as in the base and different metadata.
    pub metadata: u64,
    /// Files among the new and changed ones that the base has under another path, which the source no longer has. They are
    /// linked or copied from there.
    pub renamed: u64,
    /// Entries that equal the base: hard links to it, and folders with unchanged metadata.
    pub unchanged: u64,
    /// Entries of the base that the source no longer has.
    pub deleted: u64,
    /// Entries that an earlier, interrupted run had already stored.
    pub kept: u64,
    /// Entries linked to the base.
    pub linked: u64,
    /// Regular files whose content was read from the source and stored.
    pub copied: u64,
    /// Bytes read from the source and stored.
    pub bytes_copied: u64,
    /// Bytes of [`Counts::bytes_copied`] that did not have to be transferred, because the base has them.
    pub bytes_from_base: u64,
    /// Bytes of content that only this snapshot stores: files copied from the source, and copies within the destination
    /// that share no blocks. Holes do not count.
    pub bytes_stored: u64,
    /// Regular files that looked unchanged and were compared with the base, byte for byte or by hash.
    pub compared: u64,
    /// Bytes read from the source for these comparisons.
    pub bytes_compared: u64,
    /// Bytes of content that did not have to be copied.
    pub bytes_saved: u64,
    /// Hard links within the source.
    pub hard_links: u64,
    /// Local copies made because an inode had reached its maximum link count, or the file system has no hard
    /// links.
    pub link_fallbacks: u64,
    /// Entries of the source that the filters left out; a folder counts as one.
    pub left_out: u64,
    /// Mount points, and subvolumes that are not part of the source, that `-x` left out.
    pub mounts_left_out: u64,
    /// Entries that vanished while they were read.
    pub vanished: u64,
    /// Entries carried forward from the base.
    pub carried_forward: u64,
    /// Files that are damaged in the base and unchanged in the source. The run copied them from the source
    /// again.
    pub healed: u64,
    /// The total number of entries that the run could not read completely.
    pub problems: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        let Self {
            entries,
            files,
            folders,
            bytes,
            new,
            changed,
            metadata,
            renamed,
            unchanged,
            deleted,
            kept,
            linked,
            copied,
            bytes_copied,
            bytes_from_base,
            bytes_stored,
            compared,
            bytes_compared,
            bytes_saved,
            hard_links,
            link_fallbacks,
            left_out,
            mounts_left_out,
            vanished,
            carried_forward,
            healed,
            problems,
        } = more;
        self.entries += entries;
        self.files += files;
        self.folders += folders;
        self.bytes += bytes;
        self.new += new;
        self.changed += changed;
        self.metadata += metadata;
        self.renamed += renamed;
        self.unchanged += unchanged;
        self.deleted += deleted;
        self.kept += kept;
        self.linked += linked;
        self.copied += copied;
        self.bytes_copied += bytes_copied;
        self.bytes_from_base += bytes_from_base;
        self.bytes_stored += bytes_stored;
        self.compared += compared;
        self.bytes_compared += bytes_compared;
        self.bytes_saved += bytes_saved;
        self.hard_links += hard_links;
        self.link_fallbacks += link_fallbacks;
        self.left_out += left_out;
        self.mounts_left_out += mounts_left_out;
        self.vanished += vanished;
        self.carried_forward += carried_forward;
        self.healed += healed;
        self.problems += problems;
    }
}

/// A source root and what the run found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFound {
    /// The root's absolute path, escaped.
    pub path: String,
    /// The root's path inside the snapshot, escaped.
    pub inside: String,
    /// Regular files, symlinks and special files below the root.
    pub files: u64,
    /// Files below the root in the base.
    pub files_before: u64,
    /// Identity of the root's file system; `None` where the system does not provide one.
    pub file_system: Option<String>,
    /// The root's inode on that file system; `None` where the source does not provide it.
    #[serde(default)]
    pub inode: Option<u64>,
    /// Sum of the sizes of the regular files below the root; `None` in reports that did not record it.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The mount points below the root that the source reports.
    #[serde(default)]
    pub mounts: Vec<MountFound>,
    /// What changed since the base; `None` for a first snapshot and in reports that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<RootChanges>,
}

/// File system types (statfs(2)) whose inode numbers change with each mount or reboot: overlay, FUSE, FAT,
/// exFAT, SMB.
const CHANGING_INODES: [&str; 6] =
    ["794c7630", "65735546", "4d44", "2011bab0", "ff534d42", "fe534d42"];
/// File system types whose identity belongs to the disk: ext2 to ext4, btrfs. The identity of other types can
/// be a device number.
const STAYING_IDENTITIES: [&str; 2] = ["ef53", "9123683e"];

impl RootFound {
    /// Whether the folder now at this path is certainly another one than the folder that was backed up. `inode`
    /// and `file_system` are those of the folder now at the path.
    #[must_use]
    pub fn is_replaced_by(&self, inode: u64, file_system: Option<&str>) -> bool {
        let (Some(before), Some(now)) = (&self.file_system, file_system) else { return false };
        let Some(own) = self.inode else { return false };
        let kind = |identity: &str| identity.split(':').next().unwrap_or_default().to_owned();
        if kind(before) != kind(now) {
            return true;
        }
        let any = |kinds: &[&str]| kinds.contains(&kind(now).as_str());
        !any(&CHANGING_INODES) && own != inode || any(&STAYING_IDENTITIES) && before != now
    }
}

/// A mount point below a source root, and what the run found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFound {
    /// The mount point's absolute path, escaped.
    pub path: String,
    /// The mount point's path inside the snapshot, escaped.
    pub inside: String,
    /// Identity of the mounted file system; `None` where the system does not provide one.
    pub file_system: Option<String>,
    /// The inode of the top folder of the mounted file system.
    pub inode: Option<u64>,
    /// Whether `-x` left its content out.
    pub left_out: bool,
    /// Regular files, symlinks and special files on the mounted file system, without those on mount points
    /// below it.
    pub files: u64,
    /// Sum of the sizes of the regular files on the mounted file system, bytes.
    pub bytes: u64,
}

/// The hash that a report stores instead of the machine-id(5) `id`.
#[must_use]
pub fn machine_hash(id: &[u8]) -> String {
    let hash = blake3::derive_key("backup_manager machine of the source roots", id);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A moment as a time since boot, which does not depend on the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootTime {
    /// The boot ID (random(4), `boot_id`).
    pub id: String,
    /// Seconds since that boot, including suspend.
    pub seconds: u64,
}

/// Renamed files: a folder whose files the snapshot has in another folder, or a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedPath {
    /// The path inside the base, escaped. The path of a folder ends in `/`.
    pub from: String,
    /// The path inside the snapshot, in the same form.
    pub to: String,
    /// The number of renamed files.
    pub files: u64,
}

impl RenamedPath {
    /// The path inside the base of the entry that is at `inside` in the snapshot, if this renaming explains it. For a
    /// folder it may be wrong: not all that is in a renamed folder was renamed with it.
    pub(crate) fn origin_of(&self, inside: &[u8]) -> Option<Vec<u8>> {
        let (from, to) = (unshown(&self.from)?, unshown(&self.to)?);
        let is_folder = [inside, b"/"].concat() == to;
        if is_folder || to == inside {
            return Some(from.strip_suffix(b"/").unwrap_or(&from).to_vec());
        }
        let below = inside.strip_prefix(&to[..]).filter(|_| to.ends_with(b"/"))?;
        Some([&from, below].concat())
    }
}

/// A source root that the job no longer lists, while snapshots still contain it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootDropped {
    /// The root's absolute path, escaped.
    pub path: String,
    /// The root's path inside a snapshot, escaped.
    pub inside: String,
    /// The newest snapshot that contains the root.
    pub last: String,
}

/// Which metadata of an entry the destination can store. The sidecar of the snapshot stores the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holds {
    /// Any numeric owner.
    pub owner: bool,
    /// All mode bits.
    pub mode: bool,
    /// Extended attributes.
    pub xattrs: bool,
}

/// The report of a run that completed a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format, now 1.
    pub version: u32,
    /// The snapshot's folder name.
    pub snapshot: String,
    /// The path of the snapshot's folder.
    pub path: String,
    /// The base: the snapshot that unchanged entries were linked to.
    pub base: Option<String>,
    /// Whether the run completed a snapshot that an earlier run had begun.
    pub resumed: bool,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub finished: String,
    /// When the run began, as a time since boot.
    #[serde(default)]
    pub boot: Option<BootTime>,
    /// Duration of the run, seconds.
    pub seconds: f64,
    /// The granularity of the modification times in the snapshot, including those linked from older snapshots,
    /// nanoseconds.
    pub time_granularity_ns: u32,
    /// The machine of the source roots; `None` in reports that did not record it.
    #[serde(default)]
    pub host: Option<Host>,
    /// How the run read a remote host; `None` for folders of this machine, and in reports that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionReport>,
    /// The time of the source's clock since which a file may have changed after it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_since: Option<Time>,
    /// The source roots.
    pub roots: Vec<RootFound>,
    /// Source roots that the job no longer lists, while snapshots still contain them.
    #[serde(default)]
    pub dropped: Vec<RootDropped>,
    /// RFC 3339, UTC: since when the oldest of the carried-forward entries has been carried forward.
    #[serde(default)]
    pub carried_since: Option<String>,
    /// Snapshots that this run removed from the history.
    pub pruned: Vec<String>,
    /// What the destination can store; `None` in reports that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holds>,
    /// What the run left out, and by which rules; `None` where that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Snapshots due for removal that could not be removed, as known when the snapshot was completed.
    #[serde(default)]
    pub stuck: Vec<Stuck>,
    /// Snapshots due for removal that were in use, each with the number of consecutive runs that found it in
    /// use, including this one.
    #[serde(default)]
    pub in_use: std::collections::BTreeMap<String, u32>,
    /// Files that the base has under another path, summed up by folder. At most some thousand are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<RenamedPath>,
    /// Mass changes below source roots that may be unwanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspicions: Vec<Suspicion>,
    /// Why pruning is frozen, as known when the snapshot was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Freeze>,
    /// Entry counts. This is the last field: the list of problems follows it in the file.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::Transport;

    #[test]
    fn another_folder_at_a_path_is_known_where_inodes_and_identities_stay() {
        let root = |file_system: &str, inode| RootFound {
            path: "/home".to_owned(),
            inside: "home".to_owned(),
            files: 0,
            files_before: 0,
            file_system: Some(file_system.to_owned()),
            inode,
            bytes: None,
            mounts: Vec::new(),
            changes: None,
        };
        for (before, inode, now, replaced) in [
            ("ef53:01", Some(7), Some("ef53:01"), false),
            ("ef53:01", Some(8), Some("ef53:01"), true),
            ("ef53:01", Some(7), Some("ef53:02"), true),
            ("ef53:01", Some(7), Some("58465342:01"), true),
            // The device number can change with a reboot.
            ("58465342:01", Some(7), Some("58465342:02"), false),
            ("58465342:01", Some(8), Some("58465342:02"), true),
            ("65735546:01", Some(8), Some("65735546:01"), false),
            ("ef53:01", None, Some("ef53:02"), false),
            ("ef53:01", Some(8), None, false),
        ] {
            let found = root(before, inode).is_replaced_by(7, now);
            assert_eq!(found, replaced, "{before} {inode:?} {now:?}");
        }
    }

    #[test]
    fn a_renaming_explains_a_file_a_folder_and_what_is_in_it() {
        let renamed = |from: &str, to: &str| {
            let (from, to) = (from.to_owned(), to.to_owned());
            RenamedPath { from, to, files: 1 }
        };
        let (file, folder) = (renamed("a\\x01", "b"), renamed("old/a/", "new/"));
        assert_eq!(file.origin_of(b"b"), Some(b"a\x01".to_vec()));
        assert_eq!(file.origin_of(b"b/c"), None);
        assert_eq!(folder.origin_of(b"new"), Some(b"old/a".to_vec()));
        assert_eq!(folder.origin_of(b"new/x/y"), Some(b"old/a/x/y".to_vec()));
        assert_eq!(folder.origin_of(b"newer"), None);
    }

    fn any_report() -> impl Strategy<Value = Report> {
        let root = (".*", ".*", any::<u64>(), any::<u64>(), prop::option::of(".*"));
        let root = root.prop_map(|(path, inside, files, files_before, file_system)| RootFound {
            path,
            inside,
            files,
            files_before,
            file_system,
            inode: Some(files),
            bytes: Some(files_before),
            mounts: Vec::new(),
            changes: Some(RootChanges { changed: files, ..RootChanges::default() }),
        });
        let counts = (any::<u64>(), any::<u64>(), any::<u64>());
        let texts = (".*", ".*", prop::option::of(".*"), prop::collection::vec(".*", 0..3));
        // Multiples of 1/4 are exact in JSON. Other values may change by rounding.
        let seconds = (0_u32..1 << 30).prop_map(|quarters| f64::from(quarters) / 4.0);
        let rest = (any::<bool>(), seconds, any::<u32>());
        (texts, prop::collection::vec(root, 0..3), counts, rest).prop_map(
            |((snapshot, path, base, pruned), roots, counts, (resumed, seconds, grain))| Report {
                version: VERSION,
                snapshot,
                path,
                base,
                resumed,
                started: String::new(),
                boot: Some(BootTime { id: "x".to_owned(), seconds: 7 }),
                finished: String::new(),
                seconds,
                time_granularity_ns: grain,
                host: Some(Host::default()),
                connection: resumed.then_some(ConnectionReport {
                    transport: Transport::Helper,
                    sent: u64::from(grain),
                    received: counts.0,
                }),
                read_since: (!resumed).then_some(Time { secs: 5, nanos: grain % 1_000_000_000 }),
                roots,
                dropped: Vec::new(),
                carried_since: None,
                pruned,
                holds: Some(Holds { owner: resumed, ..Holds::default() }),
                coverage: None,
                stuck: Vec::new(),
                in_use: std::collections::BTreeMap::new(),
                renamed: Vec::new(),
                suspicions: vec![Suspicion { path: "/a".to_owned(), ..Suspicion::default() }],
                frozen: None,
                counts: Counts {
                    entries: counts.0,
                    bytes: counts.1,
                    problems: counts.2,
                    ..Counts::default()
                },
            },
        )
    }

    proptest! {
        #[test]
        fn reports_come_back_as_they_were_stored(report in any_report()) {
            let text = serde_json::to_string(&report).unwrap();
            let read: Report = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&serde_json::to_string(&read).unwrap(), &text);
            prop_assert_eq!(read.counts, report.counts);
            prop_assert_eq!(read.roots, report.roots);
        }

        #[test]
        fn damaged_reports_are_read_or_refused(
            report in any_report(), at in any::<prop::sample::Index>(),
            bytes in prop::collection::vec(any::<u8>(), 0..8), cut in any::<bool>(),
        ) {
            let mut text = serde_json::to_vec(&report).unwrap();
            let at = at.index(text.len());
            let to = if cut { text.len() } else { (at + bytes.len()).min(text.len()) };
            text.splice(at..to, bytes);
            let _ = serde_json::from_slice::<Report>(&text);
        }
    }
}
