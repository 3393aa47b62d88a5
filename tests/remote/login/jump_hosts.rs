//! Hosts behind jump hosts: ssh to the jump host gets the same options, asks nothing, and is named.

use std::fs;
use std::process::{Command, Stdio};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Run;
use fixtures::sshd::{Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A host `behind` the jump host `gate`, which is another server.
struct Scene {
    stage: Stage,
    gate: Sshd,
    host: Sshd,
}

impl Scene {
    fn new(gate: Plan) -> Result<Self, Missing> {
        let (gate, host) = (gate.start()?, Sshd::serving(Subsystem::Internal)?);
        let stage = Stage::with(BIN, &Tree::new().file("one", "1").random_file("two", 900_000, 2));
        let scene = Self { stage, gate, host };
        scene.configure("user", "ProxyJump gate");
        Ok(scene)
    }

    /// `key` is the key for the jump host, `more` the lines for the host.
    fn configure(&self, key: &str, more: &str) {
        let entry = |name: &str, server: &Sshd, key: &str, more: &str| {
            format!(
                "Host {name}\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\nUserKnownHostsFile {}\n{more}\n",
                server.port(),
                server.account(),
                server.path(key).display(),
                server.path("known_hosts").display()
            )
        };
        let lines = [
            entry("behind", &self.host, "user", more),
            entry("gate", &self.gate, key, ""),
            entry("gate2", &self.gate, key, "ProxyJump gate"),
        ];
        self.host.write_config("stranger", &lines.concat());
    }

    fn run(&self) -> Run {
        self.host.known_to(self.stage.run()).set("remote-src-host", "behind")
    }
}

#[test]
fn a_host_is_reached_over_one_two_and_nested_jump_hosts() {
    let scene = need!(Scene::new(Plan::new(Subsystem::Internal)));
    let accepted = || scene.gate.log().matches("Accepted publickey").count();
    let mut before = 0;
    for (jump, hops) in [("gate", 1), ("gate,gate", 2), ("gate2", 2), ("gate2,gate", 3)] {
        scene.configure("user", &format!("ProxyJump {jump}"));
        scene.stage.sh("date +%N >one");
        scene.run().expect(0);
        scene.stage.assert_newest_is_source(Judge::sftp());
        assert_eq!(accepted() - before, hops, "{jump}: {}", scene.gate.log());
        before = accepted();
    }
}

#[test]
fn an_unknown_key_of_the_jump_host_is_named_with_a_command_that_helps() {
    let scene = need!(Scene::new(Plan::new(Subsystem::Internal)));
    fs::remove_file(scene.gate.path("known_hosts")).unwrap();
    let refused = scene.run().expect(1);
    refused.assert_says(
        "the jump host gate: the host key of 127.0.0.1 is not known (ssh-ed25519 SHA256:",
    );
    let pin = refused.stderr.lines().find_map(|line| line.split_once("pin it: "));
    let done = Command::new("sh").arg("-c").arg(pin.expect("a command").1).status();
    assert!(done.is_ok_and(|done| done.success()));
    scene.run().expect(0);
}

#[test]
fn nothing_is_asked_on_a_terminal() {
    need!(need::tool("script"));
    let scene = need!(Scene::new(Plan::new(Subsystem::Internal)));
    fs::remove_file(scene.gate.path("known_hosts")).unwrap();
    let command = format!(
        "{BIN} run --srcs-to-backup '{}' --backups-dir '{}' --remote-src-host behind",
        scene.stage.source.display(),
        scene.stage.backups.display()
    );
    // script(1) gives the command a controlling terminal.
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null());
    terminal.env("PATH", format!("{}:/usr/bin:/bin", scene.host.path("bin").display()));
    let said = terminal.output().expect("script runs").stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("the jump host gate: the host key of 127.0.0.1 is not known"), "{said}");
}

#[test]
fn no_password_is_tried_on_a_jump_host_that_does_not_accept_the_key() {
    let plan = Plan::new(Subsystem::Internal).line("Match all\nPasswordAuthentication yes");
    let scene = need!(Scene::new(plan));
    scene.configure("stranger", "ProxyJump gate");
    let refused = scene.run().expect(1);
    refused.assert_says("the jump host gate: the host did not accept the user or the key");
    assert!(!scene.gate.log().contains("Failed password"), "{}", scene.gate.log());
}

#[test]
fn a_host_that_the_jump_host_does_not_reach_is_told_from_the_jump_host() {
    let mut scene = need!(Scene::new(Plan::new(Subsystem::Internal)));
    scene.host.stop();
    scene
        .run()
        .expect(1)
        .assert_says("the jump host gate does not connect to the host: channel 0: open failed");
    scene.host.start();
    scene.run().expect(0);
    scene.gate.stop();
    scene.run().expect(1).assert_says("the jump host gate: the host refused the connection");
}
