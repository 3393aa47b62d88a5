//! Names of temporary files in `.backup_manager/`, which several processes write at the same time,
//! and the removal of those that a killed process left.

use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::entry::{Kind, c_name};
use crate::fs::dir::Dir;

/// The prefix of the names of probe files.
const PROBE: &str = "backup_manager.probe.";
/// The suffix of files that are renamed when they are complete.
const UNFINISHED: &str = ".tmp";
/// A temporary file is needed for seconds. After a day its process is gone, even on another
/// machine.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// A unique name that every file system accepts.
pub(crate) fn probe_name() -> io::Result<CString> {
    c_name(format!("{PROBE}{}", unique()))
}

/// The temporary name of a file that will be renamed to `name`.
pub(crate) fn unfinished_name(name: &str) -> io::Result<CString> {
    c_name(format!(".{name}.{}{UNFINISHED}", unique()))
}

/// Process id, time in nanoseconds and a counter. Processes in two containers may have the same id.
pub(crate) fn unique() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (id, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    format!("{id}.{:x}.{number}", since_epoch().as_nanos())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Removes temporary files older than a day from `own` and its subfolders. Files that cannot be
/// listed or removed are harmless and stay.
pub(crate) fn remove_old(own: &Dir) {
    let now = since_epoch();
    let mut folders = Vec::new();
    remove_old_in(own, now, &mut |name| folders.push(name));
    for folder in folders {
        if let Ok(dir) = own.child(&folder) {
            remove_old_in(&dir, now, &mut |_| {});
        }
    }
}

fn remove_old_in(dir: &Dir, now: Duration, folder: &mut dyn FnMut(CString)) {
    let mut old = Vec::new();
    let _ = dir.names(|entry| {
        if is_old(entry.name.to_bytes(), now) {
            old.push(entry.name.to_owned());
        } else if dir.stat(entry.name).is_ok_and(|meta| meta.kind == Kind::Folder) {
            folder(entry.name.to_owned());
        }
        ControlFlow::Continue(())
    });
    for name in old {
        let _ = dir.unlink(&name);
    }
}

/// Whether `name` belongs to a temporary file created more than a day before `now`. The time comes
/// from the name, because a probe changes the file's own time.
fn is_old(name: &[u8], now: Duration) -> bool {
    let unique = || {
        let name = std::str::from_utf8(name).ok()?;
        let rest = match name.strip_prefix('.') {
            Some(name) => name.strip_suffix(UNFINISHED)?,
            None => name.strip_prefix(PROBE)?,
        };
        let mut parts = rest.rsplitn(4, '.');
        let _number: u64 = parts.next()?.parse().ok()?;
        let nanos = u128::from_str_radix(parts.next()?, 16).ok()?;
        let _id: u32 = parts.next()?.parse().ok()?;
        Some(nanos)
    };
    unique().is_some_and(|nanos| now.saturating_sub(OLD).as_nanos() > nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_old_after_a_day() {
        let names = [probe_name(), probe_name(), unfinished_name("a.b"), unfinished_name("a.b")];
        let mut names = names.map(Result::unwrap);
        let now = since_epoch();
        for name in &names {
            assert!(!is_old(name.to_bytes(), now), "{name:?}");
            assert!(is_old(name.to_bytes(), now + OLD + Duration::from_secs(1)), "{name:?}");
        }
        names.sort();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }

    #[test]
    fn other_names_are_never_old() {
        let far = Duration::from_secs(u64::from(u32::MAX));
        for name in ["probe", "abilities.json", ".a.tmp", "a.1.1.1.tmp", "backup_manager.probe.x"] {
            assert!(!is_old(name.as_bytes(), far), "{name}");
        }
    }

    #[test]
    fn only_old_temporary_files_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        std::fs::create_dir(path("hosts")).unwrap();
        let new = probe_name().unwrap().into_string().unwrap();
        let (old, deep) = ("backup_manager.probe.9.1f.0", "hosts/.channels.json.9.1f.0.tmp");
        for name in [old, deep, "hosts/channels.json", &new] {
            std::fs::write(path(name), "").unwrap();
        }
        remove_old(&Dir::at(temp.path()).unwrap());
        let left = [old, deep, "hosts/channels.json", &new].map(|name| path(name).exists());
        assert_eq!(left, [false, false, true, true]);
    }
}
