//! The configuration folder: creates its files at the first start, and watches the crontab for changes.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use engine::entry::c_name;
use engine::fs::Dir;
use engine::fs::Resolved;

use crate::config::bounded;
use crate::config::mistake::shown_path;
use crate::config::names::CONFIG_FILE_NAME;
use crate::config::setting::example;
use crate::daemon::puid::Identity;
use crate::hint::typed::outside;

/// The name of the crontab in the configuration folder.
pub(crate) const CRONTAB: &str = "crontab";

const FIRST_CRONTAB: &str = include_str!("first_crontab");

/// The initial config file: every setting as a comment.
fn first_config() -> String {
    include_str!("first_config.toml").replace("{settings}\n", &example::settings())
}

/// Creates the folder `dir` and its missing files, and gives all of them to `owner`. Existing files are never
/// changed. Returns log lines: the files that were written, and those that could not be.
pub(crate) fn write_missing(dir: &Path, owner: Option<Identity>) -> Vec<String> {
    let mut messages = Vec::new();
    let folder = match make(dir) {
        Ok(folder) => folder,
        Err(error) => {
            messages.push(format!("cannot make the folder {}: {error}", shown_path(dir)));
            return messages;
        }
    };
    if let Some(owner) = owner {
        give(&folder, dir, owner, &mut messages);
    }
    for (name, text) in [(CRONTAB, FIRST_CRONTAB), (CONFIG_FILE_NAME, &first_config())] {
        let path = dir.join(name);
        match write_new(&folder, name, text, owner) {
            Ok(()) => messages.push(format!("wrote {} with comments: edit it", shown_path(&path))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => messages.push(format!(
                "cannot write {}: {error}; its defaults apply all the same",
                shown_path(&path)
            )),
        }
    }
    messages
}

/// Creates the folder `dir` and its missing parents. A symlink that another user could have created is not
/// followed. Otherwise root would write a crontab in a folder that this user chose, and give it to them.
fn make(dir: &Path) -> io::Result<Dir> {
    let found = Resolved::at(dir)?;
    let mut folder = found.node.pass();
    for name in &found.missing {
        match folder.make_folder(name, 0o755) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => folder = folder.pass(name)?,
        }
    }
    Ok(folder)
}

/// Gives an empty folder of root to `owner`: a container engine creates mounted folders as root. A folder
/// with entries stays root's.
pub(crate) fn give_away_empty(dir: &Path, owner: Identity, messages: &mut Vec<String>) {
    let Ok(folder) = Resolved::at(dir).and_then(Resolved::folder) else { return };
    let mut empty = true;
    let listed = folder.names(|_| {
        empty = false;
        ControlFlow::Break(())
    });
    if empty && listed.is_ok() {
        give(&folder, dir, owner, messages);
    }
}

/// Gives the open folder, whose path is `dir`, to `owner` if it belongs to root.
fn give(folder: &Dir, dir: &Path, owner: Identity, messages: &mut Vec<String>) {
    let Ok(meta) = folder.meta() else { return };
    if meta.uid != 0 || owner.uid == 0 {
        return;
    }
    let (uid, gid) = (owner.uid, owner.gid);
    let (place, there) = outside(dir);
    messages.push(match folder.set_owner(uid, gid) {
        Ok(()) => format!("gave the folder {} to {uid}:{gid} (PUID, PGID)", shown_path(dir)),
        Err(error) => format!(
            "cannot give the folder {} to {uid}:{gid}: {error}; do it as root{place}: chown {uid}:{gid} {}",
            shown_path(dir),
            shown_path(&there)
        ),
    });
}

fn write_new(folder: &Dir, name: &str, text: &str, owner: Option<Identity>) -> io::Result<()> {
    let name = c_name(name)?;
    let mut file = folder.create_file(&name, 0o600)?;
    if let Some(owner) = owner {
        let _ = std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid));
    }
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // The next start would take a partly written file for the user's own.
        let _ = folder.unlink(&name);
    }
    written
}

/// Identifies the file at a path and its version.
type Signature = (u64, u64, u64, i64, i64, i64, i64);

/// The crontab file, which is checked repeatedly.
#[derive(Debug)]
pub(crate) struct CrontabFile {
    pub(crate) path: PathBuf,
    seen: Option<Signature>,
}

/// A change of the crontab.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CrontabChange {
    /// The new text.
    Text(String),
    /// The crontab cannot be read.
    Unreadable(String),
}

impl CrontabFile {
    /// The crontab in the folder `dir`; it is not read yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: dir.join(CRONTAB), seen: None }
    }

    /// Reads the crontab if it changed since the last call, or if another file replaced it.
    pub(crate) fn news(&mut self) -> Option<CrontabChange> {
        let seen = signature(&self.path);
        if seen.is_some() && seen == self.seen {
            return None;
        }
        // The state is taken before reading, so a change during the read leads to another read.
        let before = std::mem::replace(&mut self.seen, seen);
        match bounded::read(&self.path, bounded::TEXT) {
            Ok(text) => Some(CrontabChange::Text(String::from_utf8_lossy(&text).into_owned())),
            Err(error) => {
                self.seen = None;
                // Reported once, not every second.
                before.is_some().then(|| CrontabChange::Unreadable(error.to_string()))
            }
        }
    }

    /// The crontab that applies while none can be read.
    pub(crate) fn default_text() -> &'static str {
        FIRST_CRONTAB
    }
}

fn signature(path: &Path) -> Option<Signature> {
    let meta = fs::metadata(path).ok()?;
    let (mtime, ctime) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some((meta.dev(), meta.ino(), meta.size(), mtime.0, mtime.1, ctime.0, ctime.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_file_settings;
    use crate::schedule::crontab::Crontab;
    use crate::schedule::zone::Zone;

    #[test]
    fn missing_files_are_written_and_others_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("a/config");
        assert_eq!(write_missing(&config, None).len(), 2);
        fs::write(config.join(CRONTAB), "mine").unwrap();
        fs::remove_file(config.join(CONFIG_FILE_NAME)).unwrap();
        let messages = write_missing(&config, None);
        assert!(messages.len() == 1 && messages[0].contains("config.toml"), "{messages:?}");
        assert_eq!(fs::read_to_string(config.join(CRONTAB)).unwrap(), "mine");
        assert_eq!(write_missing(&config, None), [""; 0]);
    }

    #[test]
    fn nothing_is_made_or_given_away_through_a_symlink_of_another_user() {
        use std::os::unix::fs::chown;
        use std::os::unix::fs::symlink;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let (home, etc) = (top.path().join("home"), top.path().join("etc"));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&etc).unwrap();
        symlink(&etc, home.join("config")).unwrap();
        chown(&home, Some(1000), None).unwrap();
        let user = Identity { uid: 1000, gid: 1000 };
        let messages = write_missing(&home.join("config"), Some(user));
        assert!(messages.len() == 1 && messages[0].contains("is not followed"), "{messages:?}");
        let messages = write_missing(&home.join("config/below"), Some(user));
        assert!(messages.len() == 1 && messages[0].contains("is not followed"), "{messages:?}");
        let mut messages = Vec::new();
        give_away_empty(&home.join("config"), user, &mut messages);
        assert_eq!(messages, [""; 0]);
        assert_eq!(fs::read_dir(&etc).unwrap().count(), 0);
        assert_eq!(fs::metadata(&etc).unwrap().uid(), 0);
        give_away_empty(&etc, user, &mut messages);
        assert_eq!(fs::metadata(&etc).unwrap().uid(), 1000);
    }

    #[test]
    fn the_first_crontab_runs_backups_and_its_examples_are_right() {
        let lines = |text: &str| {
            let crontab = Crontab::read(text, Zone::System);
            assert_eq!(crontab.faults, []);
            crontab.lines.into_iter().map(|line| line.command).collect::<Vec<_>>()
        };
        let verify = "nice -n 19 ionice -c 3 backup_manager verify --rolling 30d";
        assert_eq!(lines(FIRST_CRONTAB), ["backup_manager run", verify]);
        let examples = FIRST_CRONTAB.lines().map(|line| {
            let example = line.strip_prefix('#').filter(|line| !line.starts_with([' ', '\n']));
            format!("{}\n", example.unwrap_or(if line.starts_with('#') { "" } else { line }))
        });
        assert_eq!(lines(&examples.collect::<String>()).len(), 3);
    }

    #[test]
    fn the_first_config_says_nothing_and_its_examples_are_right() {
        let config = first_config();
        let uncommented: String = config
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    if line.starts_with("# ") { "" } else { line.trim_start_matches('#') }
                )
            })
            .collect();
        assert_eq!(read_file_settings(&config), (0, Vec::new()));
        assert_eq!(read_file_settings(&uncommented), (2, Vec::new()));
    }

    #[test]
    fn a_crontab_is_news_when_it_was_changed_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = CrontabFile::new(dir.path());
        let text = |text: &str| Some(CrontabChange::Text(text.to_owned()));
        assert_eq!(file.news(), None);
        fs::write(&file.path, "one").unwrap();
        assert_eq!((file.news(), file.news()), (text("one"), None));
        // Replace the file as an editor does, with the same size and time.
        let time = fs::metadata(&file.path).unwrap().modified().unwrap();
        fs::write(dir.path().join("new"), "two").unwrap();
        fs::File::open(dir.path().join("new")).unwrap().set_modified(time).unwrap();
        fs::rename(dir.path().join("new"), &file.path).unwrap();
        assert_eq!((file.news(), file.news()), (text("two"), None));
        fs::remove_file(&file.path).unwrap();
        assert!(matches!(file.news(), Some(CrontabChange::Unreadable(_))));
        assert_eq!(file.news(), None);
        fs::write(&file.path, "three").unwrap();
        assert_eq!(file.news(), text("three"));
    }
}
