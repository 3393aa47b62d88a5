//! `-x`: mount points below a source root are excluded, with a message.

use std::fs;

use fixtures::judge::Judge;
use fixtures::loop_fs::{LoopFs, Mount};
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new().file("file", "x").file("inner/disk/below", "hidden by the mount").folder("second")
}

#[test]
fn a_mount_point_is_left_out_with_a_line_and_stays_as_an_empty_folder() {
    let stage = Stage::with(BIN, &sample());
    let at = stage.source.join("inner/disk");
    let disk = need!(Mount::tmpfs(&at));
    fs::write(at.join("on the disk"), "not to be stored").unwrap();
    let second = need!(Mount::tmpfs(&stage.source.join("second")));
    for _ in 0..2 {
        let done = stage.run().expect(0);
        for path in [&at, second.path()] {
            let path = path.to_string_lossy();
            assert_eq!(done.lines_with(&path), 1, "{path} once in:\n{}", done.said());
        }
        let copy = stage.inside(&stage.history().newest());
        assert_eq!(fs::read_dir(copy.join("inner/disk")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(copy.join("second")).unwrap().count(), 0);
        assert!(copy.join("file").exists());
    }
    drop(disk);
    drop(second);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn without_the_option_all_file_systems_are_stored() {
    let stage = Stage::with(BIN, &sample());
    let at = stage.source.join("inner/disk");
    let _disk = need!(Mount::tmpfs(&at));
    fs::write(at.join("on the disk"), "to be stored").unwrap();
    for options in ["-a,--relative", "-x,-a,--relative,--no-one-file-system"] {
        stage.run().set("rsync-single-params", options).expect(0);
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn each_source_root_is_a_file_system_of_its_own() {
    let stage = Stage::with(BIN, &sample());
    let at = stage.source.join("inner/disk");
    let _disk = need!(Mount::tmpfs(&at));
    fs::write(at.join("on the disk"), "asked for by name").unwrap();
    let sources = format!("{},{}", stage.source.display(), at.display());
    for _ in 0..2 {
        stage.run().set("srcs-to-backup", &sources).expect(0);
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn a_bind_mount_of_the_same_file_system_is_no_other_one() {
    let stage = Stage::with(BIN, &sample());
    need!(need::root());
    let at = stage.source.join("second");
    let disk = Mount::new(&["--bind"], &stage.source.join("inner"), &at);
    let _disk = need!(disk.map_err(need::Missing));
    // rsync's -x compares device numbers only, so it enters the bind mount.
    stage.run().expect(0);
    let copy = stage.inside(&stage.history().newest());
    assert!(copy.join("inner/disk/below").exists());
    assert!(copy.join("second").is_dir());
}

/// A source with 40 files and, on a disk mounted at `disk`, other files of this size.
fn with_disk(files: u32, bytes: usize) -> Result<(Stage, Mount), need::Missing> {
    let stage = Stage::with(BIN, &sample());
    stage.sh("for i in $(seq 40); do echo $i >f$i; done; mkdir disk");
    let disk = Mount::tmpfs(&stage.source.join("disk"))?;
    for number in 0..files {
        fs::write(disk.path().join(format!("photo {number}")), vec![b'x'; bytes]).expect("written");
    }
    Ok((stage, disk))
}

/// rsync options of a job without `-x`.
const ALL: &str = "-a,-H,--numeric-ids,--relative";

#[test]
fn a_disk_below_a_source_that_is_not_mounted_fails_the_run_until_it_is_accepted() {
    // Many files; few large ones, and a file in the folder below the mount point; a folder that
    // disappeared with the disk.
    for (files, bytes, below) in [
        (200, 1, "true"),
        (3, 100_000, "for i in 1 2 3; do echo >disk/$i; done"),
        (5, 9, "rmdir disk"),
    ] {
        let (stage, disk) = need!(with_disk(files, bytes));
        let run = || stage.run().set("rsync-single-params", ALL);
        run().expect(0);
        let first = stage.history().newest();
        let report = stage.history().report(&first);
        let mount = &report["roots"][0]["mounts"][0];
        assert_eq!(mount["files"], files, "{report}");
        assert_eq!(mount["bytes"], u64::from(files) * bytes as u64, "{report}");
        drop(disk);
        stage.sh(below);
        for _ in 0..2 {
            let done = run().expect(1);
            done.assert_says("looks unmounted")
                .assert_says("--accept-shrink")
                .assert_says("source/disk");
            assert_eq!(stage.history().complete(), std::slice::from_ref(&first));
        }
        run().arg("--dry-run").expect(0).assert_says("looks unmounted");
        run().arg("--accept-shrink").expect(0);
        run().expect(0);
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn a_disk_below_a_source_may_be_replaced_emptied_by_half_and_left_out_by_filters() {
    let (stage, disk) = need!(with_disk(9, 10));
    let run = || stage.run().set("rsync-single-params", ALL);
    run().expect(0);
    stage.sh("rm 'disk/photo 1' 'disk/photo 2'");
    run().expect(0);
    stage.sh("mkdir ../aside; cp disk/* ../aside");
    drop(disk);
    let disk = need!(Mount::tmpfs(&stage.source.join("disk")));
    stage.sh("cp ../aside/* disk");
    run().expect(0);
    // Losses while the disk stays mounted are changes by its user.
    stage.sh("rm disk/*");
    run().expect(0);
    stage.sh("cp ../aside/* disk");
    run().expect(0);
    drop(disk);
    run().set("rsync-dict-params", r#"{"--exclude":"/source/disk"}"#).expect(1);
    let out = format!(r#"{{"--exclude":"{}"}}"#, stage.source.join("disk").display());
    run().set("rsync-dict-params", out).expect(0);
}

#[test]
fn a_source_whose_few_large_files_are_gone_with_its_disk_is_taken_for_unmounted() {
    let stage = Stage::with(BIN, &sample());
    let at = stage.source.join("second");
    let disk = need!(Mount::tmpfs(&at));
    fs::write(at.join("large"), vec![b'x'; 1 << 20]).unwrap();
    let run = || stage.run().set("srcs-to-backup", &at);
    run().expect(0);
    drop(disk);
    fs::write(at.join("NOT MOUNTED"), "a placeholder").unwrap();
    run().expect(1).assert_says("looks unmounted").assert_says("1.0 MiB");
    assert_eq!(stage.history().complete().len(), 1);
    run().arg("--accept-shrink").expect(0);
}

#[test]
fn a_folder_that_moved_to_its_own_disk_is_carried_forward_and_listed_until_its_user_decides() {
    for options in ["-x,-a,--relative", "-x,-x,-a,--relative"] {
        let stage = Stage::with(BIN, &sample());
        stage.sh("mkdir photos; for i in 1 2 3; do echo $i >photos/$i; done");
        let run = || stage.run().set("rsync-single-params", options).set("max-backups", "2");
        run().expect(0);
        let at = stage.source.join("photos");
        let disk = need!(Mount::tmpfs(&at));
        stage.sh("for i in 1 2 3; do echo moved >photos/$i; done");
        for _ in 0..3 {
            let done = run().expect(3);
            done.assert_says("SRCS_TO_BACKUP")
                .assert_says("source/photos")
                .assert_says("carried forward");
            let copy = stage.inside(&stage.history().newest()).join("photos");
            assert_eq!(fs::read_to_string(copy.join("2")).unwrap(), "2\n");
        }
        run().arg("--dry-run").expect(3).assert_says("carried forward");
        // As a source of its own, it is backed up.
        let both = format!("{},{}", stage.source.display(), at.display());
        run().set("srcs-to-backup", &both).expect(0);
        let copy = stage.inside(&stage.history().newest()).join("photos");
        assert_eq!(fs::read_to_string(copy.join("2")).unwrap(), "moved\n");
        // Or the user drops it.
        run().expect(3);
        run().arg("--accept-shrink").expect(0);
        run().expect(0);
        let copy = stage.inside(&stage.history().newest()).join("photos");
        assert_eq!(fs::read_dir(copy).map_or(0, Iterator::count), 0);
        drop(disk);
    }
}

#[test]
fn a_mount_point_of_fstab_below_a_source_is_listed_when_it_is_not_mounted() {
    need!(need::root());
    need!(need::tool("unshare"));
    let stage = Stage::with(BIN, &sample());
    let table = stage.beside("fstab");
    let point = |name: &str| stage.source.join(name).display().to_string();
    let line = |name, options| format!("UUID=1 {} ext4 {options} 0 0\n", point(name));
    fs::write(&table, line("second", "nofail") + &line("inner/disk", "noauto")).unwrap();
    let script = format!("mount --bind '{}' /etc/fstab && exec \"$@\"", table.display());
    let run = |options| {
        let run = stage.run().set("rsync-single-params", options);
        run.under(&["unshare", "-m", "sh", "-c", &script, "sh"])
    };
    let done = run(ALL).expect(3);
    assert_eq!(done.lines_with("is not mounted"), 1, "{}", done.said());
    done.assert_says(&point("second"));
    // If mounted, -x would exclude it.
    run("-x,-a,--relative").expect(0);
}

#[test]
fn a_writable_subvolume_belongs_to_its_source_and_snapshots_are_left_out_and_counted() {
    let disk = need!(LoopFs::btrfs(256));
    need!(need::tool("btrfs"));
    let stage = Stage::all_on(BIN, disk.path());
    stage.sh("
        btrfs subvolume create home; btrfs subvolume create home/inner; mkdir folder
        echo 1 >home/file; echo 2 >home/inner/file; echo 3 >folder/file
        btrfs subvolume snapshot home writable; btrfs subvolume snapshot -r home readonly
        btrfs subvolume create closed; echo 4 >closed/file; btrfs property set closed ro true");
    for number in 0..2 {
        let done = stage.run().expect(0);
        for name in ["writable", "readonly", "closed"] {
            let path = stage.source.join(name);
            assert_eq!(done.lines_with(&path.to_string_lossy()), 1, "{}", done.said());
            let copy = stage.inside(&stage.history().newest()).join(name);
            assert_eq!(fs::read_dir(copy).expect("an empty folder").count(), 0, "{name}");
        }
        done.assert_says("3 mount points or subvolumes");
        assert_eq!(stage.counts()["mounts_left_out"], 3);
        let copy = stage.inside(&stage.history().newest());
        for (path, text) in [("home/file", "1"), ("home/inner/file", "2"), ("folder/file", "3")] {
            assert_eq!(fs::read_to_string(copy.join(path)).expect(path).trim(), text, "{number}");
        }
    }
    stage.assert_linked("home/inner/file");
}

#[test]
fn a_subvolume_that_is_mounted_belongs_to_a_source_of_the_same_file_system_only() {
    let (disk, other) = (need!(LoopFs::btrfs(256)), need!(LoopFs::btrfs(256)));
    need!(need::tool("btrfs"));
    let stage = Stage::all_on(BIN, disk.path());
    stage.sh("btrfs subvolume create ../@home; echo 1 >../@home/file; mkdir home other");
    stage.sh(&format!("echo 2 >'{}/file'", other.path().display()));
    let mut findmnt = std::process::Command::new("findmnt");
    findmnt.args(["-no", "SOURCE"]).arg(disk.path());
    let device = findmnt.output().expect("findmnt").stdout;
    let device = String::from_utf8(device).expect("a path").trim().to_owned();
    let device = std::path::Path::new(device.split('[').next().expect("a device"));
    let mount = |options: &[&str], what: &std::path::Path, at: &str| {
        Mount::new(options, what, &stage.source.join(at)).map_err(need::Missing)
    };
    let _home = need!(mount(&["-o", "subvol=@home"], device, "home"));
    let _other = need!(mount(&["--bind"], other.path(), "other"));
    stage.run().expect(0);
    let copy = stage.inside(&stage.history().newest());
    assert_eq!(fs::read_to_string(copy.join("home/file")).expect("kept"), "1\n");
    assert_eq!(fs::read_dir(copy.join("other")).expect("a folder").count(), 0);
}
