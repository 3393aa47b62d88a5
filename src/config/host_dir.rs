//! A folder on another machine, as `--to` and `COPY_TO` name it: `user@host:DIR`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::entry::escape::shown;
use transport::ssh::connect::address::{Address, BadAddress};

/// A folder on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostDir {
    pub(crate) address: Address,
    /// Empty: the one that the host has for copies.
    pub(crate) dir: Vec<u8>,
}

impl HostDir {
    /// Reads `user@host:DIR` or `user@host:PORT:DIR`. `None` for a folder of this machine.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn read(text: &[u8]) -> Option<Result<Self, String>> {
        let (host, rest) = split(text)?;
        let (port, dir) = match port_before(rest) {
            Some((port, dir)) => (Some(port), dir),
            None => (None, rest),
        };
        let port = port.map(|port| String::from_utf8_lossy(port).parse::<u16>());
        let to = || shown(text);
        Some(match (port.transpose(), dir) {
            (Err(_), _) => Err(format!("{}: a port is a number up to 65535", to())),
            (_, [b'~', next, ..]) if *next != b'/' => Err(format!(
                "{}: ~/ is the home of the user who logs in, and no other home is known; write the full path",
                to()
            )),
            (_, dir) if dir.split(|byte| *byte == b'/').any(|name| name == b"..") => Err(format!(
                "{}: a folder on a host is written without ..; write its full path",
                to()
            )),
            (Ok(port), dir) => match address(host, port) {
                Ok(address) => Ok(Self { address, dir: dir.to_vec() }),
                Err(error) => Err(format!(
                    "{}: {error}; write user@host:DIR or user@[v6]:DIR, or ./NAME for a folder here whose name has a colon",
                    to()
                )),
            },
        })
    }

    /// The folder on another machine that a checked path names.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        Self::read(path.as_os_str().as_bytes())?.ok()
    }
}

/// Splits `HOST:DIR` as scp and rsync do: the colon must precede any slash. `None` for a local folder.
pub(crate) fn split(to: &[u8]) -> Option<(&[u8], &[u8])> {
    let bracket = to.iter().position(|byte| matches!(byte, b'[' | b':' | b'/'));
    let from = match bracket {
        // An IPv6 address contains colons.
        Some(at) if to[at] == b'[' => at + to[at..].iter().position(|byte| *byte == b']')?,
        _ => 0,
    };
    let at = from + to[from..].iter().position(|byte| matches!(byte, b':' | b'/'))?;
    (to[at] == b':').then_some((&to[..at], &to[at + 1..]))
}

/// The port and the folder, where `dir` is written as `PORT:DIR`, as in `REMOTE_SRC_HOST`.
pub(crate) fn port_before(dir: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = dir.iter().position(|byte| !byte.is_ascii_digit())?;
    ((1..=5).contains(&at) && dir[at] == b':').then(|| (&dir[..at], &dir[at + 1..]))
}

/// Parses the address before the colon.
///
/// # Errors
/// If it is not an address.
pub(crate) fn address(text: &[u8], port: Option<u16>) -> Result<Address, BadAddress> {
    let text = String::from_utf8_lossy(text);
    text.parse::<Address>()?.with(None, port)
}

/// Formats the user and the host of an address in the form that `--to` accepts before the colon.
pub(crate) fn account(address: &Address) -> String {
    let user = address.user().map_or_else(String::new, |user| format!("{user}@"));
    let host = address.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("{user}{host}")
}

/// Whether an address may refer to the host of a job.
pub(crate) fn fits(address: &Address, of_job: &Address) -> bool {
    let same = |given: Option<&str>, other: Option<&str>| given.is_none() || given == other;
    address.host() == of_job.host()
        && same(address.user(), of_job.user())
        && (address.port().is_none() || address.port() == of_job.port())
}

/// The address with the user and the port of the host of the job.
pub(crate) fn completed(address: &Address, of_job: &Address) -> Address {
    let full = address.with(of_job.user(), of_job.port());
    full.unwrap_or_else(|_| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(&str, &str)> {
        let (host, dir) = split(text.as_bytes())?;
        Some((std::str::from_utf8(host).unwrap(), std::str::from_utf8(dir).unwrap()))
    }

    #[test]
    fn a_host_is_what_stands_before_a_colon_before_any_slash() {
        for (text, expected) in [
            ("host:/folder", Some(("host", "/folder"))),
            ("user@host:", Some(("user@host", ""))),
            ("user@host:a/b:c", Some(("user@host", "a/b:c"))),
            ("user@[fe80::1%eth0]:/x", Some(("user@[fe80::1%eth0]", "/x"))),
            ("[::1]:~/x", Some(("[::1]", "~/x"))),
            ("./host:/folder", None),
            ("/mnt/a:b", None),
            ("folder", None),
            ("a[b", None),
            ("[::1]/x", None),
            ("", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn the_address_is_checked_as_that_of_a_source_is() {
        assert_eq!(port_before(b"2222:/a"), Some((&b"2222"[..], &b"/a"[..])));
        for folder in [&b"2222/a"[..], b"2222", b"./2222:/a", b":/a", b"", b"123456:a", b"a:1"] {
            assert_eq!(port_before(folder), None);
        }
        assert!(address(b"user@host", Some(2222)).unwrap().port() == Some(2222));
        for bad in ["-oProxyCommand=x", "user@", "a b", "$(x)", "user@-host", "\u{1b}"] {
            assert!(address(bad.as_bytes(), None).is_err(), "{bad}");
        }
        assert!(address(b"h\xffst", None).is_ok_and(|address| address.host().contains('\u{fffd}')));
    }

    #[test]
    fn a_folder_of_a_host_may_have_a_port() {
        let read = |text: &str| HostDir::read(text.as_bytes());
        let of = |text: &str| {
            let HostDir { address, dir } = read(text).unwrap().unwrap();
            (address.host().to_owned(), address.port(), String::from_utf8(dir).unwrap())
        };
        assert_eq!(of("me@nas:/b"), ("nas".into(), None, "/b".into()));
        assert_eq!(of("me@nas:2222:/b"), ("nas".into(), Some(2222), "/b".into()));
        assert_eq!(of("[::1]:b"), ("::1".into(), None, "b".into()));
        assert_eq!(of("nas:"), ("nas".into(), None, String::new()));
        for bad in ["-oProxyCommand=x:/b", "me@:/b", "nas:99999:/b", "nas:~other/b", "nas:../b"] {
            assert!(read(bad).unwrap().is_err(), "{bad}");
        }
        assert!(read("nas:b/..c").unwrap().is_ok());
        assert_eq!(read("/mnt/a:b"), None);
    }

    #[test]
    fn the_host_of_the_job_is_known_again() {
        let fit = |to: &str, job: &str| fits(&to.parse().unwrap(), &job.parse().unwrap());
        assert!(fit("nas", "me@nas:2222") && fit("me@nas", "me@nas:2222"));
        assert!(!fit("root@nas", "me@nas") && !fit("other", "me@nas"));
        assert!(!fit("me@nas:22", "me@nas:2222"));
    }
}
