//! The next steps of `adopt`.

use std::borrow::Cow;
use std::path::Path;

use engine::LookError;
use engine::adopt::{Obstacle, Program};

use crate::config::mistake::shown_path;

/// The next step when one of the folders cannot be read.
pub(crate) fn unreadable(error: &LookError) -> &'static str {
    match error.error.kind() {
        std::io::ErrorKind::PermissionDenied => crate::hint::forbidden(),
        _ => "check that it is there, mounted and readable (DIR, and --backups-dir)",
    }
}

/// The next step for something that prevents the adoption.
pub(crate) fn obstacle(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NoSuchTime(_) => "rename it, or move it out of the folder",
        Obstacle::SkippedHour => {
            "name the zone of the machine that took the snapshots: TZ=Europe/Berlin backup_manager adopt …"
        }
        Obstacle::NoYear => {
            "set the time of the snapshot with touch -d, or move it out of the folder"
        }
        Obstacle::SecondProgram(..) => {
            "move the snapshots of one of them to another folder, and adopt each with a --prefix of its own"
        }
        Obstacle::SameName { .. } => {
            "an interrupted rsnapshot leaves two folders with one time: let it complete a run, or move the unfinished one away"
        }
        Obstacle::OutOfOrder(_) => {
            "the folders were changed since: set the time of each snapshot with touch -d"
        }
        Obstacle::Exists(_) => "choose another --prefix, or move one of the two away",
        Obstacle::Recorded(_) => "backup_manager doctor --remove-orphans removes them",
        Obstacle::OtherFileSystem => {
            "write --backups-dir with a folder on the file system of the snapshots, or copy them there before (rsync -aHAX)"
        }
        Obstacle::OtherMount => {
            "write both paths through one mount (in a container: mount the folder above both)"
        }
        Obstacle::Mounted => "unmount it",
        Obstacle::Unwritable | Obstacle::Sticky => "do it as root, or as its owner after chmod u+w",
        Obstacle::Unreadable(_) => "do it as root",
    }
}

/// The next step when a folder has no snapshot to adopt.
pub(crate) fn nothing(dir: &Path) -> Cow<'static, str> {
    let below = [dir.join("backintime"), dir.to_owned()];
    let folder = below.iter().find_map(|top| profile(top, 3));
    match folder {
        Some(folder) => format!("Back In Time has some in {}", shown_path(&folder)).into(),
        None => "write the folder that contains daily.0, 20261129-030054-596 or 2026-11-29-030004"
            .into(),
    }
}

/// The first folder below `top` that contains Back In Time's symlink to its last snapshot.
fn profile(top: &Path, depth: usize) -> Option<std::path::PathBuf> {
    if top.join("last_snapshot").symlink_metadata().is_ok() {
        return Some(top.to_owned());
    }
    let mut below: Vec<_> = std::fs::read_dir(top).ok()?.flatten().take(100).collect();
    below.retain(|entry| depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.sort_by_key(std::fs::DirEntry::file_name);
    below.iter().find_map(|entry| profile(&entry.path(), depth - 1))
}

/// What the snapshots of a program are after the adoption.
pub(crate) fn about(program: Program, label: bool) -> Vec<&'static str> {
    let paths = match (program, label) {
        (Program::Rsnapshot, false) => {
            "paths in them begin with the label (localhost/home/…), so the next run copies everything once; --label localhost takes only that folder, and then the next run of /home links"
        }
        (Program::Rsnapshot, true) => {
            "the folders themselves stay, with their other labels; remove them when no label is left"
        }
        (Program::BackInTime, _) => {
            "what lies beside backup (info, fileinfo.bz2, logs) stays; without backup it is of no use to Back In Time"
        }
        (Program::RsyncTimeBackup, _) => {
            "they contain the content of the source folder without its path: a job whose source is written with /./ at its end (/home/uname/./) continues them"
        }
    };
    vec![
        paths,
        "they have no hashes and no report: verify --all --record records the hashes of what they contain then",
    ]
}

/// The next step when the next run would remove snapshots.
pub(crate) fn removed(count: usize) -> String {
    format!(
        "to keep them, set MAX_BACKUPS={count} or more, choose KEEP_ rules, or hold them, before the next run"
    )
}

/// The next step after an adoption.
pub(crate) fn done() -> &'static str {
    "look at them with list; verify --all --record records their hashes"
}

/// The next step when a rename failed.
pub(crate) fn unrenamed() -> &'static str {
    "nothing was lost: correct the cause (lsattr shows chattr +i), and the same command continues with the others"
}
