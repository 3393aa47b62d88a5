//! One file system a source root: mount points below are left out, and that is said.

use std::fs;

use fixtures::judge::Judge;
use fixtures::loop_fs::Mount;
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
    // rsync's -x looks at device numbers only, and so sees into it.
    stage.run().expect(0);
    let copy = stage.inside(&stage.history().newest());
    assert!(copy.join("inner/disk/below").exists());
    assert!(copy.join("second").is_dir());
}
