//! Stores the state of a job's alerts between runs, including unsent alerts. The state is in
//! `.backup_manager/notify/`, or in the temporary folder while the backups folder cannot be written.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use engine::Prefix;
use engine::repository::AppFiles;
use serde::{Deserialize, Serialize};

use crate::notify::decide::SentMemory;
use crate::notify::message::Message;
use crate::notify::send::AlertMethod;

/// The folder in `.backup_manager/`.
const FOLDER: &str = "notify";

/// An alert that could not be sent yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsent {
    pub(crate) way: AlertMethod,
    /// When the first attempt was due, in seconds since 1970.
    pub(crate) since: i64,
    pub(crate) message: Message,
}

/// The whole stored state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SentState {
    #[serde(flatten)]
    pub(crate) memory: SentMemory,
    pub(crate) unsent: Vec<Unsent>,
}

/// The location of the state.
pub(crate) struct StateFile<'a> {
    own: Option<&'a AppFiles>,
    name: String,
    /// The location without [`AppFiles`].
    spare: PathBuf,
}

impl<'a> StateFile<'a> {
    /// The location for the job with this prefix and backups folder. `temporary` is the temporary folder.
    pub(crate) fn new(
        own: Option<&'a AppFiles>,
        backups_dir: &Path,
        prefix: &Prefix,
        temporary: &Path,
    ) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let user = rustix::process::geteuid().as_raw();
        // Jobs in two backups folders may have the same prefix.
        let folder = backups_dir.as_os_str().as_bytes();
        let folder = hex(&folder[folder.len().saturating_sub(60)..]);
        let spare = temporary
            .join(format!("backup_manager-{user}"))
            .join(format!("{folder}-{}.json", hex(prefix.as_str().as_bytes())));
        Self { own, name: format!("{prefix}.json"), spare }
    }

    /// Loads the state. A state that was stored while the backups folder was missing is newer.
    pub(crate) fn load(&self) -> SentState {
        let own = self.own.and_then(|own| own.read(FOLDER, &self.name));
        let spare = self.read_spare();
        let read = |bytes: Vec<u8>| serde_json::from_slice::<SentState>(&bytes).ok();
        let (own, spare) = (own.and_then(read), spare.and_then(read));
        match (own, spare) {
            (Some(own), Some(spare)) => SentState {
                memory: SentMemory {
                    since: own.memory.since.min(spare.memory.since),
                    damaged: own.memory.damaged,
                    ..spare.memory
                },
                unsent: own.unsent.into_iter().chain(spare.unsent).collect(),
            },
            (own, spare) => own.or(spare).unwrap_or_default(),
        }
    }

    /// Stores the state.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn store(&self, kept: &SentState) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(kept)?;
        match self.own {
            Some(own) => {
                own.write(FOLDER, &self.name, &bytes)?;
                let _ = fs::remove_file(&self.spare);
                Ok(())
            }
            None => self.write_spare(&bytes),
        }
    }

    /// A private folder in the temporary folder, to which every user can write.
    fn spare_folder(&self) -> Option<&Path> {
        let folder = self.spare.parent()?;
        let meta = fs::symlink_metadata(folder).ok()?;
        let own = meta.uid() == rustix::process::geteuid().as_raw();
        (meta.is_dir() && own && meta.mode() & 0o077 == 0).then_some(folder)
    }

    fn read_spare(&self) -> Option<Vec<u8>> {
        self.spare_folder()?;
        let mut bytes = Vec::new();
        File::open(&self.spare).ok()?.take(1 << 22).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn write_spare(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.spare.parent() {
            let _ = DirBuilder::new().mode(0o700).create(folder);
        }
        self.spare_folder().ok_or(io::ErrorKind::PermissionDenied)?;
        let temporary = self.spare.with_extension("tmp");
        File::create(&temporary)?.write_all(bytes)?;
        fs::rename(&temporary, &self.spare)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(60).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_written_while_the_folder_was_missing_are_added_to_it_later() {
        let dir = tempfile::tempdir().unwrap();
        let backups = dir.path().join("backups");
        fs::create_dir_all(backups.join(".backup_manager")).unwrap();
        let own = AppFiles::open(&backups).unwrap();
        let prefix = Prefix::new("p").unwrap();
        let here = StateFile::new(Some(&own), &backups, &prefix, dir.path());
        let away = StateFile::new(None, &backups, &prefix, dir.path());
        let kept = |failures, damaged: &[&str]| SentState {
            memory: SentMemory {
                failures,
                damaged: damaged.iter().map(|name| (*name).to_owned()).collect(),
                ..SentMemory::default()
            },
            unsent: Vec::new(),
        };
        assert_eq!(here.load(), SentState::default());
        here.store(&kept(1, &["p.a"])).unwrap();
        assert_eq!(away.load(), SentState::default());
        away.store(&kept(2, &[])).unwrap();
        assert_eq!(away.load(), kept(2, &[]));
        assert_eq!(here.load(), kept(2, &["p.a"]));
        here.store(&kept(0, &[])).unwrap();
        assert_eq!((here.load(), away.load()), (kept(0, &[]), SentState::default()));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let place =
            StateFile::new(None, Path::new("/nowhere"), &Prefix::new("p").unwrap(), dir.path());
        place.store(&SentState::default()).unwrap();
        let folder = place.spare.parent().unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(place.store(&SentState::default()).is_err() && place.read_spare().is_none());
    }
}
