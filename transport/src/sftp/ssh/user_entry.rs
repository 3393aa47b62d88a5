//! The account that `ssh` runs in. It wants one by name for the user it runs as, and says "No user exists
//! for uid 1234" where a container runs as a number that `/etc/passwd` does not know. Then nss_wrapper
//! (cwrap.org), where it is installed, shows ssh a passwd file that has an entry for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{getegid, geteuid};

/// How ssh finds the user that this process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// `/etc/passwd` has it.
    Known,
    /// nss_wrapper shows it.
    StandIn,
    /// Not in `/etc/passwd`. Unless another service knows it, such as LDAP, ssh will not start.
    Unknown,
}

/// How ssh finds the user that this process runs as.
#[must_use]
pub fn account() -> Account {
    if passwd_home(&passwd(), geteuid().as_raw()).is_some() {
        Account::Known
    } else if stand_in().is_some() {
        Account::StandIn
    } else {
        Account::Unknown
    }
}

/// The folder with ssh's keys, configuration and known hosts for the user that this process runs as.
#[must_use]
pub fn ssh_folder() -> PathBuf {
    let passwd = passwd();
    let known = passwd_home(&passwd, geteuid().as_raw());
    known.map_or_else(stand_in_home, PathBuf::from).join(".ssh")
}

/// Variables for ssh, and what they lead to.
pub(crate) struct StandIn {
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Kept open: the variables name them by their numbers in `/proc`.
    _files: [File; 2],
}

/// What makes ssh find an account, where it would find none. The same for the whole life of a process.
pub(crate) fn stand_in() -> Option<&'static StandIn> {
    static STAND_IN: OnceLock<Option<StandIn>> = OnceLock::new();
    STAND_IN.get_or_init(|| make_stand_in().ok().flatten()).as_ref()
}

fn make_stand_in() -> io::Result<Option<StandIn>> {
    let (uid, gid, passwd) = (geteuid().as_raw(), getegid().as_raw(), passwd());
    let Some(library) = library().filter(|_| passwd_home(&passwd, uid).is_none()) else {
        return Ok(None);
    };
    let home = stand_in_home();
    // No shell is needed; a colon or a line feed would end the field.
    let home = home.to_str().filter(|home| !home.contains([':', '\n'])).unwrap_or("/");
    let entry = format!("{passwd}backup:x:{uid}:{gid}::{home}:/bin/false\n");
    let files = [memory("passwd", &entry)?, memory("group", &format!("backup:x:{gid}:\n"))?];
    let path = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let variables = vec![
        ("NSS_WRAPPER_PASSWD", path(&files[0]).into()),
        ("NSS_WRAPPER_GROUP", path(&files[1]).into()),
        ("LD_PRELOAD", library.into()),
    ];
    Ok(Some(StandIn { variables, _files: files }))
}

/// A file in memory: the root file system may be read-only, and nothing is left behind.
fn memory(name: &str, content: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content.as_bytes())?;
    Ok(file)
}

/// The system's passwd file, which ends in a line feed unless it is empty.
fn passwd() -> String {
    let mut passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if !passwd.is_empty() && !passwd.ends_with('\n') {
        passwd.push('\n');
    }
    passwd
}

/// The home of the user `uid` in the text of passwd(5).
fn passwd_home(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then(|| fields.nth(2))?
    })
}

/// Where keys are mounted: in the home of the environment, or in root's, as for a container of root.
fn stand_in_home() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let with_keys = |home: &Path| std::fs::read_dir(home.join(".ssh")).is_ok();
    let root = Path::new("/root");
    match home {
        Some(home) if with_keys(&home) || !with_keys(root) => home,
        _ if with_keys(root) => root.to_owned(),
        _ => "/".into(),
    }
}

/// nss_wrapper's library, where distributions put it.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib64".into(), "/usr/lib".into()].into_iter();
    let below = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders
        .chain(below.map(|entry| entry.path()))
        .map(|folder: PathBuf| folder.join("libnss_wrapper.so"))
        .find(|library| library.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_stands_in_the_users_line() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\nbroken:x\nu:x:1000:100::/home/u:\n";
        for (uid, home) in [(0, Some("/root")), (1000, Some("/home/u")), (100, None)] {
            assert_eq!(passwd_home(passwd, uid), home, "{uid}");
        }
    }
}
