//! The account under which `ssh` runs. ssh requires a user name for its user ID. If a container runs with an
//! ID that `/etc/passwd` does not contain, ssh fails with "No user exists for uid 1234". In that case
//! nss_wrapper (cwrap.org), if installed, shows ssh a passwd file with an entry for the ID.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{getegid, geteuid};

/// How ssh finds the account of this process's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// `/etc/passwd` contains it.
    Known,
    /// nss_wrapper provides it.
    StandIn,
    /// It is not in `/etc/passwd`. Unless another service such as LDAP knows it, ssh will not start.
    Unknown,
}

/// How ssh finds the account of this process's user.
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

/// The folder with ssh's keys, configuration and known hosts for this process's user.
#[must_use]
pub fn ssh_folder() -> PathBuf {
    let passwd = passwd();
    let known = passwd_home(&passwd, geteuid().as_raw());
    known.map_or_else(stand_in_home, PathBuf::from).join(".ssh")
}

/// The environment variables for ssh, and the files that they name.
pub(crate) struct StandIn {
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Kept open, because the variables name them by their file descriptors in `/proc`.
    _files: [File; 2],
}

/// Makes an account available to ssh if it would find none. The result stays the same for the life of the
/// process.
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
    // ssh needs no shell. A colon or a line feed in the path would end the field.
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

/// Creates a file in memory: the root file system may be read-only, and no file remains afterwards.
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

/// The home folder of the user `uid` in a text in passwd(5) format.
fn passwd_home(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then(|| fields.nth(2))?
    })
}

/// The home folder with the mounted keys: that of the environment, or root's as in a container that runs as
/// root.
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

/// The path of nss_wrapper's library in the folders that distributions use.
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
