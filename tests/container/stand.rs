//! The folders of a container on the host: source, backups and configuration.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::docker::Container;
use fixtures::history::History;
use fixtures::patience::wait_for;
use fixtures::run::Done;
use fixtures::scratch::Scratch;
use fixtures::stage::PREFIX;

/// Folders on the host.
pub(crate) struct Stand {
    pub(crate) folder: Scratch,
}

impl Stand {
    /// Creates empty folders.
    pub(crate) fn new() -> Self {
        let folder = Scratch::new();
        for name in ["source", "backups", "config"] {
            fs::create_dir(folder.join(name)).expect("a new folder");
        }
        Self { folder }
    }

    /// Creates folders with this crontab.
    pub(crate) fn with_crontab(text: &str) -> Self {
        let stand = Self::new();
        fs::write(stand.folder.join("config/crontab"), text).expect("written");
        stand
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    pub(crate) fn history(&self) -> History {
        History::new(&self.folder.join("backups"), PREFIX)
    }

    /// The docker options that mount them, and `more`.
    pub(crate) fn options(&self, more: &[&str]) -> Vec<String> {
        let mount = |name: &str, to: &str| format!("{}:{to}", self.folder.join(name).display());
        let mounts = [
            mount("source", "/source:ro"),
            mount("backups", "/backups"),
            mount("config", "/config"),
        ];
        let mounts = mounts.into_iter().flat_map(|mount| ["-v".to_owned(), mount]);
        let source = ["-e", "SRCS_TO_BACKUP=/source"].map(str::to_owned);
        mounts.chain(source).chain(more.iter().map(|&word| word.to_owned())).collect()
    }

    /// See [`wait_for_complete`].
    #[track_caller]
    pub(crate) fn wait_for_complete(&self, count: usize, container: &Container) {
        wait_for_complete(&self.history(), count, container);
    }

    /// `run --now` in the container.
    #[track_caller]
    pub(crate) fn run_now(&self, container: &Container) -> Done {
        container.exec(&["backup_manager", "run", "--now"])
    }
}

/// Waits until there are this many complete snapshots, no incomplete one, and the container's log
/// reports the newest: the run holds its lock a little longer than its snapshot is `.incomplete`.
#[track_caller]
pub(crate) fn wait_for_complete(history: &History, count: usize, container: &Container) {
    let what = format!("snapshot number {count}");
    wait_for(
        &what,
        || container.logs(),
        || {
            let complete = history.complete();
            complete.len() >= count
                && history.incomplete().is_empty()
                && container.logs().contains(&completed(&history.newest()))
        },
    );
}

/// The beginning of the message that a run logs after it has released its lock.
fn completed(snapshot: &Path) -> String {
    let name = snapshot.file_name().expect("a snapshot").to_string_lossy();
    format!("completed {name}")
}
