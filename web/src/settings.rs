//! Where the page is served, and to whom.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use engine::entry::escape::shown;

/// The settings of the page.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `WEB_LISTEN`
    pub listen: Listen,
    /// `WEB_USERS_FILE`: who may log in. Without it, everyone who reaches the page reads it.
    pub users_file: Option<PathBuf>,
    /// `WEB_BASE_PATH`: the path under which a reverse proxy serves the page; empty, or `/` and text without a slash at its end.
    pub base_path: String,
    /// `WEB_HOST`: the names under which a reverse proxy serves the page.
    pub hosts: Vec<String>,
    /// The backups folders.
    pub folders: Vec<PathBuf>,
    /// The source roots that snapshots are compared with.
    pub sources: Vec<PathBuf>,
}

/// Where the page listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A unix socket, behind a reverse proxy.
    Unix(PathBuf),
}

/// The port of the page.
const PORT: u16 = 8385;

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)))
    }
}

impl Listen {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", shown(path.as_os_str().as_bytes())),
        }
    }
}

/// Reads an address with a port, a port alone, or `unix:` and a path.
///
/// # Errors
/// What to write instead.
pub fn check_listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        return match path.is_absolute() {
            true => Ok(Listen::Unix(path)),
            false => {
                Err("write the absolute path of the socket, such as unix:/run/backup_manager.sock"
                    .to_owned())
            }
        };
    }
    let text = text.replace("localhost", "127.0.0.1");
    let address = || text.parse::<SocketAddr>().ok();
    let port = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().ok()?)));
    address().or_else(port).map(Listen::Tcp).ok_or_else(|| {
        "write an address of this machine and a port, such as 127.0.0.1:8385 or [::1]:8385, or unix:/path of a socket".to_owned()
    })
}

/// Reads the path under which a reverse proxy serves the page. Returns it without a slash at its end.
///
/// # Errors
/// What to write instead.
pub fn check_base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    match path.is_empty() || (path.starts_with('/') && path.bytes().all(plain)) {
        true => Ok(path.to_owned()),
        false => Err("write a path that begins with a slash, such as /backups".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ports_and_sockets_are_read() {
        for (text, listen) in [
            ("127.0.0.1:8385", "127.0.0.1:8385"),
            ("localhost:1", "127.0.0.1:1"),
            ("81", "127.0.0.1:81"),
            ("[::]:80", "[::]:80"),
        ] {
            assert_eq!(check_listen(text), Ok(Listen::Tcp(listen.parse().unwrap())), "{text}");
        }
        assert_eq!(check_listen("unix:/run/x"), Ok(Listen::Unix("/run/x".into())));
        for text in ["", "unix:x", "backup.example.org:80", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(check_listen(text).is_err(), "{text}");
        }
        assert!(check_listen("[::1]:80").unwrap().is_local());
        assert!(!check_listen("0.0.0.0:80").unwrap().is_local());
    }

    #[test]
    fn a_base_path_has_a_slash_in_front_and_none_behind() {
        for (text, path) in [
            ("", Ok("")),
            ("/", Ok("")),
            ("/a/b/", Ok("/a/b")),
            ("a", Err(())),
            ("/a b", Err(())),
            ("/\"", Err(())),
        ] {
            assert_eq!(check_base_path(text).map_err(drop), path.map(str::to_owned), "{text}");
        }
    }
}
