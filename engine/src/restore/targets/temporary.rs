//! The temporary names of entries while a restore creates them. No two processes use the same name, so no
//! restore gives a final name to the entry of another one. A name identifies the process that creates the
//! entry. A later restore therefore removes what a killed restore left, and does not touch what a running
//! restore creates.

use std::collections::hash_map::RandomState;
use std::ffi::{CStr, CString};
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::{fmt, fs, io};

use rustix::io::Errno;
use rustix::process::Pid;

/// The prefix of these names.
const TEMPORARY: &str = ".backup_manager.restoring.";

/// The age, seconds since the last change, after which a temporary entry belongs to no running restore.
const FORGOTTEN: i64 = 24 * 60 * 60;

/// Identifies a process among those of all machines and boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    /// The hash of the machine's boot ID and of the PID namespace.
    place: u32,
    pid: u32,
    /// When the process started, clock ticks since the boot.
    start: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, pid, start } = self;
        write!(f, "{place:08x}-{pid:x}-{start:x}")
    }
}

/// The process that creates a temporary entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreatorProcess {
    /// The process is running, or is this one.
    Running,
    /// The process has ended.
    Ended,
    /// The process belongs to another machine, container or boot, or the name does not identify it.
    Unknown,
}

/// The temporary name of `name` while this process creates it.
///
/// # Errors
/// Does not fail for a valid name.
pub fn temporary_name(name: &CStr) -> io::Result<CString> {
    named(name, own())
}

fn named(name: &CStr, owner: Owner) -> io::Result<CString> {
    let hash = blake3::hash(name.to_bytes()).to_hex();
    crate::entry::c_name(format!("{TEMPORARY}{owner}.{}", &hash[..16]))
}

/// This process, as [`name_by`] takes it.
#[must_use]
pub fn own_maker() -> String {
    own().to_string()
}

/// The temporary name that the process `maker` uses for `name`; `None` when `maker` is no process.
#[must_use]
pub fn name_by(name: &CStr, maker: &str) -> Option<CString> {
    let owner = owner(&format!("{maker}."))?;
    named(name, owner).ok()
}

/// The creator of the entry `name`; `None` when this is not a temporary name.
#[must_use]
pub fn maker(name: &[u8]) -> Option<CreatorProcess> {
    let rest = name.strip_prefix(TEMPORARY.as_bytes())?;
    let Some(owner) = std::str::from_utf8(rest).ok().and_then(owner) else {
        return Some(CreatorProcess::Unknown);
    };
    let own = own();
    Some(match owner {
        owner if owner == own => CreatorProcess::Running,
        owner if owner.place != own.place => CreatorProcess::Unknown,
        owner if is_running(owner) => CreatorProcess::Running,
        _ => CreatorProcess::Ended,
    })
}

/// Whether an entry of an unknown creator is left over. `changed` (0 where the target does not report it) and
/// `now` are seconds since 1970.
pub(crate) fn is_left_over(changed: i64, now: i64) -> bool {
    changed > 0 && now.saturating_sub(changed) > FORGOTTEN
}

fn owner(text: &str) -> Option<Owner> {
    let (owner, _) = text.split_once('.')?;
    let mut parts = owner.split('-');
    let mut part = || parts.next();
    let (place, pid, start) = (part()?, part()?, part()?);
    if part().is_some() {
        return None;
    }
    Some(Owner {
        place: u32::from_str_radix(place, 16).ok()?,
        pid: u32::from_str_radix(pid, 16).ok()?,
        start: u64::from_str_radix(start, 16).ok()?,
    })
}

fn own() -> Owner {
    static OWN: OnceLock<Owner> = OnceLock::new();
    *OWN.get_or_init(|| {
        let pid = std::process::id();
        match (place(), started(pid)) {
            (Some(place), Some((start, _))) => Owner { place, pid, start },
            // Without /proc other processes cannot recognise this one, but its names are still unique.
            _ => {
                let random = RandomState::new().build_hasher().finish();
                let bytes = random.to_le_bytes();
                let place = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                Owner { place, pid, start: random >> 32 }
            }
        }
    })
}

/// The scope of a process ID: one boot of a machine (random(4)) and one namespace (pid_namespaces(7)).
fn place() -> Option<u32> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let hash = blake3::hash(&[&boot[..], namespace.as_os_str().as_encoded_bytes()].concat());
    let bytes = hash.as_bytes();
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The start time and the state of a process, from proc_pid_stat(5).
fn started(pid: u32) -> Option<(u64, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in parentheses and may contain any character.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

/// Whether a process of this machine and boot is running. A process that this user cannot inspect counts as
/// running.
fn is_running(owner: Owner) -> bool {
    let Some(pid) = i32::try_from(owner.pid).ok().and_then(Pid::from_raw) else { return false };
    if rustix::process::test_kill_process(pid) == Err(Errno::SRCH) {
        return false;
    }
    // Another process may have reused the number, and a zombie keeps its number until its parent waits for it.
    started(owner.pid).is_none_or(|(start, state)| start == owner.start && !"ZX".contains(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(owner: Owner) -> Vec<u8> {
        format!("{TEMPORARY}{owner}.0123456789abcdef").into_bytes()
    }

    #[test]
    fn a_name_says_whether_its_maker_runs() {
        let own = own();
        assert_eq!(maker(temporary_name(c"x").unwrap().to_bytes()), Some(CreatorProcess::Running));
        assert_ne!(temporary_name(c"x").unwrap(), temporary_name(c"y").unwrap());
        let parent = rustix::process::getppid().map_or(1, |pid| pid.as_raw_pid() as u32);
        let parent = Owner { pid: parent, start: started(parent).unwrap().0, ..own };
        assert_eq!(maker(&named(parent)), Some(CreatorProcess::Running));
        let reused = Owner { start: parent.start + 1, ..parent };
        assert_eq!(maker(&named(reused)), Some(CreatorProcess::Ended));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = Owner { pid: child.id(), start: 1, ..own };
        child.wait().unwrap();
        assert_eq!(maker(&named(ended)), Some(CreatorProcess::Ended));
        let elsewhere = Owner { place: !own.place, ..own };
        assert_eq!(maker(&named(elsewhere)), Some(CreatorProcess::Unknown));
        for other in ["0123456789abcdef", "", "1-2.3", "1-2-3-4.x", "\u{e4}"] {
            let name = format!("{TEMPORARY}{other}");
            assert_eq!(maker(name.as_bytes()), Some(CreatorProcess::Unknown), "{name}");
        }
        assert_eq!(maker(b"x"), None);
    }

    #[test]
    fn the_names_of_another_process_are_known_by_it() {
        assert_eq!(name_by(c"x", &own_maker()), temporary_name(c"x").ok());
        assert_ne!(name_by(c"x", "1-2-3"), temporary_name(c"x").ok());
        for no_process in ["", "1-2", "1-2-3-4", "../x", "1-2-3.x/"] {
            assert!(name_by(c"x", no_process).is_none_or(|name| !name.to_bytes().contains(&b'/')));
        }
        assert_eq!(name_by(c"x", "../x"), None);
    }

    #[test]
    fn an_unknown_maker_is_given_a_day() {
        assert!(!is_left_over(1_000_000, 1_000_000 + FORGOTTEN));
        assert!(is_left_over(1_000_000, 1_000_001 + FORGOTTEN));
        assert!(!is_left_over(1_000_000, 0), "a clock that went back");
        assert!(!is_left_over(0, 1_000_000), "a target that tells no time");
    }
}
