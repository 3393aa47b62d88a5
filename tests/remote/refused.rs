//! Failures to reach a remote source: each has its own message, and none leaves files behind. Also
//! the accepted forms of addresses.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::{Run, over_helper};
use fixtures::sshd::{NOBODY, Plan, Sshd, Subsystem, has_ipv6};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A server, and a run whose temporary files are visible to the test.
struct Scene {
    stage: Stage,
    server: Sshd,
    temporary: PathBuf,
}

impl Scene {
    fn new(plan: Plan) -> Result<Self, Missing> {
        let server = plan.start()?;
        let stage = Stage::with(BIN, &Tree::new().file("one", "1").file("folder/two", "2"));
        let temporary = stage.beside("tmp");
        fs::create_dir(&temporary).expect("a folder");
        Ok(Self { stage, server, temporary })
    }

    fn plain() -> Result<Self, Missing> {
        Self::new(Plan::new(Subsystem::Internal))
    }

    fn run(&self) -> Run {
        self.server.reached_by(self.stage.run()).env("TMPDIR", &self.temporary)
    }

    fn to(&self, address: &str) -> Run {
        self.run().set("remote-src-host", address)
    }

    /// Fails the test unless `run`, also as a dry run, fails soon with `words` and leaves nothing.
    #[track_caller]
    fn assert_refused(&self, run: &Run, words: &[&str]) {
        for run in [run.clone(), run.clone().arg("--dry-run")] {
            let done = run.expect(1);
            for word in words {
                done.assert_says(word);
            }
            self.assert_nothing_is_left();
        }
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        let names = |folder| fs::read_dir(folder).expect("a folder").flatten();
        let left: Vec<_> = names(&self.temporary).map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "left in the folder for temporary files: {left:?}");
        let snapshots = names(&self.stage.backups).map(|entry| entry.file_name());
        let snapshots: Vec<_> = snapshots.filter(|name| name != ".backup_manager").collect();
        assert!(snapshots.is_empty(), "left in the backups folder: {snapshots:?}");
        assert_eq!(self.server.clients(), Vec::<u32>::new(), "ssh is still there");
    }

    /// The fingerprint of the host's key.
    fn fingerprint(&self) -> String {
        let mut list = Command::new("ssh-keygen");
        let said = list.arg("-lf").arg(self.server.path("host.pub")).output().expect("it lists");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.split(' ').nth(1).expect("a fingerprint").to_owned()
    }

    /// Runs the command that the refused run suggests.
    fn pin_as_told(&self) {
        let done = self.run().expect(1);
        let said = done.said();
        let (_, command) = said.split_once("pin it: ").expect("it tells a command");
        let command = command.lines().next().expect("a line");
        let status = Command::new("sh").args(["-ec", command]).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{command}");
    }

    #[track_caller]
    fn assert_reached(&self, address: &str) {
        self.to(address).expect(0);
        self.stage.assert_newest_is_source(Judge::sftp());
        assert_eq!(self.server.clients(), Vec::<u32>::new(), "ssh is still there");
    }
}

#[test]
fn a_host_key_that_is_not_known_is_never_taken_and_the_command_that_pins_it_is_told() {
    let scene = need!(Scene::plain());
    let known = scene.server.path("known_hosts");
    fs::write(&known, "").unwrap();
    // Not even if ssh's configuration permits it.
    scene.server.write_config("user", "StrictHostKeyChecking no");
    let fingerprint = scene.fingerprint();
    let words =
        ["the host key of 127.0.0.1 is not known", &fingerprint, "doctor --pin", "pin it: "];
    scene.assert_refused(&scene.run(), &words);
    assert_eq!(fs::read_to_string(&known).unwrap(), "");
    scene.pin_as_told();
    scene.assert_reached(&scene.server.address());
}

#[test]
fn a_host_key_that_changed_stops_everything_until_it_is_pinned() {
    let mut scene = need!(Scene::plain());
    scene.assert_reached(&scene.server.address());
    let before = scene.stage.history().complete();
    scene.server.change_host_key();
    let done = scene.run().expect(1);
    done.assert_says("the host key of 127.0.0.1 has changed").assert_says("an attacker intercepts");
    done.assert_says(&scene.fingerprint());
    assert_eq!(scene.stage.history().complete(), before);
    assert!(scene.stage.history().incomplete().is_empty());
    scene.pin_as_told();
    scene.assert_reached(&scene.server.address());
}

#[test]
fn a_key_or_a_user_that_is_not_accepted() {
    let scene = need!(Scene::plain());
    let words = ["the host did not accept the user or the key", "authorized_keys"];
    let stranger = format!("no-such-user@127.0.0.1:{}", scene.server.port());
    scene.assert_refused(&scene.to(&stranger), &words);
    scene.server.write_config("stranger", "");
    scene.assert_refused(&scene.run(), &words);
}

#[test]
fn a_port_where_nobody_listens() {
    let mut scene = need!(Scene::plain());
    scene.server.stop();
    scene.assert_refused(&scene.run(), &["refused the connection", "check that sshd runs"]);
    scene.server.start();
    scene.assert_reached(&scene.server.address());
}

#[test]
fn a_host_that_no_name_server_knows() {
    let scene = need!(Scene::plain());
    let words = ["the host's name is not known", "host.invalid", "check the spelling"];
    scene.assert_refused(&scene.to("me@host.invalid"), &words);
}

#[test]
fn a_host_without_sftp() {
    // The helper needs no SFTP.
    if over_helper() {
        return;
    }
    let scene = need!(Scene::new(Plan::new(Subsystem::Missing)));
    scene.assert_refused(&scene.run(), &["the host offers no SFTP", "sftp subsystem"]);
    let forced = Plan::new(Subsystem::Internal).line("ForceCommand echo Go away.");
    let scene = need!(Scene::new(forced));
    scene.assert_refused(&scene.run(), &["the host offers no SFTP", "Go away; "]);
    let closed = Plan::new(Subsystem::Internal).line("ForceCommand false");
    let scene = need!(Scene::new(closed));
    scene.assert_refused(&scene.run(), &["the host offers no SFTP", "(exit status 1)"]);
}

#[test]
fn a_host_whose_sftp_server_is_not_installed() {
    // The helper needs no SFTP.
    if over_helper() {
        return;
    }
    let scene = need!(Scene::new(Plan::served_by("/not/there/sftp-server".to_owned())));
    let words = ["cannot start its SFTP server", "(exit status 127)"];
    scene.assert_refused(&scene.run(), &words);
}

#[test]
fn a_host_whose_shell_prints_at_the_login() {
    // Only SFTP is started behind that text.
    if over_helper() {
        return;
    }
    let scene = need!(Scene::new(Plan::served_by_shell("echo Welcome to the NAS")));
    let words = ["prints a text before it starts", "Welcome to the NAS", "[ -t 1 ] || return"];
    scene.assert_refused(&scene.run(), &words);
}

#[test]
fn a_login_that_takes_long_needs_a_longer_time_limit() {
    // Only SFTP is started late.
    if over_helper() {
        return;
    }
    let scene = need!(Scene::new(Plan::served_by_shell("sleep 4")));
    let limited = |limit: &str| scene.run().rsync(&[limit]);
    let words = ["no answer within 2 seconds", "--contimeout=60 waits longer"];
    scene.assert_refused(&limited("--contimeout=3"), &words);
    limited("--contimeout=15").expect(0);
}

#[test]
fn a_host_without_a_common_algorithm() {
    for (line, option) in [
        ("Ciphers aes128-cbc", "Ciphers +aes128-cbc"),
        ("KexAlgorithms diffie-hellman-group1-sha1", "KexAlgorithms +diffie-hellman-group1-sha1"),
        ("MACs hmac-md5\nCiphers aes128-ctr", "MACs +hmac-md5"),
    ] {
        let scene = need!(Scene::new(Plan::new(Subsystem::Internal).line(line)));
        let words = ["do not agree on how to talk", "no matching", option];
        scene.assert_refused(&scene.run(), &words);
    }
}

#[test]
fn a_host_that_closes_the_connection_during_the_key_exchange() {
    let scene = need!(Scene::plain());
    let host = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = host.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in host.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"SSH-2.0-Old\r\n");
            let _ = stream.read(&mut [0; 100]);
        }
    });
    let words = ["the host closed the connection: Connection", "look into the host's log"];
    scene.assert_refused(&scene.to(&address.to_string()), &words);
}

#[test]
fn a_source_that_is_not_there_or_not_to_be_read() {
    need!(need::root());
    let scene = need!(Scene::new(Plan::new(Subsystem::Internal).serving_nobody()));
    let words = ["/not/there", "check that the path is right", "over SFTP some hosts show other"];
    scene.assert_refused(&scene.run().set("srcs-to-backup", "/not/there"), &words);
    let both = format!("{},/not/there", scene.stage.source.display());
    scene.assert_refused(&scene.run().set("srcs-to-backup", both), &words);
    fs::set_permissions(&scene.stage.source, fs::Permissions::from_mode(0o700)).unwrap();
    let words = [scene.stage.source.to_str().unwrap(), "ermission denied", "permission to read it"];
    scene.assert_refused(&scene.run(), &words);
    fs::set_permissions(&scene.stage.source, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(scene.server.address().starts_with(NOBODY));
    scene.assert_reached(&scene.server.address());
}

#[test]
fn a_host_that_ssh_would_take_for_an_option_is_refused_before_a_connection() {
    let scene = need!(Scene::plain());
    let marker = scene.stage.beside("executed");
    let attack = format!("-oProxyCommand=touch {}", marker.display());
    for address in [
        attack.as_str(),
        "-lroot",
        "-lroot@127.0.0.1",
        "root@-oProxyCommand=true",
        "[-v]:22",
        "root@n\nas",
        "root@na\u{1b}[2Js",
        "ro\u{7f}ot@nas",
        "root@$(id)",
        "root@nas:0",
        "root@nas:ssh",
        "root@",
    ] {
        let done = scene.to(address).expect(2);
        done.assert_says("remote-src-host");
        assert!(!done.said().contains('\u{1b}'), "{:?}", done.said());
        scene.assert_nothing_is_left();
    }
    assert!(!marker.exists());
}

#[test]
fn hosts_are_known_by_their_aliases() {
    let scene = need!(Scene::plain());
    scene.assert_reached("test");
    scene.assert_reached(&format!("{}@test", scene.server.account()));
    // Under another name it counts as another host.
    let address = format!("127.0.0.1:{}", scene.server.port());
    scene.to(&address).expect(2).assert_says("--accept-sources");
    scene.to(&address).arg("--accept-sources").expect(0);
    scene.stage.assert_newest_is_source(Judge::sftp());
}

#[test]
fn a_host_is_reached_by_its_ipv6_address() {
    need!(if has_ipv6() { Ok(()) } else { Err(Missing("needs IPv6 on loopback".to_owned())) });
    let scene = need!(Scene::plain());
    scene.assert_reached(&format!("{}@[::1]:{}", scene.server.account(), scene.server.port()));
}

#[test]
fn a_host_behind_another_is_reached_by_jumping() {
    let scene = need!(Scene::plain());
    let (port, user) = (scene.server.port(), scene.server.account());
    let lines = format!(
        "Host behind\nProxyJump jump\nHost behind jump\nHostName 127.0.0.1\nPort {port}\nUser {user}"
    );
    scene.server.write_config("user", &lines);
    scene.assert_reached("behind");
    let accepted = scene.server.log().matches("Accepted publickey").count();
    assert_eq!(accepted, 2, "one for each hop:\n{}", scene.server.log());
}
