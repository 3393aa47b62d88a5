//! A large file that changed shares its unchanged blocks with the previous snapshot, where the file system can.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fixtures::bulk::{big_file, rewrite_pages};
use fixtures::extents::Extents;
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const MIB: u64 = 1 << 20;

/// The size of the file, and its pages of 4 KiB.
const SIZE: u64 = 64 * MIB;
const PAGES: u64 = SIZE / 4096;

/// File systems that have reflinks.
const KINDS: [&str; 2] = ["btrfs", "xfs"];

/// A backups folder on a file system of its own, with one snapshot of a large file.
struct Scene {
    stage: Stage,
    first: PathBuf,
    before: Fingerprint,
    judge: Judge,
    disk: LoopFs,
}

impl Scene {
    fn new(kind: &str) -> Result<Self, Missing> {
        Self::with(kind, |file| big_file(file, SIZE, 1))
    }

    fn with(kind: &str, make: impl FnOnce(&Path)) -> Result<Self, Missing> {
        need::tool("filefrag")?;
        let disk = LoopFs::new(kind, 400, &["-q"])?;
        let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
        make(&stage.source.join("large"));
        let first = stage.take();
        let before = Fingerprint::of(&first);
        Ok(Self { stage, first, before, judge: Judge::plain(), disk })
    }

    fn source(&self) -> PathBuf {
        self.stage.source.join("large")
    }

    /// The file in the newest snapshot.
    fn copy(&self) -> PathBuf {
        self.stage.inside(&self.stage.history().newest()).join("large")
    }

    /// The file in the incomplete snapshot.
    fn partial(&self) -> PathBuf {
        let incomplete = self.stage.history().incomplete();
        self.stage.inside(incomplete.first().expect("an incomplete snapshot")).join("large")
    }

    /// Fails the test unless the newest snapshot is the source, and the first one is as it was.
    #[track_caller]
    fn assert_good(&self) {
        self.stage.assert_newest_is_source(self.judge);
        assert_untouched(&self.first, &self.before);
        // The recorded hash is that of the source's bytes.
        self.stage.look("verify").arg("--all").expect(0);
    }

    /// A run that stores the changed file. Returns its extents, and the bytes that the disk needs more.
    #[track_caller]
    fn take(&self) -> (Extents, u64) {
        let before = self.disk.used();
        self.stage.take();
        let more = self.disk.used().saturating_sub(before);
        let extents = Extents::of(&self.copy());
        println!("{more} bytes more on the disk, {extents:?}");
        self.assert_good();
        (extents, more)
    }
}

#[test]
fn of_a_file_that_changed_in_places_only_these_are_stored() {
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        rewrite_pages(&scene.source(), PAGES / 100, 2);
        let (extents, more) = scene.take();
        assert!(more < 3 * MIB, "{kind}: {more} bytes");
        assert!(extents.shared > SIZE / 100 * 98, "{kind}: {extents:?}");
        assert!(scene.stage.counts()["bytes_stored"].as_u64() < Some(MIB));
        // The next snapshot shares with this one.
        rewrite_pages(&scene.source(), 10, 3);
        let (extents, more) = scene.take();
        assert!(more < 2 * MIB && extents.shared > SIZE / 100 * 99, "{kind}: {extents:?}");
    }
}

#[test]
fn a_renamed_file_that_changed_in_places_shares_with_the_one_under_the_old_path() {
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        scene.stage.sh("mkdir below; mv large below/large");
        let source = scene.stage.source.join("below/large");
        rewrite_pages(&source, PAGES / 100, 2);
        let before = scene.disk.used();
        scene.stage.take();
        let more = scene.disk.used().saturating_sub(before);
        let newest = scene.stage.inside(&scene.stage.history().newest());
        let extents = Extents::of(&newest.join("below/large"));
        assert!(more < 3 * MIB, "{kind}: {more} bytes");
        assert!(extents.shared > SIZE / 100 * 98, "{kind}: {extents:?}");
        scene.assert_good();
    }
}

#[test]
fn a_file_of_which_more_than_a_fifth_differs_is_written_whole() {
    for kind in KINDS {
        // xfs counts the blocks of the list of extents.
        let scene = Scene { judge: Judge::plain().without_holes(), ..need!(Scene::new(kind)) };
        rewrite_pages(&scene.source(), PAGES / 4, 2);
        let (extents, more) = scene.take();
        assert_eq!(extents.shared, 0, "{kind}: {extents:?}");
        assert!(extents.count < 100, "{kind}: {extents:?}");
        assert!(more > SIZE / 10 * 9, "{kind}: {more} bytes");
        // Of this one, a tenth. In the end it lies in too many pieces.
        for seed in 3..6 {
            rewrite_pages(&scene.source(), PAGES / 10, seed);
            let (extents, _) = scene.take();
            assert!(extents.shared > SIZE / 10 * 8, "{kind}: {extents:?}");
        }
        rewrite_pages(&scene.source(), 10, 6);
        let (extents, _) = scene.take();
        assert_eq!(extents.shared, 0, "{kind}: {extents:?}");
        assert!(extents.count < 100, "{kind}: {extents:?}");
    }
}

#[test]
fn other_sizes_and_holes_are_followed() {
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        let appended = |bytes: u64| {
            big_file(&scene.stage.beside("more"), bytes, bytes);
            scene.stage.sh("cat ../more >>large");
        };
        // Not at the end of a block, neither before nor after.
        appended(5 * MIB + 123);
        let (extents, more) = scene.take();
        assert!(extents.shared == SIZE && more < 7 * MIB, "{kind}: {extents:?}");
        appended(2 * MIB + 7);
        let (extents, more) = scene.take();
        assert!(extents.shared >= 69 * MIB && more < 4 * MIB, "{kind}: {extents:?}");
        scene.stage.sh("truncate -s 30000001 large");
        let (extents, more) = scene.take();
        assert!(extents.shared > 28 * MIB && more < 2 * MIB, "{kind}: {extents:?}");
        // A hole where the base has data, also one that begins and ends within a block.
        scene.stage.sh("fallocate -p -o 4194304 -l 4194304 large");
        scene.stage.sh("fallocate -p -o 10000000 -l 1000000 large");
        let (extents, more) = scene.take();
        assert!(extents.bytes < 25 * MIB && more < 2 * MIB, "{kind}: {extents:?}");
        assert!(extents.shared > extents.bytes / 100 * 99, "{kind}: {extents:?}");
        // Data where the base has a hole, and a hole at the end.
        let file = fs::File::options().write(true).open(scene.source()).unwrap();
        file.write_all_at(&[7; 100_000], 5_000_000).unwrap();
        file.set_len(90 * MIB).unwrap();
        let (extents, more) = scene.take();
        assert!(extents.bytes < 26 * MIB && more < 2 * MIB, "{kind}: {extents:?}");
    }
}

#[test]
fn small_files_whole_files_and_other_file_systems_share_nothing() {
    for (kind, size, options) in [
        ("btrfs", SIZE, &["-W"][..]),
        ("btrfs", MIB - 1, &[][..]),
        ("xfs", SIZE, &["-W"][..]),
        ("ext4", SIZE, &[][..]),
    ] {
        let scene = need!(Scene::with(kind, |file| big_file(file, size, 1)));
        rewrite_pages(&scene.source(), 2, 2);
        scene.stage.run().rsync(options).expect(0);
        let extents = Extents::of(&scene.copy());
        assert_eq!(extents.shared, 0, "{kind}: {extents:?}");
        assert_eq!(scene.stage.counts()["bytes_stored"], size, "{kind}");
        scene.assert_good();
    }
}

#[test]
fn hard_links_and_comparisons_by_content_share_too() {
    for kind in KINDS {
        let scene = need!(Scene::with(kind, |file| {
            big_file(file, SIZE, 1);
            fs::hard_link(file, file.with_file_name("again")).unwrap();
        }));
        rewrite_pages(&scene.source(), 20, 2);
        let (extents, _) = scene.take();
        assert!(extents.shared > SIZE / 100 * 99, "{kind}: {extents:?}");
        // Equal size and time; read again after the comparison.
        let time = fs::metadata(scene.source()).unwrap().modified().unwrap();
        rewrite_pages(&scene.source(), 20, 3);
        fs::File::options().write(true).open(scene.source()).unwrap().set_modified(time).unwrap();
        scene.stage.run().rsync(&["--checksum"]).expect(0);
        let extents = Extents::of(&scene.copy());
        assert!(extents.shared > SIZE / 100 * 98, "{kind}: {extents:?}");
        scene.assert_good();
    }
}

/// Nothing of the base is ever in a partial file, unless the source has it too.
#[test]
fn a_killed_run_leaves_only_bytes_of_the_source_and_the_next_one_goes_on() {
    need!(need::tool("strace"));
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        // The new content is for its owner only.
        rewrite_pages(&scene.source(), PAGES / 10, 2);
        fs::set_permissions(scene.source(), PermissionsExt::from_mode(0o600)).unwrap();
        let source = fs::read(scene.source()).unwrap();
        for rule in ["copy_file_range:signal=KILL:when=900", "pwrite64:signal=KILL:when=40"] {
            let killed = scene.stage.run().injecting(&[rule]).done();
            assert_eq!(killed.code, 137, "{kind}: {}", killed.said());
            let partial = fs::read(scene.partial()).unwrap();
            assert!(!partial.is_empty() && partial.len() < source.len(), "{kind}: {rule}");
            assert!(source.starts_with(&partial), "{kind}: {rule}");
            let mode = fs::metadata(scene.partial()).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o600, "{kind}: {rule}");
        }
        let done = scene.stage.run().expect(0);
        done.assert_says("the copy continues from there");
        let copied = scene.stage.counts()["bytes_copied"].as_u64().unwrap();
        assert!(copied < SIZE - 16 * MIB, "{kind}: {copied} bytes were copied again");
        let extents = Extents::of(&scene.copy());
        assert!(extents.shared > SIZE / 10 * 8, "{kind}: {extents:?}");
        scene.assert_good();
    }
}

/// The file has the size and time of the source's, and the bytes of the base.
#[test]
fn a_clone_of_the_base_is_not_taken_for_the_file() {
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        rewrite_pages(&scene.source(), 20, 2);
        let killed = scene.stage.run().injecting(&["pwrite64:signal=KILL:when=3"]).done();
        assert_eq!(killed.code, 137, "{kind}: {}", killed.said());
        let partial = scene.partial();
        let copy = |options: &[&str], from: &Path| {
            let mut cp = std::process::Command::new("cp");
            let done = cp.args(options).arg(from).arg(&partial).status();
            assert!(done.is_ok_and(|it| it.success()), "cp");
        };
        copy(&["--reflink=always"], &scene.stage.inside(&scene.first).join("large"));
        scene.stage.sh(&format!("touch -r large '{}'", partial.display()));
        // As after a power cut: no checkpoint covers it.
        let path = scene.stage.backups.join(".backup_manager/journal/my_backup.json");
        let mut journal: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        journal["durable_before"] = serde_json::Value::Null;
        fs::write(&path, journal.to_string()).unwrap();
        scene.stage.run().expect(0);
        scene.assert_good();
    }
}

#[test]
fn a_base_that_rotted_or_cannot_be_read_leads_to_no_wrong_byte() {
    need!(need::tool("strace"));
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        rewrite_pages(&scene.source(), 20, 2);
        // Reads of the base, and of nothing else.
        scene.stage.run().injecting(&["pread64:error=EIO:when=30"]).expect(0);
        let extents = Extents::of(&scene.copy());
        assert_eq!(extents.shared, 0, "{kind}: {extents:?}");
        scene.assert_good();
        let rotted = scene.copy();
        let time = fs::metadata(&rotted).unwrap().modified().unwrap();
        let file = fs::File::options().write(true).open(&rotted).unwrap();
        file.write_all_at(b"rotted", 40_000_000).unwrap();
        file.set_modified(time).unwrap();
        rewrite_pages(&scene.source(), 20, 3);
        scene.stage.take();
        scene.stage.assert_newest_is_source(Judge::plain());
        scene.stage.look("verify").arg("latest").expect(0);
        assert!(Extents::of(&scene.copy()).shared > SIZE / 100 * 98, "{kind}");
    }
}

#[test]
fn blocks_that_cannot_be_shared_are_copied() {
    need!(need::tool("strace"));
    for error in ["EXDEV", "EINVAL", "EOPNOTSUPP", "EIO"] {
        let scene = need!(Scene::new("btrfs"));
        rewrite_pages(&scene.source(), 20, 2);
        let rule = format!("copy_file_range:error={error}:when=1+");
        scene.stage.run().injecting(&[&rule]).expect(0);
        assert_eq!(scene.stage.counts()["bytes_stored"], SIZE, "{error}");
        scene.assert_good();
    }
}

#[test]
fn on_a_full_disk_the_run_ends_and_the_next_one_completes() {
    for kind in KINDS {
        let scene = need!(Scene::new(kind));
        rewrite_pages(&scene.source(), PAGES / 10, 2);
        let ballast = scene.disk.path().join("ballast");
        let space = rustix::fs::statvfs(scene.disk.path()).unwrap();
        let free = space.f_bavail * space.f_frsize;
        big_file(&ballast, free.saturating_sub(3 * MIB), 9);
        let done = scene.stage.run().done();
        // btrfs may have more room than it says.
        if done.code != 0 {
            done.assert_code(1).assert_says("no space left");
            assert_untouched(&scene.first, &scene.before);
            fs::remove_file(&ballast).unwrap();
            let _ = scene.disk.used();
            scene.stage.run().expect(0);
        }
        assert!(kind != "xfs" || done.code == 1, "{kind}: {}", done.said());
        assert!(Extents::of(&scene.copy()).shared > SIZE / 10 * 8, "{kind}");
        scene.assert_good();
    }
}
