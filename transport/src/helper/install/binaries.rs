//! The programs that can be copied to a host: the running one, and those of the package for other machines.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::helper::install::names::file_name;

/// The running program, also when its file has been replaced since.
pub(crate) const OWN: &str = "/proc/self/exe";

/// Where packages and the image keep the programs for other machines.
const SHIPPED: &str = "/usr/libexec/backup_manager";

/// The machines for which there are packages, as `uname -m` names them.
const MACHINES: [&str; 2] = ["x86_64", "aarch64"];

/// A program that can be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    /// The name of the machine, as `uname -m` prints it.
    pub(crate) machine: String,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// The BLAKE3 of the file, hexadecimal.
    pub(crate) hash: String,
    /// Whether it needs no library of the host.
    pub(crate) is_static: bool,
}

impl Binary {
    fn read(path: &Path, machine: &str, is_static: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let is_trusted = meta.uid() == 0 || meta.uid() == rustix::process::geteuid().as_raw();
        // The running program is what it is. Any other must be one that no other user could have written.
        if path != Path::new(OWN) && (!is_trusted || meta.mode() & 0o022 != 0 || !meta.is_file()) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let hash = hash(&mut file)?.to_string();
        let (machine, path) = (machine.to_owned(), path.to_owned());
        Ok(Self { machine, path, size: meta.len(), hash, is_static })
    }

    /// The name of the copy.
    pub(crate) fn file_name(&self) -> String {
        file_name(env!("CARGO_PKG_VERSION"), &self.hash)
    }
}

/// The BLAKE3 of a file.
pub(crate) fn hash(file: &mut File) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize())
}

/// The hash of the running program, by which the near end recognizes what it copied: a hidden command prints it.
///
/// # Errors
/// The program cannot be read.
pub fn own_hash() -> io::Result<String> {
    hash(&mut File::open(OWN)?).map(|hash| hash.to_string())
}

/// What can be copied, the best for each machine first.
#[derive(Debug, Default)]
pub(crate) struct Binaries(Vec<Binary>);

impl Binaries {
    /// Finds them. A program that needs the libraries of this machine comes last.
    pub(crate) fn find() -> Self {
        let beside = std::env::current_exe().ok();
        let beside = beside.as_deref().and_then(Path::parent).and_then(Path::parent);
        let folders = beside.map(|top| top.join("libexec/backup_manager"));
        let mut folders: Vec<_> = folders.into_iter().chain([PathBuf::from(SHIPPED)]).collect();
        folders.dedup();
        let shipped = folders.iter().flat_map(|folder| {
            MACHINES.iter().filter_map(|machine| {
                let path = folder.join(format!("backup_manager-{machine}-linux"));
                Binary::read(&path, machine, true).ok()
            })
        });
        let is_static = cfg!(target_feature = "crt-static");
        let own = Binary::read(Path::new(OWN), std::env::consts::ARCH, is_static);
        let mut all: Vec<_> = own.into_iter().chain(shipped).collect();
        all.sort_by_key(|binary| !binary.is_static);
        Self(all)
    }

    /// The one for a host whose `uname -sm` prints `system`.
    pub(crate) fn fit(&self, system: &str) -> Option<&Binary> {
        let machine = system.strip_prefix("Linux ")?;
        self.0.iter().find(|binary| binary.machine == machine)
    }

    /// The names of the copies.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Binary::file_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(machine: &str, path: &str, is_static: bool) -> Binary {
        let (machine, hash) = (machine.to_owned(), "ab".repeat(32));
        Binary { machine, path: path.into(), size: 1, hash, is_static }
    }

    #[test]
    fn the_first_binary_for_the_machine_is_taken() {
        let all =
            Binaries(vec![binary("aarch64", "shipped", true), binary("aarch64", "own", false)]);
        let fit = all.fit("Linux aarch64").map(|it| it.path.display().to_string());
        assert_eq!(fit.as_deref(), Some("shipped"));
        for system in ["Linux armv7l", "Darwin aarch64", "FreeBSD amd64", "", "aarch64"] {
            assert_eq!(all.fit(system), None, "{system}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_not_copied() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "text").unwrap();
        for (mode, is_taken) in [(0o755, true), (0o775, false), (0o757, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Binary::read(&path, "x86_64", true).is_ok(), is_taken, "{mode:o}");
        }
        let found = Binary::read(Path::new(OWN), "x86_64", true).unwrap();
        assert_eq!(found.hash, own_hash().unwrap());
    }
}
