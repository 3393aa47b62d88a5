//! ssh as in a container: for a user without a passwd entry, with a read-only folder of keys.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fixtures::need;
use fixtures::need::Missing;
use fixtures::reserved_port::ReservedPort;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
/// A user id without an account.
const UID: u32 = 54_321;

/// A user without a name whose keys are in `home`, and a host that accepts them.
struct Nameless {
    stage: Stage,
    sshd: Child,
    port: ReservedPort,
    key: PathBuf,
    config: PathBuf,
}

impl Nameless {
    fn new() -> Self {
        let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
        let (home, config) = (stage.beside("home"), stage.beside("config"));
        fs::create_dir_all(home.join(".ssh")).expect("made");
        fs::create_dir_all(&config).expect("made");
        // sshd needs this folder for privilege separation.
        let _ = fs::create_dir_all("/run/sshd");
        let (host, key) = (stage.beside("host"), home.join(".ssh/id_ed25519"));
        for path in [&host, &key] {
            let mut command = Command::new("ssh-keygen");
            let made = command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
            assert!(made.is_ok_and(|made| made.success()), "ssh-keygen");
        }
        chown(&key, Some(UID), Some(UID)).expect("given");
        mode(&key, 0o400);
        mode(&home.join(".ssh"), 0o555);
        chown(&config, Some(UID), Some(UID)).expect("given");
        let port = ReservedPort::any();
        let text = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\nSubsystem sftp internal-sftp\nUsePAM no\n",
            port.number(),
            host.display(),
            key.with_extension("pub").display()
        );
        fs::write(stage.beside("sshd.conf"), text).expect("written");
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(stage.beside("sshd.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts");
        for _ in 0..100 {
            if std::net::TcpStream::connect(port.address()).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { stage, sshd, port, key, config }
    }

    /// Writes the host's key to the file that a container uses.
    fn pin(&self) {
        let key = fs::read_to_string(self.stage.beside("host.pub")).expect("the host's key");
        let line = format!("[127.0.0.1]:{} {key}", self.port.number());
        fs::write(self.config.join("known_hosts"), line).expect("pinned");
    }

    fn set(&self, run: Run) -> Run {
        run.env("HOME", self.stage.beside("home"))
            .env("CONFIG_DIR", &self.config)
            .env("REMOTE_SRC_HOST", format!("root@127.0.0.1:{}", self.port.number()))
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// Requires Debian's libnss-wrapper.
fn wrapper() -> Result<(), Missing> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found =
        folders.map(|entry| entry.path().join("libnss_wrapper.so")).any(|path| path.exists());
    if found { Ok(()) } else { Err(Missing("needs libnss-wrapper".to_owned())) }
}

#[test]
fn a_user_without_a_name_backs_up_a_host_whose_key_is_pinned_beside_the_configuration() {
    need!(need::root());
    need!(need::tool("sshd"));
    need!(wrapper());
    let nameless = Nameless::new();
    let run = nameless.set(nameless.stage.run_as(UID));
    run.expect(1).assert_says("host key of 127.0.0.1 is not known");
    nameless.pin();
    run.expect(0);
    assert_eq!(nameless.stage.history().complete().len(), 1);
    let left = fs::read_dir(nameless.key.parent().expect("a folder")).expect("read").count();
    assert_eq!(left, 2, "nothing was written to the folder of the keys");
}

#[test]
fn the_daemon_tries_the_host_and_names_keys_that_ssh_would_refuse() {
    need!(need::root());
    need!(need::tool("sshd"));
    need!(wrapper());
    let nameless = Nameless::new();
    nameless.pin();
    fs::write(nameless.config.join("crontab"), "@yearly true\n").expect("written");
    // Only for its side effects: the user can execute the program and owns the backups.
    drop(nameless.stage.run_as(UID));
    let daemon = || {
        nameless
            .set(Run::new(nameless.stage.beside("backup_manager")).arg("daemon"))
            .env("SRCS_TO_BACKUP", &nameless.stage.source)
            .env("BACKUPS_DIR", &nameless.stage.backups)
            .env("LOG_FILE", nameless.config.join("log"))
            .as_user(UID)
    };
    let said_of_host = || {
        let text = fs::read_to_string(nameless.config.join("log")).unwrap_or_default();
        text.lines().find(|line| line.contains(": the host ")).map(str::to_owned)
    };
    let mut running = daemon().start();
    assert!(running.until(|| said_of_host().is_some()));
    running.signal(Signal::TERM);
    running.wait().assert_code(0);
    let said = said_of_host().unwrap_or_default();
    assert!(said.contains("is up and lets this user in"), "{said}");
    mode(&nameless.key, 0o644);
    fs::remove_file(nameless.config.join("log")).expect("removed");
    let mut running = daemon().start();
    assert!(running.until(|| said_of_host().is_some()));
    running.signal(Signal::TERM);
    let done = running.wait();
    done.assert_says(&format!("chmod 600 {}", nameless.key.display()));
    done.assert_says("cannot be used now");
}
