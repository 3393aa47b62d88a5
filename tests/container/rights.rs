//! Restricted containers: only the documented capabilities, a read-only root, other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::stage::inside;
use fixtures::tree::Tree;

use crate::engine;
use crate::stand::Stand;

/// A read-only root file system.
const READ_ONLY: [&str; 3] = ["--read-only", "--tmpfs", "/tmp"];

/// The capabilities that docs/install.md lists for `cap_drop: ALL`.
const CAPABILITIES: [&str; 14] = [
    "--security-opt",
    "no-new-privileges",
    "--cap-drop",
    "ALL",
    "--cap-add",
    "CHOWN",
    "--cap-add",
    "DAC_OVERRIDE",
    "--cap-add",
    "FOWNER",
    "--cap-add",
    "FSETID",
    "--cap-add",
    "MKNOD",
];

/// Those that docs/install.md lists for `PUID`.
const ONLY_TO_STEP_DOWN: [&str; 10] = [
    "--cap-drop",
    "ALL",
    "--cap-add",
    "CHOWN",
    "--cap-add",
    "DAC_OVERRIDE",
    "--cap-add",
    "SETUID",
    "--cap-add",
    "SETGID",
];

/// Files of several owners, one of which only its owner can read.
fn stand() -> Stand {
    let stand = Stand::with_crontab("@reboot backup_manager run\n");
    Tree::new()
        .file("secret", "of 1234 alone")
        .owner(1_234, 5_678)
        .mode(0o600)
        .file("setuid", "runs as 1234")
        .owner(1_234, 1_234)
        .mode(0o6755)
        .folder("folder")
        .owner(1_234, 5_678)
        .mode(0o1700)
        .file("folder/in", "it")
        .char_device("device", 1, 3)
        .fifo("pipe")
        .build(&stand.source());
    stand
}

#[test]
fn the_documented_capabilities_are_enough_for_everything() {
    let engine = need!(engine());
    let stand = stand();
    let container =
        engine.start("bm-capable", &stand.options(&[&READ_ONLY[..], &CAPABILITIES].concat()));
    stand.wait_for_complete(1, &container);
    let newest = stand.history().newest();
    Judge::plain().assert_same(&stand.source(), &inside(&newest, "/source".as_ref()));
    // By default the kernel forbids links to files of other users.
    stand.run_now(&container).assert_code(0);
    let newest = stand.history().newest();
    assert_eq!(stand.history().report(&newest)["counts"]["copied"], 0);
}

#[test]
fn without_any_capability_it_says_what_it_cannot_read_and_goes_on() {
    let engine = need!(engine());
    let stand = stand();
    fs::write(stand.source().join("public"), "for everyone").unwrap();
    let container = engine.start("bm-incapable", &stand.options(&["--cap-drop", "ALL"]));
    stand.wait_for_complete(1, &container);
    container.wait_for_log("exit code 3");
    let logs = container.logs();
    for said in ["(CHOWN)", "(MKNOD)", "secret"] {
        assert!(logs.contains(said), "nothing about {said} in:\n{logs}");
    }
    let newest = inside(&stand.history().newest(), "/source".as_ref());
    assert_eq!(fs::read_to_string(newest.join("public")).unwrap(), "for everyone");
}

#[test]
fn another_user_without_a_name_backs_up_what_it_may_read() {
    let engine = need!(engine());
    let stand = stand();
    for name in ["backups", "config"] {
        chown(stand.folder.join(name), Some(4_321), Some(4_321)).unwrap();
    }
    let options = [&READ_ONLY[..], &["--user", "4321:4321", "--cap-drop", "ALL"]].concat();
    let container = engine.start("bm-nameless", &stand.options(&options));
    stand.wait_for_complete(1, &container);
    let logs = container.logs();
    assert!(logs.contains("running as the user 4321"), "{logs}");
    let newest = stand.history().newest();
    assert_eq!(fs::metadata(&newest).unwrap().uid(), 4_321);
    assert!(inside(&newest, "/source/setuid".as_ref()).exists(), "{logs}");
}

#[test]
fn puid_and_pgid_are_whom_everything_runs_as() {
    let engine = need!(engine());
    let stand = stand();
    let identity = ["-e", "PUID=1234", "-e", "PGID=5678"];
    let options = [&READ_ONLY[..], &ONLY_TO_STEP_DOWN, &identity].concat();
    let container = engine.start("bm-puid", &stand.options(&options));
    stand.wait_for_complete(1, &container);
    let newest = stand.history().newest();
    let of = |path| fs::metadata(path).map(|stat| (stat.uid(), stat.gid())).unwrap();
    assert_eq!(of(newest.clone()), (1_234, 5_678));
    // The own file of user 1234, which the default user of the image could read as well.
    let kept = inside(&newest, "/source/secret".as_ref());
    assert_eq!(fs::read_to_string(kept).unwrap(), "of 1234 alone");
    // The same by hand as by the crontab.
    let done = stand.run_now(&container);
    assert!([0, 3].contains(&done.code), "{}", done.said());
    assert_eq!(of(stand.history().newest()), (1_234, 5_678));
    container.wait_for_log("PUID");
}

#[test]
fn a_first_run_by_hand_gives_the_new_backups_folder_to_puid() {
    let engine = need!(engine());
    let stand = stand();
    let identity = ["-e", "PUID=1234", "-e", "PGID=5678"];
    let options = stand.options(&[&ONLY_TO_STEP_DOWN[..], &identity].concat());
    let done = engine.run(&options, &["run"]);
    assert!([0, 3].contains(&done.code), "{}", done.said());
    done.assert_says("(PUID, PGID)");
    assert_eq!(fs::metadata(stand.history().newest()).unwrap().uid(), 1_234);
}
