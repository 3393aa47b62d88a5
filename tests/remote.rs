//! Sources on another machine: a real sshd on loopback, with keys of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// An sshd that ends with this value, and an `ssh` that knows it.
struct Remote {
    sshd: Child,
    port: u16,
    bin: PathBuf,
    known: PathBuf,
}

impl Remote {
    fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("bin")).expect("a folder");
        // sshd separates its privileges there.
        let _ = fs::create_dir_all("/run/sshd");
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key))
                .status();
            assert!(made.is_ok_and(|made| made.success()), "ssh-keygen");
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.expect("a free port").port();
        let at = |name: &str| folder.join(name).display().to_string();
        let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("written");
        write(
            "sshd.conf",
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
                 StrictModes no\nPidFile none\nSubsystem sftp internal-sftp\nUsePAM no\n",
                at("host"),
                at("user.pub")
            ),
        );
        write(
            "ssh.conf",
            format!("Host *\nIdentityFile {}\nUserKnownHostsFile {}\n", at("user"), at("known")),
        );
        write("bin/ssh", format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", at("ssh.conf")));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.join("bin/ssh"), mode).expect("made executable");
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &at("sshd.conf")])
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts");
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { sshd, port, bin: folder.join("bin"), known: folder.join("known") }
    }

    /// Pins the host's key.
    fn pin(&self) {
        let key = self.bin.with_file_name("host.pub");
        let key = fs::read_to_string(key).expect("the host's key");
        fs::write(&self.known, format!("[127.0.0.1]:{} {key}", self.port)).expect("pinned");
    }

    fn run(&self, stage: &Stage) -> Run {
        stage
            .run()
            .set("remote-src-host", format!("root@127.0.0.1:{}", self.port))
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn sample() -> Tree {
    Tree::new()
        .file("file", "1")
        .mtime(1_600_000_000, 0)
        .random_file("folder/large", 3_000_000, 1)
        .mode(0o640)
        .owner(1_234, 5_678)
        .file(b"odd \xff\n".as_slice(), "odd")
        .file("empty", "")
        .symlink("link", b"to \xfe".as_slice())
        .fifo("pipe")
        .folder("nothing")
}

/// rsync compares whole seconds by default, which is what SFTP tells.
fn assert_same(stage: &Stage) {
    let newest = stage.inside(&stage.history().newest());
    let judge = Command::new("rsync")
        .args(["-aci", "--numeric-ids", "--delete"])
        .arg(stage.source.join(""))
        .arg(newest.join(""))
        .output()
        .expect("rsync runs");
    assert_eq!(String::from_utf8_lossy(&judge.stdout), "");
}

#[test]
fn a_remote_source_is_copied_linked_and_compared() {
    need!(need::root());
    need!(need::tool("sshd"));
    let stage = Stage::with(BIN, &sample());
    let remote = Remote::start(&stage.beside("remote"));
    remote.run(&stage).expect(1).assert_says("host key of 127.0.0.1 is not known");
    assert!(stage.history().incomplete().is_empty(), "nothing was begun");
    remote.pin();
    remote.run(&stage).expect(0);
    assert_same(&stage);
    remote.run(&stage).expect(0);
    assert_same(&stage);
    stage.assert_linked("folder/large");
    assert_eq!(stage.counts()["copied"], 0);
    // A snapshot of the same folder taken on this machine links to the remote one's files.
    stage.run().expect(0);
    assert_eq!(stage.counts()["copied"], 0);
    stage.sh("echo changed >file; rm empty; echo new >folder/new; chmod 600 folder/large");
    remote.run(&stage).arg("--dry-run").expect(0).assert_says("folder/new");
    remote.run(&stage).expect(0);
    assert_same(&stage);
    assert_eq!(stage.counts()["copied"], 2, "{}", stage.counts());
    remote.run(&stage).set("srcs-to-backup", "/not/there").expect(1).assert_says("/not/there");
}

#[test]
fn a_killed_remote_run_is_resumed() {
    need!(need::root());
    need!(need::tool("sshd"));
    let stage = Stage::with(BIN, &Tree::new());
    stage.sh("for i in $(seq 2000); do echo $i >$i; done; head -c 20000000 /dev/urandom >large");
    let remote = Remote::start(&stage.beside("remote"));
    remote.pin();
    for time in [150, 300, 600] {
        let _ = remote.run(&stage).killed_after(Duration::from_millis(time));
    }
    remote.run(&stage).expect(0);
    assert_same(&stage);
}

#[test]
fn options_of_rsync_reach_the_connection() {
    need!(need::root());
    need!(need::tool("sshd"));
    let stage = Stage::with(BIN, &sample());
    let remote = Remote::start(&stage.beside("remote"));
    remote.pin();
    let run = remote.run(&stage).set("remote-src-host", "127.0.0.1");
    let shell = format!("ssh -T -p {} -l root -o ServerAliveInterval=5", remote.port);
    let limits = ["-z4", "--bwlimit=50m", "--timeout=30", "--contimeout=9", "--rsync-path=x"];
    run.clone().rsync(&["-e", &shell]).rsync(&limits).expect(0);
    assert_same(&stage);
    run.clone().rsync(&["-e", &shell, "--chmod=F600", "--max-size=1m", "-m"]).expect(0);
    let newest = stage.inside(&stage.history().newest());
    assert!(!newest.join("folder/large").exists() && !newest.join("nothing").exists());
    let mode = fs::metadata(newest.join("file")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let run = remote.run(&stage);
    run.clone().rsync(&["-e", "ssh -p 1"]).expect(2).assert_says("another port is given");
    run.clone().rsync(&["-L"]).expect(2).assert_says("follow no symlinks on another machine");
    let unchecked = ["-e", "ssh -o StrictHostKeyChecking=no"];
    run.clone().rsync(&unchecked).expect(2).assert_says("always checked");
    run.rsync(&["-X"]).expect(0).assert_says("-X (SFTP tells no attributes)");
}

#[test]
fn filters_and_rule_files_hold_for_a_remote_source() {
    need!(need::root());
    need!(need::tool("sshd"));
    let tree = Tree::new()
        .file("a.tmp", "")
        .file("cache/x", "")
        .file("d/.rsync-filter", "+ b.tmp\n- /no\n")
        .file("d/b.tmp", "")
        .file("d/e/no", "")
        .file("d/no", "");
    let stage = Stage::with(BIN, &tree);
    let remote = Remote::start(&stage.beside("remote"));
    remote.pin();
    let options = ["-F", "--exclude=*.tmp", "--exclude=cache/"];
    remote.run(&stage).rsync(&options).expect(0);
    let newest = stage.inside(&stage.history().newest());
    for (path, held) in
        [("a.tmp", false), ("cache", false), ("d/b.tmp", true), ("d/e/no", true), ("d/no", false)]
    {
        assert_eq!(newest.join(path).exists(), held, "{path}");
    }
    let why = remote.run(&stage).arg("--explain").arg(stage.source.join("d/no")).rsync(&options);
    why.expect(0).assert_says("d/no: out by '- /no' (").assert_says("/d/.rsync-filter, line 2)");
}
