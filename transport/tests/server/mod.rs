//! A real sshd on a high port of this machine, with keys of its own, for as long as the value lives.

pub(crate) mod collect;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use transport::sftp::{Address, Options};

const SSHD: &str = "/usr/sbin/sshd";

/// The programs that serve SFTP where Debian, Fedora and Arch put them.
const SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// What the server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subsystem {
    /// sshd's own.
    Internal,
    /// The program `sftp-server`.
    Program,
    /// None at all.
    Missing,
}

/// A running server.
pub(crate) struct Sshd {
    dir: TempDir,
    child: Child,
    port: u16,
}

impl Sshd {
    /// Starts a server; `None`, with a line that says why, where there is no sshd.
    pub(crate) fn start(test: &str, subsystem: Subsystem) -> Option<Self> {
        Self::start_limited(test, subsystem, 1024)
    }

    /// The same, with so many descriptors for each process of the server.
    pub(crate) fn start_limited(
        test: &str,
        subsystem: Subsystem,
        descriptors: u32,
    ) -> Option<Self> {
        let program = SERVERS.iter().find(|path| Path::new(path).exists());
        let missing = if !Path::new(SSHD).exists() {
            Some("no sshd")
        } else if subsystem == Subsystem::Program && program.is_none() {
            Some("no sftp-server")
        } else {
            None
        };
        if let Some(reason) = missing {
            println!("SKIPPED {test}: {reason}");
            assert!(std::env::var("CI").is_err(), "{test} must run here: {reason}");
            return None;
        }
        let dir = TempDir::new().unwrap();
        for key in ["host", "user", "stranger"] {
            make_key(&dir.path().join(key));
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::copy(path("user.pub"), path("authorized")).unwrap();
        let port = free_port();
        let subsystem = match subsystem {
            Subsystem::Internal => "Subsystem sftp internal-sftp".to_owned(),
            Subsystem::Program => format!("Subsystem sftp {}", program.unwrap()),
            Subsystem::Missing => String::new(),
        };
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nMaxStartups 100\n{subsystem}\n",
            path("host"),
            path("authorized"),
        );
        fs::write(path("sshd_config"), config).unwrap();
        // sshd insists on it when it runs as root.
        let _ = fs::create_dir_all("/run/sshd");
        let child = Command::new("sh")
            .args(["-c", "ulimit -n $0; exec \"$@\"", &descriptors.to_string()])
            .args([SSHD, "-D", "-e", "-f", &path("sshd_config")])
            .stdin(Stdio::null())
            .stderr(fs::File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        let server = Self { dir, child, port };
        server.write_known_hosts("host");
        server.write_config("user", "");
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    /// The address that the options' configuration knows.
    pub(crate) fn address(&self) -> Address {
        "test".parse().unwrap()
    }

    /// Options that connect to this server.
    pub(crate) fn options(&self) -> Options {
        Options {
            config: Some(self.path("ssh_config")),
            connect_timeout: Duration::from_secs(10),
            pause: Duration::from_millis(20),
            ..Options::default()
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Lets ssh offer the key `key`; `more` are further lines of its configuration.
    pub(crate) fn write_config(&self, key: &str, more: &str) {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let config = format!(
            "{more}\nHost test\nHostName 127.0.0.1\nPort {}\nUser {}IdentityFile {}\nIdentitiesOnly yes\n\
             IdentityAgent none\nUserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n",
            self.port,
            String::from_utf8(user).unwrap(),
            self.path(key).display(),
            self.path("known_hosts").display(),
        );
        fs::write(self.path("ssh_config"), config).unwrap();
    }

    /// Lets ssh expect the key `key` of the host.
    pub(crate) fn write_known_hosts(&self, key: &str) {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        let line = format!("[127.0.0.1]:{} {public}", self.port);
        fs::write(self.path("known_hosts"), line).unwrap();
    }

    /// Kills what serves the connections, so that all of them break.
    pub(crate) fn break_connections(&self) -> usize {
        self.signal_connections(Signal::KILL)
    }

    /// Stops what serves the connections, so that all of them stall.
    pub(crate) fn stop_connections(&self) -> usize {
        self.signal_connections(Signal::STOP)
    }

    fn signal_connections(&self, signal: Signal) -> usize {
        let children = descendants(self.child.id());
        for pid in children.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
        children.len()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.break_connections();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_key(path: &Path) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Children of a process, and theirs.
fn descendants(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = list.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let below: Vec<u32> = children.iter().flat_map(|pid| descendants(*pid)).collect();
    [children, below].concat()
}
