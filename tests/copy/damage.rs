//! Damaged files are not copied, and all copies of undamaged ones are verified.

use std::os::unix::fs::FileExt;
use std::path::Path;

use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::judge::{assert_copied, copy, history, names};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Changes a byte of a stored file, and leaves its size and times as they are.
pub(crate) fn rot(file: &Path) {
    let meta = std::fs::metadata(file).expect("the file can be changed");
    let open = std::fs::File::options()
        .read(true)
        .write(true)
        .open(file)
        .expect("the file can be changed");
    let mut byte = [0];
    open.read_exact_at(&mut byte, 0).expect("the file can be changed");
    open.write_all_at(&[byte[0] ^ 1], 0).expect("the file can be changed");
    open.set_modified(meta.modified().expect("the file can be changed"))
        .expect("the file can be changed");
}

#[test]
fn a_rotten_file_is_not_copied_and_its_neighbours_are() {
    let tree = Tree::new().file("good", "good").file("bad", "bad").file("folder/other", "x");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh("echo changed >good");
    stage.take();
    let snapshots = stage.history().complete();
    rot(&stage.inside(&snapshots[0]).join("bad"));
    let to = stage.beside("copy");
    let done = copy(&stage, &to).expect(3);
    done.assert_says("its content is not what was backed up; it is missing from the copy");
    assert_eq!(names(&history(&to).complete()), names(&snapshots));
    for snapshot in history(&to).complete() {
        let inside = stage.inside(&snapshot);
        assert!(!inside.join("bad").exists() && inside.join("good").exists());
        let name = snapshot.file_name().unwrap();
        let marks = std::fs::read_to_string(to.join(".backup_manager/damaged").join(name)).unwrap();
        assert!(marks.contains("/bad\""), "{marks}");
    }
    copy(&stage, &to).expect(0).assert_says("nothing to copy");
    // A check keeps the marks as long as the files are missing.
    let newest = names(&snapshots)[1].clone();
    stage.look("verify").set("backups-dir", &to).expect(4);
    let marks = std::fs::read_to_string(to.join(".backup_manager/damaged").join(newest)).unwrap();
    assert!(marks.contains("/bad\""), "{marks}");
}

#[test]
fn a_file_that_was_copied_before_it_rotted_stays_good_in_later_copies() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "good").file("other", "1"));
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    stage.sh("echo 2 >other");
    stage.take();
    rot(&stage.inside(&stage.history().newest()).join("file"));
    copy(&stage, &to).expect(0);
    for snapshot in history(&to).complete() {
        assert_eq!(std::fs::read(stage.inside(&snapshot).join("file")).unwrap(), b"good");
    }
    stage.look("verify").set("backups-dir", &to).expect(0);
}

#[test]
fn a_file_that_a_check_found_damaged_is_not_read() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "good").file("other", "1"));
    stage.take();
    let file = stage.inside(&stage.history().newest()).join("file");
    rot(&file);
    stage.look("verify").expect(4);
    rot(&file);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(3);
    assert!(!stage.inside(&history(&to).newest()).join("file").exists());
}

#[test]
fn a_rotten_file_of_the_copy_is_copied_again() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "good").file("other", "1"));
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    rot(&stage.inside(&history(&to).newest()).join("file"));
    stage.look("verify").set("backups-dir", &to).expect(4);
    stage.sh("echo 2 >other");
    stage.take();
    copy(&stage, &to).expect(0);
    assert_eq!(std::fs::read(stage.inside(&history(&to).newest()).join("file")).unwrap(), b"good");
}

#[test]
fn what_a_copy_lacks_is_healed_as_soon_as_the_original_is() {
    for is_marked in [false, true] {
        let tree = Tree::new().file("good", "1").file("folder/bad", "bad").file("folder/x", "x");
        let stage = Stage::with(BIN, &tree.hard_link("other name", "folder/bad"));
        stage.take();
        stage.sh("echo 2 >good");
        stage.take();
        let (first, to) = (stage.beside("first"), stage.beside("copy"));
        copy(&stage, &first).expect(0);
        rot(&stage.inside(&stage.history().newest()).join("folder/bad"));
        if is_marked {
            stage.look("verify").arg("--all").expect(4);
        }
        copy(&stage, &to).expect(3);
        let verify = |backups: &Path| stage.look("verify").arg("--all").set("backups-dir", backups);
        let heal =
            |backups: &Path, from: &Path| verify(backups).arg("--heal-from").arg(from).done().code;
        verify(&to).expect(4);
        assert_eq!(heal(&to, &stage.backups), 4, "the original is still damaged");
        let newest = stage.inside(&history(&to).newest());
        assert!(!newest.join("folder/bad").exists() && !newest.join("other name").exists());
        assert_eq!(heal(&stage.backups, &first), 0);
        assert_eq!(heal(&to, &stage.backups), 0, "marked: {is_marked}");
        assert_copied(&stage, &to);
        let marks = std::fs::read_dir(to.join(".backup_manager/damaged"));
        assert_eq!(marks.map_or(0, Iterator::count), 0);
    }
}

#[test]
fn a_copy_that_lacks_very_many_files_is_marked_as_a_whole() {
    let count = 10_020;
    let tree = (0..count).fold(Tree::new().file("good", "good"), |tree, number| {
        tree.file(format!("{}/{number}", number % 7), "bad")
    });
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let inside = stage.inside(&stage.history().newest());
    (0..count).for_each(|number| rot(&inside.join(format!("{}/{number}", number % 7))));
    let to = stage.beside("copy");
    let done = copy(&stage, &to).expect(3);
    done.assert_says("is not complete in the copy: 10020 entries could not be copied");
    done.assert_says("damaged/SNAPSHOT of the copy lists those that it lacks");
    let newest = history(&to).newest();
    let file = to.join(".backup_manager/damaged").join(newest.file_name().unwrap());
    let marks =
        || -> serde_json::Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    let whole = |marks: &serde_json::Value| {
        let all = marks["damaged"].as_array().unwrap().iter();
        all.filter(|mark| mark["path"] == "")
            .any(|mark| mark["what"].as_str().unwrap().contains(": 20 files"))
    };
    let before = marks();
    assert_eq!(before["damaged"].as_array().unwrap().len(), 10_001);
    assert!(whole(&before));
    let checked = stage.look("verify").set("backups-dir", &to).expect(4);
    checked.assert_says("entries of");
    assert!(whole(&marks()), "a check keeps the mark");
    assert!(stage.inside(&newest).join("good").exists());
}
