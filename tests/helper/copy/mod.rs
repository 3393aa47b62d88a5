//! Copies of whole histories to a host and from one.

mod damaged;
mod histories;
mod kept;
mod kills;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::run::Run;
use fixtures::sshd::Sshd;
use fixtures::stage::Stage;

use crate::BIN;

/// The folder of the copy.
fn there(stage: &Stage) -> PathBuf {
    stage.beside("copies")
}

/// `copy --to` a folder beside the setup, through this program on the server.
fn push(stage: &Stage, server: &Sshd) -> Run {
    let place = format!("test:{}", there(stage).display());
    server.known_to(stage.look("copy")).env("REMOTE_HELPER", BIN).set("to", place)
}

/// `copy --from` the backups folder of the setup.
fn pull(stage: &Stage, server: &Sshd) -> Run {
    let place = format!("test:{}", stage.backups.display());
    let run = server.known_to(stage.look("copy")).env("REMOTE_HELPER", BIN);
    run.unset("backups-dir").set("backups-dir", there(stage)).set("from", place)
}

/// The entries that share an inode, without those of the program itself.
fn shared(top: &Path) -> BTreeSet<Vec<PathBuf>> {
    let mut inodes = BTreeMap::<u64, Vec<PathBuf>>::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            let meta = path.symlink_metadata().expect("metadata");
            if path.file_name().is_some_and(|name| name == ".backup_manager") {
                continue;
            }
            if meta.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(top).expect("inside").to_owned();
                inodes.entry(meta.ino()).or_default().push(inside);
            }
        }
    }
    inodes
        .into_values()
        .map(|mut names| {
            names.sort();
            names
        })
        .collect()
}

/// Fails the test unless the copy has the same snapshots with the same links.
#[track_caller]
fn assert_copied(stage: &Stage) {
    let copy = there(stage);
    let done = Command::new("rsync")
        .args(["-aHAXcni", "--numeric-ids", "--delete", "--exclude=/.backup_manager"])
        .arg("--filter=-x user.backup_manager.*")
        .arg(format!("{}/", stage.backups.display()))
        .arg(format!("{}/", copy.display()))
        .output()
        .expect("rsync starts");
    let said = String::from_utf8_lossy(&done.stdout);
    let differences: Vec<_> = said.lines().filter(|line| !line.ends_with(" ./")).collect();
    assert!(done.status.success() && differences.is_empty(), "{said}");
    assert_eq!(shared(&stage.backups), shared(&copy), "other links");
}
