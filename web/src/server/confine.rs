//! Gives up the right to open anything but the backups folders.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError,
};

/// The kernel interface whose rights are known here (landlock(7)). An older kernel checks what it knows.
const KNOWN: ABI = ABI::V5;

/// What the page reads besides the backups folders: what is mounted, and the time zone.
const ALSO: [&str; 4] = ["/etc/fstab", "/etc/localtime", "/usr/share/zoneinfo", "/proc/self"];

/// From now on this process, and each thread that it starts, opens files below `folders` for reading and nothing
/// else. A kernel without Landlock changes nothing.
pub(crate) fn to_read(folders: &[PathBuf]) -> Result<(), RulesetError> {
    let read = AccessFs::from_read(KNOWN) & !AccessFs::Execute;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .create()?;
    let paths = folders.iter().map(PathBuf::as_path).chain(ALSO.iter().map(Path::new));
    let ruleset = paths.into_iter().try_fold(ruleset, |ruleset, path| {
        let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
        let rights = if path.is_dir() { read } else { read & AccessFs::from_file(KNOWN) };
        ruleset.add_rule(PathBeneath::new(opened, rights))
    })?;
    ruleset.restrict_self().map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read, write};

    use super::*;

    fn kernel_has_landlock() -> bool {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        ruleset.handle_access(AccessFs::ReadFile).and_then(|ruleset| ruleset.create()).is_ok()
    }

    #[test]
    fn only_the_given_folders_are_read_and_nothing_is_written() {
        if !kernel_has_landlock() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (inside, secret) =
            (folder.path().join("inside"), tempfile::NamedTempFile::new().unwrap());
        write(&inside, "x").unwrap();
        let outside = secret.path().to_owned();
        // Each thread has rights of its own.
        let tried = std::thread::spawn(move || {
            to_read(&[folder.path().to_owned()]).unwrap();
            let other_thread = std::thread::spawn(move || File::open(outside).is_ok());
            (read(&inside).is_ok(), write(&inside, "y").is_ok(), other_thread.join().unwrap())
        });
        assert_eq!(tried.join().unwrap(), (true, false, false));
        drop(secret);
    }
}
