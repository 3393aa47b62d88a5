//! What a run did: counts, and every entry that was not read well.

use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::monitor::event::Stuck;
use crate::repository::records::coverage::Coverage;
use crate::snapshot::host::Host;

/// The format number of reports.
pub const VERSION: u32 = 1;

/// How many entries of each fate, and their bytes. Folders count as entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Entries of the source that belong to the snapshot.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Folders among them.
    pub folders: u64,
    /// Sum of the sizes of the regular files, bytes.
    pub bytes: u64,
    /// Not in the base.
    pub new: u64,
    /// In the base with other content or of another type.
    pub changed: u64,
    /// In the base with the same content and other metadata.
    pub metadata: u64,
    /// As in the base: hard links of it (folders: kept as they were).
    pub unchanged: u64,
    /// In the base and no longer in the source.
    pub deleted: u64,
    /// Entries that an earlier, interrupted run had already stored.
    pub kept: u64,
    /// Entries linked to the base.
    pub linked: u64,
    /// Regular files whose content was read from the source and stored.
    pub copied: u64,
    /// Bytes read from the source and stored.
    pub bytes_copied: u64,
    /// Regular files that looked unchanged and were compared with the base, byte for byte or by hash.
    pub compared: u64,
    /// Bytes read from the source for that.
    pub bytes_compared: u64,
    /// Bytes of content that did not have to be copied.
    pub bytes_saved: u64,
    /// Hard links within the source.
    pub hard_links: u64,
    /// Local copies because an inode had no room for another link, or the file system has no links.
    pub link_fallbacks: u64,
    /// Entries of the source that the filters left out; a folder counts as one.
    pub left_out: u64,
    /// Mount points, and subvolumes that are no part of the source, that `-x` left out.
    pub mounts_left_out: u64,
    /// Entries that vanished while they were read.
    pub vanished: u64,
    /// Entries carried forward from the base.
    pub carried_forward: u64,
    /// Files that are damaged in the base and unchanged in the source: copied anew.
    pub healed: u64,
    /// Entries that were not read well, all told.
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
            unchanged,
            deleted,
            kept,
            linked,
            copied,
            bytes_copied,
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
        self.unchanged += unchanged;
        self.deleted += deleted;
        self.kept += kept;
        self.linked += linked;
        self.copied += copied;
        self.bytes_copied += bytes_copied;
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

/// One source root, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFound {
    /// Its absolute path, escaped.
    pub path: String,
    /// Its path inside the snapshot, escaped.
    pub inside: String,
    /// Regular files, symlinks and special files below it.
    pub files: u64,
    /// Files that the base holds below it.
    pub files_before: u64,
    /// Identity of the file system it lies on, as far as the system tells one.
    pub file_system: Option<String>,
    /// Its inode on that file system; `None` where the source tells none.
    #[serde(default)]
    pub inode: Option<u64>,
    /// Sum of the sizes of the regular files below it; `None` in reports that did not record it.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The mount points below it, as far as the source tells them.
    #[serde(default)]
    pub mounts: Vec<MountFound>,
}

/// Types of file systems (statfs(2)) whose inode numbers are others after each mount or reboot: overlay, FUSE, FAT,
/// exFAT, SMB.
const CHANGING_INODES: [&str; 6] =
    ["794c7630", "65735546", "4d44", "2011bab0", "ff534d42", "fe534d42"];
/// Types whose identity stays with the disk: ext2 to ext4, btrfs. That of others can be the device's number.
const STAYING_IDENTITIES: [&str; 2] = ["ef53", "9123683e"];

impl RootFound {
    /// Whether the folder of that inode and file system, which has its path now, is known to be another one than
    /// the one that was backed up.
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

/// A mount point below a source root, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFound {
    /// Its absolute path, escaped.
    pub path: String,
    /// Its path inside the snapshot, escaped.
    pub inside: String,
    /// Identity of the file system that is mounted there, as far as the system tells one.
    pub file_system: Option<String>,
    /// The inode of its top folder.
    pub inode: Option<u64>,
    /// Whether `-x` left its content out.
    pub left_out: bool,
    /// Regular files, symlinks and special files on it, those on mount points below it not included.
    pub files: u64,
    /// Sum of the sizes of the regular files on it, bytes.
    pub bytes: u64,
}

/// What stands for the machine-id(5) `id` in a report.
#[must_use]
pub fn machine_hash(id: &[u8]) -> String {
    let hash = blake3::derive_key("backup_manager machine of the source roots", id);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A moment by the time since boot, which no wrong clock changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Which boot (random(4), `boot_id`).
    pub id: String,
    /// Seconds since then, those in suspend included.
    pub seconds: u64,
}

/// A source root that the job no longer names, while snapshots still hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootDropped {
    /// Its absolute path, escaped.
    pub path: String,
    /// Its path inside a snapshot, escaped.
    pub inside: String,
    /// The newest snapshot that holds it.
    pub last: String,
}

/// Which values of an entry the destination could hold; the others are beside the snapshot.
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
    /// [`VERSION`].
    pub version: u32,
    /// The snapshot's folder name.
    pub snapshot: String,
    /// The snapshot's folder.
    pub path: String,
    /// What it was linked against.
    pub base: Option<String>,
    /// Whether it completed what an earlier run had begun.
    pub resumed: bool,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub finished: String,
    /// When the run began, by the time since boot.
    #[serde(default)]
    pub boot: Option<Boot>,
    /// Seconds from start to end.
    pub seconds: f64,
    /// How fine the modification times in it are, those that were linked from an older one too, nanoseconds.
    pub time_granularity_ns: u32,
    /// The machine that the source roots are on; `None` in reports that did not record it.
    #[serde(default)]
    pub host: Option<Host>,
    /// From this time of the source's clock on a file may have changed after it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_since: Option<Time>,
    /// The source roots.
    pub roots: Vec<RootFound>,
    /// Source roots that the job no longer names, while snapshots still hold them.
    #[serde(default)]
    pub dropped: Vec<RootDropped>,
    /// RFC 3339, UTC: since when the entry is carried forward that is so for the longest time.
    #[serde(default)]
    pub carried_since: Option<String>,
    /// Snapshots that this run removed from the history.
    pub pruned: Vec<String>,
    /// What the destination could hold; `None` in reports that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holds>,
    /// What the run left out, and by which rules; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Snapshots that have to go and cannot be removed, as far as that was known when the snapshot was completed.
    #[serde(default)]
    pub stuck: Vec<Stuck>,
    /// For how many runs in a row, this one included, a snapshot that has to go has been in use.
    #[serde(default)]
    pub in_use: std::collections::BTreeMap<String, u32>,
    /// Entry counts. The last field: the list of problems is written behind it.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        };
        for (before, inode, now, replaced) in [
            ("ef53:01", Some(7), Some("ef53:01"), false),
            ("ef53:01", Some(8), Some("ef53:01"), true),
            ("ef53:01", Some(7), Some("ef53:02"), true),
            ("ef53:01", Some(7), Some("58465342:01"), true),
            // The number of a device is another one after a reboot.
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
        });
        let counts = (any::<u64>(), any::<u64>(), any::<u64>());
        let texts = (".*", ".*", prop::option::of(".*"), prop::collection::vec(".*", 0..3));
        // Whole quarters: others may come back as their neighbours.
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
                boot: Some(Boot { id: "x".to_owned(), seconds: 7 }),
                finished: String::new(),
                seconds,
                time_granularity_ns: grain,
                host: Some(Host::default()),
                read_since: (!resumed).then_some(Time { secs: 5, nanos: grain % 1_000_000_000 }),
                roots,
                dropped: Vec::new(),
                carried_since: None,
                pruned,
                holds: Some(Holds { owner: resumed, ..Holds::default() }),
                coverage: None,
                stuck: Vec::new(),
                in_use: std::collections::BTreeMap::new(),
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
