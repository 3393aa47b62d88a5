//! `LATEST_LINK` and `PREVIOUS_VERSIONS`: the symlinks follow the history, a symlink that the program did
//! not make stays, and a real Samba server shows the snapshots as previous versions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fixtures::loop_fs::Mount;
use fixtures::need;
use fixtures::samba::Samba;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("file", "one"))
}

fn latest(stage: &Stage) -> PathBuf {
    stage.backups.join("my_backup.latest")
}

fn previous(stage: &Stage) -> PathBuf {
    stage.backups.join(".backup_manager/previous/my_backup")
}

/// The folders to which the symlinks in `folder` lead, sorted by the names of the symlinks.
fn targets(folder: &Path) -> Vec<String> {
    let links = fs::read_dir(folder).expect("the folder of the symlinks");
    let mut links: Vec<_> = links.flatten().map(|entry| entry.path()).collect();
    links.sort();
    let target = |link: &PathBuf| {
        assert!(link.is_dir(), "{} leads to a folder", link.display());
        name(&fs::read_link(link).expect("a symlink"))
    };
    links.iter().map(target).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn names(snapshots: &[PathBuf]) -> Vec<String> {
    snapshots.iter().map(|path| name(path)).collect()
}

#[test]
fn the_latest_link_leads_to_the_newest_snapshot() {
    let stage = stage();
    let run = stage.run().set("latest-link", "on").set("max-backups", "2");
    for _ in 0..3 {
        run.expect(0);
        let target = fs::read_link(latest(&stage)).unwrap();
        assert_eq!(stage.backups.join(target), stage.history().newest());
    }
    let newest = stage.history().newest();
    stage.look("prune").arg(newest.file_name().unwrap()).arg("--yes").expect(0);
    let target = fs::read_link(latest(&stage)).unwrap();
    assert_eq!(stage.backups.join(target), stage.history().newest(), "after a removal, too");
    stage.run().expect(0);
    assert_ne!(
        stage.backups.join(fs::read_link(latest(&stage)).unwrap()),
        stage.history().newest(),
        "switched off, the link stays as it is"
    );
}

#[test]
fn what_the_program_did_not_make_stays_and_is_reported() {
    for make in ["mkdir", "touch", "ln -s /somewhere"] {
        let stage = stage();
        stage.sh(&format!("{make} {}", latest(&stage).display()));
        let before = fs::symlink_metadata(latest(&stage)).unwrap().file_type();
        let done = stage.run().set("latest-link", "on").expect(0);
        done.assert_says("my_backup.latest").assert_says("it stays as it is");
        assert_eq!(fs::symlink_metadata(latest(&stage)).unwrap().file_type(), before);
        assert_eq!(stage.history().complete().len(), 1);
    }
}

#[test]
fn previous_versions_are_all_complete_snapshots_and_no_others() {
    let stage = stage();
    let run = stage.run().set("previous-versions", "on").set("max-backups", "2");
    for _ in 0..3 {
        run.expect(0);
        assert_eq!(targets(&previous(&stage)), names(&stage.history().complete()));
    }
    fs::create_dir(stage.backups.join("my_backup.01-01-2024_00-00-00.incomplete")).unwrap();
    std::os::unix::fs::symlink("/etc", previous(&stage).join("@GMT-2024.01.01-00.00.00")).unwrap();
    fs::write(previous(&stage).join("a user's file"), "").unwrap();
    run.expect(0);
    assert!(
        previous(&stage).join("a user's file").exists(),
        "only symlinks of such names are removed"
    );
    fs::remove_file(previous(&stage).join("a user's file")).unwrap();
    assert_eq!(targets(&previous(&stage)), names(&stage.history().complete()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let own = stage.backups.join(".backup_manager");
    assert_eq!((mode(&own), mode(&own.join("reports"))), (0o711, 0o700));
    stage.run().expect(0);
    assert!(!own.join("previous").exists(), "switched off");
    assert_eq!(mode(&own), 0o700);
}

/// The lines of the share in docs/samba.md, for another source and another mount of the backups.
fn documented(source: &Path, mounted: &Path) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/samba.md");
    let page = fs::read_to_string(page).expect("the page");
    let shown = |path: &Path| path.display().to_string();
    let lines: Vec<_> = page
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("vfs objects") || line.starts_with("shadow:"))
        .map(|line| line.replace("/srv/previous", &shown(mounted)))
        .map(|line| line.replace("srv/documents", shown(source).trim_start_matches('/')))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    lines
}

#[test]
fn samba_shows_them_and_refuses_to_write_to_them() {
    let stage = stage();
    let closed = stage.beside("closed");
    let stage = stage.backups_in(&closed.join("backups"));
    // The guest may write to the file and to its folder, in the snapshots too.
    stage.sh("chmod 755 ..; chmod 777 . file; mkdir -m 700 ../closed; mkdir -m 755 ../previous");
    let run = stage.run().set("previous-versions", "on").set("backups-mode", "0755");
    run.expect(0);
    stage.sh("echo two >file");
    run.expect(0);
    let mount = need!(Mount::bind(&stage.backups, &stage.beside("previous")));
    stage.sh(&format!("mount -o remount,bind,ro,nosuid,nodev {}", mount.path().display()));
    let samba = need!(Samba::sharing(&stage.source, &documented(&stage.source, mount.path())));
    let (listed, versions) = samba.client("allinfo file");
    let known: Vec<_> = versions.lines().filter(|line| line.starts_with("@GMT-")).collect();
    assert!(listed && known.len() == 2, "{versions}");
    let oldest = known.iter().min().unwrap();
    let copy = stage.beside("copy");
    let (read, said) = samba.client(&format!("get \\{oldest}\\file {}", copy.display()));
    assert!(read, "{said}");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "one");
    fs::write(&copy, "other").unwrap();
    for change in [
        format!("put {} \\{oldest}\\file", copy.display()),
        format!("del \\{oldest}\\file"),
        format!("mkdir \\{oldest}\\new"),
    ] {
        // smbclient ends with 0 when the server refuses a removal.
        let (_, said) = samba.client(&change);
        assert!(said.contains("NT_STATUS_"), "{change}: {said}");
    }
    let oldest = stage.inside(&stage.history().complete()[0]);
    assert_eq!(fs::read_to_string(oldest.join("file")).unwrap(), "one");
    assert_eq!(fs::read_dir(oldest).unwrap().count(), 1);
}
