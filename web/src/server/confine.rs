//! Gives up the right to open anything but the backups folders and the sources, for reading, and to connect to any host.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError,
};

/// The kernel interface whose rights are known here (landlock(7)). An older kernel checks what it knows.
const KNOWN: ABI = ABI::V5;

/// What the page reads besides the backups folders and the sources: what is mounted, the time zone, and whether a report
/// is from this machine.
const ALSO: [&str; 5] =
    ["/etc/fstab", "/etc/localtime", "/usr/share/zoneinfo", "/proc/self", "/etc/machine-id"];

/// From now on this process, and each thread that it starts, opens files below `folders` for reading and nothing
/// else. It neither connects to an address nor listens on a further one. A kernel without Landlock changes nothing.
pub(crate) fn to_read<'a>(folders: impl Iterator<Item = &'a Path>) -> Result<(), RulesetError> {
    let read = AccessFs::from_read(KNOWN) & !AccessFs::Execute;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .create()?;
    let paths = folders.chain(ALSO.iter().map(Path::new));
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
    use std::net::{TcpListener, TcpStream};

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
            to_read([folder.path()].into_iter()).unwrap();
            let other_thread = std::thread::spawn(move || File::open(outside).is_ok());
            (read(&inside).is_ok(), write(&inside, "y").is_ok(), other_thread.join().unwrap())
        });
        assert_eq!(tried.join().unwrap(), (true, false, false));
        drop(secret);
    }

    #[test]
    fn no_host_is_connected_to() {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        if ruleset
            .handle_access(AccessNet::ConnectTcp)
            .and_then(|ruleset| ruleset.create())
            .is_err()
        {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(address).unwrap();
        let tried = std::thread::spawn(move || {
            to_read([].into_iter()).unwrap();
            (
                TcpStream::connect(address).is_ok(),
                TcpListener::bind("127.0.0.1:0").is_ok(),
                listener.accept().is_ok(),
            )
        });
        assert_eq!(tried.join().unwrap(), (false, false, true));
    }
}
